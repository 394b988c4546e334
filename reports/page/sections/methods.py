"""How the figures are made, in a page; docs/report-methods.md has every formula with its source."""

from reports.figures.facts import Facts
from reports.language import Say
from reports.page.section import Block, Note, Section

TEXTS = (
    "Energy is counted by agents on the nodes in whole microjoules and kept in a ledger of cells of 15 "
    "minutes. A sum of it is exact; "
    "each quotient is rounded once, and the bounds of an interval outwards.",
    "The error of a sensor's gain is fixed for its board: it adds up over time and boards and is never "
    "divided by a count. Errors at the "
    "edges of intervals cancel within a contiguous stretch. What no sensor of a GPU or node saw is in no sum: "
    "it raises upper bounds alone, and where nothing bounds it, there is none. For time in which a meter of the building was "
    "not read, its mean power is put in, bounded by nothing and the most that can flow; how much that is, is told.",
    "Node energy is the meter of the node; that of the building is metered, or node energy times a PUE "
    "that its operator states, and is "
    "called an estimate then. Overhead is taken times PUE when the report is made and is in no ledger.",
    "Location-based CO2e is energy times the intensity of the grid, cell by cell where a series tells it, "
    "else by a factor of the year. "
    "Market-based CO2e is that of what contracts and certificates of the same zone cover that were retired, in their "
    "own periods, and for the rest "
    "of the residual mix, or of the grid's average where none is published. Scope 2 counts direct emissions; figures of the "
    "life cycle have names of their own.",
    "Embodied emissions are a span over published figures by the share of their life span that the period "
    "is (ISO/IEC 21031); they are in "
    "no Scope 2 figure. SCI is location-based and has no certificates in it.",
    "An absent figure has its reason. Nothing is filled in from an earlier value, and nothing that is absent is shown as 0.",
)


def build(facts: Facts, say: Say) -> tuple[Block, ...]:
    """Paragraphs."""
    return tuple(Note(say(text)) for text in TEXTS)


SPEC = Section("Method", 80, build, wide=True)
