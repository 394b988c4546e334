"""Savings: the interval covers the known truth, the claim is its lower end, losses are counted apart."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.savings import Block, Reading, blocks, collect, estimate, slot_at, t_quantile_975


def measured(draw: random.Random, pairs: int, saving: float, slowdown: float, noise: float) -> list[Block]:
    """Blocks of a world with a known saving: drift is common to a pair, noise is each block's own."""
    found = []
    for pair in range(pairs):
        rate, drift = draw.uniform(50, 200), draw.gauss(0, 0.2)
        for on in (True, False):
            work = rate * 10 / ((1 + slowdown) if on else 1) * math.exp(draw.gauss(0, noise))
            per_work = math.exp(drift + draw.gauss(0, noise)) * ((1 - saving) if on else 1)
            found.append(Block(pair, on, round(work * per_work * 1e6), work, 10.0))
    return found


@pytest.mark.parametrize(("saving", "slowdown", "noise"), [(0.25, 0.0, 0.02), (0.0, 0.05, 0.05), (-0.1, 0.3, 0.01)])
def test_interval_covers_the_truth_and_is_not_wide(saving: float, slowdown: float, noise: float) -> None:
    draw, runs = random.Random(7), 1000
    hits = slow_hits = claims = 0
    errors, halves = [], []
    for _ in range(runs):
        verdict = estimate(measured(draw, 8, saving, slowdown, noise))
        s, u = verdict.saving_ratio, verdict.slowdown_ratio
        hits += s.low <= saving <= s.high
        slow_hits += u.low <= slowdown <= u.high
        errors.append(abs(s.value - saving))
        halves.append((s.high - s.low) / 2)
        claims += verdict.claimable_uj > 0
    assert 0.93 <= hits / runs <= 0.97  # 95 % +- 3 standard errors
    assert 0.93 <= slow_hits / runs <= 0.97
    assert sum(halves) / runs <= 2 * sorted(errors)[int(0.95 * runs)]
    if saving == 0:
        assert claims / runs <= 0.045  # the chance of a claim on nothing: 2.5 % + 4 standard errors
    if saving < 0:
        assert claims == 0


def test_claim_is_the_lower_end_over_all_enforced_time() -> None:
    made = measured(random.Random(1), 6, 0.2, 0.0, 0.01)
    verdict = estimate(made, enforced_uj=10**12)
    assert verdict.claimable_uj == math.floor(verdict.saved_uj.low)
    assert verdict.saved_uj.value == pytest.approx(10**12 * 0.2 / 0.8, rel=0.05)
    assert verdict.extra_uj == 0
    loss = estimate(measured(random.Random(1), 6, -0.2, 0.0, 0.01), enforced_uj=10**12)
    assert (loss.claimable_uj, loss.extra_uj) == (0, math.ceil(-loss.saved_uj.value))


def test_unmatched_and_half_pairs_are_left_out() -> None:
    made = measured(random.Random(2), 5, 0.2, 0.0, 0.01)
    odd = [Block(b.pair, b.on, b.energy_uj, b.work, b.seconds, 10.0 if b.on or b.pair else 20.0) for b in made[:-1]]
    verdict = estimate(odd)
    assert (verdict.pairs, verdict.unmatched) == (3, 1)
    assert estimate(odd[:4]).reason.startswith("needs at least 3 pairs")
    assert estimate(odd[:4]).claimable_uj == 0


@pytest.mark.parametrize(("df", "value"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (10, 2.2281), (29, 2.0452), (120, 1.9799)])
def test_t_quantile_of_published_tables(df: int, value: float) -> None:
    assert t_quantile_975(df) == pytest.approx(value, abs=5e-5)


@given(st.integers(), st.integers(1, 50), st.floats(1, 60), st.floats(0, 0.9))
def test_schedule_is_paired_and_gapless(seed: int, pairs: int, seconds: float, settle: float) -> None:
    schedule = blocks(seed, pairs, seconds, settle * seconds)
    assert schedule == blocks(seed, pairs, seconds, settle * seconds)
    for pair in range(pairs):
        assert {s.on for s in schedule if s.pair == pair} == {True, False}
    for one, following in pairwise(schedule):
        assert one.start_s <= one.settled_s < one.end_s == pytest.approx(following.start_s)
    assert slot_at(schedule, 2 * pairs * seconds + 1) is None


def test_order_within_pairs_is_mixed() -> None:
    first = [s.on for s in blocks(3, 200, 1, 0) if s.start_s == 2 * s.pair]
    assert 60 < sum(first) < 140


def test_collect_interpolates_and_leaves_out_gaps_and_resets() -> None:
    schedule = blocks(0, 2, 10, 2)

    every = [Reading(round((s + 0.3) * 1e9), round((s + 0.3) * 100e6)) for s in range(-1, 42)]
    work = [Reading(round((s + 0.7) * 1e9), round((s + 0.7) * 1000)) for s in range(-1, 42)]  # at instants of its own
    found = collect(schedule, 0, every, work)
    assert [b.energy_uj for b in found] == pytest.approx([800_000_000] * 4)
    assert [b.work for b in found] == pytest.approx([8000] * 4)
    assert len(collect(schedule, 0, [r for r in every if not 8e9 < r.t_ns < 15e9], work)) == 2
    reset = [r if r.t_ns < 25e9 else Reading(r.t_ns, r.value - 10**9) for r in every]
    assert len(collect(schedule, 0, reset, work)) == 3
