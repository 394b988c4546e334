"""Sums of energy with their error bounds: sensor gain, interval edges and unmeasured time. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import Quantity, Unit, no_quantity
from reports.ledger.sums import DeviceClassEnergy, PartEnergy

UNSEEN: Final = "no sensor of its devices measured it"


@dataclass(frozen=True, slots=True)
class BoundedEnergy:
    """A sum of energy with its error bounds. `high` includes the gap bound.

    Args:
        unbounded: devices whose sensor's error nobody states: there are no bounds.
        open: devices that may have drawn what nothing bounds while no sensor saw them: there is no upper bound.
    """

    energy_uj: int = 0
    gain_uj: int = 0
    edge_uj: int = 0
    gap_uj: int = 0
    unbounded: int = 0
    open: int = 0

    def __add__(self, other: "BoundedEnergy") -> "BoundedEnergy":
        return BoundedEnergy(
            self.energy_uj + other.energy_uj, self.gain_uj + other.gain_uj, self.edge_uj + other.edge_uj,
            self.gap_uj + other.gap_uj, self.unbounded + other.unbounded, self.open + other.open,
        )  # fmt: skip

    @property
    def unseen(self) -> bool:
        """No sensor saw any of it: there are bounds at most, and no energy."""
        return not self.energy_uj and bool(self.gap_uj or self.open)

    @property
    def quantity(self) -> Quantity:
        """In uJ, with its bounds."""
        if self.unseen:
            return no_quantity(UNSEEN)
        return Quantity(Fraction(self.energy_uj), _fraction(self.low_uj), _fraction(self.high_uj), unit=Unit.UJ)

    @property
    def low_uj(self) -> int | None:
        """Lower bound of the energy; None if it is unknown."""
        return None if self.unbounded else max(0, self.energy_uj - self.gain_uj - self.edge_uj)

    @property
    def high_uj(self) -> int | None:
        """Upper bound of the energy; None if it is unknown."""
        return None if self.unbounded or self.open else self.energy_uj + self.gain_uj + self.edge_uj + self.gap_uj


def _fraction(uj: int | None) -> Fraction | None:
    return None if uj is None else Fraction(uj)


def total(parts: Iterable[BoundedEnergy]) -> BoundedEnergy:
    """The sum; errors add up linearly."""
    energy = BoundedEnergy()
    for part in parts:
        energy += part
    return energy


def by_site(rows: Iterable[PartEnergy]) -> dict[str, list[PartEnergy]]:
    """Rows of each site, the sites in order."""
    sites: dict[str, list[PartEnergy]] = {}
    for row in sorted(rows, key=lambda row: row.site):
        sites.setdefault(row.site, []).append(row)
    return sites


def held_energy(rows: Iterable[PartEnergy]) -> BoundedEnergy:
    """What workloads held, active and idle together."""
    return total(BoundedEnergy(r.held_uj, r.held_gain_uj, r.held_edge_uj, r.gap_uj, r.unbounded, r.open) for r in rows)


def active_energy(rows: Iterable[PartEnergy]) -> BoundedEnergy:
    """What they held while kernels ran."""
    return total(BoundedEnergy(r.active_uj, r.active_gain_uj, r.active_edge_uj, r.gap_uj, r.unbounded, r.open) for r in rows)


def idle_energy(rows: Iterable[PartEnergy]) -> BoundedEnergy:
    """What they held while none ran."""
    return total(BoundedEnergy(r.idle_uj, r.idle_gain_uj, r.idle_edge_uj, r.gap_uj, r.unbounded, r.open) for r in rows)


def whole_energy(rows: Iterable[DeviceClassEnergy]) -> BoundedEnergy:
    """Whole devices."""
    return total(BoundedEnergy(r.energy_uj, r.gain_uj, r.edge_uj, r.gap_uj, r.unbounded, r.open) for r in rows)
