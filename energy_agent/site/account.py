"""The account of a site's meters: readings become ledger entries and gaps. Pure; the journal writes them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Final

from energy_agent.core.boundary import JOURNAL_LOST
from energy_agent.core.energy import Entry, Gap, Method, State, WorkloadFacts
from energy_agent.core.meters.difference import energy_uj, gap_of
from energy_agent.core.meters.facility import METER_GONE, METER_KIND, MeterFacts, Role
from energy_agent.core.meters.reading import MeterReading
from energy_agent.core.saved_state import UNREADABLE, Component, States, read_fields
from energy_agent.core.units import split_integer
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.journal.recovery import lost_devices
from energy_agent.ledger.rows.cells import cuts
from energy_agent.ledger.rows.kinds import DeviceFacts
from energy_agent.metering.node import DomainInterval, NodeState
from energy_agent.site.building.meter import FacilityState, follow

STATED: Final = "declared"
"""The source whose power nobody measures."""
RESTING: Final = frozenset({Role.COOLING, Role.LIGHTING, Role.RENEWABLE, Role.REUSED_HEAT})
"""What may well draw nothing for hours; IT does not, and a site only where it makes its own."""
IMPORTED: Final = "imported"
"""The source whose readings have times of their own."""
_PPM: Final = 1_000_000
_PENDING_MAX: Final = 100_000


@dataclass(slots=True)
class _Meter:
    facts: MeterFacts
    gap_ns: int
    state: FacilityState | None = None
    settled: FacilityState | None = None  # as of the last commit
    described: bool = False  # the ledger holds its facts as they are


@dataclass(slots=True)
class _Pending:
    entries: list[Entry] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


class SiteAccount:
    """The meters of a site.

    Args:
        site: its name.
        boot_id: names the boot of the machine that reads.
        meters: what is declared of each meter, and the longest time between two readings that is no hole.
    """

    def __init__(self, site: str, boot_id: str, meters: Sequence[tuple[MeterFacts, int]]) -> None:
        self._site, self._boot_id = site, boot_id
        self._meters = {facts.id: _Meter(facts, gap_ns) for facts, gap_ns in meters}
        makes = any(facts.role is Role.RENEWABLE for facts, _ in meters)
        self._resting = RESTING | {Role.TOTAL} if makes else RESTING
        self._pending = _Pending()
        self._lost: dict[str, int] = {}  # devices whose last reading the journal lost -> end of their last row, UTC ns
        self._gone: list[str] = []  # devices of meters that are declared no more
        self.waiting = bool(meters)  # there is something that the journal does not have yet; at first what is declared
        self.faults: dict[str, str] = {}  # meter -> why its readings are not plausible
        self._power: dict[str, tuple[int, int]] = {}  # meter -> last power, read or the last mean, and when on the boot clock

    def restore(self, states: States, facts: Iterable[WorkloadFacts]) -> list[str]:
        """Go on from what the journal has; returns ids of meters whose state cannot be read: they start again."""
        unreadable = []
        self._lost = lost_devices(states)
        last = {fact.workload: fact for fact in sorted(facts, key=lambda fact: fact.since_ns)}
        labels = {device: fact.labels for device, fact in last.items() if fact.kind == METER_KIND}
        mine = {meter.facts.device(self._site) for meter in self._meters.values()}
        self._gone = sorted(labels.keys() - mine)
        self.waiting = self.waiting or bool(self._gone)
        for meter_id, meter in self._meters.items():
            meter.described = labels.get(meter.facts.device(self._site)) == meter.facts.labels
            text = states.get(Component.METERS, {}).get(meter.facts.device(self._site), "")
            if not text:
                continue
            try:
                meter.state = meter.settled = _state(text)
            except UNREADABLE:
                unreadable.append(meter_id)
        return unreadable

    def feed(self, meter_id: str, readings: Iterable[MeterReading]) -> None:
        """Readings of one meter, in the order of time."""
        meter = self._meters[meter_id]
        device = meter.facts.device(self._site)
        for reading in readings:
            source = meter.facts.source
            self.waiting = True
            since_ns = self._lost.get(device) if meter.state is None else None
            if since_ns is not None and source == IMPORTED and reading.t_ns < since_ns:
                continue  # a file is read from its start again: the ledger has these rows
            kind = {"stated": source == STATED, "dated": source == IMPORTED, "rests": meter.facts.role in self._resting}
            step = follow(meter.state, reading, self._boot_id, meter.gap_ns, **kind)
            entries = [] if step.interval is None else entries_of(device, step.interval, reading.max_mw)
            meter.state = step.state  # only now: what cannot be recorded is closed by the next reading
            self._pending.entries += entries
            gap = step.gap
            if since_ns is not None and since_ns != reading.t_ns:
                gap = gap_of(device, since_ns, reading.t_ns, reading.max_mw, JOURNAL_LOST)
            if gap is not None:
                self._pending.gaps.append(Gap(device, gap.start_ns, gap.end_ns, gap.bound_uj, gap.reason))
            self.faults.pop(meter_id, None)
            if step.fault:
                self.faults[meter_id] = step.fault
            moved = step.interval is not None and step.interval.energy_uj > 0
            power_mw = reading.power_mw if reading.power_mw is not None else step.state.usual_mw if moved else None
            if power_mw is not None:
                self._power[meter_id] = (power_mw, reading.boot_ns)

    def power_mw(self, meter_id: str, boot_ns: int) -> int | None:
        """Power of the last reading; None where that is older than two readings of the meter may be apart."""
        power_mw, read_boot_ns = self._power.get(meter_id, (None, 0))
        return power_mw if boot_ns - read_boot_ns <= self._meters[meter_id].gap_ns else None

    def batch(self, now_ns: int) -> Batch:
        """Everything since the last commit, with the states to go on from."""
        facts, devices = [WorkloadFacts(device, now_ns, METER_GONE) for device in self._gone], []
        for meter in self._meters.values():
            device = meter.facts.device(self._site)
            if not meter.described:
                facts.append(WorkloadFacts(device, now_ns, METER_KIND, meter.facts.labels))
                devices.append(DeviceFacts(device, f"meter {meter.facts.source}", meter.facts.accuracy_ppm / _PPM, now_ns))
        changed = (m for m in self._meters.values() if m.state is not m.settled)
        states = {m.facts.device(self._site): _text(m.state) for m in changed if m.state is not None}
        closed = dict.fromkeys(self._lost.keys() & states.keys(), "")  # their gaps are in the batch
        return Batch(
            self._pending.entries,
            self._pending.gaps,
            facts=facts,
            devices=devices,
            states={Component.METERS: states, Component.LOST_READINGS: closed},
        )

    def committed(self) -> Sequence[Entry]:
        """The batch is in the journal; returns its entries."""
        entries, self._pending, self.waiting = self._pending.entries, _Pending(), False
        self._gone = []
        for meter in self._meters.values():
            meter.settled, meter.described = meter.state, True
            if meter.state is not None:
                self._lost.pop(meter.facts.device(self._site), None)
        return entries

    def not_committed(self) -> None:
        """The journal could not be written. The rows wait; too many of them go, and a register bridges the time."""
        if len(self._pending.entries) + len(self._pending.gaps) <= _PENDING_MAX:
            return
        self._pending = _Pending()
        for meter in self._meters.values():
            meter.state = meter.settled


def entries_of(device: str, interval: DomainInterval, max_mw: int | None = None) -> list[Entry]:
    """The rows of an interval, none of them over the edge of a cell. `gpu_ns` holds the time that was metered.

    If a register's interval is cut, the energy before the cut is in proportion to time. Its possible error by `max_mw` is
    recorded on both sides of the cut, where it cancels. If part of a register's energy is in doubt, a second row of method
    `integrated` and without energy records that error, which no later reading corrects.
    """
    edges = [interval.start_ns, *cuts(interval.start_ns, interval.end_ns), interval.end_ns]
    spans = list(pairwise(edges))
    lengths = [end - start for start, end in spans]
    energies, doubts = split_integer(interval.energy_uj, lengths), split_integer(interval.doubt_uj, lengths)
    counted = interval.method not in (Method.INTEGRATED, Method.MODELLED)
    rows, before_uj, first_uj = [], 0, 0
    for (start, end), uj, doubt_uj in zip(spans, energies, doubts, strict=True):
        before_uj += uj
        last_uj = 0 if end == interval.end_ns else _cut_uj(interval, end, before_uj, max_mw)
        half_uj = (doubt_uj + 1) // 2
        edge_uj = interval.edge_uj + max(first_uj, last_uj) if counted else half_uj
        rows.append(Entry(start, end, device, "", State.UNALLOCATED, interval.method, uj, edge_uj, end - start))
        if counted and doubt_uj:
            rows.append(Entry(start, end, device, "", State.UNALLOCATED, Method.INTEGRATED, 0, half_uj))
        first_uj = last_uj
    return rows


def _cut_uj(interval: DomainInterval, at_ns: int, before_uj: int, max_mw: int | None) -> int:
    """How far what lies before a cut can be off: the truth is between what must and what can have flowed by then."""
    least_uj, most_uj = 0, interval.energy_uj
    if max_mw is not None:
        least_uj = max(0, interval.energy_uj - energy_uj(max_mw, interval.end_ns - at_ns))
        most_uj = min(most_uj, energy_uj(max_mw, at_ns - interval.start_ns))
    return max(0, before_uj - least_uj, most_uj - before_uj)


def _text(state: FacilityState) -> str:
    return json.dumps(asdict(state), sort_keys=True, separators=(",", ":"))


def _state(text: str) -> FacilityState:
    body = json.loads(text)
    last = NodeState(**read_fields(NodeState, body.pop("last")))
    return FacilityState(last, **read_fields(FacilityState, body))
