"""The emission rate that an electricity supplier discloses for what it delivers. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from energy_agent.factors.basis import EmissionBoundary

SUPPLIER: Final = "supplier."
"""How IDs of supplier-specific rates begin, as statements and figures name them."""


@dataclass(frozen=True, slots=True)
class SupplierRate:
    """The rate of a supplier for one period.

    Args:
        start_ns: UTC ns; the period ends before `end_ns`.
        source: disclosure or contract that states the rate.
        objection: why it may not be used; "": it may.
    """

    supplier: str
    g_per_kwh: Decimal
    start_ns: int
    end_ns: int
    source: str
    objection: str = ""
    boundary: EmissionBoundary = EmissionBoundary.DIRECT

    @property
    def id(self) -> str:
        """Its ID, as statements and figures name it."""
        return f"{SUPPLIER}{self.supplier}.{self.start_ns}"
