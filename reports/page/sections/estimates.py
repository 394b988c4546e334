"""Energy and CO2e that software estimated on machines without a meter, apart from every other figure."""

from typing import Final

from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.amounts import ENERGY, MASS, amounts
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable

_ENERGY: Final = "estimate.energy"
_CO2E: Final = "estimate.co2e.lifecycle"
_GROUPS: Final = (("team", "teams"), ("place", "places"), ("kind", "kinds_of_machine"))


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """One table per grouping, each with its total; then what the estimates are, and the inventory with them."""
    if _ENERGY not in facts.figures:
        return OmittedSection("")  # optional: its absence is not stated
    blocks: list[Block] = [_table(facts, say, dimension, say(title)) for dimension, title in _GROUPS]
    total = facts.figures[_CO2E]
    blocks.append(Note(say("estimates_explained", basis=total.dims["basis"])))
    if total.value is None:
        blocks.append(Note(say("estimates_without_co2e", reason=say.translate(total.reason))))
    inventory = facts.figures.get("energy.with_estimates")
    if inventory is not None and inventory.value is not None:
        column = amounts([inventory.value], ENERGY)
        blocks.append(Note(say("inventory_with_estimates", energy=f"{column.cells[0]} {column.unit}")))
    return tuple(blocks)


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


SPEC = ReportSection("software_estimates", 68, build)
