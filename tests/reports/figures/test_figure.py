"""Text of exact numbers: rounded once, and the bounds of an interval outwards."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.figures.figure import QUOTIENT_DIGITS, Figure, energy_text, microjoules, plain, quotient_text, rounded

FRACTIONS = st.fractions(min_value=-(10**30), max_value=10**30, max_denominator=10**20)


@given(FRACTIONS)
def test_a_quotient_is_within_half_of_its_last_digit(value: Fraction) -> None:
    text = quotient_text(value)
    assert "e" not in text.lower()
    assert abs(Fraction(text) - value) <= abs(value) * Fraction(1, 2 * 10 ** (QUOTIENT_DIGITS - 1))


@given(FRACTIONS, FRACTIONS)
def test_rounding_never_narrows_an_interval(a: Fraction, b: Fraction) -> None:
    low, high = min(a, b), max(a, b)
    assert rounded(low, "down") <= low <= high <= rounded(high, "up")


@given(st.integers(min_value=0, max_value=10**30))
def test_energy_text_is_exact(energy_uj: int) -> None:
    assert Fraction(energy_text(energy_uj)) * 1_000_000 == energy_uj
    assert microjoules(Figure("x", Fraction(energy_uj, 1_000_000), "J", "counter", "gpu")) == energy_uj


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(1, 3), "0.333333333"),
        (Fraction(2, 3000), "0.000666666667"),
        (Fraction(999_999_999_999, 1000), "1000000000"),
        (Fraction(0), "0"),
        (Fraction(25, 2), "12.5"),
    ],
)
def test_quotients(value: Fraction, text: str) -> None:
    assert quotient_text(value) == text


def test_plain_text_is_exact_and_what_has_no_end_is_refused() -> None:
    assert [plain(Fraction(n)) for n in ("-12.5", "1/8", "1/3125", "1e9", "0")] == [
        "-12.5",
        "0.125",
        "0.00032",
        "1000000000",
        "0",
    ]
    with pytest.raises(ValueError, match="no finite decimal"):
        plain(Fraction(1, 3))


def test_a_figure_has_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        Figure("x", None, "J", "counter", "gpu")
    with pytest.raises(ValueError, match="reason"):
        Figure("x", Fraction(1), "J", "counter", "gpu", reason="because")
