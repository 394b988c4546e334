"""The interval of a comparison: its coverage."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlens.comparison.statistics import RunEnergy, compare, compare_measured, gain_range, widened


def test_equal_runs_differ_significantly_in_about_one_of_twenty():
    rng = random.Random(1)
    significant_count = sum(
        compare([rng.lognormvariate(5, 0.05) for _ in range(4)], [rng.lognormvariate(5, 0.05) for _ in range(4)]).is_significant
        for _ in range(2000)
    )
    assert 0.02 < significant_count / 2000 < 0.06


def test_a_true_ratio_lies_in_the_interval():
    rng = random.Random(2)
    hits = 0
    for _ in range(1000):
        a, b = [rng.lognormvariate(5, 0.03) for _ in range(5)], [rng.lognormvariate(5, 0.1) * 0.8 for _ in range(3)]
        comparison = compare(a, b)
        hits += comparison.low <= 0.8 <= comparison.high
    assert hits >= 930


runs = st.lists(st.floats(1.0, 1e6), min_size=2, max_size=5)


@given(runs, runs, st.booleans(), st.booleans(), st.floats(0, 0.2))
def test_no_interval_is_a_point_and_none_is_narrower_than_the_runs_errors(a, b, equal_a, equal_b, error):
    a, b = [a[:1] * len(a), a][not equal_a], [b[:1] * len(b), b][not equal_b]
    bare, with_errors = compare(a, b), compare(a, b, [error] * (len(a) + len(b)))
    assert bare.low < bare.ratio < bare.high
    assert (with_errors.low, with_errors.high) == (bare.low, bare.high) or with_errors.low <= bare.low or bare.low == 0.0
    if with_errors.low:
        assert math.log(with_errors.ratio / with_errors.low) >= error / math.sqrt(max(len(a), len(b))) - 1e-9


def test_two_equal_runs_a_side_show_a_difference_only_beyond_their_own_errors():
    assert not compare([100.0, 100.0], [100.1, 100.1]).is_significant
    assert not compare([100.0, 100.0], [100.1, 100.1], [0.01] * 4).is_significant
    assert compare([100.0, 100.0], [120.0, 120.0], [0.01] * 4).is_significant


@pytest.mark.parametrize("sides", [([1.0], [1.0, 2.0]), ([0.0, 1.0], [1.0, 2.0])])
def test_too_little_is_refused(sides):
    with pytest.raises(ValueError):
        compare(*sides)


gains = st.floats(0.0, 0.2)
joules = st.floats(0.0, 1e6)


@st.composite
def boards(draw):
    """J of A and of B, and gain errors, over up to five boards, some of one side alone."""
    names = [str(k) for k in range(draw(st.integers(1, 5)))]
    a = {n: draw(joules) for n in names if draw(st.booleans())} | {"a": draw(st.floats(1.0, 1e6))}
    b = {n: draw(joules) for n in names if draw(st.booleans())} | {
        draw(st.sampled_from([*names, "a"])): draw(st.floats(1, 1e6))
    }
    return a, b, {n: draw(gains) for n in a.keys() | b.keys()}


def factor(a, b, errors):
    """Return the true ratio divided by the reported one, where GPU u reads 1 + errors[u] times its true energy."""
    true = sum(j / (1 + errors[u]) for u, j in b.items()) / sum(j / (1 + errors[u]) for u, j in a.items())
    return true / (sum(b.values()) / sum(a.values()))


@given(boards())
def test_gains_move_the_ratio_by_no_more_and_no_less_than_the_range(drawn):
    a, b, limits = drawn
    low, high = gain_range(a, b, limits)
    corners = [
        factor(a, b, dict(zip(limits, signed, strict=True)))
        for signed in itertools.product(*((-gain, gain) for gain in limits.values()))
    ]
    assert low == pytest.approx(min(corners), rel=1e-9)
    assert high == pytest.approx(max(corners), rel=1e-9)


@given(boards(), st.data())
def test_no_error_within_the_limits_leads_out_of_the_range(drawn, data):
    a, b, limits = drawn
    errors = {u: data.draw(st.floats(-1, 1)) * gain for u, gain in limits.items()}
    low, high = gain_range(a, b, limits)
    assert low * (1 - 1e-9) <= factor(a, b, errors) <= high * (1 + 1e-9)


@given(st.dictionaries(st.text(max_size=3), st.floats(1, 1e6), min_size=1, max_size=6), st.floats(0.1, 10), gains)
def test_gains_cancel_where_the_same_boards_share_alike_and_add_where_none_is_shared(a, times, gain):
    same = {u: j * times for u, j in a.items()}
    assert gain_range(a, same, dict.fromkeys(a, gain)) == pytest.approx((1.0, 1.0))
    other = {f"other {u}": j for u, j in a.items()}
    both = dict.fromkeys([*a, *other], gain)
    assert gain_range(a, other, both) == pytest.approx(((1 - gain) / (1 + gain), (1 + gain) / (1 - gain)))


@given(
    st.integers(0, 2**32),
    st.tuples(st.floats(0, 0.1), st.floats(0, 0.1), st.floats(0, 0.05), st.floats(0, 0.05)),
    st.floats(0.0, 0.05),
    st.booleans(),
    st.floats(0.2, 5.0),
)
@settings(max_examples=30)
def test_the_true_ratio_of_two_single_runs_lies_in_their_interval(seed, relative, gain, shared, ratio):
    """Two boards share the load unevenly; half-widths are two standard deviations, or the error has any place within them."""
    rng = random.Random(seed)
    draws, hits = 400, 0
    edge_a, edge_b, lag_a, lag_b = relative
    for _ in range(draws):
        names = ("x", "y"), (("x", "y") if shared else ("u", "v"))
        errors = {u: rng.uniform(-gain, gain) for u in "xyuv"}
        true = [{u: rng.uniform(10, 100) for u in side} for side in names]
        readings_j = [{u: j * (1 + errors[u]) for u, j in side.items()} for side in true]
        sums = [sum(side.values()) for side in readings_j]
        tokens = [1000.0, 1000.0 * sum(true[1].values()) / sum(true[0].values()) / ratio]
        runs = []
        for total, edge, count, lag in zip(sums, (edge_a, edge_b), tokens, (lag_a, lag_b), strict=True):
            energy_j = max(total * 0.01, total + rng.gauss(0, edge * total / 2))
            counted = count * (1 + rng.uniform(-lag, lag))
            runs.append(RunEnergy(energy_j, edge * total, counted, lag * count))
        comparison = widened(compare_measured(*runs), gain_range(*readings_j, dict.fromkeys("xyuv", gain)))
        hits += comparison.low * (1 - 1e-9) <= ratio <= comparison.high * (1 + 1e-9)
    assert hits >= 0.95 * draws - 3.5 * math.sqrt(draws * 0.05 * 0.95)


@pytest.mark.parametrize(
    "run", [RunEnergy(0.0, 0.0), RunEnergy(1.0, 1.0), RunEnergy(5.0, 0.1, 0.0), RunEnergy(5.0, 0.1, 10.0, 10.0)]
)
def test_run_indistinguishable_from_zero_is_refused(run):
    with pytest.raises(ValueError):
        compare_measured(run, RunEnergy(5.0, 0.1))
