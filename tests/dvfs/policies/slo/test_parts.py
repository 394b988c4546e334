"""The parts of policy slo: what histograms say of requests, the error budget, and what is remembered by load and clock."""

import random
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.policies.slo._budget import REQUESTS, ErrorBudget
from dvfs.policies.slo._experience import FACTORS, Experience, MissCurve, curve
from dvfs.policies.slo._misses import itl_misses, ttft_misses
from dvfs.policies.slo._work import WorkMeans
from energy_agent.core.workloads.tokens import Latencies

EDGES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)
times = st.lists(st.floats(0.001, 10.0), min_size=1, max_size=30)


def histogram(values: list[float], edges: tuple[float, ...] = EDGES) -> Latencies:
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_left(edges, value)] += 1
    return Latencies(edges, tuple(counts), sum(values))


@given(times, st.floats(0.01, 12.0), st.floats(1.0, 3.0))
def test_at_least_as_many_miss_as_did(values: list[float], limit_s: float, factor: float) -> None:
    assert ttft_misses(histogram(values), limit_s, factor) >= sum(v * factor > limit_s * (1 + 1e-6) for v in values)


@given(times, st.floats(0.01, 12.0))
def test_longer_times_miss_more_often(values: list[float], limit_s: float) -> None:
    by_stretch = [ttft_misses(histogram(values), limit_s, factor) for factor in FACTORS]
    assert by_stretch == sorted(by_stretch)
    assert by_stretch[-1] <= len(values)


@given(st.floats(0.001, 10.0), st.floats(0.01, 12.0))
def test_the_sum_of_one_observation_is_its_time(value: float, limit_s: float) -> None:
    if abs(value / limit_s - 1) > 1e-6:
        assert ttft_misses(histogram([value]), limit_s) == (value > limit_s)


@pytest.mark.parametrize(
    ("slow_one_in", "slow_s", "mean_gaps"), [(50, 0.2, 100), (20, 0.09, 200), (200, 0.3, 10), (12, 0.14, 40)]
)
def test_short_requests_with_a_slow_gap_are_counted(slow_one_in: int, slow_s: float, mean_gaps: int) -> None:
    draw = random.Random(slow_one_in)
    gaps: list[float] = []
    late, requests = 0, 4000
    for _ in range(requests):
        own = [slow_s if draw.random() < 1 / slow_one_in else 0.02]
        while draw.random() > 1 / mean_gaps:
            own.append(slow_s if draw.random() < 1 / slow_one_in else 0.02)
        late += sum(own) > 0.05 * len(own)
        gaps += own
    seen = histogram(gaps, (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4))
    share = itl_misses(seen, 0.05, mean_gaps)
    assert 0.7 * late / requests <= share <= 3 * late / requests + 0.05  # gaps come in runs, which these do not


def test_gaps_that_are_all_short_or_all_long_need_no_draw() -> None:
    assert itl_misses(histogram([0.2] * 10), 0.25, 100) == 0
    assert itl_misses(histogram([0.3] * 10), 0.25, 100) == 1
    assert itl_misses(histogram([0.2] * 10), 0.25, 100, factor=1.3) == 1
    assert itl_misses(Latencies((), (0,), 0.0), 0.25, 100) == 0


@given(st.lists(st.tuples(st.floats(0.1, 900.0), st.integers(0, 40), st.floats(0, 1)), max_size=80), st.floats(0.001, 0.2))
def test_the_budget_is_that_of_the_last_hour_and_that_of_the_last_thousand_requests(
    rounds: list[tuple[float, int, float]], allowed: float
) -> None:
    budget, now_s, seen = ErrorBudget(), 0.0, []
    for dt, count, share in rounds:
        now_s += dt
        budget = budget.add(now_s, count, count * share)
        seen.append((now_s, count, count * share))
        assert sum(part[1] for part in budget.short.parts) <= REQUESTS + 2 * 40
        assert all(now_s - since_s <= 3600 for since_s, _, _ in budget.long.parts[1:])
        assert len(budget.short.parts) + len(budget.long.parts) <= 200
    hour = [row for row in seen if now_s - row[0] <= 3000]
    assert budget.spent_ratio(allowed) >= min(window.spent_ratio(allowed) for window in (budget.short, budget.long))
    assert sum(part[2] for part in budget.long.parts) >= sum(row[2] for row in hour) - 1e-6


def test_misses_that_have_left_the_thousand_requests_count_for_the_hour() -> None:
    budget = ErrorBudget().add(1.0, 1000, 100)
    for second in range(2, 60):
        budget = budget.add(float(second), 20, 0)
    assert budget.short.spent_ratio(0.01) == 0
    assert budget.spent_ratio(0.01) > 1
    for second in range(60, 600):
        budget = budget.add(float(second), 20, 0)
    assert budget.spent_ratio(0.01) < 1


cells = st.dictionaries(
    st.tuples(st.integers(0, 6), st.integers(0, 3)),
    st.tuples(st.integers(1, 300), st.lists(st.floats(0, 1), min_size=13, max_size=13).map(sorted)),
    max_size=12,
)
GRID = (1000, 1300, 1600, 1980)


@given(cells, st.integers(0, 6), st.integers(0, 3))
def test_what_is_said_of_a_clock_comes_from_what_was_seen(
    drawn: dict[tuple[int, int], tuple[int, list[float]]], load: int, level: int
) -> None:
    known = Experience()
    for (b, i), (count, shares) in drawn.items():
        known = known.add(b, i, MissCurve(count, tuple(count * share for share in shares)), 0.0)
    requests, missed = known.at_most(load, level, GRID, 100)
    assert 0 <= missed <= requests + 1e-9
    assert requests >= min(100, sum(count for count, _ in drawn.values()))
    own = drawn.get((load, level))
    if own is not None and own[0] >= 100:
        assert (requests, missed) == (own[0], pytest.approx(own[0] * own[1][0]))
    if known.is_missed(load, level, 0.01):
        assert known.is_missed(load + 1, level, 0.01)
        assert known.is_missed(load, max(0, level - 1), 0.01)


def test_a_lower_clock_is_judged_by_times_that_grow_with_it() -> None:
    known = Experience().add(2, 3, curve(200, lambda factor: 200.0 * (factor > 1.35)), 0.0)
    assert known.at_most(2, 2, GRID, 100) == (200, 0)  # 1980 / 1600 = 1.24, rounded up to 1.33: the next factor
    assert known.at_most(2, 0, GRID, 100) == (200, 200)
    assert known.at_most(9, 3, GRID, 100) == (200, 200)  # a batch 128 times as large


def test_old_requests_fade() -> None:
    known = Experience().add(1, 1, MissCurve(600, (600.0,) * 13), 0.0)
    for minute in range(40):
        known = known.add(1, 1, MissCurve(100, (0.0,) * 13), 60.0 * minute)
    requests, missed = known.at_most(1, 1, GRID, 100)
    assert missed < 0.05 * requests


def test_a_wait_before_the_first_gap_makes_short_requests_miss() -> None:
    seen = histogram([0.1] * 1000)
    draw = random.Random(4)
    lengths = [1 + int(draw.expovariate(1 / 99.5)) for _ in range(4000)]
    late = sum((1.0 + 0.1 * k) / k > 0.2 for k in lengths) / len(lengths)
    assert itl_misses(seen, 0.2, 100, wait_s=1.0) == pytest.approx(late, abs=0.02)
    assert itl_misses(seen, 0.1, 100, wait_s=1.0) == 1


def test_the_gap_at_a_lower_clock_grows_as_it_did_and_no_more_than_in_proportion() -> None:
    one = WorkMeans().add(1, 100, histogram([0.02] * 300), 1.0, (2, 3))
    assert one.expected_gap_s(2, 1, GRID) == pytest.approx(0.02 * 1980 / 1300)
    two = one.add(1, 100, histogram([0.02] * 300), 1.0, (2, 2))  # waits for memory: no longer at 1600 than at 1980 MHz
    assert two.expected_gap_s(2, 1, GRID) == pytest.approx(0.02)
    assert WorkMeans().expected_gap_s(2, 1, GRID) == 0


def test_gaps_without_a_sum_are_no_pace() -> None:
    nothing = Latencies(EDGES, (300, *([0] * len(EDGES))), 0.0)
    work = WorkMeans().add(1, 100, nothing, 1.0, (2, 3)).add(1, 100, nothing, 1.0, (2, 2))
    assert work.expected_gap_s(2, 1, GRID) == 0
