"""Compacted days of a fleet in DuckDB, so that rows do not fill the memory.

A statement of usage comes from the report's own SQL (reports/sql). The rows of one job are few: they become a record.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from typing import Final

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import REQUEST
from energy_agent.core.errors import WattlensError
from energy_agent.core.quantity import Quantity, no_quantity
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.ledger.chain import Progress
from energy_agent.ledger.fleet.sites import Sites
from reports.figures.energy import BoundedEnergy, whole_energy
from reports.inputs.organisation import Organisation
from reports.inputs.records import TeamRule
from reports.ledger import gains
from reports.ledger.attribution import MODELS, WHO_COLUMNS, Name, labels_by_day, parse_labels
from reports.ledger.days import Day, find_days, overlapping, verify_files
from reports.ledger.reading import read_priced, refuse_twice
from reports.ledger.scratch import SITE, compacted
from reports.ledger.store import DayDatabase, kind_file, open_store, sql
from reports.ledger.sums import (
    NOBODY,
    DeviceClassEnergy,
    LedgerSums,
    MeteredDevice,
    MeteredNode,
    PartEnergy,
    SiteWindow,
    StateEnergy,
    TokenTotal,
)
from reports.period import utc_text
from reports.site.grid import grid
from wattlens.usage.grouping import device_row, joined_rows, row_of
from wattlens.usage.job_address import JobAddress
from wattlens.usage.record import ROWS, EnergyRecord, decode_labels
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
    unlabelled,
)
from wattlens.usage.sums import why_gpus_only

_READ: Final = ("holder_day", "span_day", "workload_cell", "tokens", "steps", "phase", "gap", "workload", "device")
_ROWS: Final = ("cell", "time", "span")
_NAMES: Final = ("cluster", "node", "workload")
_CANDIDATES: Final = """
SELECT DISTINCT p.cluster, p.node, p.workload, p.workload_kind, p.labels, p.since_ns, max(p.sequence) AS sequence
FROM all_workload AS p JOIN file AS f ON f.path = p.filename
WHERE p.workload_kind = ? AND contains(p.labels, ?) AND contains(p.labels, ?)
GROUP BY p.cluster, p.node, p.workload, p.workload_kind, p.labels, p.since_ns ORDER BY p.since_ns, sequence
"""
_JOB_SUMS: Final = (
    ("holder_day", """
SELECT day_ns, cluster, node, device, workload, state, '', sum(energy_uj), sum(gpu_ns), 0, 0, 0, 0, 0
FROM holder_piece JOIN member USING (cluster, node, workload) GROUP BY ALL ORDER BY ALL"""),
    ("span_day", """
SELECT day_ns, cluster, node, device, workload, start_ns, end_ns, edge_first_uj, edge_inner_uj, edge_last_uj, metered_ns,
       gap_bound_uj, gap_ns
FROM span_piece JOIN member USING (cluster, node, workload) ORDER BY day_ns, start_ns, end_ns, edge_first_uj, edge_inner_uj"""),
    ("span_day", """
WITH used AS (SELECT DISTINCT day_ns, cluster, node, device FROM holder_piece JOIN member USING (cluster, node, workload))
SELECT day_ns, cluster, node, device, workload, start_ns, end_ns, edge_first_uj, edge_inner_uj, edge_last_uj, metered_ns,
       gap_bound_uj, gap_ns
FROM span_piece WHERE workload = '' AND (device IN (SELECT device FROM used)
                                         OR (day_ns, cluster, node) IN (SELECT (day_ns, cluster, node) FROM used))
ORDER BY ALL"""),
    ("workload_cell", """
SELECT day_ns, cell_start_ns, cluster, node, workload, 0, 0, 0, 0, gpu_ns
FROM cell_in JOIN member USING (cluster, node, workload) ORDER BY ALL"""),
)  # fmt: skip
"""Day sums of a job's workloads, and those of whole devices that it used or that are on its nodes."""
_MEMBERS: Final = "JOIN member USING (cluster, node, workload)"
_JOB_ROWS: Final = {
    "device": "WHERE device IN (SELECT device FROM holder_piece JOIN member USING (cluster, node, workload))",
    "gap": f"WHERE starts_with(reason, '{UNBOUNDED}')",
}
"""Condition of the rows that are read of a job, by kind; by default those of its workloads."""
BY_WORKLOAD = "hourly prices and grid intensities apply per workload, not per GPU or node"


def read_days(
    ledger: str,
    by: GroupBy,
    start_ns: int,
    end_ns: int,
    organisation: Organisation | None = None,
    progress: Progress | None = None,
) -> Usage:
    """The statement of a period [start_ns, end_ns), which begins and ends with a cell.

    The ledger is a folder or fsspec URL of compacted days, or holds segments, which are compacted into a scratch folder first;
    `progress` is then called with (done, all) files. Teams, tariffs and grid factors are those of the organisation.

    Raises:
        UsageError: nothing there that is a ledger.
        ChainError: a file is not what its day's manifest says.
        WattlensError: no energy in the period, or a device whose energy would count twice.
    """
    inputs = organisation or Organisation(least_coverage=Fraction(0))
    names = sorted(inputs.sites)
    stays = inputs.stays(names[0] if len(names) == 1 else None if names else SITE)
    with _open_days(ledger, stays, (start_ns, end_ns), progress) as (store, days, chosen):
        if store is None:
            raise _nothing(days, start_ns, end_ns)
        keys = _number_rows(store, by, inputs.teams)
        store.run("used")
        store.run("classed")
        refuse_twice(store)
        gains.create(store)
        sums = _Read.of(store)
        if not sums.nodes:
            raise _nothing(days, start_ns, end_ns)
        rows = _device_rows(store, sums, by) if by in DEVICE_GROUPS else _group_rows(store, keys, sums)
        scope = _scope(store, ledger, chosen, sums, (start_ns, end_ns))
        usage = Usage(by, scope, in_order(joined_rows(rows)), _total(sums))
        return usage if organisation is None else _with_worth(usage, store, keys, sums, organisation)


def read_job_days(
    ledger: str, start_ns: int, end_ns: int, address: JobAddress, progress: Progress | None = None
) -> EnergyRecord:
    """The rows that a fleet's days have of a job within [start_ns, end_ns); only those of its workloads leave the database.

    Raises:
        UsageError: nothing there that is a ledger.
        ChainError: a file is not what its day's manifest says.
        WattlensError: no day of the period.
    """
    with _open_days(ledger, Sites({}, SITE), (start_ns, end_ns), progress) as (store, _, days):
        if store is None:
            raise WattlensError(f"{ledger}: no day of the period found")
        record = EnergyRecord(f"days {ledger}", start_ns, end_ns, simulated=any(day.simulated for day in days))
        _find_members(store, record, address)
        if record.labels:
            for kind, query in _JOB_SUMS:
                for day_ns, rows in groupby(store.rows(query), key=itemgetter(0)):
                    record.add_day(day_ns, kind, (row[1:] for row in rows))
            for kind, (columns, _) in ROWS.items():
                names, condition = ", ".join(columns), _JOB_ROWS.get(kind, _MEMBERS)
                query = f"SELECT cluster, node, {names} FROM all_{kind} {condition} ORDER BY ALL"  # noqa: S608 - constants
                record.add_rows(kind, store.rows(query))
        return record


@contextmanager
def _open_days(
    ledger: str, sites: Sites, period: tuple[int, int], progress: Progress | None
) -> Iterator[tuple[DayDatabase | None, list[Day], list[Day]]]:
    """The database of the days of a period, None without any; all days of the ledger, and those of the period."""
    with compacted(ledger, sites, progress) as system:
        days = find_days(system)
        chosen = overlapping(days, *period)
        if not chosen:
            yield None, days, chosen
            return
        verify_files(system, chosen, [kind_file(kind) for kind in _READ])
        cut = [day for day in chosen if day.start_ns < period[0] or day.end_ns > period[1]]
        verify_files(system, cut, [kind_file(kind) for kind in _ROWS])
        with open_store(system, chosen, {day.site: SiteWindow(*period) for day in chosen}) as store:
            yield store, days, chosen


def _find_members(store: DayDatabase, record: EnergyRecord, address: JobAddress) -> None:
    """Find the workloads of the job by their labels, and make the table `member`."""
    if address.scheduler == "slurm":
        terms = ("slurm", f'{address.name}"', "")
    else:
        terms = ("pod", f'"namespace":"{address.namespace}"', f'{address.name}"')
    for cluster, node, workload, kind, text, since_ns, sequence in store.rows(_CANDIDATES, terms):
        labels = decode_labels(text)
        if address.matches(workload, kind, labels):
            record.add_labels((cluster, node, workload), since_ns, sequence, kind, labels)
    store.table("member", dict.fromkeys(_NAMES, "VARCHAR"), record.labels)


def _nothing(days: Sequence[Day], start_ns: int, end_ns: int) -> WattlensError:
    extent = f"{utc_text(min(d.start_ns for d in days))} to {utc_text(max(d.end_ns for d in days))}"
    return WattlensError(f"no energy from {utc_text(start_ns)} to {utc_text(end_ns)}; the ledger has readings from {extent}")


def _number_rows(store: DayDatabase, by: GroupBy, rules: Sequence[TeamRule]) -> list[RowKey]:
    """Make the store's table `who`, where each row of the statement is a part; returns the rows by the number of their part."""
    served: dict[Name, list[str]] = {}
    for cluster, node, workload, model in store.rows(MODELS):
        served.setdefault((cluster, node, workload), []).append(model)
    keys: list[RowKey] = [unlabelled(by)]  # NOBODY
    numbers: dict[RowKey, int] = {}
    rows: list[tuple[int, Name, int, int]] = []
    latest: dict[int, RowKey] = {}  # of each workload, whose name holds for the whole period
    holder, key = 0, keys[NOBODY]
    for day_ns, name, kind, text, is_new, changed in labels_by_day(store):
        holder += is_new
        if changed:
            labels = parse_labels(text, name)
            key = row_of(by, name[2], kind, labels, served.get(name, ()), rules)
            if labels or is_new:
                latest[holder] = key
        if by not in WHOLE_PERIOD and key not in numbers:
            numbers[key] = len(keys)
            keys.append(key)
        rows.append((day_ns, name, numbers.get(key, NOBODY), holder))
    if by in WHOLE_PERIOD:
        for key in latest.values():
            if key not in numbers:
                numbers[key] = len(keys)
                keys.append(key)
        rows = [(day_ns, name, numbers[latest[holder]], holder) for day_ns, name, _, holder in rows]
    store.table("who", WHO_COLUMNS, ((day_ns, *name, part, holder, 0) for day_ns, name, part, holder in rows))
    return keys


@dataclass(frozen=True, slots=True)
class _Read:
    """What all statements need of the store."""

    nodes: tuple[MeteredNode, ...]
    wholes: tuple[DeviceClassEnergy, ...]
    states: tuple[StateEnergy, ...]
    tokens: tuple[TokenTotal, ...]
    whole_nodes: bool

    @classmethod
    def of(cls, store: DayDatabase) -> "_Read":
        nodes = store.records(MeteredNode, "nodes")
        return cls(
            nodes,
            store.records(DeviceClassEnergy, "sites"),
            store.records(StateEnergy, "states"),
            tuple(total for total in store.records(TokenTotal, "tokens") if total.phase != REQUEST),
            all(node.whole for node in nodes),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        return ("gpu", "host") if self.whole_nodes else ("gpu",)


def _scope(store: DayDatabase, ledger: str, days: Sequence[Day], sums: _Read, period: tuple[int, int]) -> UsageScope:
    seen = store.records(MeteredDevice, "seen")
    extent = [(int(first), int(last)) for _, first, last in store.answer("extent") if first is not None]
    return UsageScope(
        f"days {ledger}",
        *period,
        min((first for first, _ in extent), default=period[0]),
        max((last for _, last in extent), default=period[1]),
        len({row.device for row in seen}),
        len({(node.cluster, node.node) for node in sums.nodes}),
        sum(row.metered_ns for row in seen),
        sums.whole_nodes,
        "" if sums.whole_nodes else why_gpus_only(sums.nodes),
        any(day.simulated for day in days),
    )


def _group_rows(store: DayDatabase, keys: Sequence[RowKey], sums: _Read) -> Iterator[UsageRow]:
    """Parts of the rows of groups, then of what was unallocated and unattributed, then tokens."""
    for row in store.records(PartEnergy, "parts"):
        if row.device_class in sums.classes:
            energy = BoundedEnergy(row.held_uj, row.held_gain_uj, row.held_edge_uj, row.gap_uj, row.unbounded, row.open)
            yield UsageRow(keys[row.part], energy, Parts(row.active_uj, row.idle_uj))
    for state in sums.states:
        if state.device_class in sums.classes and state.state not in ("active", "idle"):
            parts = Parts()
            parts.add(state.state, state.energy_uj)
            key = UNALLOCATED if parts.unallocated_uj or state.state == "unheld" else UNATTRIBUTED
            yield UsageRow(key, BoundedEnergy(state.energy_uj, state.gain_uj, state.edge_uj, 0, state.unbounded), parts)
    for counted in sums.tokens:
        yield UsageRow(keys[counted.part], BoundedEnergy(), Parts(), {counted.phase: counted.tokens})


def _device_rows(store: DayDatabase, sums: _Read, by: GroupBy) -> Iterator[UsageRow]:
    clusters = len({node.cluster for node in sums.nodes})
    for _, device_class, cluster, node, device, *numbers in store.rows(sql("devices")):
        if device_class in sums.classes:
            *states, edge_uj, gap_uj, gain_uj, unbounded, is_open = map(int, numbers)
            key = device_row(by, cluster, node, device, clusters, gpu=device_class == "gpu")
            energy = BoundedEnergy(sum(states), gain_uj, edge_uj, gap_uj, unbounded, is_open)
            yield UsageRow(key, energy, Parts(*states), no_tokens=TOKENS_OF_WORKLOADS)


def _total(sums: _Read) -> UsageRow:
    parts, tokens = Parts(), dict[str, int]()
    for state in sums.states:
        if state.device_class in sums.classes:
            parts.add(state.state, state.energy_uj)
    for counted in sums.tokens:
        tokens[counted.phase] = tokens.get(counted.phase, 0) + counted.tokens
    energy = whole_energy(whole for whole in sums.wholes if whole.device_class in sums.classes)
    return UsageRow(TOTAL, energy, parts, tokens, NO_TOKENS)


@dataclass(slots=True)
class _Worth:
    """Money and grams of the energy of one row, in uJ x money (or grams) per kWh, and the energy that has neither."""

    money: Fraction = field(default_factory=Fraction)
    grams: Fraction = field(default_factory=Fraction)
    unpriced_uj: int = 0
    ungrammed_uj: int = 0


def _with_worth(
    usage: Usage,
    store: DayDatabase,
    keys: Sequence[RowKey],
    sums: _Read,
    organisation: Organisation,
) -> Usage:
    """The statement with cost and CO2e by the tariffs and grid factors of each site, cell by cell."""
    if usage.by in DEVICE_GROUPS:
        lacking = no_quantity(BY_WORKLOAD)
        rows = tuple(replace(row, cost=lacking, carbon=lacking) for row in usage.rows)
        return replace(usage, rows=rows, total=replace(usage.total, cost=lacking, carbon=lacking))
    windows = store.windows
    cells: dict[str, dict[int, tuple[int, int]]] = {site: {} for site in windows}
    for site, start_ns, gpu, host in store.answer("cells"):
        cells[site][start_ns] = int(gpu), int(host)
    grids = {
        site: grid(
            organisation.sites.get(site),
            {at: gpu + (host if sums.whole_nodes else 0) for at, (gpu, host) in of_site.items()},
            windows[site],
            of_site,
            matched=False,
        )
        for site, of_site in cells.items()
    }
    read = LedgerSums(windows, usage.scope.simulated, {}, cells=cells, nodes=sums.nodes if sums.whole_nodes else ())
    worth_by_row: dict[RowKey, _Worth] = {}
    total = _Worth()
    for priced in read_priced(store, {site: each.worth for site, each in grids.items()}, read):
        key = keys[priced.part] if priced.part != NOBODY else UNALLOCATED
        for worth in (worth_by_row.setdefault(key, _Worth()), total):
            worth.money += priced.money
            worth.grams += priced.grams
            worth.unpriced_uj += priced.unpriced_uj
            worth.ungrammed_uj += priced.ungrammed_uj
    currencies = {each.currency for each in grids.values()}
    currency = currencies.pop() if len(currencies) == 1 else ""
    bases = {str(each.location.basis) for each in grids.values() if each.location is not None}
    why = {
        "cost": "" if currency else "the sites have no tariffs, or tariffs in several currencies",
        "carbon": "" if len(bases) == 1 else "the sites have no grid factor, or factors of different kinds",
    }

    def value(row: UsageRow, worth: _Worth, share: Fraction) -> UsageRow:
        cost = _amount(why["cost"], worth.money * share, worth.unpriced_uj, "tariff")
        return replace(row, cost=cost, carbon=_amount(why["carbon"], worth.grams * share, worth.ungrammed_uj, "grid factor"))

    free_uj = sum(row.energy.energy_uj for row in usage.rows if row.key in (UNALLOCATED, UNATTRIBUTED))
    rows = tuple(
        value(row, worth_by_row.get(UNALLOCATED, _Worth()), Fraction(row.energy.energy_uj, free_uj) if free_uj else Fraction(0))
        if row.key in (UNALLOCATED, UNATTRIBUTED)
        else value(row, worth_by_row.get(row.key, _Worth()), Fraction(1))
        for row in usage.rows
    )
    basis = {"cost": f"tariffs in {currency} by time of use"} if currency else {}
    basis |= {"carbon": f"grid factors by cell, {bases.pop()}, location-based"} if len(bases) == 1 else {}
    basis |= {"boundary": "building overhead not included"}
    return replace(usage, rows=rows, total=value(usage.total, total, Fraction(1)), currency=currency, basis=basis)


def _amount(reason: str, worth: Fraction, lacking_uj: int, what: str) -> Quantity:
    if not reason and lacking_uj:
        reason = f"{float(Fraction(lacking_uj, UJ_PER_KWH)):,.3g} kWh have no {what}"
    return no_quantity(reason) if reason else Quantity(worth / UJ_PER_KWH, reason="no bounds with hourly factors")
