"""A GPU's cumulative energy over the boot clock, for instants between its readings. Pure.

The GPU's owners are stored with it.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from energy_agent.core.curve import CumulativeCurve
from energy_agent.core.energy import Entry, State

SEGMENTS_MAX: Final = 512
"""Segments kept while nobody asks for them; beyond, the two oldest become one: energy stays exact, instants get coarser."""

Weights = dict[tuple[str, State], int]
"""(workload, state) -> device time in ns."""


@dataclass(slots=True)
class CurveSegment:
    """[start_ns, end_ns) of the boot clock. `hole_uj` bounds energy in it that no sensor saw."""

    start_ns: int
    end_ns: int
    energy_uj: int
    edge_uj: int
    hole_uj: int
    weights: Weights


class GpuCurve:
    """What is known of one GPU from `start_ns` on."""

    def __init__(self, start_ns: int) -> None:
        """Begin at an instant of the boot clock."""
        self.segments: deque[CurveSegment] = deque()
        self._energy = CumulativeCurve([start_ns], [0])

    @property
    def end_ns(self) -> int:
        """How far it is known."""
        return self._energy.at_ns[-1]

    @property
    def energy_uj(self) -> int:
        """Cumulative energy at `end_ns`."""
        return self._energy.total

    def extend(self, end_ns: int, entries: Iterable[Entry], hole_uj: int = 0) -> None:
        """Go on to `end_ns` with what was recorded of it."""
        start_ns = self.end_ns
        if end_ns <= start_ns:
            return
        energy, edge, weights = 0, 0, Weights()
        entries = tuple(entries)
        unowned = sum(not entry.workload for entry in entries)
        rest_ns = max(0, end_ns - start_ns - sum(entry.gpu_ns for entry in entries))  # of slices that nobody holds
        for entry in entries:
            energy += entry.energy_uj
            edge += entry.edge_uj
            key = (entry.workload, entry.state)
            weights[key] = weights.get(key, 0) + (entry.gpu_ns if entry.workload else rest_ns // unowned)
        if not weights:
            weights["", State.UNKNOWN_OWNER] = end_ns - start_ns
        self._energy.add(end_ns, self.energy_uj + energy)
        self.segments.append(CurveSegment(start_ns, end_ns, energy, edge, hole_uj, weights))
        if len(self.segments) > SEGMENTS_MAX:
            first, second = self.segments.popleft(), self.segments.popleft()
            self.segments.appendleft(_joined(first, second))
            del self._energy.at_ns[1], self._energy.totals[1]

    def at(self, t_ns: int) -> int | None:
        """Cumulative energy at an instant; None where it is not known (any more)."""
        return None if self._energy.gap_ns(t_ns) is None else self._energy.at(t_ns)

    def cut_uj(self, t_ns: int) -> int:
        """Bound of the error of `at`: where its energy fell is known at the ends of a recorded interval, but not within it."""
        for segment in self.segments:
            if segment.start_ns < t_ns < segment.end_ns:
                before_uj = self._energy.at(t_ns) - self._energy.at(segment.start_ns)
                return max(before_uj, segment.energy_uj - before_uj)
        return 0

    def within(self, start_ns: int, end_ns: int) -> list[CurveSegment]:
        """The segments that touch [start_ns, end_ns)."""
        return [s for s in self.segments if s.start_ns < end_ns and s.end_ns > start_ns]

    def forget(self, before_ns: int) -> None:
        """Drop what ends before an instant."""
        for _ in range(self._energy.forget(before_ns)):
            self.segments.popleft()


def weights_of(segments: Iterable[CurveSegment], start_ns: int, end_ns: int, into: Weights) -> None:
    """Add the device time that falls within [start_ns, end_ns)."""
    for s in segments:
        overlap = min(s.end_ns, end_ns) - max(s.start_ns, start_ns)
        for key, ns in s.weights.items():
            into[key] = into.get(key, 0) + ns * overlap // (s.end_ns - s.start_ns)


def _joined(first: CurveSegment, second: CurveSegment) -> CurveSegment:
    weights = dict(first.weights)
    for key, ns in second.weights.items():
        weights[key] = weights.get(key, 0) + ns
    edge, hole = max(first.edge_uj, second.edge_uj), first.hole_uj + second.hole_uj
    return CurveSegment(first.start_ns, second.end_ns, first.energy_uj + second.energy_uj, edge, hole, weights)
