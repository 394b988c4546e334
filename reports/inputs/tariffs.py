"""What energy costs by the time of its use: the price of a ledger cell in a site's time zone, cost as an exact fraction. Pure.

The wall clock of the site at the start of a cell decides: on the day that has 23 hours a night is short, on the one that has 25
the hour that comes twice has the same price twice. Spans begin and end on quarters of an hour, as cells do.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Final, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from energy_agent.config.formats import EntryName, WeeklyTimes
from energy_agent.config.section import Day, Exact, Section
from energy_agent.core.units import NS_PER_DAY, NS_PER_S, UJ_PER_KWH
from energy_agent.core.week import WeeklyHours, parse_span
from energy_agent.site.building.spans import Span
from reports.inputs.currency import Currency
from reports.inputs.days import midnight_ns, refuse_reversed, share_within
from reports.inputs.invoices import ElectricityInvoice
from reports.inputs.records import refuse_duplicates

_QUARTER_MIN: Final = 15
_CELLS_PER_H: Final = 4
_MONTH_NS: Final = Fraction(400 * 365 + 97, 4800) * NS_PER_DAY
"""Mean length of a month of the Gregorian calendar."""


@cache
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


class HourlyPrice(Section):
    """A price at some times of the week."""

    times: tuple[WeeklyTimes, ...] = Field(
        min_length=1, max_length=64, description="such as Mon-Fri 08:00-20:00, in the site's time zone, on quarters of an hour"
    )
    per_kwh: Exact = Field(ge=-1000, le=1000, description="price per kWh at these times")

    @model_validator(mode="after")
    def _check_quarters(self) -> Self:
        for text in self.times:
            quarter_span(text)
        return self

    @property
    def spans(self) -> tuple[WeeklyHours, ...]:
        """Its times of the week."""
        return tuple(map(quarter_span, self.times))


class Tariff(Section):
    """What electricity costs."""

    id: EntryName = Field(description="name of the contract, unique within the site")
    currency: Currency = Field(description="ISO 4217, such as EUR")
    default_per_kwh: Exact = Field(
        ge=-1000,
        le=1000,
        description="price per kWh at times without an entry in prices; without taxes on sales such as VAT, as all prices here",
    )
    prices: tuple[HourlyPrice, ...] = Field(
        (), max_length=64, description="prices by time of use; the first matching entry applies"
    )
    demand_per_kw: Exact | None = Field(
        None, gt=0, le=1e6, description="price per kW and month of the highest mean power over 15 minutes; empty: not charged"
    )
    valid_from: Day = Field(description="first day, in the site's time zone")
    valid_to: Day | None = Field(
        None, description="last day, inclusive; by default the tariff is valid until the next one begins"
    )
    source: str = Field(
        min_length=1, max_length=200, description="source of the prices: a contract, a web page of the supplier"
    )


@dataclass(frozen=True, slots=True)
class DemandCharge:
    """The charge for the peak demand of one calendar month, or of one invoice.

    Args:
        month: such as 2026-07, in the site's time zone.
        peak_ns: UTC ns at which the 15 minutes of the peak begin, the first of several; None: an invoice states the peak.
        peak_kw: mean power over these 15 minutes.
        months: number of months that are charged; one that the period cuts is charged by time.
        tariff: ID of the tariff that is valid at the peak.
        per_kw: its price per kW and month.
        currency: ISO 4217.
    """

    month: str
    peak_ns: int | None
    peak_kw: Fraction
    months: Fraction
    tariff: str
    per_kw: Decimal
    currency: str

    @property
    def money(self) -> Fraction:
        """Peak times price times months."""
        return self.peak_kw * Fraction(self.per_kw) * self.months


@dataclass(frozen=True, slots=True)
class Cost:
    """What energy cost.

    Args:
        by_currency: money that was paid, exactly, without demand charges.
        uj_by_tariff: energy that each tariff was used for.
        unpriced_uj: energy of times at which no tariff is valid; with `uj_by_tariff` it is all that came in.
        demand: charges for peak demand, by month; None: a tariff charges peaks, and they are not known.
    """

    by_currency: Mapping[str, Fraction]
    uj_by_tariff: Mapping[str, int]
    unpriced_uj: int
    demand: tuple[DemandCharge, ...] | None = ()


def price_at(tariffs: Iterable[Tariff], start_ns: int, zone: ZoneInfo) -> tuple[Tariff, Decimal] | None:
    """The tariff that is valid at the start of a cell, and its price per kWh then; None: no tariff is valid."""
    local = datetime.fromtimestamp(start_ns // NS_PER_S, zone)
    day, weekday, minute = local.date(), local.weekday(), local.hour * 60 + local.minute
    for tariff in tariffs:
        if tariff.valid_from <= day and (tariff.valid_to is None or day <= tariff.valid_to):
            return tariff, _price(tariff, weekday, minute)
    return None


def _price(tariff: Tariff, weekday: int, minute: int) -> Decimal:
    for band in tariff.prices:
        if any(span.holds(weekday, minute) for span in band.spans):
            return band.per_kwh
    return tariff.default_per_kwh


def cost(cells: Mapping[int, int], tariffs: Sequence[Tariff], zone: ZoneInfo) -> Cost:
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


def _demand_price(tariffs: Iterable[Tariff], at_ns: int, zone: ZoneInfo) -> tuple[str, Decimal, str] | None:
    """(ID, price per kW and month, currency) of the tariff that is valid at an instant; None: it charges no peaks."""
    valid = price_at(tariffs, at_ns, zone)
    if valid is None or not valid[0].demand_per_kw:
        return None
    return valid[0].id, valid[0].demand_per_kw, valid[0].currency


def demand_charges(
    cells: Mapping[int, int], tariffs: Sequence[Tariff], zone: ZoneInfo, window: Span
) -> tuple[DemandCharge, ...]:
    """Return the charge for each calendar month's highest cell, where the tariff that is valid then has a demand price.

    Args:
        cells: energy in uJ by the UTC ns at which its cell of 15 minutes starts.
        tariffs: of which at most one is valid at a time.
        zone: the site's.
        window: the period, UTC ns.
    """
    if not any(tariff.demand_per_kw for tariff in tariffs):
        return ()
    peaks: dict[date, tuple[int, int]] = {}
    for cell_ns, uj in sorted(cells.items()):
        month = datetime.fromtimestamp(cell_ns // NS_PER_S, zone).date().replace(day=1)
        if month not in peaks or uj > peaks[month][1]:
            peaks[month] = cell_ns, uj
    charges = []
    for month, (cell_ns, uj) in peaks.items():
        price = _demand_price(tariffs, cell_ns, zone)
        if price is None:
            continue
        following = (month + timedelta(days=31)).replace(day=1)
        share = share_within((midnight_ns(month, zone), midnight_ns(following, zone)), window)
        peak_kw = Fraction(uj * _CELLS_PER_H, UJ_PER_KWH)
        charges.append(DemandCharge(f"{month:%Y-%m}", cell_ns, peak_kw, share, *price))
    return tuple(charges)


def invoiced_demand(
    invoices: Iterable[ElectricityInvoice], tariffs: Sequence[Tariff], zone: ZoneInfo, window: Span
) -> tuple[DemandCharge, ...] | None:
    """Return the charge for the peak that each invoice of a period states; None if a tariff charges one that is not stated.

    An invoice is of the nearest whole number of months, at least one: that of a quarter has three monthly prices.
    """
    charges = []
    for invoice in invoices:
        if not (share := share_within(invoice.span, window)):
            continue
        price = _demand_price(tariffs, invoice.start_ns, zone)
        if price is None:
            continue
        if invoice.peak_kw is None:
            return None
        months = max(1, round(Fraction(invoice.end_ns - invoice.start_ns, _MONTH_NS))) * share
        month = f"{datetime.fromtimestamp(invoice.start_ns // NS_PER_S, zone):%Y-%m}"
        charges.append(DemandCharge(month, None, Fraction(invoice.peak_kw), months, *price))
    return tuple(charges)


def refuse_overlap(tariffs: Sequence[Tariff]) -> None:
    """Check that at most one tariff is valid on a day.

    Raises:
        ValueError: two are, or one ends before it begins, or an id is there twice; the message names them.
    """
    refuse_duplicates("tariff", (t.id for t in tariffs))
    for tariff in tariffs:
        refuse_reversed(f"tariff {tariff.id!r}", tariff.valid_from, tariff.valid_to)
    for before, after in pairwise(sorted(tariffs, key=lambda t: t.valid_from)):
        if before.valid_to is None or before.valid_to >= after.valid_from:
            raise ValueError(
                f"tariffs {before.id!r} and {after.id!r} are both valid on {after.valid_from}; end {before.id!r} the day before"
            )


def ended(priced: Sequence[Tariff]) -> list[Tariff]:
    """The tariffs by the day they begin, each without an end ended by the next."""
    ordered = sorted(priced, key=lambda t: t.valid_from)
    lots = []
    for index, each in enumerate(ordered):
        following = ordered[index + 1].valid_from if index + 1 < len(ordered) else None
        if each.valid_to is None and following is not None and following > each.valid_from:
            lots.append(each.model_copy(update={"valid_to": following - timedelta(days=1)}))
        else:
            lots.append(each)
    return lots
