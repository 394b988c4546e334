"""Configuration of a supplier-specific rate: emissions per kWh of what the site's electricity supplier delivers."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from energy_agent.config.formats import EntryName
from energy_agent.config.section import Day, Exact, Section
from energy_agent.factors.basis import EmissionBoundary
from reports.inputs.days import days_ns, overlapping, refuse_reversed
from reports.inputs.market import MarketBoundary

SUPPLIER: Final = "supplier."
"""How IDs of supplier-specific rates begin, as statements and figures name them."""
CRITERIA: Final = {
    "of_delivered": "the rate is of the electricity delivered to customers",
    "certificates_retired": "certificates of its renewable share are retired for the customers",
    "sold_at_residual_mix": "electricity whose certificates were sold counts at the residual mix",
}
"""Quality criteria of a supplier-specific rate (Scope 2 Guidance 2015, chapter 7): key -> requirement."""


def _as_text(stated: object) -> object:
    """YAML reads yes and no without quotes as true and false."""
    return {True: "yes", False: "no"}[stated] if isinstance(stated, bool) else stated


_Stated = Annotated[Literal["yes", "no"] | None, BeforeValidator(_as_text)]


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


class SupplierRateConfig(Section):
    """The rate of the site's electricity supplier for energy that no contract covers."""

    supplier: str = Field(min_length=1, max_length=100, description="electricity supplier of the site")
    zone: EntryName = Field(description="bidding zone or grid of the delivery, named as in grid.zone")
    start: Day = Field(description="first day of delivery, in the site's time zone")
    end: Day = Field(description="last day of delivery, inclusive")
    g_per_kwh: Exact = Field(ge=0, le=10_000, description="grams of CO2e per kWh that the supplier discloses")
    g_boundary: Literal["direct", "life-cycle"] = Field(
        "direct", description="emissions that the rate includes; it is not used if grid.boundary differs"
    )
    source: str = Field(
        min_length=1, max_length=400, description="disclosure that states the rate: a label, a web page, a bill, with its date"
    )
    of_delivered: _Stated = Field(
        None,
        description="whether the rate is of the electricity delivered to customers, not of the supplier's own plants; the rate "
        "is not used without yes",
    )
    certificates_retired: _Stated = Field(
        None,
        description="whether the supplier retires the certificates of the renewable share for its customers; the rate is not "
        "used without yes",
    )
    sold_at_residual_mix: _Stated = Field(
        None,
        description="whether electricity whose certificates were sold has the residual mix in the rate; the rate is not used "
        "without yes",
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        refuse_reversed(f"rate of supplier {self.supplier!r}", self.start, self.end)
        return self

    def objection(self, zone: str, boundary: EmissionBoundary) -> str:
        """Why it may not be used at a site; "": it may. Every criterion must be stated as met.

        Args:
            zone: the site's.
            boundary: of the total that it enters.
        """
        if not MarketBoundary.GUIDANCE_2015.accepts(zone, self.zone):
            return MarketBoundary.GUIDANCE_2015.objection
        if self.g_boundary != boundary:
            return f"its rate is {self.g_boundary}, but the total is {boundary}"
        unmet = [f"{key} {getattr(self, key) or 'not stated'}" for key in CRITERIA if getattr(self, key) != "yes"]
        return f"it does not meet the quality criteria: {', '.join(unmet)}" if unmet else ""

    def rate(self, time_zone: ZoneInfo, zone: str, boundary: EmissionBoundary) -> SupplierRate:
        """The rate as totals use it; arguments as of `objection`, and the site's time zone."""
        span = days_ns(self.start, self.end, time_zone)
        return SupplierRate(self.supplier, self.g_per_kwh, *span, self.source, self.objection(zone, boundary), boundary)


def refuse_overlap(rates: Sequence[SupplierRateConfig]) -> None:
    """Check that a day has one rate.

    Raises:
        ValueError: two rates are valid on one day; the message names both.
    """
    for before, after in overlapping(rates):
        raise ValueError(f"two supplier rates on {after.start}: {before.supplier!r} and {after.supplier!r}")
