"""Ticks are round, cover what is shown, and say it with the digits they need."""

from fractions import Fraction as Number

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.render.charts.axis import significant, spanning


def labels(*values: str, most: int = 5, zero: bool = True) -> list[str]:
    axis = spanning([Number(v) for v in values], most, zero)
    return [axis.label(tick) for tick in axis.ticks()]


def test_ticks_worked_out_by_hand() -> None:
    assert labels("3", "97") == ["0", "20", "40", "60", "80", "100"]
    assert labels("0.31", "0.47") == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    assert labels("1.17", "1.25", zero=False) == ["1.16", "1.18", "1.20", "1.22", "1.24", "1.26"]
    assert labels("-210", "190") == ["−300", "−200", "−100", "0", "100", "200"]
    assert labels("11000", "52000") == ["0", "20\u202f000", "40\u202f000", "60\u202f000"]


def test_large_and_small_numbers_are_shortened_by_a_power_of_a_thousand() -> None:
    axis = spanning([Number(4 * 10**25)], 4)
    assert [axis.label(t) for t in axis.ticks()] == ["0", "10", "20", "30", "40"]
    assert axis.unit("uJ") == "uJ × 10²⁴"
    axis = spanning([Number(4, 10**7)], 4)
    assert [axis.label(t) for t in axis.ticks()] == ["0", "100", "200", "300", "400"]
    assert axis.unit("J") == "J × 10⁻⁹"
    assert spanning([Number(99)], 4).unit("kg") == "kg"


def test_nothing_and_one_value_have_an_axis_too() -> None:
    assert (labels()[0], labels()[-1]) == ("0.0", "1.0")
    assert (labels("0")[0], labels("0")[-1]) == ("0.0", "1.0")
    assert (labels("5", zero=False)[0], labels("5", zero=False)[-1]) == ("2", "8")


@given(st.lists(st.fractions(-(10**30), 10**30), min_size=1, max_size=9), st.integers(2, 8), st.booleans())
def test_an_axis_covers_every_value_with_a_handful_of_different_ticks(values: list[Number], most: int, zero: bool) -> None:
    axis = spanning(values, most, zero)
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert axis.low < axis.high
    assert not zero or axis.low <= 0 <= axis.high
    said = [axis.label(tick) for tick in axis.ticks()]
    assert 2 <= len(said) <= most + 2
    assert len(set(said)) == len(said)
    assert all(0 <= axis.share(v) <= 1 for v in values)


@pytest.mark.parametrize(
    ("value", "text"),
    [("0", "0"), ("1234.5", "1230"), ("-0.012345", "−0.0123"), ("2/3", "0.667"), ("0.5", "0.5"), ("99.96", "100"), ("7", "7")],
)
def test_three_significant_digits(value: str, text: str) -> None:
    assert significant(Number(value), 3) == text
