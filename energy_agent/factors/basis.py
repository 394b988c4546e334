"""What a carbon intensity counts: which emissions, which gases, and by which rule of accounting. Pure.

Two intensities are added up in one total only where all three are the same (`Basis`).
"""

from dataclasses import dataclass
from enum import StrEnum

from energy_agent.factors.record import Factor


class EmissionBoundary(StrEnum):
    """Which emissions of a kilowatt-hour are counted."""

    DIRECT = "direct"  # of generation alone, as Scope 2 requires
    LIFE_CYCLE = "life-cycle"  # also of building the plant, supplying its fuel and its end
    UPSTREAM = "upstream"  # of supplying the fuel alone (Scope 3, category 3, activity B)
    LOSSES = "losses"  # of the electricity lost in transmission and distribution (activity C)
    BIOGENIC = "biogenic"  # CO2 from biomass at generation, which is reported outside the scopes


class Accounting(StrEnum):
    """Whose electricity it is taken to be."""

    LOCATION = "location"  # the mix of the grid
    RESIDUAL = "residual-mix"  # what is left of it when others have claimed theirs
    CONTRACT = "contract"  # what was bought, by contract or certificate


class Gases(StrEnum):
    """Which gases are in a gram."""

    CO2 = "CO2"
    CO2E = "CO2e"


_OF_FACTOR = {"location-based": Accounting.LOCATION, "market-based": Accounting.RESIDUAL}
_IN_FACTOR = {accounting: text for text, accounting in _OF_FACTOR.items()}


@dataclass(frozen=True, slots=True)
class Basis:
    """Properties that must be the same for everything in one total."""

    boundary: EmissionBoundary
    accounting: Accounting = Accounting.LOCATION
    gases: Gases = Gases.CO2E

    @property
    def name(self) -> str:
        """Name of the folder for this basis."""
        return f"{self.boundary}.{self.accounting}.{self.gases}"

    def __str__(self) -> str:
        return f"{self.boundary}, {self.accounting}, {self.gases}"


def basis_of(factor: Factor) -> Basis:
    """The basis of a factor.

    Raises:
        ValueError: the factor has an unknown basis.
    """
    return Basis(EmissionBoundary(factor.boundary), _OF_FACTOR[factor.accounting], Gases(factor.gases))


def accounting_text(accounting: Accounting) -> str:
    """The value of `Factor.accounting` for this accounting.

    Raises:
        KeyError: contracts, which have no grid factors.
    """
    return _IN_FACTOR[accounting]
