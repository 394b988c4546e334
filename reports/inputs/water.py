"""Configuration of a site's water: metered volumes by period, for WUE."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from energy_agent.config.section import Day, Section
from energy_agent.site.building.water import WaterUse
from reports.inputs.days import midnight_ns


class WaterRecord(Section):
    """Water that entered the site in a period: a bill, or two readings of its meter."""

    start: Day = Field(description="first day, in the site's time zone")
    end: Day = Field(description="last day, inclusive")
    liters: float = Field(ge=0, le=1e12, description="water that entered the site in this period")
    accuracy_percent: float = Field(gt=0, le=50, description="bound of the error in percent")
    category: Literal[1, 2, 3] = Field(1, description="WUE category (ISO/IEC 30134-9): which water is counted")
    source: str = Field(min_length=1, max_length=200, description="source of the figure: a bill, a reading")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"water ends on {self.end}, before it begins on {self.start}")
        return self

    def span_ns(self, zone: ZoneInfo) -> tuple[int, int]:
        """From local midnight to local midnight, UTC ns."""
        return midnight_ns(self.start, zone), midnight_ns(self.end + timedelta(days=1), zone)

    def use(self, zone: ZoneInfo) -> WaterUse:
        """As WUE is made of it."""
        liters, percent = (Fraction(Decimal(repr(value))) for value in (self.liters, self.accuracy_percent))
        return WaterUse(*self.span_ns(zone), liters, percent / 100, self.category, self.source)


def refuse_overlap(rows: Sequence[WaterRecord]) -> None:
    """Check that no day's water is there twice.

    Raises:
        ValueError: a day is; the message names it.
    """
    ordered = sorted(rows, key=lambda row: row.start)
    for before, after in pairwise(ordered):
        if after.start <= before.end:
            raise ValueError(f"water of {after.start} is listed twice: {before.source!r} and {after.source!r}")
