"""A meter of a building: its role, its position, the meter above it and its accuracy. Pure.

Roles are those of PUE and related metrics (ISO/IEC 30134-2, -3, -6, -8). The position of a meter of IT equipment decides the
category of a PUE: 1 at the UPS output, 2 at the PDU output, 3 at the input of the equipment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from energy_agent.core.boundary import meter
from energy_agent.core.energy import Gap, Method
from energy_agent.core.meters.difference import energy_uj

METER_KIND: Final = "meter"
"""`kind` of the facts that a site's ledger holds of a meter."""
METER_GONE: Final = "meter gone"
"""`kind` of the facts that end those of a meter: it was taken out of the site's configuration."""


class Role(StrEnum):
    """What the energy behind a meter is for."""

    TOTAL = "total"  # everything that the site, or a feed of it, takes
    IT = "it"
    COOLING = "cooling"
    UPS_LOSS = "ups_loss"
    LIGHTING = "lighting"
    RENEWABLE = "renewable"  # made on the site
    REUSED_HEAT = "reused_heat"  # handed over to somebody else


class Position(StrEnum):
    """Where IT energy is metered."""

    UPS_OUTPUT = "ups_output"
    PDU_OUTPUT = "pdu_output"
    IT_INPUT = "it_input"

    @property
    def category(self) -> int:
        """Category of a PUE whose IT energy is metered here."""
        return list(Position).index(self) + 1

    @classmethod
    def of(cls, category: int) -> "Position | None":
        """Where IT energy of a category is metered; None: it is not metered."""
        return next((position for position in cls if position.category == category), None)


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """A declared meter.

    Args:
        position: of a meter of role `it`; None for others.
        parent: id of the meter that what flows through this one flowed through before; "": none.
        zone: the room or loop that it belongs to; "": none.
        accuracy_ppm: bound of its gain error.
        calibration: meters that name the same share one calibration: their errors are taken to add up.
        max_mw: the maximum that can flow through it; None: not known.
        source: the kind of source that reads it.
    """

    id: str
    role: Role
    position: Position | None = None
    parent: str = ""
    zone: str = ""
    accuracy_ppm: int = 0
    calibration: str = ""
    max_mw: int | None = None
    source: str = ""

    def device(self, site: str) -> str:
        """Its device in the ledger."""
        return meter(site, self.id)

    @property
    def labels(self) -> dict[str, str]:
        """As the ledger holds it; `facts_of` reads it back."""
        labels = {
            "role": self.role.value,
            "position": self.position.value if self.position else "",
            "parent": self.parent,
            "zone": self.zone,
            "accuracy_ppm": str(self.accuracy_ppm),
            "calibration": self.calibration,
            "max_mw": "" if self.max_mw is None else str(self.max_mw),
            "source": self.source,
        }
        return {key: value for key, value in labels.items() if value}


@dataclass(frozen=True, slots=True)
class FilledEnergy:
    """Energy of the time in which a meter was not read, with bounds; `high_uj` None: it has no upper bound."""

    uj: int
    low_uj: int
    high_uj: int | None


@dataclass(frozen=True, slots=True)
class MeterEnergy:
    """What a meter counted in a window.

    Args:
        facts: what is declared of it.
        window_ns: how much of the window the meter was declared: all of it, unless it came or went meanwhile.
        measured_ns: how much of it was metered.
        energy_uj: energy by how it was measured.
        edge_uj: bound of the edges and of what integration doubts.
        gaps: what no meter saw, as the ledger names it.
        lives: from when to when within the window it was declared, UTC ns; (): all the time.
        asked_ns: length of the window itself; 0: as `window_ns`.
        filled: energy of the time that was not metered, from other meters and readings; None: from the rest of the window.
    """

    facts: MeterFacts
    window_ns: int
    measured_ns: int
    energy_uj: Mapping[Method, int]
    edge_uj: int
    gaps: tuple[Gap, ...] = ()
    lives: tuple[tuple[int, int], ...] = ()
    asked_ns: int = 0
    filled: FilledEnergy | None = None

    @property
    def measured_uj(self) -> int:
        """Energy that was metered."""
        return sum(self.energy_uj.values())

    @property
    def missing_ns(self) -> int:
        """Time that was not metered."""
        return max(0, self.window_ns - self.measured_ns)

    @property
    def missing_low_uj(self) -> int:
        """The minimum that can have flowed in it."""
        return 0 if self.filled is None else self.filled.low_uj

    @property
    def missing_bound_uj(self) -> int | None:
        """The maximum that can have flowed in it; None where nobody said what can."""
        if self.filled is not None:
            return self.filled.high_uj
        if not self.missing_ns:
            return 0
        most_mw = self.facts.max_mw
        return None if most_mw is None else energy_uj(most_mw, self.missing_ns)

    @property
    def imputed_uj(self) -> int:
        """What is put in for the time that was not metered; by default at the mean power of the rest of the window."""
        if self.filled is not None:
            return self.filled.uj
        if not self.missing_ns or not self.measured_ns:
            return 0
        guess = self.measured_uj * self.missing_ns // self.measured_ns
        bound = self.missing_bound_uj
        return guess if bound is None else min(guess, bound)


def facts_of(meter_id: str, labels: Mapping[str, str]) -> MeterFacts:
    """A meter as the ledger held it.

    Raises:
        ValueError: these are not the labels of a meter.
    """
    position, most = labels.get("position"), labels.get("max_mw")
    return MeterFacts(
        meter_id,
        Role(labels.get("role", "")),
        Position(position) if position else None,
        labels.get("parent", ""),
        labels.get("zone", ""),
        int(labels.get("accuracy_ppm", "")),
        labels.get("calibration", ""),
        int(most) if most else None,
        labels.get("source", ""),
    )
