"""What is in this report and what is not: sites, their periods, and how far their energy is known."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.language import Say
from reports.page.section import Block, Note, Section, Table

BOUNDARIES = {"gpu": "GPUs", "gpu+cpu": "GPUs and processors", "node": "nodes", "facility": "building", "mixed": "mixed"}


def build(facts: Facts, say: Say) -> tuple[Block, ...]:
    """A row a site."""
    rows = []
    for name, site in facts.sites.items():
        within = facts.figures[f"co2e.location/site/{name}"].boundary
        how = say("metered") if site.measured else say("estimate: stated PUE") if "pue" in site.declared else say("no meters")
        rows.append((name, site.time_zone, site.start[:16], site.end[:16], say(BOUNDARIES[within]), how))
    columns = (say("Site"), say("Time zone"), say("From"), say("To (not included)"), say("Known up to"), say("Building"))
    blocks: list[Block] = [Table(say("Sites and periods"), columns, tuple(rows))]
    boards = [
        (f.dims["sku"], wording.count(f.dims["devices"]), wording.energy(f.value or 0)) for f in facts.of("energy.gpu", "sku")
    ]
    if boards:
        blocks.append(Table(say("Boards"), (say("Board"), say("Devices"), say("GPU energy")), tuple(boards)))
    blocks.append(
        Note(
            say(
                "Energy is booked once: what a GPU drew belongs to one workload, to nobody, or is told as "
                "not attributed. A site is "
                "told up to the widest boundary that is known of it; what is beyond it is not in any figure."
            )
        )
    )
    return tuple(blocks)


SPEC = Section("What is in this report", 15, build, wide=True)
