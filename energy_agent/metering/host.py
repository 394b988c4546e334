"""Turn an interval of a node's meter into entries: subtract the energy of the GPUs, attribute the rest to their owners. Pure.

Laws (docs/decisions/0005): host + GPUs less what is carried over telescopes to the meter's integral exactly; no recorded value
is negative; an interval is recorded only where every GPU is known over all of it.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from energy_agent.core.energy import Entry, Gap, Method, State
from energy_agent.core.meters.difference import energy_uj, mean_mw
from energy_agent.core.units import split_integer
from energy_agent.metering.gpu_curve import CurveSegment, GpuCurve, Weights, weights_of
from energy_agent.metering.node import DomainInterval

NOT_KNOWN: Final = "energy of a GPU is not known"
BELOW_GPUS: Final = "the node's meter reads less than its GPUs"
STUCK: Final = "the node's meter does not change while its GPUs do"

_STILL_INTERVALS: Final = 3
_STILL_MW: Final = 50_000  # by as much, or a tenth of the node, the GPUs' power has to have changed meanwhile

_PPM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class HostEntries:
    """What an interval adds."""

    entries: tuple[Entry, ...] = ()
    gap: Gap | None = None


@dataclass(slots=True)
class HostBook:
    """One device of the host. With `subtract`, the energy of the GPUs is taken off (a meter of the whole node).

    Args:
        at_uj: each GPU's cumulative energy at the end of the last interval.
        at_cut_uj: bound of the error of their sum there, since the GPUs were read at other instants.
        carried_uj: how far below zero the remainders are.
        started: an interval was recorded, or named as a gap, before.
    """

    device: str
    subtract: bool
    node_gain_ppm: int = 0
    gpu_gain_ppm: int = 0
    at_uj: dict[str, int] = field(default_factory=dict)
    at_cut_uj: int = 0
    at_ns: int | None = None  # boot clock
    carried_uj: int = 0
    started: bool = False
    _still: tuple[int, int, int] = (0, 0, 0)  # of the intervals in which power stood still: how many, the GPUs' least, most mW

    def covered(self, interval: DomainInterval, curves: Mapping[str, GpuCurve], required: Set[str]) -> bool:
        """Whether every GPU is recorded past the interval's end."""
        return all(uuid in curves and curves[uuid].end_ns >= interval.end_boot_ns for uuid in required)

    def take(self, interval: DomainInterval, curves: Mapping[str, GpuCurve], required: Set[str]) -> HostEntries:
        """Record an interval with what is known of the GPUs by now."""
        drawn_uj, ends_uj = dict[str, int](), dict[str, int]()
        for uuid in required:
            before, after = self._ends(uuid, curves.get(uuid), interval)
            if after is not None:
                ends_uj[uuid] = after
            if before is not None and after is not None:
                drawn_uj[uuid] = after - before
        complete = len(drawn_uj) == len(required)
        gpus_uj = sum(drawn_uj.values()) if self.subtract else 0
        cuts_uj = (self._cut_uj(interval.start_boot_ns, curves, required), self._cut_uj(interval.end_boot_ns, curves, required))
        self.at_ns, self.at_uj, self.at_cut_uj = interval.end_boot_ns, ends_uj, cuts_uj[1]
        if self.subtract and not complete and not self.started and self.covered(interval, curves, required):
            return HostEntries()  # the meter was read before the GPUs: the account begins with the next reading
        self.started = True
        if self.subtract and not complete:
            bound = max(0, interval.energy_uj + interval.edge_uj + interval.doubt_uj - gpus_uj)
            return HostEntries(gap=Gap(self.device, interval.start_ns, interval.end_ns, bound, NOT_KNOWN))
        if self.subtract and self._stuck(interval, gpus_uj):
            return self._lie(interval, STUCK)
        edge_uj, doubt_uj = interval.edge_uj + max(cuts_uj), interval.doubt_uj
        weights = Weights()
        hole_uj = 0
        for uuid in required:
            curve = curves.get(uuid)
            segments = curve.within(interval.start_boot_ns, interval.end_boot_ns) if curve is not None else []
            weights_of(segments, interval.start_boot_ns, interval.end_boot_ns, weights)
            if (missing_ns := _missing_ns(segments, interval)) > 0:
                weights["", State.UNKNOWN_OWNER] = weights.get(("", State.UNKNOWN_OWNER), 0) + missing_ns
            if self.subtract and curve is not None:
                edge_uj += max((s.edge_uj for s in segments), default=0)
                hole_uj += sum(s.hole_uj for s in segments)
        if self.subtract and interval.method is Method.INTEGRATED:
            doubt_uj += _trapezoid_error_uj(interval, curves, required, gpus_uj)
        rest_uj = interval.energy_uj - gpus_uj - self.carried_uj
        if rest_uj < 0 and self.subtract:
            gains = (interval.energy_uj * self.node_gain_ppm + gpus_uj * self.gpu_gain_ppm) // _PPM
            if -rest_uj - self.carried_uj > gains + 2 * edge_uj + doubt_uj:
                return self._lie(interval, BELOW_GPUS)
        before_uj, self.carried_uj = self.carried_uj, max(0, -rest_uj)
        edge_uj += max(before_uj, self.carried_uj)
        # What a GPU drew unseen is in the host's part: like the error of a trapezoid, no later reading takes it back.
        method = Method.INTEGRATED if hole_uj else interval.method
        return HostEntries(
            tuple(_entries(self.device, interval, max(0, rest_uj), method, edge_uj, doubt_uj + hole_uj, weights))
        )

    def skip(self) -> None:
        """The meter itself has a gap: what follows begins again."""
        self.at_uj, self.at_cut_uj, self.at_ns = {}, 0, None

    def _ends(self, uuid: str, curve: GpuCurve | None, interval: DomainInterval) -> tuple[int | None, int | None]:
        """The GPU's cumulative energy at both ends; the first is the very number that the last interval ended with."""
        if curve is None:
            return None, None
        before = self.at_uj.get(uuid) if self.at_ns == interval.start_boot_ns else None
        return curve.at(interval.start_boot_ns) if before is None else before, curve.at(interval.end_boot_ns)

    def _cut_uj(self, t_ns: int, curves: Mapping[str, GpuCurve], required: Set[str]) -> int:
        if not self.subtract:
            return 0
        return self.at_cut_uj if t_ns == self.at_ns else sum(curves[uuid].cut_uj(t_ns) for uuid in required if uuid in curves)

    def _stuck(self, interval: DomainInterval, gpus_uj: int) -> bool:
        """The same power again and again, while that of the GPUs within it changes."""
        if interval.method is not Method.INTEGRATED or interval.start_mw != interval.end_mw:
            self._still = (0, 0, 0)
            return False
        gpus_mw = mean_mw(gpus_uj, max(1, interval.end_boot_ns - interval.start_boot_ns))
        count, low, high = self._still
        count, low, high = count + 1, min(low, gpus_mw) if count else gpus_mw, max(high, gpus_mw)
        self._still = (count, low, high)
        return count >= _STILL_INTERVALS and high - low > max(_STILL_MW, interval.end_mw // 10)

    def _lie(self, interval: DomainInterval, reason: str) -> HostEntries:
        bound = interval.energy_uj + 2 * interval.edge_uj + interval.doubt_uj
        return HostEntries(gap=Gap(self.device, interval.start_ns, interval.end_ns, bound, reason))


def _missing_ns(segments: Sequence[CurveSegment], interval: DomainInterval) -> int:
    """Time of the interval in which a GPU was not recorded."""
    start_ns, end_ns = interval.start_boot_ns, interval.end_boot_ns
    return end_ns - start_ns - sum(min(s.end_ns, end_ns) - max(s.start_ns, start_ns) for s in segments)


def _trapezoid_error_uj(interval: DomainInterval, curves: Mapping[str, GpuCurve], required: Set[str], gpus_uj: int) -> int:
    """What a trapezoid over the same two instants gets wrong for the GPUs, whose energy between them is known."""
    ends_mw = 0
    for uuid in required:
        segments = curves[uuid].within(interval.start_boot_ns, interval.end_boot_ns)
        for s in (segments[0], segments[-1]) if segments else ():
            ends_mw += mean_mw(s.energy_uj, s.end_ns - s.start_ns)
    return abs(energy_uj(ends_mw, interval.end_boot_ns - interval.start_boot_ns) // 2 - gpus_uj)


def _entries(
    device: str, interval: DomainInterval, uj: int, method: Method, edge_uj: int, doubt_uj: int, weights: Weights
) -> list[Entry]:
    """By device time held; device time itself is that of the GPUs and is not counted twice.

    Integrated energy gets a second entry, of method `counter` and without energy. It holds the edges that the interval shares
    with its neighbours, because these cancel and the error of the integration does not.
    """
    if method is Method.BRIDGED:
        weights = {("", State.GAP): 1}
    time_weights = sorted((key, ns) for key, ns in weights.items() if ns > 0) or [(("", State.UNALLOCATED), 1)]
    if method is not Method.INTEGRATED:
        return _shares(device, interval, method, uj, edge_uj, time_weights)
    integrated = _shares(device, interval, method, uj, (doubt_uj + 1) // 2, time_weights)
    return integrated + (_shares(device, interval, Method.COUNTER, 0, edge_uj, time_weights) if edge_uj else [])


def _shares(
    device: str,
    interval: DomainInterval,
    method: Method,
    uj: int,
    edge_uj: int,
    time_weights: list[tuple[tuple[str, State], int]],
) -> list[Entry]:
    times = [ns for _, ns in time_weights]
    return [
        Entry(interval.start_ns, interval.end_ns, device, workload, state, method, share, edge)
        for ((workload, state), _), share, edge in zip(
            time_weights, split_integer(uj, times), split_integer(edge_uj, times), strict=True
        )
    ]
