"""Prices by the wall clock: over changes of the clock, in zones of half hours, on leap days and at the edges of quarters.

Instants are written as UTC by hand from the rules of each zone, never taken from what is tested.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import UJ_PER_KWH
from reports.inputs.days import midnight_ns
from reports.inputs.tariffs import HourlyPrice, Tariff, cost, price_at, quarter_span, refuse_overlap

BERLIN, KOLKATA, ANGELES = (ZoneInfo(n) for n in ("Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles"))
CELL_NS = 900 * 10**9


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def tariff(*bands: tuple[str, str], default: str = "0.10", **more: object) -> Tariff:
    prices = tuple(HourlyPrice(times=spans.split(";"), per_kwh=Decimal(amount)) for spans, amount in bands)
    fields = {"valid_from": date(2024, 1, 1), "valid_to": None, "id": "t", "currency": "EUR"} | more
    return Tariff(default_per_kwh=Decimal(default), prices=prices, source="s", **fields)


def price(only_tariff: Tariff, start_ns: int, zone: ZoneInfo) -> Decimal:
    priced = price_at([only_tariff], start_ns, zone)
    assert priced is not None
    assert priced[0] is only_tariff
    return priced[1]


WORK = tariff(("Mon-Fri 08:00-20:00", "0.30"))


@pytest.mark.parametrize(
    ("instant", "zone", "amount"),
    [
        ("2026-01-05T07:00", BERLIN, "0.30"),  # Monday 08:00 in winter
        ("2026-01-05T06:45", BERLIN, "0.10"),
        ("2026-01-05T18:45", BERLIN, "0.30"),
        ("2026-01-05T19:00", BERLIN, "0.10"),  # 20:00 is past it
        ("2026-07-06T06:00", BERLIN, "0.30"),  # Monday 08:00 in summer
        ("2026-07-06T05:45", BERLIN, "0.10"),
        ("2026-01-03T12:00", BERLIN, "0.10"),  # Saturday
        ("2026-01-05T02:30", KOLKATA, "0.30"),  # 08:00 at +5:30
        ("2026-01-05T02:15", KOLKATA, "0.10"),
        ("2026-01-09T14:15", KOLKATA, "0.30"),  # Friday 19:45
        ("2026-01-09T14:30", KOLKATA, "0.10"),
        ("2026-01-05T16:00", ANGELES, "0.30"),  # Monday 08:00 at -8
        ("2026-01-06T03:45", ANGELES, "0.30"),  # still Monday, 19:45
        ("2026-01-06T04:00", ANGELES, "0.10"),
        ("2026-01-10T03:45", ANGELES, "0.30"),  # Saturday in UTC, Friday there
    ],
)
def test_the_site_s_wall_clock_decides(instant: str, zone: ZoneInfo, amount: str) -> None:
    assert price(WORK, utc(instant), zone) == Decimal(amount)


def hours(instant: str, count: int) -> list[int]:
    return [utc(instant) + n * CELL_NS for n in range(count * 4)]


@pytest.mark.parametrize(
    ("begins", "length_h", "zone", "night_quarters"),
    [
        ("2026-03-28T23:00", 23, BERLIN, 20),  # 29 March: from 02:00 to 03:00 there is no time, so 00:00-06:00 has 5 hours
        ("2026-10-24T22:00", 25, BERLIN, 28),  # 25 October: 02:00-03:00 comes twice, so it has 7
        ("2026-06-14T22:00", 24, BERLIN, 24),
        ("2026-03-08T08:00", 23, ANGELES, 20),
        ("2026-11-01T07:00", 25, ANGELES, 28),
        ("2026-03-28T18:30", 24, KOLKATA, 24),  # no change of the clock there
    ],
)
def test_a_night_is_as_long_as_it_is_when_the_clocks_change(
    begins: str, length_h: int, zone: ZoneInfo, night_quarters: int
) -> None:
    night = tariff(("00:00-06:00", "0.05"))
    day = hours(begins, length_h)
    assert midnight_ns(datetime.fromtimestamp(day[0] // 10**9, zone).date(), zone) == day[0]
    assert [price(night, t, zone) for t in day].count(Decimal("0.05")) == night_quarters
    assert datetime.fromtimestamp((day[-1] + CELL_NS) // 10**9, zone).hour == 0


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    late = tariff(("Fri 22:00-06:00", "0.02"))
    instants = ("2026-01-09T21:00", "2026-01-10T04:45", "2026-01-10T05:00", "2026-01-09T04:00")
    assert [price(late, utc(t), BERLIN) for t in instants] == [
        Decimal("0.02"), Decimal("0.02"), Decimal("0.10"), Decimal("0.10"),
    ]  # fmt: skip


def test_the_leap_day_is_a_day_with_a_price() -> None:
    leap = tariff(valid_from=date(2028, 2, 29), valid_to=date(2028, 2, 29), default="1")
    inside = [t for t in hours("2028-02-28T00:00", 72) if price_at([leap], t, BERLIN)]
    assert (len(inside), inside[0], inside[-1] + CELL_NS) == (96, utc("2028-02-28T23:00"), utc("2028-02-29T23:00"))
    assert datetime(2028, 2, 29, tzinfo=BERLIN).weekday() == 1
    tuesday = tariff(("Tue 00:00-24:00", "3"))
    assert price(tuesday, utc("2028-02-29T12:00"), BERLIN) == 3


@pytest.mark.parametrize(
    ("zone", "edge"),
    [(BERLIN, "2026-03-31T22:00"), (KOLKATA, "2026-03-31T18:30"), (ANGELES, "2026-04-01T07:00")],
)
def test_a_quarter_ends_at_local_midnight(zone: ZoneInfo, edge: str) -> None:
    first = tariff(id="q1", valid_from=date(2026, 1, 1), valid_to=date(2026, 3, 31), default="1")
    second = tariff(id="q2", valid_from=date(2026, 4, 1), currency="USD", default="2")
    at = utc(edge)
    costs = cost({at - CELL_NS: UJ_PER_KWH, at: UJ_PER_KWH // 2}, [first, second], zone)
    assert costs.by_currency == {"EUR": 1, "USD": 1}
    assert costs.uj_by_tariff == {"q1": UJ_PER_KWH, "q2": UJ_PER_KWH // 2}


def test_time_without_a_tariff_is_unpriced() -> None:
    late = tariff(valid_from=date(2026, 1, 2))
    costs = cost({utc("2026-01-01T00:00"): 70, utc("2026-01-02T00:00"): 30}, [late], BERLIN)
    assert (costs.unpriced_uj, costs.uj_by_tariff) == (70, {"t": 30})


@given(
    st.dictionaries(
        st.integers(0, 35_040).map(lambda n: n * CELL_NS + utc("2026-01-01T00:00")), st.integers(0, 10**13), max_size=40
    )
)
def test_costs_are_exact_and_add_up(cells: dict[int, int]) -> None:
    tariffs = [tariff(("Mon-Fri 08:00-20:00", "0.3127"), default="0.1019", valid_to=date(2026, 6, 30))]
    whole = cost(cells, tariffs, BERLIN)
    assert sum(whole.uj_by_tariff.values()) + whole.unpriced_uj == sum(cells.values())
    parts = [cost({t: uj}, tariffs, BERLIN) for t, uj in cells.items()]
    assert whole.by_currency.get("EUR", 0) == sum((p.by_currency.get("EUR", Fraction(0)) for p in parts), Fraction(0))
    assert (whole.by_currency.get("EUR", Fraction(0)) * UJ_PER_KWH * 10_000).denominator == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("08:10-09:00", "expected a quarter"),
        ("08:00-24:15", "ends after 24:00"),
        ("24:00-06:00", "which is empty"),
        ("06:00-06:00", "which is empty"),
    ],
)
def test_a_span_that_no_cell_can_follow_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quarter_span(text)


def test_spans_of_days() -> None:
    assert quarter_span("Sat-Mon 00:00-24:00").days == {5, 6, 0}
    assert quarter_span("Mon,Wed,Fri 00:00-24:00").days == {0, 2, 4}
    assert quarter_span("00:00-24:00").days == set(range(7))


@pytest.mark.parametrize(
    ("tariffs", "message"),
    [
        ([tariff(id="a"), tariff(id="a", valid_from=date(2027, 1, 1))], "duplicate tariff 'a'"),
        ([tariff(id="a"), tariff(id="b", valid_from=date(2027, 1, 1))], "both valid on 2027-01-01"),
        ([tariff(id="a", valid_to=date(2027, 1, 1)), tariff(id="b", valid_from=date(2027, 1, 1))], "both valid on 2027-01-01"),
        ([tariff(id="a", valid_to=date(2023, 1, 1))], "before it begins"),
    ],
)
def test_two_prices_at_once_are_refused(tariffs: list[Tariff], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refuse_overlap(tariffs)


def test_prices_one_after_another_are_not_refused() -> None:
    refuse_overlap([tariff(id="b", valid_from=date(2027, 1, 1)), tariff(id="a", valid_to=date(2026, 12, 31))])
