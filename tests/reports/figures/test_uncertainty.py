"""How errors combine: by hand, as laws, and in the CO2e of a site."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.site.building.ratio import Amount
from reports.figures.uncertainty import FACTOR_ERROR, bounded, halves, product_of, root_of_squares, total_of

NEAR = Fraction(1, 10**9)


def near(amount: Amount, low: int, value: int, high: int) -> bool:
    wanted = (amount.low, low), (amount.value, value), (amount.high, high)
    return all(got is not None and abs(got - expected) <= NEAR for got, expected in wanted)


def test_a_product_errs_by_the_root_of_the_squares() -> None:
    """100 kWh off by 3 % at 400 g/kWh off by 4 %: 40,000 g off by 5 % (JCGM 100:2008, 5.1.6)."""
    energy = Amount(Fraction(100), Fraction(97), Fraction(103))
    assert near(product_of(energy, Fraction(400), Fraction(4, 100)), 38_000, 40_000, 42_000)
    assert near(product_of(energy, Fraction(400), Fraction(0)), 38_800, 40_000, 41_200)
    open_above = product_of(Amount(Fraction(100), Fraction(97)), Fraction(400), Fraction(4, 100))
    assert (open_above.low is not None, open_above.high) == (True, None)
    assert product_of(Amount(None, reason="no meter"), Fraction(1), Fraction(0)).reason == "no meter"


def test_errors_of_one_cause_add_up_and_others_partly_cancel() -> None:
    """100 +- 3 and 100 +- 4: +- 7 where one sensor model or factor causes both, else +- 5 (5.2.2 note 1 and 5.1.2)."""
    three, four = Amount(Fraction(100), Fraction(97), Fraction(103)), Amount(Fraction(100), Fraction(96), Fraction(104))
    assert near(total_of([("a", three), ("a", four)]), 193, 200, 207)
    assert near(total_of([("a", three), ("b", four)]), 195, 200, 205)
    assert total_of([("a", three), ("b", Amount(None, reason="no meter"))]).reason == "no meter"
    assert total_of([("a", three), ("b", Amount(Fraction(1), Fraction(1)))]).high is None


PARTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 1000), st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=5
)


@given(PARTS)
def test_a_sum_errs_at_least_as_its_worst_part_and_at_most_as_all_together(parts: list[tuple[str, int, int, int]]) -> None:
    amounts = [(cause, Amount(Fraction(v), Fraction(v) - d, Fraction(v) + u)) for cause, v, d, u in parts]
    (_, up), together = halves(total_of(amounts)), sum(u for *_, u in parts)
    assert up is not None
    assert max(u for *_, u in parts) - NEAR <= up <= together + NEAR
    _, same = halves(total_of([("x", amount) for _, amount in amounts]))
    assert same is not None
    assert abs(same - together) <= NEAR


def test_bounds_do_not_fall_below_zero_and_the_root_is_rounded_up() -> None:
    assert bounded(Fraction(1), [Fraction(2)], [Fraction(2)]).low == 0
    assert root_of_squares([Fraction(1), Fraction(1)]) ** 2 > 2
    assert root_of_squares([]) == 0


@pytest.mark.parametrize(("better", "worse"), [(1, 2), (2, 3), (3, 4), (4, 5)])
def test_a_lower_quality_class_has_a_larger_error(better: int, worse: int) -> None:
    assert 0 < FACTOR_ERROR[better] < FACTOR_ERROR[worse] < 1
