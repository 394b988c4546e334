"""What is exported: a snapshot of the agent or of the site process, and its samples."""

from collections.abc import Callable
from typing import Any, Protocol

from energy_agent.core.energy import Identity
from energy_agent.core.selection import Selection
from energy_agent.exposition.openmetrics import FamilySamples


class ExportedSnapshot(Protocol):
    """A snapshot of the agent or of the site process; immutable."""

    @property
    def t_ns(self) -> int:
        """UTC ns at which it was taken."""
        ...

    @property
    def identity(self) -> Identity:
        """The process that took it."""
        ...

    @property
    def selection(self) -> Selection:
        """The metrics to send."""
        ...


Families = Callable[[Any], FamilySamples]
"""Samples of such a snapshot by the names of their signals."""
