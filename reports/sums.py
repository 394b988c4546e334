"""The sums of a ledger over a period, in whole uJ: what the facts are made of. Pure, and one pass over the rows.

Keys stay per device and workload, so memory grows with the fleet and never with the length of the period. Rows of one node must
come in the order of its chain; what of their edge errors cancels is decided by the ledger's own rule.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from energy_agent.core.boundary import is_gpu
from energy_agent.core.types import Action, Method, State, WorkloadFacts
from energy_agent.ledger.rows import Cell, DeviceFacts, GapRow, Row, Span, StepRow, TokenRow
from energy_agent.ledger.uncertainty import Run, follow
from reports.period import Period

HELD = (State.ACTIVE, State.IDLE)


@dataclass(frozen=True, slots=True)
class EnergyKey:
    """Where a joule is booked."""

    device: str
    workload: str
    state: State
    method: Method


@dataclass(slots=True)
class EnergySum:
    """Energy of one key over the period, and the edge errors that are left of it."""

    energy_uj: int
    gpu_ns: int
    run: Run


@dataclass(slots=True)
class GapSum:
    """Energy that no sensor saw on one device for one reason: never in a sum, but bounded."""

    bound_uj: int = 0
    duration_ns: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """One node's segments in the report: what an auditor checks the figures against."""

    cluster: str
    node: str
    first_sequence: int
    last_sequence: int
    head_sha256: str
    version: str


@dataclass(slots=True)
class _OpenCell:
    """The newest cell of a device: when it was metered, who held it, and what no sensor saw in it."""

    cell_start_ns: int
    metered: list[tuple[int, int]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    holders: set[str] = field(default_factory=set)
    gap_uj: int = 0


@dataclass(slots=True)
class Sums:
    """Everything that the report takes from the ledger."""

    period: Period = field(default_factory=Period)
    simulated: bool = False
    chains: list[Chain] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)  # device -> node that wrote it last
    devices: dict[str, DeviceFacts] = field(default_factory=dict)
    labels: dict[str, WorkloadFacts] = field(default_factory=dict)
    energy: dict[EnergyKey, EnergySum] = field(default_factory=dict)
    device_uj: dict[str, int] = field(default_factory=dict)  # summed apart from `energy`, to check it
    spans: dict[tuple[str, str], Run] = field(default_factory=dict)  # (device, workload or "" for the whole device)
    metered_ns: dict[str, int] = field(default_factory=dict)
    gaps: dict[tuple[str, str], GapSum] = field(default_factory=dict)  # (device, reason)
    device_gap_uj: dict[str, int] = field(default_factory=dict)
    held_gap_uj: dict[tuple[str, str], int] = field(default_factory=dict)  # (device, workload) -> unseen in cells it held
    tokens: dict[tuple[str, str, str], int] = field(default_factory=dict)  # (workload, model, phase)
    actions: dict[tuple[str, str, str], int] = field(default_factory=dict)  # (policy, action, outcome)
    around: "Sums | None" = None  # the same of the hosts around the GPUs; everything else here is of the GPUs
    gpus_uj: Mapping[str, int] = field(default_factory=dict)  # in `around`: energy of the GPUs
    first_ns: int | None = None
    last_ns: int | None = None
    _open: dict[str, _OpenCell] = field(default_factory=dict)

    @property
    def start_ns(self) -> int:
        """Start of the period: as asked, else the first metered instant."""
        return self.period.start_ns if self.period.start_ns is not None else self.first_ns or 0

    @property
    def end_ns(self) -> int:
        """End of the period: as asked, else the last metered instant."""
        return self.period.end_ns if self.period.end_ns is not None else self.last_ns or 0

    def add(self, row: Row, node: str) -> None:
        """Book one row of `node`. Facts are taken whenever they were written, everything else only within the period."""
        if isinstance(row, DeviceFacts):
            known = self.devices.get(row.uuid)
            if known is None or row.gain_uncertainty_ratio >= known.gain_uncertainty_ratio:
                self.devices[row.uuid] = row  # the wider error holds for the whole period
        elif isinstance(row, WorkloadFacts):
            known_facts = self.labels.get(row.workload)
            if known_facts is None or row.since_ns >= known_facts.since_ns:
                self.labels[row.workload] = row
        elif isinstance(row, Action):
            if self.period.holds(row.t_ns):
                key = (row.policy, row.action, row.outcome)
                self.actions[key] = self.actions.get(key, 0) + 1
        elif isinstance(row, StepRow):
            return  # no section tells steps
        elif self.period.holds(row.cell_start_ns):
            (self if isinstance(row, TokenRow) or is_gpu(row.device) else self._around())._add_measured(row, node)

    def close(self) -> None:
        """No more rows: settle the cells that are still open."""
        for device in list(self._open):
            self._settle(device)
        if self.around is not None:
            self.around.close()

    def everything(self) -> "Selection":
        """All keys, in a fixed order."""
        return Selection(sorted(self.energy.items(), key=_order))

    def by_workload(self) -> "dict[str, Selection]":
        """What each workload held."""
        return self.everything().held(*HELD).grouped(lambda k: k.workload)

    def _around(self) -> "Sums":
        if self.around is None:
            self.around = Sums(self.period, devices=self.devices, labels=self.labels, gpus_uj=self.device_uj)
        return self.around

    def _add_measured(self, row: Cell | Span | GapRow | TokenRow, node: str) -> None:
        if isinstance(row, Cell):
            key = EnergyKey(row.device, row.workload, row.state, row.method)
            total = self.energy.get(key)
            if total is None:
                self.energy[key] = EnergySum(row.energy_uj, row.gpu_ns, row.run)
            else:
                total.energy_uj += row.energy_uj
                total.gpu_ns += row.gpu_ns
                total.run = follow(total.run, row.run)
            self.device_uj[row.device] = self.device_uj.get(row.device, 0) + row.energy_uj
            self.nodes[row.device] = node
        elif isinstance(row, Span):
            self._add_span(row)
        elif isinstance(row, GapRow):
            gap = self.gaps.setdefault((row.device, row.reason), GapSum())
            gap.bound_uj += row.bound_uj
            gap.duration_ns += row.end_ns - row.start_ns
            self.device_gap_uj[row.device] = self.device_gap_uj.get(row.device, 0) + row.bound_uj
            cell = self._cell(row.device, row.cell_start_ns)
            cell.gap_uj += row.bound_uj
            cell.gaps.append((row.start_ns, row.end_ns))
            self._reaches(row.start_ns, row.end_ns)
        else:
            tokens = (row.workload, row.model, row.phase)
            self.tokens[tokens] = self.tokens.get(tokens, 0) + row.tokens

    def _add_span(self, row: Span) -> None:
        key = (row.device, row.workload)
        known = self.spans.get(key)
        self.spans[key] = row.run if known is None else follow(known, row.run)
        if row.workload:
            self._cell(row.device, row.cell_start_ns).holders.add(row.workload)
            return
        self._cell(row.device, row.cell_start_ns).metered.append((row.run.start_ns, row.run.end_ns))
        self._reaches(row.run.start_ns, row.run.end_ns)

    def _reaches(self, start_ns: int, end_ns: int) -> None:
        self.first_ns = start_ns if self.first_ns is None else min(self.first_ns, start_ns)
        self.last_ns = end_ns if self.last_ns is None else max(self.last_ns, end_ns)

    def _cell(self, device: str, cell_start_ns: int) -> _OpenCell:
        current = self._open.get(device)
        if current is None or current.cell_start_ns != cell_start_ns:
            self._settle(device)
            current = self._open[device] = _OpenCell(cell_start_ns)
        return current

    def _settle(self, device: str) -> None:
        """What was unseen in a cell may have been used by whoever held the device in it: it widens their upper bound."""
        cell = self._open.pop(device, None)
        if cell is None:
            return
        metered = sum(end - start for start, end in cell.metered) - _overlap(cell.metered, cell.gaps)
        self.metered_ns[device] = self.metered_ns.get(device, 0) + max(0, metered)
        if not cell.gap_uj:
            return
        for workload in cell.holders:
            key = (device, workload)
            self.held_gap_uj[key] = self.held_gap_uj.get(key, 0) + cell.gap_uj


@dataclass(frozen=True, slots=True)
class Selection:
    """Some keys of a book with their sums."""

    items: list[tuple[EnergyKey, EnergySum]]

    @property
    def energy_uj(self) -> int:
        """Their energy."""
        return sum(s.energy_uj for _, s in self.items)

    def held(self, *states: State) -> "Selection":
        """The keys in one of `states`."""
        return Selection([(k, s) for k, s in self.items if k.state in states])

    def grouped(self, by: Callable[[EnergyKey], str]) -> "dict[str, Selection]":
        """The keys in groups of one name each, by name; one pass, so that a fleet of many workloads stays linear."""
        groups: dict[str, list[tuple[EnergyKey, EnergySum]]] = {}
        for item in self.items:
            groups.setdefault(by(item[0]), []).append(item)
        return {name: Selection(groups[name]) for name in sorted(groups)}

    def energy_by_device(self) -> Mapping[str, int]:
        """Energy per device, which is where a sensor's error belongs."""
        return {device: part.energy_uj for device, part in self.grouped(lambda k: k.device).items()}

    def methods(self) -> str:
        """How they were measured: the methods that hold energy, joined by +."""
        return join_methods(k.method for k, s in self.items if s.energy_uj) or "none"


def _overlap(ones: list[tuple[int, int]], others: list[tuple[int, int]]) -> int:
    """Sum of the pairwise overlaps of stretches; both lists are those of one cell, so they are short."""
    return sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in ones for b in others)


def join_methods(methods: Iterable[Method]) -> str:
    """Names of methods, each once, in the catalogue's order."""
    present = set(methods)
    return "+".join(m.value for m in Method if m in present)


def _order(item: tuple[EnergyKey, EnergySum]) -> tuple[str, str, str, str]:
    key = item[0]
    return key.device, key.workload, key.state.value, key.method.value
