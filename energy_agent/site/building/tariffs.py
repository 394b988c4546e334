"""What energy costs by the time of its use: the price of a ledger cell in a site's time zone, cost as an exact fraction. Pure.

The wall clock of the site at the start of a cell decides: on the day that has 23 hours a night is short, on the one that has 25
the hour that comes twice has the same price twice. Spans begin and end on quarters of an hour, as cells do.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from energy_agent.core.week import WeeklyHours, parse_span

_QUARTER_MIN: Final = 15


@dataclass(frozen=True, slots=True)
class Band:
    """A price at some times of the week."""

    spans: tuple[WeeklyHours, ...]
    per_kwh: Decimal


@dataclass(frozen=True, slots=True)
class TariffPrices:
    """Prices while it is valid.

    Args:
        currency: ISO 4217.
        bands: the first that has a span at the time is taken.
        default: the price at any other time.
        valid_from: first day, in the site's time zone.
        valid_to: last day; None: until another begins.
        source: where the prices stand.
    """

    id: str
    currency: str
    default: Decimal
    bands: tuple[Band, ...]
    valid_from: date
    valid_to: date | None
    source: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What energy cost.

    Args:
        by_currency: money that was paid, exactly.
        uj_by_tariff: energy that each tariff was used for.
        unpriced_uj: energy of times at which no tariff is valid; with `uj_by_tariff` it is all that came in.
    """

    by_currency: Mapping[str, Fraction]
    uj_by_tariff: Mapping[str, int]
    unpriced_uj: int


def quarter_span(text: str) -> WeeklyHours:
    """A span of the week that cells can follow.

    Raises:
        ValueError: as `parse_span`, or it begins or ends on no quarter of an hour.
    """
    span = parse_span(text)
    for minute in (span.start_min, span.end_min):
        if minute % _QUARTER_MIN:
            raise ValueError(
                f"{minute // 60:02d}:{minute % 60:02d}: expected a quarter of an hour, because energy is recorded by quarters"
            )
    return span


def price_at(tariffs: Iterable[TariffPrices], start_ns: int, zone: ZoneInfo) -> tuple[TariffPrices, Decimal] | None:
    """The tariff that is valid at the start of a cell, and its price per kWh then; None: no tariff is valid."""
    local = datetime.fromtimestamp(start_ns // NS_PER_S, zone)
    day, weekday, minute = local.date(), local.weekday(), local.hour * 60 + local.minute
    for tariff in tariffs:
        if tariff.valid_from <= day and (tariff.valid_to is None or day <= tariff.valid_to):
            return tariff, _price(tariff, weekday, minute)
    return None


def _price(tariff: TariffPrices, weekday: int, minute: int) -> Decimal:
    for band in tariff.bands:
        if any(span.holds(weekday, minute) for span in band.spans):
            return band.per_kwh
    return tariff.default


def cost(cells: Mapping[int, int], tariffs: Sequence[TariffPrices], zone: ZoneInfo) -> Cost:
    """What the energy of cells cost.

    Args:
        cells: energy in uJ by the UTC ns at which its cell starts.
        tariffs: of which at most one is valid at a time (`refuse_overlap`).
        zone: the site's.
    """
    uj_by_price: dict[tuple[str, Decimal], int] = {}
    used: dict[str, int] = {}
    unpriced = 0
    for start_ns, uj in cells.items():
        price = price_at(tariffs, start_ns, zone)
        if price is None:
            unpriced += uj
            continue
        tariff, per_kwh = price
        uj_by_price[tariff.currency, per_kwh] = uj_by_price.get((tariff.currency, per_kwh), 0) + uj
        used[tariff.id] = used.get(tariff.id, 0) + uj
    money: dict[str, Fraction] = {}
    for (currency, per_kwh), uj in uj_by_price.items():
        money[currency] = money.get(currency, Fraction(0)) + Fraction(per_kwh) * uj / UJ_PER_KWH
    return Cost(money, used, unpriced)


def refuse_overlap(tariffs: Sequence[TariffPrices]) -> None:
    """Check that at most one tariff is valid on a day.

    Raises:
        ValueError: two are, or one ends before it begins, or an id is there twice; the message names them.
    """
    ids = [t.id for t in tariffs]
    if len(set(ids)) < len(ids):
        raise ValueError(f"duplicate tariff {next(i for i in ids if ids.count(i) > 1)!r}")
    for tariff in tariffs:
        if tariff.valid_to is not None and tariff.valid_to < tariff.valid_from:
            raise ValueError(f"tariff {tariff.id!r} ends on {tariff.valid_to}, before it begins on {tariff.valid_from}")
    for before, after in pairwise(sorted(tariffs, key=lambda t: t.valid_from)):
        if before.valid_to is None or before.valid_to >= after.valid_from:
            raise ValueError(
                f"tariffs {before.id!r} and {after.id!r} are both valid on {after.valid_from}; end {before.id!r} the day before"
            )


def midnight_ns(day: date, zone: ZoneInfo) -> int:
    """The UTC ns at which a day begins in a time zone: at the first instant of it, where midnight itself is skipped."""
    return int(datetime.combine(day, time(), zone).timestamp()) * NS_PER_S
