"""What energy costs by the time of its use: the price of a ledger cell in a site's time zone, cost as an exact fraction. Pure.

The wall clock of the site at the start of a cell decides: on the day that has 23 hours a night is short, on the one that has 25
the hour that comes twice has the same price twice. Spans begin and end on quarters of an hour, as cells do.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from energy_agent.core.week import Span, parse_span

_QUARTER_MIN: Final = 15


@dataclass(frozen=True, slots=True)
class Band:
    """A price at some times of the week."""

    spans: tuple[Span, ...]
    per_kwh: Decimal


@dataclass(frozen=True, slots=True)
class Tariff:
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


def quarter_span(text: str) -> Span:
    """A span of the week that cells can follow.

    Raises:
        ValueError: as `parse_span`, or it begins or ends on no quarter of an hour.
    """
    found = parse_span(text)
    for minute in (found.start_min, found.end_min):
        if minute % _QUARTER_MIN:
            raise ValueError(
                f"{minute // 60:02d}:{minute % 60:02d} is on no quarter of an hour, and energy is booked by quarters"
            )
    return found


def price(tariff: Tariff, start_ns: int, zone: ZoneInfo) -> Decimal:
    """The price per kWh of a cell that starts then, whether the tariff is valid or not."""
    local = datetime.fromtimestamp(start_ns // NS_PER_S, UTC).astimezone(zone)
    minute = local.hour * 60 + local.minute
    for band in tariff.bands:
        if any(span.holds(local.weekday(), minute) for span in band.spans):
            return band.per_kwh
    return tariff.default


def tariff_at(tariffs: Iterable[Tariff], start_ns: int, zone: ZoneInfo) -> Tariff | None:
    """The tariff that is valid at the start of a cell; None: there is none."""
    day = datetime.fromtimestamp(start_ns // NS_PER_S, UTC).astimezone(zone).date()
    return next((t for t in tariffs if t.valid_from <= day and (t.valid_to is None or day <= t.valid_to)), None)


def cost(cells: Mapping[int, int], tariffs: Sequence[Tariff], zone: ZoneInfo) -> Cost:
    """What the energy of cells cost.

    Args:
        cells: energy in uJ by the UTC ns at which its cell starts.
        tariffs: of which at most one is valid at a time (`refuse_overlap`).
        zone: the site's.
    """
    money: dict[str, Fraction] = {}
    used: dict[str, int] = {}
    unpriced = 0
    for start_ns, uj in cells.items():
        tariff = tariff_at(tariffs, start_ns, zone)
        if tariff is None:
            unpriced += uj
            continue
        paid = Fraction(price(tariff, start_ns, zone)) * uj / UJ_PER_KWH
        money[tariff.currency] = money.get(tariff.currency, Fraction(0)) + paid
        used[tariff.id] = used.get(tariff.id, 0) + uj
    return Cost(money, used, unpriced)


def refuse_overlap(tariffs: Sequence[Tariff]) -> None:
    """Check that at most one tariff is valid on a day.

    Raises:
        ValueError: two are, or one ends before it begins, or an id is there twice; the message names them.
    """
    ids = [t.id for t in tariffs]
    if len(set(ids)) < len(ids):
        raise ValueError(f"tariff {next(i for i in ids if ids.count(i) > 1)!r} is there twice")
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
