"""The plan: one pair in each period at a place and in an order that are drawn, and chances that add up to 2.5 %."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.proof.plan import ExperimentPlan


@given(st.integers(), st.floats(1, 60), st.floats(1, 10), st.integers(0, 5000))
def test_a_pair_lies_within_its_period(seed: int, seconds: float, times: float, number: int) -> None:
    plan = ExperimentPlan(seed, None, seconds, 0.1 * seconds, 2 * seconds * times)
    assert 0 <= plan.pair_offset_s(number) <= plan.period_s(number) - 2 * seconds + 1e-6
    assert plan.pair_offset_s(number) == ExperimentPlan(seed, None, seconds, 0.1 * seconds, 2 * seconds * times).pair_offset_s(
        number
    )
    assert plan.period_s(number) <= plan.period_s(number + 1) <= 8 * plan.period_s(0)


def test_periods_get_longer_and_then_stay_and_place_and_order_are_mixed() -> None:
    plan = ExperimentPlan(3, None, 30, 4, 270)
    assert [plan.period_s(n) for n in (0, 11, 12, 23, 24, 36, 10_000)] == [270, 270, 540, 540, 1080, 2160, 2160]
    places = [plan.pair_offset_s(n) / (plan.period_s(n) - 60) for n in range(400)]
    assert 0.45 < sum(places) / 400 < 0.55
    assert min(places) < 0.02
    assert max(places) > 0.98
    orders = [plan.is_treatment_first(n) for n in range(400)]
    assert sum(orders) == 200, "successive pairs balance each other"
    assert 80 < sum(orders[::2]) < 120


def test_chances_of_all_analyses_add_up_to_what_one_may_have() -> None:
    plan = ExperimentPlan(0, None, 10, 2, 30)
    assert [n for n in range(60) if plan.is_analysis_due(n)] == [12, 24, 36, 48]
    assert 0.0249 < sum(plan.error_probability(look) for look in range(1, 1000)) < 0.025
    once = ExperimentPlan(0, 8, 10, 2)
    assert [n for n in range(20) if once.is_analysis_due(n)] == [8]
    assert once.error_probability(1) == 0.0125
    assert [once.is_complete(n) for n in (7, 8, 9)] == [False, True, True]


@pytest.mark.parametrize("bad", [(0, 10, 2, None), (3, 10, 10, None), (3, 10, 2, 19)])
def test_plans_that_cannot_be_are_refused(bad: tuple[int, float, float, float | None]) -> None:
    with pytest.raises(ValueError, match="cannot plan"):
        ExperimentPlan(0, *bad)
