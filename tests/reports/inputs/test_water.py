"""Water of a window, by hand: bills count by time, and how a bill falls within its own time is not known."""

from datetime import date
from fractions import Fraction
from zoneinfo import ZoneInfo

from reports.inputs.water import WaterRecord, water_in

DAY, UTC = 86_400 * 10**9, ZoneInfo("UTC")


def bill(first: int, last: int, liters: int, percent: int = 2, category: int = 1) -> WaterRecord:
    start, end = (date.fromordinal(date(1970, 1, 1).toordinal() + day) for day in (first, last))
    return WaterRecord.model_construct(start=start, end=end, liters=liters, accuracy_percent=percent, category=category)


def test_whole_bills_add_up_with_their_own_errors() -> None:
    """1,000 l at 2 % and 500 at 4 %: 1,500, off by at most 20 + 20."""
    water = water_in([bill(0, 9, 1000), bill(10, 14, 500, 4)], UTC, (0, 15 * DAY))
    assert (water.liters, water.bound, water.known_ratio, water.categories) == (1500, 40, 1, {1})


def test_a_part_of_a_bill_can_be_anything_from_none_to_all() -> None:
    """3 of 10 days of 1,000 l, 2 % off: 300 by time, and the truth is 0 to 1,020, so a bound of 720; 8 of 10 days: 800 each."""
    small = water_in([bill(0, 9, 1000)], UTC, (0, 3 * DAY))
    assert (small.liters, small.bound) == (300, 720)
    large = water_in([bill(0, 9, 1000)], UTC, (2 * DAY, 10 * DAY))
    assert (large.liters, large.bound) == (800, 800)


def test_time_without_a_bill_lowers_the_known_share() -> None:
    water = water_in([bill(0, 4, 100, category=1), bill(7, 9, 50, category=2)], UTC, (0, 10 * DAY))
    assert (water.known_ratio, water.categories) == (Fraction(8, 10), {1, 2})
    assert water_in([], UTC, (0, DAY)).known_ratio == 0
