"""Periods of metrics endpoints by what they cost: bounded for each and in all, and fair to those that cost little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.tokens.polled_endpoint import SHARE_ALL, SHARE_EACH, periods_s

COSTS = st.lists(st.tuples(st.floats(0, 10), st.floats(0.5, 60)), max_size=50)


@given(COSTS)
def test_shares_are_bounded_and_small_ones_keep_their_period(costs: list[tuple[float, float]]) -> None:
    found = periods_s(costs)
    shares = [cost_s / period_s for (cost_s, _), period_s in zip(costs, found, strict=True)]
    assert all(share <= SHARE_EACH * 1.000001 for share in shares)
    assert sum(shares) <= SHARE_ALL * 1.000001
    for (cost_s, period_s), each in zip(costs, found, strict=True):
        assert each >= period_s
        if cost_s / period_s <= min(SHARE_EACH, SHARE_ALL / len(costs)):
            assert each == period_s


def test_hostile_endpoint_does_not_slow_honest_ones() -> None:
    honest = [(0.001, 1.0)] * 8  # a poll of one vLLM engine
    assert periods_s([*honest, (0.2, 1.0)]) == [*[1.0] * 8, pytest.approx(10.0)]
    assert periods_s([*honest, *[(0.2, 1.0)] * 8])[:8] == [1.0] * 8
