"""Energy and CO2e outside the inventory: of hosts with meters, and as software estimated it for hosts and runs of machines."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from energy_agent.core.boundary import CounterScope
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY, MASS, amount_texts
from reports.page.labels import label_id
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable
from reports.page.sections.energy import sum_or_none
from reports.page.tables import Head, names_by_reason, table

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
        blocks.append(Note(say("inventory_with_estimates", energy=amount_texts([inventory.value], ENERGY)[0])))
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
    names = [*(say.translate(f.dims.get(dimension) or say("unassigned")) for f in energies[:-1]), say("total")]
    rows = (
        (name, f.dims["runs"], f.value, facts.value(_CO2E + f.id.removeprefix(_ENERGY)))
        for name, f in zip(names, energies, strict=True)
    )
    heads: tuple[Head, ...] = (title, "runs", ("energy", ENERGY), ("life_cycle_co2e", MASS))
    return table(say, say("estimates_by", group=title), heads, rows)


def _nodes(facts: Facts, say: Translator) -> list[Block]:
    """Sites whose inventory ends at its GPUs: their nodes by how the hosts are known, and what meters of hosts counted."""
    sites = facts.of(_OUTSIDE, "site")
    if not sites:
        return []
    location, life_cycle = _OUTSIDE_CO2E
    scope_2 = {figure.dims["site"]: figure.value for figure in facts.of(location, "site")}
    whole_life = {figure.dims["site"]: figure.value for figure in facts.of(life_cycle, "site")}
    name, by_site = (location, scope_2) if any(scope_2.values()) or not whole_life else (life_cycle, whole_life)
    rows = [
        (f.dims["site"], [int(f.dims[f"nodes_{kind}"]) for kind in _KINDS], f.value, by_site.get(f.dims["site"])) for f in sites
    ]
    if len(rows) > 1:
        metered = [(joules, grams) for *_, joules, grams in rows if joules is not None]
        sums = map(sum_or_none, zip(*metered, strict=True)) if metered else (None, None)
        rows.append((say("total"), list(map(sum, zip(*(kinds for _, kinds, *_ in rows), strict=True))), *sums))
    amount_heads = ("metered_energy", ENERGY), (label_id(_OUTSIDE_CO2E[name]), MASS)
    cells = ((site, *map(wording.count, kinds), *amounts_of) for site, kinds, *amounts_of in rows)
    return [
        table(say, "hosts_outside_inventory", ("sites", *_KINDS.values(), *amount_heads), cells),
        Note(say("hosts_outside_inventory_explained")),
    ]


def _hosts(facts: Facts, say: Translator) -> list[Block]:
    sites = facts.of(_HOST, "site")
    blocks: list[Block] = []
    if _HOST in facts.figures:
        total = facts.figures[_HOST]
        known_sites = [figure for figure in sites if figure.value is not None]
        teams = sorted(facts.of(_HOST, "team"), key=lambda figure: (-(figure.value or 0), figure.id))
        if len(known_sites) > 1 or not teams:
            blocks.append(
                _host_table(facts, say, say("sites"), [(figure.dims["site"], figure) for figure in known_sites], total)
            )
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
    blocks += [
        Note(say("hosts_not_estimated", site=", ".join(names), reason=say.translate(why)))
        for why, names in names_by_reason((figure.dims["site"], figure) for figure in sites).items()
    ]
    return blocks


def _host_table(
    facts: Facts, say: Translator, title: str, rows: list[tuple[str, Figure]], total: Figure, *more: tuple[str, Figure]
) -> ReportTable:
    """The first rows, one row of all others, further rows, and the total."""

    def values_of(figure: Figure) -> list[Fraction | None]:
        return [figure.value, figure.low, figure.high, _co2e_of(facts, figure).value]

    lines = [(name, values_of(figure)) for name, figure in rows[:_ROWS_MOST]]
    if others := rows[_ROWS_MOST:]:
        columns = zip(*(values_of(figure) for _, figure in others), strict=True)
        lines.append((say("count_others", count=len(others)), list(map(sum_or_none, columns))))
    lines += [(name, values_of(figure)) for name, figure in (*more, (say("total"), total))]
    co2e = label_id(_HOST_CO2E[_co2e_of(facts, total).id])
    heads = (title, ("energy", ENERGY), ("at_least", ENERGY), ("at_most", ENERGY), (co2e, MASS))
    return table(say, say("host_estimates_by", group=title), heads, ((name, *values) for name, values in lines))


def _co2e_of(facts: Facts, energy: Figure) -> Figure:
    return _figure_of(facts, _HOST_CO2E, energy.id.removeprefix(_HOST))


def _figure_of(facts: Facts, names: Iterable[str], suffix: str) -> Figure:
    """The last of these figures, since that of Scope 2 is absent where that of the life cycle exists."""
    return [facts.figures[name + suffix] for name in names if name + suffix in facts.figures][-1]


SPEC = ReportSection("software_estimates", 68, build)
