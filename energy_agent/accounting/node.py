"""The account of the node without its GPUs: entries from the readings of its meters and the energy of its GPUs. Pure.

The configuration decides once which meter is recorded (docs/decisions/0005): the meter of record of the whole node, less its
GPUs, as `host`; without one, processor packages and memory as devices of their own. All other meters are metrics only.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from energy_agent.core.boundary import JOURNAL_LOST, host, is_host, part
from energy_agent.core.energy import Entry, Gap, Identity
from energy_agent.core.meters.difference import gap_of, mean_mw
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.core.saved_state import UNREADABLE, read_fields
from energy_agent.core.snapshot import MeterView
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.rows.kinds import DeviceFacts
from energy_agent.metering.gpu_curve import GpuCurve
from energy_agent.metering.host import BELOW_GPUS, STUCK, HostBook
from energy_agent.metering.node import DomainInterval, NodeState, advance

PATIENCE_NS: Final = 30 * NS_PER_S
NEVER: Final = "the node's meter has not answered yet"
"""Of a gap before the first answer of the meter of record; why it does not answer is with its source, in words of its own."""
_PPM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What is recorded. `sources` has, for each meter, the longest time between two readings and its gain uncertainty;
    `record_max_mw` is the maximum that the node can draw, None where nobody said.
    """

    record: str | None  # the meter of record of the whole node
    sources: Mapping[str, tuple[int, float]]
    gpu_gain: float
    record_max_mw: int | None = None


@dataclass(slots=True)
class _Meter:
    """One domain of one meter. `settled` is the state that is safe to go on from: what is before it is recorded."""

    domain: str
    scope: Scope
    state: NodeState | None = None
    settled: NodeState | None = None
    power_mw: int | None = None


@dataclass(slots=True)
class _Waiting:
    meter: _Meter
    state: NodeState
    interval: DomainInterval | None
    gap: Gap | None


@dataclass(slots=True)
class NodeAccount:
    """Fed by the accountant: GPUs as they are recorded, readings as they come; `settle` gives what can be recorded by now."""

    identity: Identity
    plan: NodePlan
    faults: dict[str, str] = field(default_factory=dict)  # meter -> why its last interval was rejected
    lost: dict[str, int] = field(default_factory=dict)  # devices whose last reading the journal lost -> end of their last row
    _meters: dict[tuple[str, str], _Meter] = field(default_factory=dict)
    _books: dict[str, HostBook] = field(default_factory=dict)
    _curves: dict[str, GpuCurve] = field(default_factory=dict)
    _waiting: dict[str, deque[_Waiting]] = field(default_factory=dict)
    _described: dict[str, float] = field(default_factory=dict)  # device of the host -> its gain uncertainty
    _committed_views: tuple[MeterView, ...] = ()
    _unseen: tuple[int, int, bool] | None = (
        None  # the wait for a first answer: UTC and boot ns it goes on from; a gap is recorded
    )

    def set_gpu_gain(self, gpu_gain: float) -> None:
        """Another gain uncertainty of the GPUs from the next interval on."""
        self.plan = replace(self.plan, gpu_gain=gpu_gain)
        for book in self._books.values():
            book.gpu_gain_ppm = round(gpu_gain * _PPM)

    def gpu(self, uuid: str, boot_ns: int, entries: Iterable[Entry], gap: Gap | None) -> None:
        """A GPU was recorded up to `boot_ns`."""
        curve = self._curves.get(uuid)
        if curve is None:
            self._curves[uuid] = GpuCurve(boot_ns)
        elif entries or gap is not None:
            curve.extend(boot_ns, entries, 0 if gap is None else gap.bound_uj)

    def feed(self, source: str, readings: Iterable[MeterReading], *, within_gpus: bool = False) -> list[DeviceFacts]:
        """Readings of one meter; returns facts of devices that are recorded from now on.

        `within_gpus`: the energy of the GPUs includes processors and memory.
        """
        gap_ns, gain = self.plan.sources[source]
        facts = []
        for reading in readings:
            meter = self._meters.setdefault((source, reading.domain), _Meter(reading.domain, reading.scope))
            first, is_first = self._first_answer(source, reading), meter.state is None
            step = advance(meter.state, reading, self.identity.boot_id, gap_ns)
            meter.state, meter.power_mw = step.state, _power_mw(reading, step.interval)
            device = self._device(source, reading, within_gpus=within_gpus)
            if device is None:
                meter.settled = step.state
                continue
            if device not in self._described:
                self._described[device] = gain
                facts.append(DeviceFacts(device, f"{source} {reading.scope}", gain, 0))
            if is_first and device in self.lost:  # contains the time in which no meter answered
                max_mw = reading.max_mw or self._max_mw(source)
                first = gap_of(device, self.lost.pop(device), reading.t_ns, max_mw, JOURNAL_LOST)
            self._books.setdefault(
                device, HostBook(device, is_host(device), round(gain * _PPM), round(self.plan.gpu_gain * _PPM))
            )
            self._waiting.setdefault(device, deque()).append(_Waiting(meter, step.state, step.interval, first or step.gap))
        return facts

    def unseen(self, now_ns: int, now_boot_ns: int) -> list[Gap]:
        """Gaps for the time that passes before the meter of record first responds. The energy of that time stays unknown.

        A meter that responds within its longest reading interval leaves no gap: the account begins with its first reading.
        """
        record = self.plan.record
        if record is None or self._has_reading(record):
            return []
        if self._unseen is None or now_boot_ns < self._unseen[1]:
            self._unseen = (now_ns, now_boot_ns, False)
        duration_ns = now_boot_ns - self._unseen[1]
        if duration_ns <= self.plan.sources[record][0]:
            return []
        self._unseen = (now_ns, now_boot_ns, True)
        start_ns = max(0, now_ns - duration_ns)
        gaps = [gap_of(self._host, start_ns, now_ns, self.plan.record_max_mw, NEVER, duration_ns=duration_ns)]
        if self._host in self.lost:
            gaps.insert(0, gap_of(self._host, self.lost.pop(self._host), start_ns, self.plan.record_max_mw, JOURNAL_LOST))
        return gaps

    def settle(self, now_boot_ns: int, required: Set[str]) -> tuple[list[Entry], list[Gap]]:
        """What can be recorded: every GPU in `required` is known, or was waited for long enough."""
        entries: list[Entry] = []
        gaps: list[Gap] = []
        for device, waiting in self._waiting.items():
            book = self._books[device]
            while waiting:
                item = waiting[0]
                interval = item.interval
                if interval is not None:
                    late = now_boot_ns - interval.end_boot_ns > PATIENCE_NS
                    if not late and not book.covered(interval, self._curves, required):
                        break
                    recorded = book.take(interval, self._curves, required)
                    entries += recorded.entries
                    gaps += [recorded.gap] if recorded.gap is not None else []
                    self._judge(device, recorded.gap)
                elif item.gap is not None:
                    book.skip()
                    gap = item.gap
                    gaps.append(Gap(device, gap.start_ns, gap.end_ns, gap.bound_uj, gap.reason))
                item.meter.settled = item.state
                waiting.popleft()
        needed = [m.settled.boot_ns for m in self._meters.values() if m.settled is not None]
        if needed and entries:
            for curve in self._curves.values():
                curve.forget(min(needed))
        return entries, gaps

    def committed(self) -> None:
        """What was settled is in the journal: now it is shown."""
        self._committed_views = tuple(
            MeterView(source, meter.domain, meter.settled.total_uj, meter.power_mw)
            for (source, _), meter in sorted(self._meters.items())
            if meter.settled is not None
        )

    @property
    def gains(self) -> Mapping[str, float]:
        """Gain uncertainty of each device of the host, as a ratio, once its meter has answered."""
        return self._described

    def views(self, up: Set[str]) -> tuple[MeterView, ...]:
        """The meters that answer, with the energy that is in the journal."""
        return tuple(view for view in self._committed_views if f"node:{view.source}" in up)

    def dump(self) -> str:
        """What survives: each meter's settled reading, and each GPU's energy since."""
        meters = {f"{s}|{d}": [m.scope, _plain(m.settled)] for (s, d), m in self._meters.items() if m.settled is not None}
        books = {
            device: {
                "carried": book.carried_uj,
                "at_ns": book.at_ns,
                "cut": book.at_cut_uj,
                "since": {u: self._curves[u].energy_uj - uj for u, uj in book.at_uj.items() if u in self._curves},
            }
            for device, book in self._books.items()
            if book.subtract
        }
        body = {"meters": meters, "books": books, "unseen": [self.identity.boot_id, *(self._unseen or ())]}
        return json.dumps(body, separators=(",", ":"))

    def restore(self, text: str, recorded_ns: Mapping[str, int]) -> None:
        """Restore the state that `dump` returned.

        Args:
            text: what `dump` returned; "" for no state.
            recorded_ns: for each GPU read in this boot, the boot-clock instant up to which it is recorded.

        Raises:
            ValueError: the text is not one of ours.
        """
        self._meters, self._books, self._waiting, self._unseen = {}, {}, {}, None
        self._curves = {uuid: GpuCurve(boot_ns) for uuid, boot_ns in recorded_ns.items()}
        if not text:
            return
        try:
            body = json.loads(text)
            for key, (scope, state) in body["meters"].items():
                source, _, domain = key.partition("|")
                settled = NodeState(**read_fields(NodeState, state))
                self._meters[source, domain] = _Meter(domain, Scope(scope), settled, settled)
            for device, kept in body["books"].items():
                gain = self.plan.sources.get(self.plan.record or "", (0, 0.0))[1]
                book = HostBook(device, True, round(gain * _PPM), round(self.plan.gpu_gain * _PPM))
                book.carried_uj = int(kept["carried"])
                book.at_ns = None if kept["at_ns"] is None else int(kept["at_ns"])
                book.at_cut_uj = int(kept.get("cut", 0))
                book.started = True
                book.at_uj = {u: -int(uj) for u, uj in kept["since"].items() if u in self._curves}
                self._books[device] = book
            boot_id, *unseen = body.get("unseen", [""])
            if unseen and boot_id == self.identity.boot_id:
                self._unseen = (int(unseen[0]), int(unseen[1]), bool(unseen[2]))
        except UNREADABLE as error:
            self._meters, self._books = {}, {}
            raise ValueError(f"not a state of the node: {error!r}") from error
        self.committed()

    def _has_reading(self, source: str) -> bool:
        return any(name == source and meter.state is not None for (name, _), meter in self._meters.items())

    def _first_answer(self, source: str, reading: MeterReading) -> Gap | None:
        """The rest of the time before the first answer of the meter of record."""
        unseen = self._unseen
        if source != self.plan.record or unseen is None or self._has_reading(source):
            return None
        self._unseen = None
        duration_ns = reading.boot_ns - unseen[1]
        if duration_ns <= (0 if unseen[2] else self.plan.sources[source][0]):
            return None
        max_mw, start_ns = reading.max_mw or self.plan.record_max_mw, max(0, reading.t_ns - duration_ns)
        return gap_of("", start_ns, reading.t_ns, max_mw, NEVER, duration_ns=duration_ns)

    def _max_mw(self, source: str) -> int | None:
        return self.plan.record_max_mw if source == self.plan.record else None

    def _device(self, source: str, reading: MeterReading, *, within_gpus: bool) -> str | None:
        """Where it is recorded; None: nowhere, since something that is recorded contains it, or it contains its GPU."""
        if reading.scope is Scope.NODE:
            return self._host if source == self.plan.record else None
        if reading.scope not in (Scope.PACKAGE, Scope.DRAM) or self.plan.record is not None or within_gpus:
            return None
        return part(self._host, reading.domain)

    @property
    def _host(self) -> str:
        return host(self.identity.cluster, self.identity.node)

    def _judge(self, device: str, gap: Gap | None) -> None:
        if is_host(device) and self.plan.record is not None:
            self.faults.pop(self.plan.record, None)
            if gap is not None and gap.reason in (BELOW_GPUS, STUCK):
                self.faults[self.plan.record] = gap.reason


def _power_mw(reading: MeterReading, interval: DomainInterval | None) -> int | None:
    """As read; of a counter, the mean since the reading before."""
    if reading.power_mw is not None or interval is None:
        return reading.power_mw
    return mean_mw(interval.energy_uj, max(1, interval.end_boot_ns - interval.start_boot_ns))


def _plain(state: NodeState) -> dict[str, Any]:
    return {f.name: getattr(state, f.name) for f in fields(state)}
