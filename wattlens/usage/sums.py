"""A statement of usage from the tables of an open ledger, by the report's own SQL (reports/sql)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from energy_agent.core.energy import REQUEST
from energy_agent.core.errors import WattlensError
from energy_agent.core.quantity import Quantity, no_quantity
from energy_agent.core.units import UJ_PER_KWH
from reports.figures.energy import BoundedEnergy, whole_energy
from reports.inputs.organisation import Organisation
from reports.inputs.records import TeamRule
from reports.ledger import gains
from reports.ledger.attribution import MODELS, WHO_COLUMNS, Name, labels_by_day, parse_labels
from reports.ledger.gained import WholeDevice, read_devices, read_parts, read_states, whole_energy_of
from reports.ledger.reading import read_priced, refuse_twice
from reports.ledger.store import DayDatabase
from reports.ledger.sums import (
    NOBODY,
    LedgerSums,
    MeteredDevice,
    MeteredNode,
    StateEnergy,
    TokenTotal,
)
from reports.period import utc_text
from reports.site.grid import grid
from wattlens.usage.grouping import device_row, joined_rows, row_of
from wattlens.usage.opened import OpenLedger
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

BY_WORKLOAD: Final = "hourly prices and grid intensities apply per workload, not per GPU or node"


class NoEnergyError(WattlensError):
    """A source has no energy in the period; the message has the period that it covers."""


def statement_of(opened: OpenLedger, by: GroupBy, organisation: Organisation | None = None) -> Usage:
    """The statement of a ledger. Teams, tariffs and grid factors are those of the organisation.

    Raises:
        NoEnergyError: no energy in the period.
        WattlensError: a device whose energy would count twice.
    """
    store = opened.store
    keys = _number_rows(store, by, () if organisation is None else organisation.teams)
    store.run("used")
    store.run("classed")
    refuse_twice(store)
    gains.create(store)
    sums = _Read.of(store)
    if not sums.nodes:
        raise _nothing(opened)
    rows = _device_rows(sums, by) if by in DEVICE_GROUPS else _group_rows(store, keys, sums)
    usage = Usage(by, _scope(opened, sums), in_order(joined_rows(rows)), _total(sums))
    return usage if organisation is None else _with_worth(usage, store, keys, sums, organisation)


def _nothing(opened: OpenLedger) -> NoEnergyError:
    extent = "the ledger is empty"
    if opened.first_ns is not None and opened.last_ns is not None:
        extent = f"the ledger has readings from {utc_text(opened.first_ns)} to {utc_text(opened.last_ns)}"
    return NoEnergyError(f"no energy from {utc_text(opened.start_ns)} to {utc_text(opened.end_ns)}; {extent}")


def why_gpus_only(nodes: Sequence[MeteredNode]) -> str:
    """Why the energy of whole nodes is not known."""
    whole = sum(node.whole for node in nodes)
    return f"{whole} of {len(nodes)} nodes have a whole-node meter" if whole else "no node has a whole-node meter"


def _number_rows(store: DayDatabase, by: GroupBy, rules: Sequence[TeamRule]) -> list[RowKey]:
    """Make the store's table `who`, where each row of the statement is a part; returns the rows by the number of their part."""
    served: dict[Name, list[str]] = {}
    store.sum_by_day()
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
    devices: tuple[WholeDevice, ...]
    states: tuple[StateEnergy, ...]
    tokens: tuple[TokenTotal, ...]
    whole_nodes: bool

    @classmethod
    def of(cls, store: DayDatabase) -> "_Read":
        nodes = store.records(MeteredNode, "nodes")
        return cls(
            nodes,
            read_devices(store),
            read_states(store),
            tuple(total for total in store.records(TokenTotal, "tokens") if total.phase != REQUEST),
            all(node.whole for node in nodes),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        return ("gpu", "host") if self.whole_nodes else ("gpu",)


def _scope(opened: OpenLedger, sums: _Read) -> UsageScope:
    metered = opened.store.records(MeteredDevice, "seen")
    extent = [(int(first), int(last)) for _, first, last in opened.store.answer("extent") if first is not None]
    return UsageScope(
        opened.source,
        opened.start_ns,
        opened.end_ns,
        min((first for first, _ in extent), default=opened.start_ns),
        max((last for _, last in extent), default=opened.end_ns),
        len({row.device for row in metered}),
        len({(node.cluster, node.node) for node in sums.nodes}),
        sum(row.metered_ns for row in metered),
        sums.whole_nodes,
        "" if sums.whole_nodes else why_gpus_only(sums.nodes),
        opened.simulated,
    )


def _group_rows(store: DayDatabase, keys: Sequence[RowKey], sums: _Read) -> Iterator[UsageRow]:
    """Parts of the rows of groups, then of what was unallocated and unattributed, then tokens."""
    for row in read_parts(store):
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


def _device_rows(sums: _Read, by: GroupBy) -> Iterator[UsageRow]:
    clusters = len({node.cluster for node in sums.nodes})
    for each in sums.devices:
        if each.device_class in sums.classes:
            key = device_row(by, each.cluster, each.node, each.device, clusters, gpu=each.device_class == "gpu")
            parts = Parts(each.active_uj, each.idle_uj, each.unallocated_uj, each.unattributed_uj)
            yield UsageRow(key, whole_energy(whole_energy_of([each])), parts, no_tokens=TOKENS_OF_WORKLOADS)


def _total(sums: _Read) -> UsageRow:
    parts, tokens = Parts(), dict[str, int]()
    for state in sums.states:
        if state.device_class in sums.classes:
            parts.add(state.state, state.energy_uj)
    for counted in sums.tokens:
        tokens[counted.phase] = tokens.get(counted.phase, 0) + counted.tokens
    energy = whole_energy(whole_energy_of(each for each in sums.devices if each.device_class in sums.classes))
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
        absent = no_quantity(BY_WORKLOAD)
        rows = tuple(replace(row, cost=absent, carbon=absent) for row in usage.rows)
        return replace(usage, rows=rows, total=replace(usage.total, cost=absent, carbon=absent))
    windows = store.windows
    cells: dict[str, dict[int, tuple[int, int]]] = {site: {} for site in windows}
    store.run("cells")
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
