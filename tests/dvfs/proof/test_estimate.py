"""Savings: the interval covers the known truth, the claim is its lower end, losses are counted apart."""

import math
import random
from dataclasses import replace
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.proof.blocks import Plan
from dvfs.proof.estimate import Block, Reading, collect, estimate, t_quantile_975


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


def served(draw: random.Random, pairs: int, power: float, open_arrivals: bool) -> list[Block]:
    """Blocks of a server of which each on block draws `power` of an off block's watts at equal tokens/s, and whose steps take
    20 % longer. Power hardly rises with the batch, so energy per token falls by 4/5 of what the batch grows by.
    """
    found = []
    for pair in range(pairs):
        level = draw.uniform(4, 64)
        for on in (True, False):
            batch = level * math.exp(draw.gauss(0, 0.3))
            step_s = 0.02 * (1.2 if on else 1.0) * math.exp(draw.gauss(0, 0.01))
            if open_arrivals and on:
                batch *= 1.2  # requests stay longer, so that what is served is what is asked for
            tokens_s = batch / step_s
            watts = 400 * (tokens_s / 1000) ** 0.2 * (power if on else 1) * math.exp(draw.gauss(0, 0.02))
            load = tokens_s if open_arrivals else batch
            found.append(Block(pair, on, round(watts * 10e6), tokens_s * 10, 10.0, step_s, load))
    return found


@pytest.mark.parametrize(("open_arrivals", "ratio"), [(True, 0.7), (False, 0.7 * 1.2**0.8), (False, 1.0)])
def test_at_equal_load_the_interval_covers_the_truth_and_is_narrow(open_arrivals: bool, ratio: float) -> None:
    """Truth: watts at equal tokens/s; with closed arrivals, energy per token at equal batch."""
    draw, runs, hits, slow_hits = random.Random(3), 1000, 0, 0
    halves, plain_halves, claims = [], [], 0
    for _ in range(runs):
        made = served(draw, 8, ratio if open_arrivals else ratio / 1.2**0.8, open_arrivals)
        verdict, plain = estimate(made), estimate([replace(b, load=None) for b in made])
        saving, slowdown = verdict.saving_ratio, verdict.slowdown_ratio
        hits += saving.low <= 1 - ratio <= saving.high
        slow_hits += slowdown.low <= 0.2 <= slowdown.high
        assert verdict.slowdown_of == "latency"
        halves.append((saving.high - saving.low) / 2)
        plain_halves.append((plain.saving_ratio.high - plain.saving_ratio.low) / 2)
        claims += verdict.claimable_uj > 0
    assert 0.93 <= hits / runs <= 0.97
    assert 0.93 <= slow_hits / runs <= 0.97
    assert sum(halves) < 0.2 * sum(plain_halves)
    if ratio == 1:
        assert claims / runs <= 0.045


def test_closed_arrivals_never_claim_what_open_ones_would_not() -> None:
    """Compared at equal batch, a server under open arrivals is credited with less than the truth, never with more."""
    draw, truth = random.Random(5), 0.3
    for _ in range(200):
        made = [replace(b, load=b.work / b.seconds * b.latency_s) for b in served(draw, 8, 1 - truth, open_arrivals=True)]
        assert estimate(made).saving_ratio.low < truth


def test_pairs_of_unlike_load_and_half_pairs_are_left_out() -> None:
    made = measured(random.Random(2), 6, 0.2, 0.0, 0.01)
    odd = [replace(b, load=10.0 if b.on or b.pair else 20.1) for b in made[:-1]]
    verdict = estimate(odd)
    assert (verdict.pairs, verdict.unmatched) == (4, 1)
    assert verdict.saving_ratio.value == pytest.approx(0.2, abs=0.03)  # all loads alike: the plain mean
    assert estimate([replace(b, load=None if b.pair == 1 else b.load) for b in odd]).unmatched == 2
    few = estimate(odd[:8])
    assert few.reason.startswith("needs at least 4 pairs")
    assert (few.saving_ratio, few.claimable_uj) == (None, 0)
    assert estimate([replace(b, load=None) for b in odd[:4]]).reason.startswith("needs at least 3 pairs")


def test_slowdown_is_time_per_work_where_no_latency_is_told() -> None:
    verdict = estimate(measured(random.Random(2), 6, 0.2, 0.1, 0.001))
    assert verdict.slowdown_of == "time_per_work"
    assert verdict.slowdown_ratio.value == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("df", "value"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (10, 2.2281), (29, 2.0452), (120, 1.9799)])
def test_t_quantile_of_published_tables(df: int, value: float) -> None:
    assert t_quantile_975(df) == pytest.approx(value, abs=5e-5)


@given(st.integers(), st.integers(1, 50), st.floats(1, 60), st.floats(0, 0.9))
def test_schedule_is_paired_and_gapless(seed: int, pairs: int, seconds: float, settle: float) -> None:
    plan = Plan(seed, pairs, seconds, settle * seconds)
    schedule = list(plan.slots())
    assert schedule == list(Plan(seed, pairs, seconds, settle * seconds).slots())
    for pair in range(pairs):
        assert {s.on for s in schedule if s.pair == pair} == {True, False}
    for one, following in pairwise(schedule):
        assert one.start_s <= one.settled_s < one.end_s == pytest.approx(following.start_s)
        assert plan.slot_at((one.start_s + one.end_s) / 2) == one
    assert plan.slot_at(2 * pairs * seconds + 1) is None
    assert plan.slot_at(-1) is None


@given(st.integers(0, 5), st.floats(2, 60), st.floats(1, 10))
def test_without_end_pairs_come_half_as_often_after_each_look(seed: int, seconds: float, times: float) -> None:
    every = 2 * seconds * times
    plan = Plan(seed, None, seconds, 0.1 * seconds, every)
    slots = list(islice(plan.slots(), 200))
    starts = [slot.start_s for slot in slots[::2]]
    gaps = [b - a for a, b in pairwise(starts)]
    assert gaps[:12] == pytest.approx([every] * 12)
    assert gaps[12:24] == pytest.approx([2 * every] * 12)
    assert gaps[24:48] == pytest.approx([4 * every] * 24)
    assert gaps[48:96] == pytest.approx([8 * every] * 48)
    for slot in slots:
        assert plan.slot_at((slot.start_s + slot.end_s) / 2) == slot
    looks = {pairs: chance for pairs in range(1, 400) if (chance := plan.chance(pairs)) is not None}
    assert list(looks) == [12, 24, 48, 96, 192, 384]
    assert sum(looks.values()) < 0.025
    assert Plan(0, 8, 10, 2).chance(8) == 0.025
    assert Plan(0, 8, 10, 2).chance(7) is None


@pytest.mark.parametrize("bad", [(0, 10, 2, None), (3, 10, 10, None), (3, 10, 2, 19)])
def test_plans_that_cannot_be_are_refused(bad: tuple[int, float, float, float | None]) -> None:
    with pytest.raises(ValueError, match="cannot plan"):
        Plan(0, *bad)


def test_order_within_pairs_is_mixed() -> None:
    first = [s.on for s in Plan(3, 200, 1, 0).slots() if s.start_s == 2 * s.pair]
    assert 60 < sum(first) < 140


def test_collect_interpolates_and_leaves_out_gaps_and_resets() -> None:
    schedule = list(Plan(0, 2, 10, 2).slots())

    every = [Reading(round((s + 0.3) * 1e9), round((s + 0.3) * 100e6)) for s in range(-1, 42)]
    work = [Reading(round((s + 0.7) * 1e9), round((s + 0.7) * 1000)) for s in range(-1, 42)]  # at instants of its own
    found = collect(schedule, 0, {"energy_uj": every, "work": work})
    assert [b.energy_uj for b in found] == pytest.approx([700_000_000] * 4)
    assert [b.work for b in found] == pytest.approx([7000] * 4)
    assert {(b.latency_s, b.load) for b in found} == {(None, None)}
    holed = [r for r in every if not 8e9 < r.t_ns < 15e9]
    assert len(collect(schedule, 0, {"energy_uj": holed, "work": work})) == 2
    reset = [r if r.t_ns < 25e9 else Reading(r.t_ns, r.value - 10**9) for r in every]
    assert len(collect(schedule, 0, {"energy_uj": reset, "work": work})) == 3


def test_collect_tells_latency_and_load() -> None:
    """16 sequences decode, each a token every 20 ms: 16 s of latency and 800 tokens a second."""
    schedule = list(Plan(0, 1, 10, 2).slots())
    series = {
        name: [Reading(s * 10**9, s * rate) for s in range(22)]
        for name, rate in {"energy_uj": 10**8, "work": 800, "latency_sum_s": 16.0, "latency_count": 800}.items()
    }
    for open_arrivals, load in ((False, 16.0), (True, 800.0)):
        for block in collect(schedule, 0, series, open_arrivals=open_arrivals):
            assert (block.latency_s, block.load) == (pytest.approx(0.02), pytest.approx(load))
    series["latency_sum_s"] = [r if r.t_ns < 15e9 else Reading(r.t_ns, 0.0) for r in series["latency_sum_s"]]
    assert [b.load is None for b in collect(schedule, 0, series)] == [False, True]
