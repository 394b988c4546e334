"""Laws of error budgets: bounds of the misses, windows, and the share that is left."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.workloads.error_budget import HOUR_NS, REQUESTS, LatencyBudget, LatencyInterval, MissedShare
from energy_agent.core.workloads.tokens import Latencies

EDGES = (0.1, 0.25, 0.5, 1.0, 2.5)
S = 1_000_000_000
times = st.lists(st.floats(0.001, 5.0), max_size=40)
limits = st.sampled_from(EDGES) | st.floats(0.05, 4.0)


def histogram(values: list[float]) -> Latencies:
    counts = [0] * (len(EDGES) + 1)
    for value in values:
        counts[bisect_left(EDGES, value)] += 1
    return Latencies(EDGES, tuple(counts), sum(values))


@given(times, limits)
def test_the_truth_is_within_the_bounds_which_are_equal_at_an_edge(values: list[float], limit_s: float) -> None:
    interval = LatencyInterval(limit_s, histogram(values), is_mean=False)
    truth = sum(value > limit_s for value in values)
    assert 0 <= interval.surely_missed() <= truth <= interval.missed() <= len(values)
    if limit_s in EDGES:
        assert interval.surely_missed() == interval.missed()


@given(times, limits, st.floats(1.0, 3.0), st.booleans())
def test_misses_grow_with_the_stretch(values: list[float], limit_s: float, stretch: float, is_mean: bool) -> None:
    interval = LatencyInterval(limit_s, histogram(values), is_mean)
    assert interval.missed() <= interval.missed(stretch) <= len(values)
    slower = LatencyInterval(limit_s, histogram([stretch * value for value in values]), is_mean=False)
    assert is_mean or slower.surely_missed() <= interval.missed(stretch)


rounds = st.lists(st.tuples(st.integers(1, 1200), st.integers(0, 300), st.integers(0, 50)), max_size=60)


def budget_of(events: list[tuple[int, int, int]]) -> tuple[LatencyBudget, list[tuple[int, int, int, int]]]:
    """A budget, and (time, requests, observations, misses) of each event: seconds since the last one, observations, misses."""
    budget, now, done = LatencyBudget(0.5), 0, []
    for seconds, good, bad in events:
        now += seconds * S
        interval = LatencyInterval(0.5, histogram([0.3] * good + [0.9] * bad), is_mean=False)
        budget = budget.add(interval, good + bad, now)
        done.append((now, good + bad, good + bad, bad))
    return budget, done


@given(rounds)
def test_windows_cover_what_they_name_up_to_a_slot(events: list[tuple[int, int, int]]) -> None:
    budget, done = budget_of(events)
    assert budget.total == MissedShare(sum(d[2] for d in done), *[sum(d[3] for d in done)] * 2)
    now = done[-1][0] if done else 0
    hour = budget.of_hour(now)
    inner, outer = (sum(d[2] for d in done if now - d[0] < HOUR_NS - slack) for slack in (10 * S, 0))
    assert inner <= hour.observations <= outer
    recent = budget.of_requests().observations
    assert recent == budget.total.observations or recent >= REQUESTS
    assert len(budget.slots) <= 360 + REQUESTS
    assert budget.of_hour(now + HOUR_NS) == MissedShare()


def test_a_thousand_requests_are_kept_for_longer_than_an_hour() -> None:
    budget, _ = budget_of([(600, 49, 1)] * 100)
    assert budget.of_requests() == MissedShare(1000, 20, 20)
    assert budget.of_hour(600 * 100 * S).observations == 300


def test_requests_count_the_window_of_a_latency_with_many_observations_each() -> None:
    budget = LatencyBudget(0.05)
    for second in range(40):  # 100 requests per slot of ten seconds, with 50 tokens each
        latencies = Latencies((0.05,), (500, 0), 500 * (0.06 if second < 10 else 0.02))
        budget = budget.add(LatencyInterval(0.05, latencies, is_mean=True), 10, second * S)
    assert budget.of_requests() == budget.total == MissedShare(20_000, 5_000, 5_000)


def test_slots_are_bounded_where_no_requests_are_counted() -> None:
    budget = LatencyBudget(0.5)
    for second in range(0, 20_000, 10):
        budget = budget.add(LatencyInterval(0.5, histogram([0.3]), is_mean=False), 0, second * S)
    assert len(budget.slots) == REQUESTS


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0.5, 0.9999))
def test_what_is_left(observations: int, low: int, more: int, attainment: float) -> None:
    low, high = min(observations, low), min(observations, low + more)
    least, most = MissedShare(observations, low, high).budget_left(attainment) or (2.0, 2.0)
    assert least <= most <= 1.0
    assert (most == 1.0) == (low == 0)
    assert (least < 0) == (high > (1.0 - attainment) * observations)


def test_the_budget_is_spent_by_as_many_misses_as_it_permits() -> None:
    assert MissedShare(1000, 5, 5).budget_left(0.99) == pytest.approx((0.5, 0.5))
    assert MissedShare(1000, 10, 10).budget_left(0.99) == pytest.approx((0, 0))
    assert MissedShare(1000, 0, 30).budget_left(0.99) == pytest.approx((-2, 1))
    assert MissedShare().budget_left(0.99) is None
    assert MissedShare(10, 0, 1).budget_left(1.0) is None
