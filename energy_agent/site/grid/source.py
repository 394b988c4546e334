"""Common parts of grid intensity sources: the type of a SPEC, its input and its output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field

from energy_agent.config.formats import EntryName
from energy_agent.config.section import Section
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.ports import Clock
from energy_agent.factors.basis import EmissionBoundary
from energy_agent.factors.series import About, IntensityPoint


class GridError(WattlensError):
    """A source gave no plausible data; the message is the reason, and the next call may succeed."""


class GridConfig(Section):
    """Settings of every source."""

    zone: EntryName | None = Field(None, description="zone, as this source names it; default: grid.zone")
    boundary: Literal["direct", "life-cycle"] | None = Field(
        None, description="emissions to request; default: grid.boundary, and no other value is allowed"
    )
    period_s: float = Field(3600.0, ge=60, le=86_400, description="seconds between readings")


class OpenGrid(Protocol):
    """A source that was opened. Used by one thread."""

    about: About

    def read(self) -> tuple[IntensityPoint, ...]:
        """The intensities it has now, which may be the same as before. May wait as long as its timeout.

        Raises:
            GridError: no plausible data; the next call may succeed.
            UsageError: its configuration or file is wrong; the next call may succeed when it was put right.
        """
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class GridSource:
    """One kind of source: the key `name of its file` of an entry of `grid.sources` holds its `config`.

    `open` gets that section and the clock; it raises what `OpenGrid.read` raises.
    """

    summary: str
    config: type[GridConfig]
    open: Callable[[Any, Clock], OpenGrid]


def required_zone(config: GridConfig, key: str) -> tuple[str, EmissionBoundary]:
    """The zone and the boundary of a source.

    Raises:
        UsageError: neither the source nor the grid names them.
    """
    if config.zone is None or config.boundary is None:
        raise UsageError(f"grid.sources {key}: set its zone and boundary, or those of the grid")
    return config.zone, EmissionBoundary(config.boundary)
