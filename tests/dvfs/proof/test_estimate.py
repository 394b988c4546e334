"""The estimate on pairs whose truth is known: intervals cover it, weights count, and no pair says more than it can."""

import json
import math
import random
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.proof.estimate import MeasuredBlock, PairSums, estimate
from tests.support import examples

NS = 1_000_000_000


def block(uj: float, work: float, seconds: float = 10.0, latency_s: float = 0.0) -> MeasuredBlock:
    itl_count = round(work) if latency_s else 0
    return MeasuredBlock(round(uj), round(work), round(seconds * NS), round(itl_count * latency_s * 1e6), itl_count)


def trained(draw: random.Random, saving: float, slowdown: float, noise: float) -> tuple[MeasuredBlock, MeasuredBlock]:
    rate, drift, blocks = draw.uniform(50_000, 200_000), draw.gauss(0, 0.2), []
    for on in (True, False):
        work = rate * 10 / ((1 + slowdown) if on else 1) * math.exp(draw.gauss(0, noise))
        per_work = math.exp(drift + draw.gauss(0, noise)) * ((1 - saving) if on else 1)
        blocks.append(block(work * per_work * 1e3, work))
    return blocks[0], blocks[1]


def evidence_of(
    pairs: list[tuple[MeasuredBlock, MeasuredBlock]], weights: list[int] | None = None, **options: bool
) -> PairSums:
    evidence = PairSums()
    for i, (on, off) in enumerate(pairs):
        assert not evidence.add(on, off, weights[i] if weights else 10**9, **options)
    return evidence


@pytest.mark.parametrize(("saving", "slowdown", "noise"), [(0.25, 0.0, 0.02), (0.0, 0.05, 0.05), (-0.1, 0.3, 0.01)])
def test_interval_covers_the_truth_and_is_not_wide(saving: float, slowdown: float, noise: float) -> None:
    draw, runs = random.Random(7), 1000
    hits = slow_hits = claims = 0
    errors, halves = [], []
    for _ in range(runs):
        verdict = estimate(evidence_of([trained(draw, saving, slowdown, noise) for _ in range(12)]))
        s, u = verdict.saving_ratio, verdict.slowdown_ratio
        hits += s.low <= saving <= s.high
        slow_hits += u.low <= slowdown <= u.high
        errors.append(abs(s.value - saving))
        halves.append((s.high - s.low) / 2)
        claims += verdict.saved_uj.low > 0
    assert 0.93 <= hits / runs <= 0.975  # 95 % +- 3 standard errors; degrees of freedom are rounded down
    assert 0.93 <= slow_hits / runs <= 0.975
    assert sum(halves) / runs <= 2 * sorted(errors)[int(0.95 * runs)]
    if saving == 0:
        assert claims / runs <= 0.045  # the chance of a claim on nothing: 2.5 % + 4 standard errors
    if saving < 0:
        assert claims == 0


def test_a_pair_counts_with_the_energy_that_it_stands_for() -> None:
    """12 pairs of one hour with a saving of 30 %, then 12 of eight hours without one, no noise: by hand."""
    with_it, without = (block(700e6, 1000), block(1000e6, 1000)), (block(1000e6, 1000), block(1000e6, 1000))
    evidence = evidence_of([with_it] * 12 + [without] * 12, [10**9] * 12 + [8 * 10**9] * 12)
    mean = math.log(0.7) / 9
    verdict = estimate(evidence)
    assert verdict.saving_ratio.value == pytest.approx(1 - math.exp(mean))
    assert verdict.saved_uj.value == pytest.approx(108e9 * math.expm1(-mean))
    assert verdict.saved_uj.value < 12e9 * (1 / 0.7 - 1), "never more than it was"
    assert evidence.effective_pairs == pytest.approx((12 + 96) ** 2 / (12 + 12 * 64))


@given(st.lists(st.tuples(st.floats(0.5, 2), st.floats(0.6, 1.6), st.integers(1, 10)), min_size=4, max_size=30))
def test_the_line_is_that_of_weighted_least_squares(rows: list[tuple[float, float, int]]) -> None:
    """Peer: numpy's least squares on rows scaled by the root of their weights."""
    pairs = [(block(1e9 * d, 1e6, 10, 0.02), block(1e9, 1e6 / x, 10, 0.02)) for d, x, _ in rows]
    weights = [w * 10**9 for _, _, w in rows]
    evidence = evidence_of(pairs, weights, open_arrivals=True)
    d = np.array([math.log(on.energy_uj / on.work) - math.log(off.energy_uj / off.work) for on, off in pairs])
    x = np.array([math.log(on.work / off.work) for on, off in pairs])
    root = np.sqrt(np.array(weights) / 1e9)
    verdict = estimate(evidence)
    if verdict.reason or np.ptp(x) < 1e-3:
        return
    (value, _), *_ = np.linalg.lstsq(np.column_stack([root, root * x]), root * d, rcond=None)
    assert -math.log1p(-verdict.saving_ratio.value) == pytest.approx(-value, abs=1e-6)


def test_open_arrivals_without_latencies_prove_nothing() -> None:
    """Time per token is that of the arrivals, however slow the server is."""
    evidence = PairSums()
    assert "latencies" in evidence.add(block(7e8, 1000), block(1e9, 1000), 10**9, open_arrivals=True)
    assert evidence.pairs == 0
    assert not evidence.add(block(7e8, 1000), block(1e9, 1000), 10**9, open_arrivals=False)


def served(draw: random.Random, power: float, open_arrivals: bool) -> tuple[MeasuredBlock, MeasuredBlock]:
    """Blocks of a server of which each on block draws `power` of an off block's watts at equal tokens/s, and whose steps take
    20 % longer. Power hardly rises with the batch, so energy per token falls by 4/5 of what the batch grows by.
    """
    blocks, level = [], draw.uniform(8, 64)
    for on in (True, False):
        batch = level * math.exp(draw.gauss(0, 0.15))
        step_s = 0.02 * (1.2 if on else 1.0) * math.exp(draw.gauss(0, 0.01))
        if open_arrivals and on:
            batch *= 1.2  # requests stay longer, so throughput still equals the request rate
        tokens_s = batch / step_s
        watts = 400 * (tokens_s / 1000) ** 0.2 * (power if on else 1) * math.exp(draw.gauss(0, 0.02))
        blocks.append(block(watts * 100e6, tokens_s * 100, 100.0, step_s))
    return blocks[0], blocks[1]


@pytest.mark.parametrize(("open_arrivals", "ratio"), [(True, 0.7), (False, 0.7 * 1.2**0.8), (False, 1.0)])
def test_at_equal_load_the_interval_covers_the_truth_and_is_narrow(open_arrivals: bool, ratio: float) -> None:
    """Truth: watts at equal tokens/s; with closed arrivals, energy per token at equal batch."""
    draw, runs, hits, slow_hits, claims = random.Random(3), 600, 0, 0, 0
    halves, plain_halves = [], []
    for _ in range(runs):
        evidence, plain = PairSums(), PairSums()
        for _ in range(14):
            on, off = served(draw, ratio if open_arrivals else ratio / 1.2**0.8, open_arrivals)
            if not evidence.add(on, off, 10**9, open_arrivals=open_arrivals):
                plain.add(*(MeasuredBlock(b.energy_uj, b.work, b.ns) for b in (on, off)), 10**9)
        verdict = estimate(evidence)
        saving, slowdown = verdict.saving_ratio, verdict.slowdown_ratio
        hits += saving.low <= 1 - ratio <= saving.high
        slow_hits += slowdown.low <= 0.2 <= slowdown.high
        assert verdict.slowdown_of == "latency"
        unadjusted = estimate(plain).saving_ratio
        halves.append((saving.high - saving.low) / 2)
        plain_halves.append((unadjusted.high - unadjusted.low) / 2)
        claims += verdict.saved_uj.low > 0
    assert 0.93 <= hits / runs <= 0.98
    assert 0.93 <= slow_hits / runs <= 0.98
    assert sum(halves) < 0.4 * sum(plain_halves)
    if ratio == 1:
        assert claims / runs <= 0.045


def test_unusable_pair_returns_a_reason_and_changes_nothing() -> None:
    evidence = evidence_of([(block(7e8, 1000, 10, 0.02), block(1e9, 1000, 10, 0.02))] * 3)
    before = asdict(evidence)
    assert evidence.add(block(7e8, 500, 10, 0.01), block(1e9, 1001, 10, 0.02), 10**9)
    assert evidence.add(block(7e8, 1000), block(1e9, 1000), 10**9)
    for on, off, weight in (
        (block(0, 1000), block(1e9, 1000), 10**9),
        (block(7e8, 0), block(1e9, 1000), 10**9),
        (block(7e8, 1000), block(1e9, 1000), 0),
    ):
        assert evidence.add(on, off, weight)
    assert asdict(evidence) == before
    assert estimate(evidence).reason.startswith("needs at least 4 pairs")
    assert estimate(PairSums()).saved_uj is None


def test_pairs_that_are_all_alike_have_an_interval_unless_one_outweighs_all_others() -> None:
    pairs = [(block(750e6, 1000), block(1000e6, 1000))] * 6
    verdict = estimate(evidence_of(pairs))
    assert verdict.saving_ratio.value == pytest.approx(0.25)
    assert verdict.saving_ratio.low < verdict.saving_ratio.value < verdict.saving_ratio.high
    assert verdict.slowdown_ratio.low < 0 < verdict.slowdown_ratio.high
    assert estimate(evidence_of(pairs, [10**15, *[10**6] * 5])).reason


@given(st.integers(0, 2**32), st.integers(0, 12))
def test_evidence_goes_on_from_what_was_stored(seed: int, at: int) -> None:
    draw = random.Random(seed)
    pairs = [trained(draw, 0.1, 0.0, 0.02) for _ in range(12)]
    stored = PairSums(**json.loads(json.dumps(asdict(evidence_of(pairs[:at])))))
    for on, off in pairs[at:]:
        stored.add(on, off, 10**9)
    assert estimate(stored) == estimate(evidence_of(pairs))


def test_slowdown_is_time_per_work_without_latency() -> None:
    draw = random.Random(2)
    verdict = estimate(evidence_of([trained(draw, 0.2, 0.1, 0.001) for _ in range(6)]))
    assert verdict.slowdown_of == "time_per_work"
    assert verdict.slowdown_ratio.value == pytest.approx(0.1, abs=0.01)


@settings(max_examples=examples(200))
@given(st.floats(0.5, 2), st.sampled_from([0.0, 1e-9, 1e-6, 1e-3, 0.3]), st.integers(0, 2**32), st.integers(1, 300))
def test_whatever_is_measured_no_more_is_claimed_than_any_pair_shows(ratio: float, spread: float, seed: int, look: int) -> None:
    """Loads that differ always by about the same ratio make a line that says anything where both are equal."""
    draw, evidence, spent_uj = random.Random(seed), PairSums(), 0
    for _ in range(12):
        x = ratio * math.exp(spread * draw.gauss(0, 1))
        treatment = block(1e9 * math.exp(draw.uniform(-1.2, 1.2)), 1e6, 10, 0.02)
        if not evidence.add(treatment, block(1e9, 1e6 / x, 10, 0.02), 10**9, open_arrivals=True):
            spent_uj += 10**9
    verdict = estimate(evidence, 0.025 / (look * (look + 1)))
    if verdict.saved_uj is not None:
        assert verdict.saved_uj.low <= 3 * spent_uj
        assert -verdict.saved_uj.value <= spent_uj
    for ends in (verdict.saving_ratio, verdict.slowdown_ratio, verdict.saved_uj):
        assert ends is None or all(map(math.isfinite, (ends.value, ends.low, ends.high)))


def test_a_line_that_leaves_the_range_of_its_pairs_claims_nothing() -> None:
    """Energy per work rises from 0.3 to 3.3 times while the load ratio rises from 1.65 to 2: 0.0005 times at equal load."""
    evidence = PairSums()
    for i in range(12):
        part = i * 5 % 12 / 11
        x, d = 0.5 + 0.19 * part, -1.2 + 2.4 * part
        treatment, control = block(1e9 * math.exp(d + x), 1e6, 10, 0.02), block(1e9, 1e6 / math.exp(x), 10, 0.02)
        assert not evidence.add(treatment, control, 10**9, open_arrivals=True)
    verdict = estimate(evidence)
    assert verdict.reason
    assert verdict.saved_uj is None
