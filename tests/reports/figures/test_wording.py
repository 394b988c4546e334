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
        ("-7200", "\u22122.00 Wh"),
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
def test_percent_states_all_only_for_all(ratio: str, text: str) -> None:
    assert wording.percent(ratio) == text


def test_intervals() -> None:
    figure = Figure("x", Fraction(10), "J", "counter", "gpu", low=Fraction("9.45"), high=Fraction("10.549"))
    assert wording.plus_minus(figure, say_in("en")) == "\u00b15.5 %"
    assert wording.span(figure, say_in("en")) == "9.45 to 10.6"
    assert wording.span(Figure("x", Fraction(10), "J", "counter", "gpu"), say_in("en")) == "error not stated"


def test_groups_of_three() -> None:
    assert wording.exact("1234567.0001") == "1\u202f234\u202f567.0001"


def test_a_number_has_one_style_wherever_it_is_printed() -> None:
    """A thin gap every three digits, a minus sign that is no hyphen, and kWh to the hundredth in every table."""
    assert wording.short("-8.284") == "\u22128.28"
    assert wording.short(Fraction(2131)) == "2\u202f130"
    assert wording.short("1234567", 4) == "1\u202f235\u202f000"
    assert wording.percent(Fraction(-3, 40)) == "\u22127.50 %"
    assert wording.kwh("3955.3581") == "3\u202f955.36 kWh"
    assert wording.kwh("0.004") == "0.00 kWh"
    assert wording.fixed(Fraction(-1, 1000), 2) == "0.00"
    assert wording.fixed(Fraction(-12345), 0) == "\u221212\u202f345"
    wide = Figure("x", Fraction(1), "J", "counter", "gpu", low=Fraction(0), high=Fraction(15))
    assert wording.plus_minus(wide, say_in("en")) == "\u00b11\u202f400 %"


def test_interval_without_upper_bound_is_stated() -> None:
    figure = Figure("x", Fraction(7200000), "J", "counter", "gpu", low=Fraction(7128000))  # 2 kWh, at least 1.98
    assert wording.plus_minus(figure, say_in("en")) == "no upper bound"
    assert wording.span(figure, say_in("en")) == "at least 7\u202f120\u202f000"
