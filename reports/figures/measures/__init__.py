"""What a report measures: one file a measure, found by its `SPEC`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.figures.evidence import PeriodEvidence
    from reports.figures.figure import Figure


def all_figures(evidence: "PeriodEvidence") -> "Iterator[Figure]":
    """The figures of every measure."""
    import reports.figures.measures
    from energy_agent.core import plugin
    from reports.figures.measures._measure import of_known_sources

    for _, measure in sorted(plugin.discover(reports.figures.measures).items()):
        yield from of_known_sources(evidence, measure.figures(evidence))
