"""A statement from a ledger's own rows: an agent's state folder, or folders of segments. It needs no optional package.

Rows become day sums by the code that compaction uses (energy_agent/ledger/fleet/day_sums.py), and day sums become rows of the
statement by the laws of the report's SQL (reports/sql: used, parts, sites, rest). `compacted_days` does the same for a fleet.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from energy_agent.core.boundary import UNBOUNDED, is_gpu, is_host
from energy_agent.core.energy import REQUEST, State
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.units import NS_PER_DAY, NS_PER_S
from energy_agent.ledger import chain
from energy_agent.ledger.fleet.day_sums import NodeDay as NodeDay
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import JOURNAL_NAME, no_ledger
from energy_agent.ledger.rows.kinds import PPM, Row
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN, EdgeRun, follow, systematic_uj
from energy_agent.ledger.segments import segment, table
from energy_agent.ledger.summary import host_gains
from reports.figures.energy import BoundedEnergy
from reports.ledger.sums import MeteredNode
from reports.period import utc_text
from wattlens.usage.grouping import device_row, joined_rows, row_of
from wattlens.usage.statement import (
    DEVICE_GROUPS,
    NO_TOKENS,
    TOKENS_OF_WORKLOADS,
    TOTAL,
    UNALLOCATED,
    UNATTRIBUTED,
    WHOLE_PERIOD,
    GroupBy,
    Parts,
    RowKey,
    Usage,
    UsageRow,
    UsageScope,
    in_order,
)

_SUMMED: Final = ("cell", "time", "span", "gap")
_MEASURED: Final = (State.ACTIVE.value, State.IDLE.value)
Columns = Mapping[str, Sequence[Any]]
Owner = tuple[str, str, str]
"""Cluster, node and workload."""
Place = tuple[str, str, str]
"""Cluster, node and device."""


@dataclass(frozen=True, slots=True)
class SegmentColumns:
    """A segment's rows by kind, or those that are not sealed yet."""

    cluster: str
    node: str
    simulated: bool
    sequence: int
    kinds: Mapping[str, Columns]


@dataclass(slots=True)
class LedgerPeriod:
    """What a ledger holds of a period, as day sums, and between which times it holds anything."""

    start_ns: int
    end_ns: int
    days: dict[tuple[str, str, int], NodeDay] = field(default_factory=dict)
    facts: dict[Owner, list[tuple[int, int, str, dict[str, str]]]] = field(default_factory=dict)
    gain_ppm: dict[str, int] = field(default_factory=dict)
    tokens: dict[tuple[Owner, int, str, str], int] = field(default_factory=dict)  # by UTC day, phase and model
    open: set[Place] = field(default_factory=set)
    simulated: bool = False
    first_ns: int | None = None
    last_ns: int | None = None

    def cover(self, first_ns: int, last_ns: int) -> None:
        """Note that the ledger holds something between two times, of this period or not."""
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)

    def add(self, part: SegmentColumns) -> None:
        """Add rows; segments of a node come in their order."""
        self.simulated |= part.simulated
        for day_ns, kinds in self._by_day(part.kinds).items():
            key = part.cluster, part.node, day_ns
            if key not in self.days:
                self.days[key] = NodeDay(part.cluster, part.node)
            self.days[key].add(kinds)
        for device, ppm in column_rows(part.kinds, "device", "device", "gain_ppm"):
            self.gain_ppm[device] = max(ppm, self.gain_ppm.get(device, 0))
        for workload, since_ns, kind, labels in column_rows(
            part.kinds, "workload", "workload", "since_ns", "workload_kind", "labels"
        ):
            facts = self.facts.setdefault((part.cluster, part.node, workload), [])
            fact = (since_ns, part.sequence, kind, json.loads(labels))
            if not facts or (facts[-1][0], *facts[-1][2:]) != (fact[0], *fact[2:]):
                facts.append(fact)
        for workload, cell_ns, phase, model, count in column_rows(
            part.kinds, "tokens", "workload", "cell_start_ns", "phase", "model", "tokens"
        ):
            if phase != REQUEST and self.start_ns <= cell_ns < self.end_ns:
                key_of = (part.cluster, part.node, workload), _day(cell_ns), phase, model
                self.tokens[key_of] = self.tokens.get(key_of, 0) + count
        for device, cell_ns, reason in column_rows(part.kinds, "gap", "device", "cell_start_ns", "reason"):
            if self.start_ns <= cell_ns < self.end_ns and reason.startswith(UNBOUNDED):
                self.open.add((part.cluster, part.node, device))

    def _by_day(self, kinds: Mapping[str, Columns]) -> dict[int, dict[str, Columns]]:
        """Rows of the period by UTC day."""
        by_day: dict[int, dict[str, Columns]] = {}
        for kind in _SUMMED:
            if kind not in kinds:
                continue
            places: dict[int, list[int]] = {}
            for place, cell_ns in enumerate(kinds[kind]["cell_start_ns"]):
                if self.start_ns <= cell_ns < self.end_ns:
                    places.setdefault(_day(cell_ns), []).append(place)
            for day_ns, chosen in places.items():
                by_day.setdefault(day_ns, {})[kind] = {
                    name: [values[place] for place in chosen] for name, values in kinds[kind].items()
                }
        return by_day


def read_usage(source: Path, by: GroupBy, start_ns: int, end_ns: int) -> Usage:
    """The statement of a period [start_ns, end_ns), which begins and ends with a cell.

    Raises:
        UsageError: the source is not a ledger.
        WattlensError: no energy in the period, or a device whose energy would count twice.
        ChainError, JournalError: the ledger is damaged.
    """
    period = LedgerPeriod(start_ns, end_ns)
    for part in read_segments(source, period):
        period.add(part)
    return statement_of(period, by, f"ledger {source}")


def read_segments(source: Path, period: LedgerPeriod) -> Iterator[SegmentColumns]:
    """Segments that reach into the period, then what is not sealed."""
    if source.is_file() and not source.name.endswith(segment.SUFFIX):
        raise UsageError(
            f"{source}: expected an agent's state folder, ledger segments (*{segment.SUFFIX}) or compacted days, "
            "got another file"
        )
    if not (source / JOURNAL_NAME).exists():
        files = chain.find([source])
        if not files:
            raise no_ledger(source)
        for path in files:
            header = segment.peek(path)
            period.cover(header.from_ns, header.to_ns)
            if header.to_ns > period.start_ns and header.from_ns < period.end_ns:
                yield _columns(table.read(path))
        return
    # The journal is read first: what it calls sealed is then surely there, and what is sealed later is not read twice.
    view = read_journal(source / JOURNAL_NAME)
    for known in view.segments:
        path = source / "segments" / known.name
        if known.body is not None:
            read = table.decode(segment.expand(known.body, known.name), known.name)
            period.cover(read.header.from_ns, read.header.to_ns)
            yield _columns(read)
            continue
        header = segment.peek(path)
        period.cover(header.from_ns, header.to_ns)
        if header.to_ns > period.start_ns and header.from_ns < period.end_ns:
            yield _columns(table.read(path))
    rows: list[Row] = [*view.book.open_rows(), *view.book.facts.values()]
    kinds = table.columns_of(rows)
    for kind in _SUMMED:
        if kind in kinds:
            period.cover(min(kinds[kind]["start_ns"]), max(kinds[kind]["end_ns"]))
    latest = max((known.sequence for known in view.segments), default=0) + 1
    yield SegmentColumns(view.identity.cluster, view.identity.node, view.identity.simulated, latest, kinds)


def _columns(read: table.SegmentTable) -> SegmentColumns:
    header = read.header
    return SegmentColumns(header.cluster, header.node, header.simulated, header.sequence, read.columns)


def column_rows(kinds: Mapping[str, Columns], kind: str, *names: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a kind as tuples of these columns; none where the kind is absent."""
    return zip(*(kinds[kind][name] for name in names), strict=True) if kind in kinds else iter(())


def _day(t_ns: int) -> int:
    return t_ns - t_ns % NS_PER_DAY


@dataclass(slots=True)
class EdgeSum:
    """What is left of the edge errors of one thing over days; with the energy or the gaps that belong to it."""

    share_ppm: int
    run: EdgeRun | None = None
    energy_uj: int = 0
    gap_uj: int = 0

    def follow(self, numbers: Sequence[int]) -> None:
        """Add the run of a day: start, end and its three edge errors."""
        start_ns, end_ns, first_uj, inner_uj, last_uj = numbers
        run = EdgeRun(start_ns, end_ns, first_uj, inner_uj, last_uj, self.share_ppm)
        self.run = run if self.run is None else follow(self.run, run)

    @property
    def edge_uj(self) -> int:
        """The bound of the edge errors."""
        return 0 if self.run is None else self.run.bound_uj


@dataclass(slots=True)
class DeviceUsage:
    """A whole device over the period."""

    parts: Parts = field(default_factory=Parts)
    span: EdgeSum = field(default_factory=lambda: EdgeSum(PPM))
    gap_ns: int = 0
    metered_ns: int = 0

    @property
    def energy_uj(self) -> int:
        """All of it."""
        return sum(self.parts.values)


@dataclass(slots=True)
class _Sums:
    """Day sums over the period."""

    devices: dict[Place, DeviceUsage] = field(default_factory=dict)
    owned: dict[tuple[RowKey, str], Parts] = field(default_factory=dict)  # by row and device
    spans: dict[tuple[RowKey, str, Owner], EdgeSum] = field(default_factory=dict)
    free: dict[tuple[str, str, str], EdgeSum] = field(default_factory=dict)  # by device, state and method

    def device(self, cluster: str, node: str, name: str) -> DeviceUsage:
        """The sums of a device."""
        return self.devices.setdefault((cluster, node, name), DeviceUsage())


def statement_of(period: LedgerPeriod, by: GroupBy, source: str) -> Usage:
    """The statement of what was read.

    Raises:
        WattlensError: no energy in the period, or a device whose energy would count twice.
    """
    keys = _keys(period, by)
    sums, times = _Sums(), dict[str, list[tuple[int, int, str, str]]]()
    for (cluster, node, day_ns), of_day in sorted(period.days.items(), key=lambda each: each[0][2]):
        tables = of_day.columns()
        _add_cells(sums, tables["holder_day"], day_ns, keys)
        _add_spans(sums, tables["span_day"], day_ns, keys)
        for device, workload, start_ns, end_ns in column_rows(tables, "span_day", "device", "workload", "start_ns", "end_ns"):
            if not workload:
                times.setdefault(device, []).append((start_ns, end_ns, cluster, node))
    refuse_twice(times)
    nodes = _nodes(sums)
    used = {place: device for place, device in sums.devices.items() if is_gpu(place[2]) or is_host(place[2])}
    if not used:
        extent = (
            "the ledger is empty"
            if period.first_ns is None or period.last_ns is None
            else f"the ledger has readings from {utc_text(period.first_ns)} to {utc_text(period.last_ns)}"
        )
        raise WattlensError(f"no energy from {utc_text(period.start_ns)} to {utc_text(period.end_ns)}; {extent}")
    whole = all(node.whole for node in nodes)
    chosen = {place: device for place, device in used.items() if whole or is_gpu(place[2])}
    gains = _gains(period, chosen)
    open_places = period.open | short_hosts(chosen)
    if by in DEVICE_GROUPS:
        clusters = len({place[0] for place in chosen})
        rows = joined_rows(
            _device_row(device_row(by, *place, clusters, gpu=is_gpu(place[2])), place, device, gains, open_places)
            for place, device in chosen.items()
        )
    else:
        names = {place[2] for place in chosen}
        rows = _group_rows(sums, names, gains, {place[2] for place in open_places})
        rows = _with_tokens(rows, period, keys)
    scope = UsageScope(
        source,
        period.start_ns,
        period.end_ns,
        min((d.span.run.start_ns for d in chosen.values() if d.span.run), default=period.start_ns),
        max((d.span.run.end_ns for d in chosen.values() if d.span.run), default=period.end_ns),
        len({place[2] for place in chosen if is_gpu(place[2])}),
        len(nodes),
        sum(device.metered_ns for place, device in chosen.items() if is_gpu(place[2])),
        whole,
        "" if whole else why_gpus_only(nodes),
        period.simulated,
    )
    return Usage(by, scope, in_order(rows), _total(chosen, gains, open_places, period))


def _keys(period: LedgerPeriod, by: GroupBy) -> "_Keys":
    served: dict[Owner, set[str]] = {}
    for owner, _, phase, model in period.tokens:
        if phase == "generation":
            served.setdefault(owner, set()).add(model)
    return _Keys(period, by, {owner: sorted(models) for owner, models in served.items()})


@dataclass(slots=True)
class _Keys:
    """The row of each workload on each day."""

    period: LedgerPeriod
    by: GroupBy
    served: Mapping[Owner, Sequence[str]]
    _known: dict[tuple[Owner, int], RowKey] = field(default_factory=dict)

    def __call__(self, owner: Owner, day_ns: int) -> RowKey:
        at = (owner, self.period.end_ns if self.by in WHOLE_PERIOD else day_ns)
        row_key = self._known.get(at)
        if row_key is None:
            kind, labels = self._labels(owner, min(at[1] + NS_PER_DAY, self.period.end_ns))
            row_key = self._known[at] = row_of(self.by, owner[2], kind, labels, self.served.get(owner, ()))
        return row_key

    def _labels(self, owner: Owner, until_ns: int) -> tuple[str, dict[str, str]]:
        """The last before a time, else the first after it; of two at one time the later segment's."""
        facts = self.period.facts.get(owner, [])
        earlier = [fact for fact in facts if fact[0] < until_ns]
        if earlier:
            return max(earlier, key=lambda fact: fact[:2])[2:]
        return min(facts, key=lambda fact: (fact[0], -fact[1]))[2:] if facts else ("", {})


def _add_cells(sums: _Sums, cells: Columns, day_ns: int, keys: _Keys) -> None:
    names = ("cluster", "node", "device", "workload", "state", "method", "energy_uj")
    runs = ("start_ns", "end_ns", "edge_first_uj", "edge_inner_uj", "edge_last_uj")
    for cluster, node, device, workload, state, method, energy_uj, *run in zip(
        *(cells[name] for name in (*names, *runs)), strict=True
    ):
        sums.device(cluster, node, device).parts.add(state, energy_uj)
        if state in _MEASURED:
            key = keys((cluster, node, workload), day_ns)
            sums.owned.setdefault((key, device), Parts()).add(state, energy_uj)
        else:
            free = sums.free.setdefault((device, state, method), EdgeSum(SHARE_UNKNOWN))
            free.energy_uj += energy_uj
            free.follow(run)


def _add_spans(sums: _Sums, spans: Columns, day_ns: int, keys: _Keys) -> None:
    names = ("cluster", "node", "device", "workload", "metered_ns", "gap_bound_uj", "gap_ns")
    runs = ("start_ns", "end_ns", "edge_first_uj", "edge_inner_uj", "edge_last_uj")
    for cluster, node, device, workload, metered_ns, gap_uj, gap_ns, *run in zip(
        *(spans[name] for name in (*names, *runs)), strict=True
    ):
        if workload:
            owner = (cluster, node, workload)
            span = sums.spans.setdefault((keys(owner, day_ns), device, owner), EdgeSum(SHARE_UNKNOWN))
        else:
            whole = sums.device(cluster, node, device)
            whole.metered_ns += metered_ns
            whole.gap_ns += gap_ns
            span = whole.span
        span.gap_uj += gap_uj
        span.follow(run)


def refuse_twice(times: Mapping[str, list[tuple[int, int, str, str]]]) -> None:
    """Refuse a device that two nodes metered at once; `times` are start, end, cluster and node by device.

    Raises:
        WattlensError: its energy would count twice.
    """
    for device, spans in times.items():
        if len({span[2:] for span in spans}) < 2:
            continue
        spans.sort()
        for one, other in pairwise(spans):
            if one[1] > other[0] and one[2:] != other[2:]:
                both = f"{one[2]}/{one[3]} and {other[2]}/{other[3]}"
                raise WattlensError(
                    f"{device}: {both} both have its energy at {utc_text(other[0])}, so it would count twice; select only "
                    "one of them (are these an import and the agent's own segments of the same period?)"
                )


def _nodes(sums: _Sums) -> list[MeteredNode]:
    """For how long the GPUs and the host of each node were metered."""
    metered: dict[tuple[str, str], list[int]] = {}
    for (cluster, node, device), sums_of in sums.devices.items():
        if is_gpu(device) or is_host(device):
            numbers = metered.setdefault((cluster, node), [0, 0, 0])
            numbers[0] += is_gpu(device)
            numbers[1 if is_gpu(device) else 2] += sums_of.metered_ns
    return [MeteredNode("", cluster, node, *numbers) for (cluster, node), numbers in sorted(metered.items())]


def why_gpus_only(nodes: Sequence[MeteredNode]) -> str:
    """Why the energy of whole nodes is not known."""
    whole = sum(node.whole for node in nodes)
    return f"{whole} of {len(nodes)} nodes have a whole-node meter" if whole else "no node has a whole-node meter"


def _gains(period: LedgerPeriod, chosen: Mapping[Place, DeviceUsage]) -> dict[str, int]:
    energy: dict[str, int] = {}
    for (_, _, device), sums in chosen.items():
        energy[device] = energy.get(device, 0) + sums.energy_uj
    return gains_of(period.gain_ppm, energy)


def gains_of(gain_ppm: Mapping[str, int], energy_uj: Mapping[str, int]) -> dict[str, int]:
    """Bounds of the gain errors of GPUs and hosts in ppm; that of a host includes the GPUs that were subtracted from its meter.

    Args:
        gain_ppm: by device, as its ledger states it.
        energy_uj: energy of the devices in the sum.
    """
    gains = {device: ppm for device, ppm in gain_ppm.items() if is_gpu(device) or is_host(device)}
    hosts = {device: gains[device] for device in energy_uj if is_host(device) and device in gains}
    return gains | host_gains(hosts, {d: gains.get(d, 0) for d in energy_uj}, energy_uj) if hosts else gains


def short_hosts(chosen: Mapping[Place, DeviceUsage]) -> set[Place]:
    """Hosts that were metered for less time than a GPU of their node, and no gap shows it."""
    longest: dict[tuple[str, str], int] = {}
    for (cluster, node, device), sums in chosen.items():
        if is_gpu(device):
            longest[cluster, node] = max(sums.metered_ns, longest.get((cluster, node), 0))
    return {
        place
        for place, sums in chosen.items()
        if is_host(place[2])
        and (gpu_ns := longest.get(place[:2], 0)) - sums.metered_ns - sums.gap_ns > max(NS_PER_S, gpu_ns // 1000)
    }


def gain_error(device: str, energy_uj: int, gains: Mapping[str, int]) -> tuple[int, int]:
    """(bound of the gain error, 1 where nothing bounds it)."""
    return (systematic_uj(energy_uj, gains[device]), 0) if device in gains else (0, 1)


def _device_energy(place: Place, device: DeviceUsage, gains: Mapping[str, int], open_places: set[Place]) -> BoundedEnergy:
    gain_uj, unbounded = gain_error(place[2], device.energy_uj, gains)
    return BoundedEnergy(
        device.energy_uj, gain_uj, device.span.edge_uj, device.span.gap_uj, unbounded, int(place in open_places)
    )


def _device_row(key: RowKey, place: Place, device: DeviceUsage, gains: Mapping[str, int], open_places: set[Place]) -> UsageRow:
    energy = _device_energy(place, device, gains, open_places)
    return UsageRow(key, energy, device.parts, no_tokens=TOKENS_OF_WORKLOADS)


def _group_rows(sums: _Sums, names: set[str], gains: Mapping[str, int], open_devices: set[str]) -> list[UsageRow]:
    """Rows of groups, then of what was unallocated and unattributed."""
    sums_of: dict[RowKey, tuple[BoundedEnergy, Parts]] = {}

    def add(key: RowKey, energy: BoundedEnergy, parts: Parts | None = None) -> None:
        had, more = sums_of.get(key, (BoundedEnergy(), Parts())), parts or Parts()
        both = Parts(*(a + b for a, b in zip(had[1].values, more.values, strict=True)))
        sums_of[key] = had[0] + energy, both

    for (key, device), parts in sums.owned.items():
        if device in names:
            gain_uj, unbounded = gain_error(device, sum(parts.values), gains)
            add(key, BoundedEnergy(sum(parts.values), gain_uj, 0, 0, unbounded, int(device in open_devices)), parts)
    for (key, device, _), span in sums.spans.items():
        if device in names:
            add(key, BoundedEnergy(edge_uj=span.edge_uj, gap_uj=span.gap_uj))
    for (device, state, _), free in sums.free.items():
        if device in names:
            gain_uj, unbounded = gain_error(device, free.energy_uj, gains)
            parts = Parts()
            parts.add(state, free.energy_uj)
            key = UNALLOCATED if state == State.UNALLOCATED else UNATTRIBUTED
            add(key, BoundedEnergy(free.energy_uj, gain_uj, free.edge_uj, 0, unbounded), parts)
    return [UsageRow(key, energy, parts) for key, (energy, parts) in sums_of.items()]


def _with_tokens(rows: list[UsageRow], period: LedgerPeriod, keys: _Keys) -> list[UsageRow]:
    tokens: dict[RowKey, dict[str, int]] = {}
    for (owner, day_ns, phase, _), count in period.tokens.items():
        mine = tokens.setdefault(keys(owner, day_ns), {})
        mine[phase] = mine.get(phase, 0) + count
    known = {row.key for row in rows}
    rows = rows + [UsageRow(key, BoundedEnergy(), Parts()) for key in tokens if key not in known]
    return [replace(row, tokens=tokens.get(row.key, {})) for row in rows]


def _total(
    chosen: Mapping[Place, DeviceUsage], gains: Mapping[str, int], open_places: set[Place], period: LedgerPeriod
) -> UsageRow:
    energy, numbers, tokens = BoundedEnergy(), [0, 0, 0, 0], dict[str, int]()
    for place, device in chosen.items():
        energy += _device_energy(place, device, gains, open_places)
        numbers = [a + b for a, b in zip(numbers, device.parts.values, strict=True)]
    for (_, _, phase, _), count in period.tokens.items():
        tokens[phase] = tokens.get(phase, 0) + count
    return UsageRow(TOTAL, energy, Parts(*numbers), tokens, NO_TOKENS)
