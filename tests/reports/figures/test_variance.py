"""Laws of relative differences and of their states."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.quantity import Quantity, no_quantity
from reports.figures.variance import FINDING, relative_difference, state_of

ENERGIES = st.fractions(min_value=1, max_value=1000, max_denominator=100)
ERRORS = st.fractions(min_value=0, max_value=Fraction(9, 10), max_denominator=100)
THRESHOLDS = st.fractions(min_value=Fraction(1, 100), max_value=Fraction(1, 2), max_denominator=100)
SHARES = st.fractions(min_value=0, max_value=1, max_denominator=10)


def amount(value: Fraction, error: Fraction) -> Quantity:
    return Quantity(value, value * (1 - error), value * (1 + error))


def within(of: Quantity, share: Fraction) -> Fraction:
    assert of.low is not None
    assert of.high is not None
    return of.low + share * (of.high - of.low)


@given(ENERGIES, ERRORS, ENERGIES, ERRORS, SHARES, SHARES)
def test_bounds_contain_the_difference_of_all_true_values(
    one: Fraction, error: Fraction, other: Fraction, other_error: Fraction, share: Fraction, other_share: Fraction
) -> None:
    first, second = amount(one, error), amount(other, other_error)
    difference = relative_difference(first, second)
    assert difference.low is not None
    assert difference.high is not None
    assert difference.low <= within(first, share) / within(second, other_share) - 1 <= difference.high


@given(ENERGIES, ERRORS, ENERGIES, ERRORS, THRESHOLDS, SHARES, SHARES)
def test_a_finding_is_one_for_all_true_values(
    one: Fraction,
    error: Fraction,
    other: Fraction,
    other_error: Fraction,
    threshold: Fraction,
    share: Fraction,
    other_share: Fraction,
) -> None:
    first, second = amount(one, error), amount(other, other_error)
    difference = relative_difference(first, second)
    if state_of(difference, threshold) == FINDING:
        assert abs(within(first, share) / within(second, other_share) - 1) > threshold


@given(ENERGIES, ERRORS, ERRORS, ENERGIES, THRESHOLDS)
def test_wider_bounds_create_no_finding(
    one: Fraction, error: Fraction, more: Fraction, other: Fraction, threshold: Fraction
) -> None:
    narrow, wide = sorted((error, more))
    other_amount = Quantity(other)
    wider = relative_difference(amount(one, wide), other_amount)
    narrower = relative_difference(amount(one, narrow), other_amount)
    assert state_of(wider, threshold) != FINDING or state_of(narrower, threshold) == FINDING


def test_no_difference_from_an_amount_that_may_be_0() -> None:
    assert relative_difference(amount(Fraction(1), Fraction(0)), Quantity(Fraction(1), Fraction(0), Fraction(2))).value is None
    assert relative_difference(no_quantity("none"), Quantity(Fraction(1))).reason == "none"
