"""How the figures are made, in a page; docs/report-methods.md has every formula with its source."""

from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, Note, ReportSection

TEXTS = (
    "how_energy_is_counted",
    "errors_of_sensors",
    "node_energy_is_the_meter",
    "location_based_co2e_is_energy",
    "embodied_emissions_are_a_span",
    "absent_figures",
)


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """Paragraphs."""
    return tuple(Note(say(text)) for text in TEXTS)


SPEC = ReportSection("method", 80, build, annex=True)
