"""A GPU's cumulative energy over the boot clock, for instants between its readings. Pure.

Energy between two recorded edges is interpolated in proportion to time, in whole uJ: the same instant always has the same
value, so that differences telescope. The GPU's owners are stored with it.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

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


@dataclass(slots=True)
class GpuCurve:
    """What is known of one GPU from `start_ns` on. `before_uj` is the cumulative energy at the first segment that is kept."""

    start_ns: int
    before_uj: int = 0
    energy_uj: int = 0  # cumulative, at `end_ns`
    segments: deque[CurveSegment] = field(default_factory=deque)

    @property
    def end_ns(self) -> int:
        """How far it is known."""
        return self.segments[-1].end_ns if self.segments else self.start_ns

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
        self.energy_uj += energy
        self.segments.append(CurveSegment(start_ns, end_ns, energy, edge, hole_uj, weights))
        if len(self.segments) > SEGMENTS_MAX:
            first, second = self.segments.popleft(), self.segments.popleft()
            self.segments.appendleft(_joined(first, second))

    def at(self, t_ns: int) -> int | None:
        """Cumulative energy at an instant; None where it is not known (any more)."""
        if not self.start_ns <= t_ns <= self.end_ns:
            return None
        uj = self.before_uj
        for segment in self.segments:
            if t_ns < segment.end_ns:
                return uj + segment.energy_uj * (t_ns - segment.start_ns) // (segment.end_ns - segment.start_ns)
            uj += segment.energy_uj
        return uj

    def cut_uj(self, t_ns: int) -> int:
        """Bound of the error of `at`: where its energy fell is known at the ends of a recorded interval, but not within it."""
        for segment in self.segments:
            if segment.start_ns < t_ns < segment.end_ns:
                before_uj = segment.energy_uj * (t_ns - segment.start_ns) // (segment.end_ns - segment.start_ns)
                return max(before_uj, segment.energy_uj - before_uj)
        return 0

    def within(self, start_ns: int, end_ns: int) -> list[CurveSegment]:
        """The segments that touch [start_ns, end_ns)."""
        return [s for s in self.segments if s.start_ns < end_ns and s.end_ns > start_ns]

    def forget(self, before_ns: int) -> None:
        """Drop what ends before an instant."""
        while self.segments and self.segments[0].end_ns <= before_ns:
            gone = self.segments.popleft()
            self.before_uj += gone.energy_uj
            self.start_ns = gone.end_ns


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
