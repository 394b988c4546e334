"""Numbers for people."""

from fractions import Fraction

import pytest

from reports.figures import wording
from reports.figures.figure import Figure
from reports.language import say_in


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        ("0", "0 Wh"),
        ("36000", "10.0 Wh"),
        ("3600000", "1.00 kWh"),
        ("1", "0.278 mWh"),
        ("-7200", "-2.00 Wh"),
        ("80000000000000", "22.2 GWh"),
    ],
)
def test_energy(joules: str, text: str) -> None:
    assert wording.energy(joules) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        ("1", "100 %"),
        ("0.99999", "> 99.9 %"),
        ("0.936", "93.6 %"),
        ("0", "0 %"),
        ("1.00001", "> 100 %"),
        ("0.00012345", "0.0123 %"),
    ],
)
def test_percent_says_all_only_of_all(ratio: str, text: str) -> None:
    assert wording.percent(ratio) == text


def test_intervals() -> None:
    figure = Figure("x", Fraction(10), "J", "counter", "gpu", low=Fraction("9.45"), high=Fraction("10.549"))
    assert wording.plus_minus(figure, say_in("en")) == "\u00b15.5 %"
    assert wording.span(figure, say_in("en")) == "9.45 to 10.6"
    assert wording.span(Figure("x", Fraction(10), "J", "counter", "gpu"), say_in("en")) == "error not stated"


def test_groups_of_three() -> None:
    assert wording.exact("1234567.0001") == "1\u202f234\u202f567.0001"


def test_an_interval_that_nothing_bounds_above_says_so() -> None:
    figure = Figure("x", Fraction(7200000), "J", "counter", "gpu", low=Fraction(7128000))  # 2 kWh, at least 1.98
    assert wording.span_energy(figure, say_in("en")) == "at least 1.98 kWh"
    assert wording.plus_minus(figure, say_in("en")) == "no upper bound"
    assert wording.span(figure, say_in("en")) == "at least 7120000"
