"""Figures for those who run the fleet: active share, avoided energy, coverage."""

from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, ReportSection, Tiles
from reports.page.sections.headline import FIRST, tiles


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """Tiles."""
    return (Tiles(tiles(facts, say)[FIRST:]),)


SPEC = ReportSection("operation", 13, build)
