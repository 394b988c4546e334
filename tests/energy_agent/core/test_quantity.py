"""Quantities: what can be true lies within the bounds, and what is absent stays absent with its first reason."""

import operator
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.quantity import (
    ZERO,
    Quantity,
    Unit,
    about,
    bounded,
    combined,
    exactly,
    independent_product,
    no_quantity,
    root_of_squares,
    sum_by_cause,
)  # fmt: skip

NEAR = Fraction(1, 10**9)
FRACTIONS = st.fractions(0, 1000, max_denominator=50)
SHARES = st.fractions(0, 1, max_denominator=20)


@st.composite
def truths(draw: st.DrawFn) -> tuple[Quantity, Fraction]:
    """A quantity, and a number within its bounds, which may be the true one."""
    low, value, high = sorted(draw(st.tuples(FRACTIONS, FRACTIONS, FRACTIONS)))
    true = low + (high - low) * draw(SHARES)
    return Quantity(value, draw(st.sampled_from([low, low, None])), draw(st.sampled_from([high, high, None]))), true


def holds(quantity: Quantity, true: Fraction) -> bool:
    return (quantity.low is None or quantity.low <= true) and (quantity.high is None or true <= quantity.high)


@given(truths(), truths(), FRACTIONS)
def test_the_truth_lies_within_the_bounds_whatever_the_relation_of_the_errors(
    one: tuple[Quantity, Fraction], other: tuple[Quantity, Fraction], factor: Fraction
) -> None:
    (a, x), (b, y) = one, other
    assert holds(a * b, x * y)
    assert holds(a + b, x + y)
    assert holds(a - b, x - y)
    assert holds(a * factor, x * factor)
    assert holds(a * -factor, -x * factor)
    if b.value and y:
        assert holds(a / b, x / y)


@given(truths(), truths())
def test_independent_errors_of_a_product_give_no_more_than_the_sum_of_both_and_no_less_than_either(
    one: tuple[Quantity, Fraction], other: tuple[Quantity, Fraction]
) -> None:
    (a, _), (b, _) = one, other
    product = independent_product(a, b)
    for off, mine, theirs in zip(product.errors, a.errors, b.errors, strict=True):
        if mine is None or theirs is None:
            assert off is None
            continue
        assert off is not None
        assert a.value is not None
        assert b.value is not None
        parts = mine * b.value, theirs * a.value
        assert min(max(parts), product.value or 0) - NEAR <= off <= sum(parts) + NEAR


@given(st.lists(truths(), min_size=1, max_size=5))
def test_a_sum_by_causes_errs_at_most_as_the_plain_sum(parts: list[tuple[Quantity, Fraction]]) -> None:
    quantities = [quantity for quantity, _ in parts]
    plain = sum(quantities, ZERO).errors
    same = sum_by_cause(("one", quantity) for quantity in quantities).errors
    apart = sum_by_cause(enumerate_causes(quantities)).errors
    for together, one, each in zip(plain, same, apart, strict=True):
        assert (together is None) == (one is None) == (each is None)
        if together is not None and one is not None and each is not None:
            assert one == pytest.approx(together)
            assert each <= together + NEAR


def enumerate_causes(quantities: list[Quantity]) -> list[tuple[str, Quantity]]:
    return [(str(number), quantity) for number, quantity in enumerate(quantities)]


def test_what_is_absent_stays_absent_with_the_first_reason() -> None:
    here, gone, lost = exactly(2), no_quantity("no meter"), no_quantity("no tariff")
    results = (
        gone * 2, gone / 3, gone * here, independent_product(here, gone), here / gone, gone - here,
        gone.rest(here), here.rest(gone), here + gone + lost, sum_by_cause([("", gone), ("", lost)]),
    )  # fmt: skip
    assert {(each.value, each.low, each.high, each.reason) for each in results} == {(None, None, None, "no meter")}
    assert (here / exactly(0)).value is None
    assert (here / exactly(0)).reason


def test_a_rest_has_no_bounds_and_a_number_without_an_error_has_its_own() -> None:
    assert about(Fraction(10), Fraction(1)).rest(exactly(4)) == Quantity(Fraction(6))
    assert exactly(3) == Quantity(Fraction(3), Fraction(3), Fraction(3))
    assert combined(exactly(200), about(Fraction(1), Fraction(3)), about(Fraction(2), Fraction(4))).errors == (5, 5)


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
@pytest.mark.parametrize("number", [0.5, float("nan")])
def test_float_operand_raises_type_error(operation: Callable[[Quantity, float], Quantity], number: float) -> None:
    with pytest.raises(TypeError, match=str(number)):
        operation(exactly(1), number)


UJ, RATIO, G = (about(Fraction(8), Fraction(2), unit) for unit in (Unit.UJ, Unit.RATIO, Unit.G))


@pytest.mark.parametrize(
    "wrong", [lambda: UJ + RATIO, lambda: UJ - G, lambda: UJ * UJ, lambda: RATIO / G, lambda: UJ.to("g"), lambda: UJ + 1]
)
def test_units_that_do_not_match_raise_value_error(wrong: Callable[[], Quantity]) -> None:
    with pytest.raises(ValueError, match=r"uJ|ratio"):
        wrong()


def test_units_follow_from_those_of_the_operands() -> None:
    rate = about(Fraction(3), Fraction(1), Unit.G_PER_UJ)
    units = [(UJ * RATIO, Unit.UJ), (RATIO * UJ, Unit.UJ), (UJ / UJ, Unit.RATIO), (UJ / RATIO, Unit.UJ), (UJ * rate, Unit.G),
             (independent_product(UJ, rate), Unit.G), (G / UJ, Unit.G_PER_UJ), (UJ * 2, Unit.UJ), (UJ / 2, Unit.UJ),
             (ZERO + UJ, Unit.UJ), (sum_by_cause([("meters", UJ), ("sensors", UJ)]), Unit.UJ), (UJ * exactly(2), Unit.UNSTATED),
             (RATIO - 1, Unit.RATIO), (UJ.to("J"), Unit.J)]  # fmt: skip
    assert [quantity.unit for quantity, _ in units] == [unit for _, unit in units]
    assert UJ.to("J").value == Fraction(8, 10**6)


def test_errors_of_one_cause_add_up_and_others_partly_cancel() -> None:
    """100 +- 3 and 100 +- 4: +- 7 where one sensor model or factor causes both, else +- 5 (5.2.2 note 1 and 5.1.2)."""
    three, four = about(Fraction(100), Fraction(3)), about(Fraction(100), Fraction(4))
    assert sum_by_cause([("a", three), ("a", four)]) == about(Fraction(200), Fraction(7))
    assert sum_by_cause([("a", three), ("b", four)]) == about(Fraction(200), Fraction(5))
    assert sum_by_cause([("a", three), ("b", Quantity(Fraction(1), Fraction(1)))]).high is None


def test_bounds_do_not_fall_below_zero_and_the_root_is_rounded_up() -> None:
    assert bounded(Fraction(1), [Fraction(2)], [Fraction(2)]).low == 0
    assert root_of_squares([Fraction(1), Fraction(1)]) ** 2 > 2
    assert root_of_squares([]) == 0
