"""What is in this report and what is not: sites, their periods, and how far their energy is known."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, Note, ReportSection, ReportTable

BOUNDARIES = {"gpu": "gpus", "gpu+cpu": "gpus_and_processors", "node": "nodes", "facility": "building", "mixed": "mixed"}


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """A row a site."""
    rows = []
    for name, site in facts.sites.items():
        within = facts.figures[f"co2e.location/site/{name}"].boundary
        how = say("metered") if site.measured else say("estimate_stated_pue") if "pue" in site.declared else say("no_meters")
        rows.append((name, site.time_zone, site.start[:16], site.end[:16], say(BOUNDARIES[within]), how))
    columns = (say("site"), say("time_zone"), say("from"), say("to_not_included"), say("known_up"), say("building"))
    blocks: list[Block] = [ReportTable(say("sites_and_periods"), columns, tuple(rows))]
    rows_by_sku = [
        (f.dims["sku"], wording.count(f.dims["devices"]), wording.energy(f.value or 0)) for f in facts.of("energy.gpu", "sku")
    ]
    if rows_by_sku:
        blocks.append(ReportTable(say("boards"), (say("board"), say("devices"), say("gpu_energy")), tuple(rows_by_sku)))
    blocks.append(Note(say("energy_is_booked_once")))
    return tuple(blocks)


SPEC = ReportSection("what_is_in_this_report", 15, build)
