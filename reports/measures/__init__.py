"""What a report measures: one file a measure, found by its `SPEC`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.evidence import Evidence
    from reports.figures import Figure


def all_figures(evidence: "Evidence") -> "Iterator[Figure]":
    """The figures of every measure."""
    import reports.measures
    from energy_agent.core import plugin

    for _, measure in sorted(plugin.discover(reports.measures).items()):
        yield from measure.figures(evidence)
