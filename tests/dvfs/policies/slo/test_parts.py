"""The parts of policy slo: what histograms show of requests, and the error budget."""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.policies.slo import ErrorBudget
from dvfs.policies.slo._load import ServerLoad
from dvfs.policies.slo._requests import LatencyShape, TokenTimes, WorkMeans
from energy_agent.core.workloads.tokens import Latencies

EDGES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)
times = st.lists(st.floats(0.001, 10.0), min_size=1, max_size=30)


def histogram(values: list[float], edges: tuple[float, ...] = EDGES) -> Latencies:
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_left(edges, value)] += 1
    return Latencies(edges, tuple(counts), sum(values))


@given(times, st.floats(0.01, 12.0), st.floats(1.0, 3.0))
def test_at_least_as_many_first_tokens_are_late_as_were(values: list[float], limit_s: float, factor: float) -> None:
    late = LatencyShape().count_late(histogram(values), limit_s, factor)
    assert late >= sum(value * factor > limit_s * (1 + 1e-6) for value in values)


@given(times, times, st.floats(0.01, 12.0), st.floats(0.0, 12.0))
def test_longer_times_are_late_more_often(before: list[float], values: list[float], limit_s: float, mean_s: float) -> None:
    shape = LatencyShape().add(histogram(10 * before))
    late = [shape.count_late(histogram(values), limit_s, factor, mean_s) for factor in (1.0, 1.1, 1.3, 2.0, 8.0)]
    assert late == sorted(late)
    assert late[-1] <= len(values)


@pytest.mark.parametrize(
    ("quantile", "most"),
    [
        (lambda share: 0.2 * (-log(share)) ** 1.3, 1.2),  # Weibull, and
        (lambda share: 0.1 * share**-0.6, 1.2),  # Pareto: heavier than exponential. In proportion, 2.1 and 1.4 times
        (lambda share: 0.3 * -log(share), 1.02),  # exponential; 2.8 times
        (lambda share: 0.6 * (-log(share)) ** 0.5, 3),  # Weibull, lighter; 10 times
    ],
)
def test_in_a_falling_tail_few_more_count_as_late_than_are(quantile: Callable[[float], float], most: float) -> None:
    values = [quantile((i + 0.5) / 9000) for i in range(9000)]
    latencies = replace(histogram(values), is_sum_exact=False)
    late = sum(value > 1.4 for value in values)  # between 1 and 2.5
    assert late <= LatencyShape().add(latencies).count_late(latencies, 1.4) * (1 + 1e-9) <= most * late


def test_in_a_tail_that_ends_no_fewer_count_as_late_than_are() -> None:
    """Uniform up to 2.5 s: no time is longer, so the share of longer ones falls ever faster."""
    latencies = replace(histogram([0.4 + 0.0021 * i for i in range(1000)]), is_sum_exact=False)
    assert LatencyShape().add(latencies).count_late(latencies, 1.75) >= sum(0.4 + 0.0021 * i > 1.75 for i in range(1000))


some_edges = st.lists(st.floats(1e-9, 1e9).map(lambda edge: float(f"{edge:.12g}")), min_size=1, max_size=6, unique=True)
some_counts = st.lists(st.one_of(st.just(0), st.integers(0, 200), st.integers(0, 2**53)), min_size=7, max_size=7)


@given(some_edges, some_counts, some_counts, st.floats(0.5, 3.0), st.floats(0.0, 1e10))
def test_whatever_the_histogram_no_more_are_late_than_were_seen(
    edges: list[float], before: list[int], now: list[int], part: float, mean_s: float
) -> None:
    edges = sorted(edges)
    old, latencies = (Latencies(tuple(edges), tuple(counts[: len(edges) + 1]), 1.0, False) for counts in (before, now))
    shape = LatencyShape().add(old).add(latencies)
    for limit in (*edges, *(part * edge for edge in edges)):
        late = shape.count_late(latencies, limit, 1.0, mean_s)
        assert sum(n for edge, n in zip(edges, latencies.counts[1:], strict=True) if edge > limit) <= late * (1 + 1e-9)
        assert late <= latencies.count * (1 + 1e-9)


def test_a_time_in_a_bucket_that_was_empty_is_late() -> None:
    shape = LatencyShape().add(histogram([0.2] * 300 + [3.0]))
    assert shape.count_late(histogram([0.6, 0.6]), 0.7) == 2


def test_where_a_bucket_is_fuller_than_the_one_below_all_of_it_is_late() -> None:
    latencies = replace(histogram([0.2] * 50 + [0.6] * 200), is_sum_exact=False)
    assert LatencyShape().add(latencies).count_late(latencies, 0.74) == 200


@pytest.mark.parametrize(
    ("values", "late"), [([0.6], 0), ([0.7], 0), ([0.71], 1), ([3.0], 1), ([0.6, 0.6], 2), ([0.3, 0.6, 3.0], 2)]
)
def test_a_first_token_that_is_alone_in_its_period_is_known_exactly(values: list[float], late: int) -> None:
    """Limit 0.7 s in the bucket from 0.5 to 0.75 s. Of several, all in that bucket count as late."""
    assert LatencyShape().count_late(histogram(values), 0.7) == late


def test_a_server_that_is_busy_all_the_time_shows_its_capacity() -> None:
    load = ServerLoad()
    for _ in range(60):  # 10 requests arrive per second; 8 are served at 1500 MHz, and the queue grows
        load = load.add(1.0, 8, 2, 1500)
    assert load.at(1500) == pytest.approx(10 / 8)
    assert load.at(750) == pytest.approx(20 / 8)


def test_the_load_is_not_known_until_requests_waited_for_a_time_nor_long_after() -> None:
    load = ServerLoad()
    for _ in range(600):
        load = load.add(1.0, 8, 0, None)
    assert load.at(1000) == 0
    for _ in range(10):
        load = load.add(1.0, 8, 0, 2000)
    assert load.at(1000) == 0
    for _ in range(20):
        load = load.add(1.0, 8, 0, 2000)
    assert load.at(1000) == pytest.approx(2)
    for _ in range(1800):
        load = load.add(1.0, 8, 0, None)
    assert load.at(1000) == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 6 * 10**10), st.floats(0, 1e9), st.integers(-(10**9), 10**9), st.sampled_from([None, 1005, 1980])
        ),
        max_size=60,
    )
)
def test_the_load_rises_as_the_clock_falls(periods: list[tuple[int, float, int, int | None]]) -> None:
    load = ServerLoad()
    for period_ns, *rest in periods:
        load = load.add(period_ns / 1e9, *rest)
        assert 0 <= load.at(1980) <= load.at(1005) < float("inf")


@pytest.mark.parametrize("drafts", [False, True])
def test_the_mean_between_tokens_is_that_of_requests_that_end(drafts: bool) -> None:
    per_step = 3 if drafts else 1
    token_times = TokenTimes()
    for second in range(60):  # 10 requests with 100 tokens each second; steps last 30 ms, in the last 2 s 90 ms
        step_s = 0.09 if second >= 58 else 0.03
        token_times = token_times.add(10, 1000, step_s * 1000 / per_step, 1.0)
    assert token_times.per_request == pytest.approx(100)
    assert sum(part[0] for part in token_times.parts) == pytest.approx(100 * token_times.mean_s(), abs=1.1)
    assert token_times.mean_s(0.1) == pytest.approx(0.09 / per_step)
    assert 0.03 / per_step <= token_times.mean_s() <= 0.09 / per_step


@given(times, st.sampled_from(EDGES), st.sampled_from([0.0, 0.03, 0.3, 2.0, 8.0]))
def test_means_above_an_edge_are_counted_exactly(values: list[float], limit_s: float, mean_s: float) -> None:
    assert LatencyShape().count_late(histogram(values), limit_s, 1.0, mean_s) == sum(value > limit_s for value in values)


def test_the_mean_of_all_decides_in_its_own_bucket_alone() -> None:
    latencies = replace(histogram([0.6] * 50), is_sum_exact=False)
    assert [LatencyShape().count_late(latencies, 0.7, 1.0, mean_s) for mean_s in (0.6, 0.72, 0.3, 0.0)] == [0, 50, 50, 50]


def test_nothing_that_was_generated_has_no_mean() -> None:
    assert TokenTimes().mean_s() == 0
    assert TokenTimes().add(0, 0, 0.0, 1.0).mean_s() == 0


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**9), st.floats(0, 1e9), st.floats(0, 60)), max_size=60))
def test_periods_are_kept_as_long_as_a_request_takes(rounds: list[tuple[int, int, float, float]]) -> None:
    token_times = TokenTimes()
    for one in rounds:
        token_times = token_times.add(*one)
        assert 1 <= len(token_times.parts) <= 512
        assert token_times.mean_s() >= 0


def test_longer_prompts_and_larger_batches_are_other_work_until_they_are_usual() -> None:
    usual = WorkMeans()
    for _ in range(100):
        usual = usual.add(5, 5000, 4.0)
    assert not usual.is_other
    for other in ((5, 50_000, 4.0), (5, 500, 4.0), (5, 5000, 40.0), (5, 5000, 1.0)):
        now = list(accumulate(range(40), lambda work, _, other=other: work.add(*other), initial=usual))
        assert now[-1].is_other
        assert not now[-1].renewed().is_other
    assert not usual.add(0, 0, 900.0).is_other


@given(st.lists(st.tuples(st.floats(0.1, 900.0), st.integers(0, 40), st.floats(0, 1)), max_size=80), st.floats(0.001, 0.2))
def test_requests_count_less_the_older_they_are(rounds: list[tuple[float, int, float]], allowed: float) -> None:
    budget, now_s, rows = ErrorBudget(), 0.0, []
    for dt, count, share in rounds:
        now_s += dt
        budget = budget.add(now_s, count, count * share)
        rows.append((now_s, sum(row[2] for row in rows), count, count * share))
    total = sum(row[2] for row in rows)
    expected = []
    for times, ages in (
        (2, [(total - before - count) / 1000 for _, before, count, _ in rows]),
        (1, [(now_s - at_s) / 3600 for at_s, *_ in rows]),
        (1, [(now_s - at_s) / 14_400 for at_s, *_ in rows]),
    ):
        weights = [math.exp(-age) for age in ages]
        requests, missed = (sum(w * row[i] for w, row in zip(weights, rows, strict=True)) for i in (2, 3))
        expected.append(missed / (times * allowed * requests + 1))
    assert budget.spent_ratio(allowed) == pytest.approx(max(expected), abs=1e-9)


def _spend(budget: ErrorBudget, requests: int, missed: float) -> ErrorBudget:
    """With requests that come ten per second."""
    for _ in range(requests // 10):
        budget = budget.add(budget.now_s + 1, 10, 10 * missed / requests)
    return budget


@pytest.mark.parametrize(("misses", "is_spent"), [(20, False), (50, True)])
def test_a_burst_may_use_twice_the_share_while_the_hours_have_budget(misses: int, is_spent: bool) -> None:
    budget = _spend(_spend(ErrorBudget(), 5000, 0), 1000, misses)  # 60 of these 6,000 may miss
    assert (budget.spent_ratio(0.01) >= 1) == is_spent
    assert _spend(ErrorBudget(), 1000, misses).spent_ratio(0.01) >= 1  # more than the 10 that may in the hour


def test_misses_that_have_left_the_thousand_requests_count_for_the_hours() -> None:
    budget = _spend(_spend(ErrorBudget(), 1000, 100), 5000, 0)  # 100 exp(-5) of them are left among the last 1,000
    assert budget.spent_ratio(0.01) > 1  # 60 of these 6,000 may miss
    assert _spend(budget, 10_000, 0).spent_ratio(0.01) < 1


def test_a_day_ends_at_the_target_although_late_requests_still_come_after_the_budget_is_spent() -> None:
    budget, requests, missed, late = ErrorBudget(), 0, 0, 0
    for second in range(24 * 3600):
        if budget.spent_ratio(0.01) < 1 and second % 300 == 0:
            late = 100  # wait in the queue when the clock rises
        now, late = min(late, 5), late - min(late, 5)
        budget = budget.add(float(second), 5, now)
        requests, missed = requests + 5, missed + now
    assert 0.0095 < missed / requests < 0.0108  # half of these 100 are 0.07 % of the 72,000 of four hours
