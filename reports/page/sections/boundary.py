"""What is in this report and what is not: sites, their periods, and how far their energy is known."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.amounts import ENERGY, amounts
from reports.page.section import Block, Note, ReportSection, ReportTable

BOUNDARIES = {"gpu": "gpus", "gpu+cpu": "gpus_and_processors", "node": "nodes", "facility": "building", "mixed": "mixed"}


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """A row a site."""
    rows = []
    for name, site in facts.sites.items():
        within = facts.boundary_of(name)
        how = say("metered") if site.measured else say("estimate_stated_pue") if "pue" in site.declared else say("no_meters")
        how = say("by_invoices") if site.invoiced else how
        missing = facts.sites_without_energy.get(name)
        known = (say(BOUNDARIES[within]), how) if missing is None else ("\u2013", say.translate(missing))
        rows.append((name, site.time_zone, site.start[:16], site.end[:16], *known))
    columns = (say("site"), say("time_zone"), say("from"), say("to_not_included"), say("known_up"), say("building"))
    blocks: list[Block] = [ReportTable(say("sites_and_periods"), columns, tuple(rows))]
    models = facts.of("energy.gpu", "sku")
    if models:
        block = amounts([f.value for f in models], ENERGY)
        cells = zip(models, block.cells, strict=True)
        by_model = tuple((f.dims["sku"], wording.count(f.dims["devices"]), energy) for f, energy in cells)
        heads = (say("board"), say("devices"), say("with_unit", name=say("gpu_energy"), unit=block.unit))
        blocks.append(ReportTable(say("boards"), heads, by_model))
    blocks.append(Note(say("energy_is_booked_once")))
    return tuple(blocks)


SPEC = ReportSection("what_is_in_this_report", 15, build)
