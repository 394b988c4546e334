"""How the figures are made, in a page; docs/report-methods.md has every formula with its source."""

from reports.figures.facts import Facts
from reports.language import Say
from reports.page.section import Block, Note, Section

TEXTS = (
    "how_energy_is_counted",
    "errors_of_sensors",
    "node_energy_is_the_meter",
    "location_based_co2e_is_energy",
    "embodied_emissions_are_a_span",
    "absent_figures",
)


def build(facts: Facts, say: Say) -> tuple[Block, ...]:
    """Paragraphs."""
    return tuple(Note(say(text)) for text in TEXTS)


SPEC = Section("method", 80, build)
