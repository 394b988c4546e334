"""What is in this report and what is not: sites, their periods, and how far their energy is known."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.amounts import ENERGY
from reports.page.section import Block, Note, ReportSection
from reports.page.tables import table

BOUNDARIES = {"gpu": "gpus", "gpu+cpu": "gpus_and_processors", "node": "nodes", "facility": "building", "mixed": "mixed"}


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """A row a site."""
    rows = []
    for name, site in facts.sites.items():
        within = facts.boundary_of(name)
        how = say("metered") if site.measured else say("estimate_stated_pue") if "pue" in site.declared else say("no_meters")
        how = say("by_invoices") if site.invoiced else how
        missing = facts.sites_without_energy.get(name)
        scope_cells = (say(BOUNDARIES[within]), how) if missing is None else (None, say.translate(missing))
        rows.append((name, site.time_zone, site.start[:16], site.end[:16], *scope_cells))
    heads = ("site", "time_zone", "from", "to_not_included", "known_up", "building")
    blocks: list[Block] = [table(say, "sites_and_periods", heads, rows)]
    if models := facts.of("energy.gpu", "sku"):
        cells = ((f.dims["sku"], wording.count(f.dims["devices"]), f.value) for f in models)
        blocks.append(table(say, "boards", ("board", "devices", ("gpu_energy", ENERGY)), cells))
    blocks.append(Note(say("energy_is_booked_once")))
    return tuple(blocks)


SPEC = ReportSection("what_is_in_this_report", 15, build)
