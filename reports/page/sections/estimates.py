"""Energy and CO2e that software estimated where there is no meter: runs of machines, and hosts of nodes. No total has them."""

from fractions import Fraction
from typing import Final

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
_ROWS_MOST: Final = 15


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Tables of runs and of hosts, each with its total; then what the estimates are, and the inventory with them."""
    blocks = [*_runs(facts, say), *_hosts(facts, say)]
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


def _hosts(facts: Facts, say: Translator) -> list[Block]:
    sites = facts.of(_HOST, "site")
    blocks: list[Block] = []
    if _HOST in facts.figures:
        total = facts.figures[_HOST]
        known = [figure for figure in sites if figure.value is not None]
        blocks.append(_host_table(facts, say, say("sites"), [(figure.dims["site"], figure) for figure in known], total))
        teams = sorted(facts.of(_HOST, "team"), key=lambda figure: (-(figure.value or 0), figure.id))
        if teams:
            rows = [(figure.dims["team"] or say("unassigned"), figure) for figure in teams]
            rest = (say("unallocated"), facts.figures[f"{_HOST}.unattributed"])
            blocks.append(_host_table(facts, say, say("teams"), rows, total, rest))
        powers = facts.by_prefix("estimate.host.power/cpu/")
        used = "; ".join(f"{f.dims['node']}: {f.dims['basis']}" for f in powers if f.dims["nodes"] != "0")
        blocks.append(Note(say("host_estimates_explained", basis=used)))
        co2e = _co2e_of(facts, total)
        if co2e.value is None:
            blocks.append(Note(say("estimates_without_co2e", reason=say.translate(co2e.reason))))
        if undeclared := [
            f"{f.dims['site']} {f.dims['nodes_without_hardware']}" for f in known if "nodes_without_hardware" in f.dims
        ]:
            blocks.append(Note(say("nodes_without_declared_hardware", nodes=", ".join(undeclared))))
    blocks += [
        Note(say("hosts_not_estimated", site=f.dims["site"], reason=say.translate(f.reason))) for f in sites if f.value is None
    ]
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
    suffix = energy.id.removeprefix(_HOST)
    return next(facts.figures[name + suffix] for name in _HOST_CO2E if name + suffix in facts.figures)


SPEC = ReportSection("software_estimates", 68, build)
