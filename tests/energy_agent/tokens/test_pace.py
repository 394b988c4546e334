"""Periods of metrics endpoints by what they cost: bounded for each and in all, and fair to those that cost little."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.config.tokens import TokenSource
from energy_agent.runtime.clock import RealClock
from energy_agent.tokens.polled_endpoint import AFTER_S, SHARE_ALL, SHARE_EACH, periods_s
from energy_agent.tokens.poller import TokenPoller
from tests.support import eventually

COSTS = st.lists(st.tuples(st.floats(0, 10), st.floats(0.5, 60)), max_size=50)


@given(COSTS)
def test_shares_are_bounded_and_small_ones_keep_their_period(costs: list[tuple[float, float]]) -> None:
    periods = periods_s(costs)
    shares = [cost_s / period_s for (cost_s, _), period_s in zip(costs, periods, strict=True)]
    assert all(share <= SHARE_EACH * 1.000001 for share in shares)
    assert sum(shares) <= SHARE_ALL * 1.000001
    for (cost_s, period_s), each in zip(costs, periods, strict=True):
        assert each >= period_s
        if cost_s / period_s <= min(SHARE_EACH, SHARE_ALL / len(costs)):
            assert each == period_s


def test_hostile_endpoint_does_not_slow_honest_ones() -> None:
    honest = [(0.001, 1.0)] * 8  # a poll of one vLLM engine
    assert periods_s([*honest, (0.2, 1.0)]) == [*[1.0] * 8, pytest.approx(10.0)]
    assert periods_s([*honest, *[(0.2, 1.0)] * 8])[:8] == [1.0] * 8


class Waits(RealClock):
    """A clock at an instant of readings, on which no wait takes time; keeps how long each would be."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    def utc_ns(self) -> int:
        return round(AFTER_S * 1e9)

    def real_seconds(self, seconds: float) -> float:
        self.waits_s.append(seconds)
        return 0.0


def test_hostile_endpoint_that_fails_after_much_work_is_read_as_seldom_as_one_that_answers() -> None:
    cost_s, clock = 0.1, Waits()

    def fail(*_: object, **__: object) -> str:
        end_s = time.thread_time() + cost_s
        while time.thread_time() < end_s:
            pass
        raise ValueError("not a metrics page")

    poller = TokenPoller(clock, fetch=fail)
    poller.configure([TokenSource(workload="w", server="vllm", url="http://127.0.0.1:1/metrics", period_s=1)])
    try:
        eventually(lambda: clock.waits_s)
        poller.drain()
        eventually(lambda: clock.waits_s[-1] >= cost_s / SHARE_EACH)
    finally:
        poller.stop()
