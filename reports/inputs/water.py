"""Water that entered a site: bills and readings of any period, and their exact sum over a window. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from energy_agent.config.section import Day, Exact, Section
from energy_agent.site.building.spans import Span, overlap_ns
from reports.inputs.days import days_ns, overlapping, refuse_reversed, share_error, share_within


class WaterRecord(Section):
    """Water that entered the site in a period: a bill, or two readings of its meter."""

    start: Day = Field(description="first day, in the site's time zone")
    end: Day = Field(description="last day, inclusive")
    liters: Exact = Field(ge=0, le=1e12, description="water that entered the site in this period")
    accuracy_percent: Exact = Field(gt=0, le=50, description="bound of the error in percent")
    category: Literal[1, 2, 3] = Field(1, description="WUE category (ISO/IEC 30134-9): which water is counted")
    source: str = Field(min_length=1, max_length=200, description="source of the figure: a bill, a reading")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        refuse_reversed("water", self.start, self.end)
        return self


@dataclass(frozen=True, slots=True)
class WaterTotal:
    """Of a window: liters, the bound of their error, the share of the window that is known, the categories that are in it."""

    liters: Fraction
    bound: Fraction
    known_ratio: Fraction
    categories: frozenset[int]


def water_in(rows: Iterable[WaterRecord], zone: ZoneInfo, window: Span) -> WaterTotal:
    """Water of a window; a row that reaches beyond it counts by time."""
    liters = bound = Fraction(0)
    known_ns = 0
    categories: set[int] = set()
    for row in rows:
        span = days_ns(row.start, row.end, zone)
        if not (share := share_within(span, window)):
            continue
        known_ns += overlap_ns([span], window)
        liters += Fraction(row.liters) * share
        bound += Fraction(row.liters) * share_error(share, Fraction(row.accuracy_percent) / 100)
        categories.add(row.category)
    return WaterTotal(liters, bound, Fraction(known_ns, window[1] - window[0]), frozenset(categories))


def refuse_overlap(rows: Sequence[WaterRecord]) -> None:
    """Check that no day's water is there twice.

    Raises:
        ValueError: a day is; the message names it.
    """
    for before, after in overlapping(rows):
        raise ValueError(f"water of {after.start} is listed twice: {before.source!r} and {after.source!r}")
