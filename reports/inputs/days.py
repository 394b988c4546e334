"""Days of a site's time zone as instants, and what of an amount for some days lies within a window. Pure."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from energy_agent.core.units import NS_PER_S
from energy_agent.site.building.spans import Span, overlap_ns


class DatedRecord(Protocol):
    """A record of the days from its start to its end."""

    @property
    def start(self) -> date:
        """First day."""

    @property
    def end(self) -> date:
        """Last day, inclusive."""


Dated = TypeVar("Dated", bound=DatedRecord)


@cache
def midnight_ns(day: date, zone: tzinfo) -> int:
    """The UTC ns at which a day begins in a time zone: at the first instant of it, where midnight itself is skipped."""
    return int(datetime.combine(day, time(), zone).timestamp()) * NS_PER_S


def days_ns(first: date, last: date, zone: ZoneInfo) -> Span:
    """UTC ns at which the first day begins, and at which the last is over."""
    return midnight_ns(first, zone), midnight_ns(last + timedelta(days=1), zone)


def refuse_reversed(what: str, first: date, last: date | None) -> None:
    """Check that days do not end before they begin.

    Raises:
        ValueError: they do; the message begins with `what`.
    """
    if last is not None and last < first:
        raise ValueError(f"{what} ends on {last}, before it begins on {first}")


def overlapping(rows: Iterable[Dated]) -> Iterator[tuple[Dated, Dated]]:
    """Each two records in the order of their first days of which the later one begins before the earlier one is over."""
    return ((one, other) for one, other in pairwise(sorted(rows, key=lambda row: row.start)) if other.start <= one.end)


def share_within(span: Span, window: Span) -> Fraction:
    """Share of an interval that lies within a window."""
    return Fraction(overlap_ns([span], window), span[1] - span[0])


def share_error(share: Fraction, relative: Fraction = Fraction(0)) -> Fraction:
    """Bound of the error of a share of an amount by time, as a share of the whole amount, whose relative error is `relative`.

    How the amount falls within its time is not known: what of it lies in the share can be anything from none to all, and all
    is up to 1 + `relative`.
    """
    return relative if share == 1 else max(share, 1 + relative - share)
