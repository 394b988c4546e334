"""Energy and CO2e outside the inventory: of hosts with meters, and as software estimated it for hosts and runs of machines."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from energy_agent.core.boundary import CounterScope
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY, MASS, amounts
from reports.page.labels import label
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable
from reports.page.sections.energy import sum_or_none

_ENERGY: Final = "estimate.energy"
_CO2E: Final = "estimate.co2e.lifecycle"
_GROUPS: Final = (("team", "teams"), ("place", "places"), ("kind", "kinds_of_machine"))
_HOST: Final = "estimate.host.energy"
_HOST_CO2E: Final = {
    "estimate.host.co2e.location": "co2e.location",
    "estimate.host.co2e.lifecycle": "co2e.lifecycle.location",
}
"""Figures of hosts, and the quantities by which their columns are called."""
_OUTSIDE: Final = "energy.outside_inventory"
_OUTSIDE_CO2E: Final = {
    "co2e.location.outside_inventory": "co2e.location",
    "co2e.lifecycle.location.outside_inventory": "co2e.lifecycle.location",
}
_KINDS: Final = {
    "metered": "nodes_metered",
    "partly_estimated": "nodes_metered_and_estimated",
    "estimated": "nodes_estimated",
    "incomplete": "nodes_incomplete",
}
_ROWS_MOST: Final = 15


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Tables of runs and of hosts, each with its total; then what the estimates are, and the inventory with them."""
    blocks = [*_runs(facts, say), *_nodes(facts, say), *_hosts(facts, say)]
    inventory = facts.figures.get("energy.with_estimates")
    if inventory is not None and inventory.value is not None:
        column = amounts([inventory.value], ENERGY)
        blocks.append(Note(say("inventory_with_estimates", energy=f"{column.cells[0]} {column.unit}")))
    return tuple(blocks) or OmittedSection("")  # optional: its absence is not stated


def _runs(facts: Facts, say: Translator) -> list[Block]:
    if _ENERGY not in facts.figures:
        return []
    blocks: list[Block] = [_table(facts, say, dimension, say(title)) for dimension, title in _GROUPS]
    total = facts.figures[_CO2E]
    blocks.append(Note(say("estimates_explained", basis=total.dims["basis"])))
    if total.value is None:
        blocks.append(Note(say("estimates_without_co2e", reason=say.translate(total.reason))))
    return blocks


def _table(facts: Facts, say: Translator, dimension: str, title: str) -> ReportTable:
    energies = [*facts.of(_ENERGY, dimension), facts.figures[_ENERGY]]
    emissions = [facts.figures[_CO2E + figure.id.removeprefix(_ENERGY)] for figure in energies]
    names = [figure.dims.get(dimension) or say("unassigned") for figure in energies[:-1]]
    energy, co2e = amounts([f.value for f in energies], ENERGY), amounts([f.value for f in emissions], MASS)
    heads = (
        title,
        say("runs"),
        say("with_unit", name=say("energy"), unit=energy.unit),
        say("with_unit", name=say("life_cycle_co2e"), unit=co2e.unit),
    )
    runs = [figure.dims["runs"] for figure in energies]
    return ReportTable(
        say("estimates_by", group=title),
        heads,
        tuple(zip([*(say.translate(name) for name in names), say("total")], runs, energy.cells, co2e.cells, strict=True)),
    )


def _nodes(facts: Facts, say: Translator) -> list[Block]:
    """Sites whose inventory ends at its GPUs: their nodes by how the hosts are known, and what meters of hosts counted."""
    sites = facts.of(_OUTSIDE, "site")
    if not sites:
        return []
    location, life_cycle = _OUTSIDE_CO2E
    scope_2 = {figure.dims["site"]: figure.value for figure in facts.of(location, "site")}
    whole_life = {figure.dims["site"]: figure.value for figure in facts.of(life_cycle, "site")}
    name, by_site = (location, scope_2) if any(scope_2.values()) or not whole_life else (life_cycle, whole_life)
    energies, emissions = [figure.value for figure in sites], [by_site.get(figure.dims["site"]) for figure in sites]
    metered = [(joules, grams) for joules, grams in zip(energies, emissions, strict=True) if joules is not None]
    energy = amounts([*energies, sum_or_none(joules for joules, _ in metered) if metered else None], ENERGY)
    co2e = amounts([*emissions, sum_or_none(grams for _, grams in metered) if metered else None], MASS)
    kinds = [[int(figure.dims[f"nodes_{kind}"]) for kind in _KINDS] for figure in sites]
    counts = [*kinds, list(map(sum, zip(*kinds, strict=True)))]
    heads = (
        say("sites"),
        *(say(head) for head in _KINDS.values()),
        say("with_unit", name=say("metered_energy"), unit=energy.unit),
        label(_OUTSIDE_CO2E[name], say, co2e.unit),
    )
    names = [*(figure.dims["site"] for figure in sites), say("total")]
    columns = zip(names, counts, energy.cells, co2e.cells, strict=True)
    cells = tuple((site, *map(wording.count, of), *amounts_of) for site, of, *amounts_of in columns)
    cells = cells if len(sites) > 1 else cells[:1]
    return [ReportTable(say("hosts_outside_inventory"), heads, cells), Note(say("hosts_outside_inventory_explained"))]


def _hosts(facts: Facts, say: Translator) -> list[Block]:
    sites = facts.of(_HOST, "site")
    blocks: list[Block] = []
    if _HOST in facts.figures:
        total = facts.figures[_HOST]
        known = [figure for figure in sites if figure.value is not None]
        teams = sorted(facts.of(_HOST, "team"), key=lambda figure: (-(figure.value or 0), figure.id))
        if len(known) > 1 or not teams:
            blocks.append(_host_table(facts, say, say("sites"), [(figure.dims["site"], figure) for figure in known], total))
        if teams:
            rows = [(figure.dims["team"] or say("unassigned"), figure) for figure in teams]
            rest = (say("unallocated"), facts.figures[f"{_HOST}.unattributed"])
            blocks.append(_host_table(facts, say, say("teams"), rows, total, rest))
        powers = [f for f in facts.by_prefix("estimate.host.power/") if f.dims["nodes"] != "0"]
        used = "; ".join(dict.fromkeys(f"{f.dims['node']}: {f.dims['basis']}" for f in powers))
        blocks.append(Note(say("host_estimates_explained", basis=used)))
        nodes = {scope.replace(":", "_"): wording.count(int(total.dims[f"nodes_{scope}"])) for scope in CounterScope}
        blocks.append(Note(say("counter_scopes", **nodes)))
        co2e = _co2e_of(facts, total)
        if co2e.value is None:
            blocks.append(Note(say("estimates_without_co2e", reason=say.translate(co2e.reason))))
    by_reason: dict[str, list[str]] = {}
    for figure in sites:
        if figure.value is None:
            by_reason.setdefault(say.translate(figure.reason), []).append(figure.dims["site"])
    blocks += [Note(say("hosts_not_estimated", site=", ".join(names), reason=why)) for why, names in by_reason.items()]
    return blocks


def _host_table(
    facts: Facts, say: Translator, title: str, rows: list[tuple[str, Figure]], total: Figure, *more: tuple[str, Figure]
) -> ReportTable:
    """The first rows, one row of all others, further rows, and the total."""

    def values_of(figure: Figure) -> list[Fraction | None]:
        return [figure.value, figure.low, figure.high, _co2e_of(facts, figure).value]

    shown = [(name, values_of(figure)) for name, figure in rows[:_ROWS_MOST]]
    if others := rows[_ROWS_MOST:]:
        columns = zip(*(values_of(figure) for _, figure in others), strict=True)
        shown.append((say("count_others", count=len(others)), list(map(sum_or_none, columns))))
    shown += [(name, values_of(figure)) for name, figure in (*more, (say("total"), total))]
    energy = amounts([value for _, values in shown for value in values[:3]], ENERGY)
    co2e = amounts([values[3] for _, values in shown], MASS)
    heads = (
        title,
        say("with_unit", name=say("energy"), unit=energy.unit),
        say("with_unit", name=say("at_least"), unit=energy.unit),
        say("with_unit", name=say("at_most"), unit=energy.unit),
        label(_HOST_CO2E[_co2e_of(facts, total).id], say, co2e.unit),
    )
    cells = tuple((name, *energy.cells[3 * n : 3 * n + 3], co2e.cells[n]) for n, (name, _) in enumerate(shown))
    return ReportTable(say("host_estimates_by", group=title), heads, cells)


def _co2e_of(facts: Facts, energy: Figure) -> Figure:
    return _figure_of(facts, _HOST_CO2E, energy.id.removeprefix(_HOST))


def _figure_of(facts: Facts, names: Iterable[str], suffix: str) -> Figure:
    """The last of these figures, since that of Scope 2 is absent where that of the life cycle exists."""
    return [facts.figures[name + suffix] for name in names if name + suffix in facts.figures][-1]


SPEC = ReportSection("software_estimates", 68, build)
