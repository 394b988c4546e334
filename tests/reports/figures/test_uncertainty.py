"""How errors combine: by hand, as laws, and in the CO2e of a site."""

from fractions import Fraction

import pytest

from energy_agent.core.quantity import Quantity, no_quantity
from reports.figures.uncertainty import FACTOR_ERROR, times_factor

NEAR = Fraction(1, 10**9)


def near(amount: Quantity, low: int, value: int, high: int) -> bool:
    wanted = (amount.low, low), (amount.value, value), (amount.high, high)
    return all(got is not None and abs(got - expected) <= NEAR for got, expected in wanted)


def test_a_product_errs_by_the_root_of_the_squares() -> None:
    """100 kWh off by 3 % at 400 g/kWh off by 4 %: 40,000 g off by 5 % (JCGM 100:2008, 5.1.6)."""
    energy = Quantity(Fraction(100), Fraction(97), Fraction(103))
    assert near(times_factor(energy, Fraction(400), Fraction(4, 100)), 38_000, 40_000, 42_000)
    assert near(times_factor(energy, Fraction(400), Fraction(0)), 38_800, 40_000, 41_200)
    open_above = times_factor(Quantity(Fraction(100), Fraction(97)), Fraction(400), Fraction(4, 100))
    assert (open_above.low is not None, open_above.high) == (True, None)
    assert times_factor(no_quantity("no meter"), Fraction(1), Fraction(0)).reason == "no meter"


@pytest.mark.parametrize(("better", "worse"), [(1, 2), (2, 3), (3, 4), (4, 5)])
def test_a_lower_quality_class_has_a_larger_error(better: int, worse: int) -> None:
    assert 0 < FACTOR_ERROR[better] < FACTOR_ERROR[worse] < 1
