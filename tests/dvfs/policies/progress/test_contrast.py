"""Offsets of settings: the filter is the exact answer of the model that it states, and its intervals hold."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.policies.progress._contrast import _FIRST_OFFSET, _FIRST_SLOPE, _UNKNOWN, LEVEL_WALK, OFFSET_WALK, RESTLESS, Contrasts
from dvfs.policies.progress._noise import RHO, Noise

SETTINGS = (100.0, 150.0, 200.0)
BLOCKS = st.lists(st.tuples(st.sampled_from(SETTINGS), st.integers(1, 20), st.floats(-0.2, 0.2)), min_size=1, max_size=9)


@settings(max_examples=60)
@given(BLOCKS, st.floats(1e-5, 1e-3), st.floats(0, 1e-3))
def test_it_is_the_posterior_of_its_model(blocks: list[tuple[float, int, float]], white: float, slow: float) -> None:
    """Truth: one joint normal distribution of offsets and block means, conditioned on the means by linear algebra."""
    noise, known = Noise(white, slow), Contrasts(200.0)
    for setting, n, value in blocks:
        known = known.add_block(setting, value, noise.block(n))
    others = [s for s in SETTINGS[:2] if s in known.order]
    ends = [sum(n for _, n, _ in blocks[: b + 1]) for b in range(len(blocks))]
    middles = [end - n / 2 for end, (_, n, _) in zip(ends, blocks, strict=True)]
    # Independent sources of all that is seen: variance, weight in each block's mean, and whose offset it is a part of.
    sources: list[tuple[float, dict[int, float], float | None]] = [
        (_UNKNOWN, dict.fromkeys(range(len(blocks)), 1.0), None),
        (_FIRST_SLOPE, dict(enumerate(middles)), None),
    ]
    for b, (_, n, _) in enumerate(blocks):
        later, begin = range(b, len(blocks)), ends[b] - n
        sources.append((LEVEL_WALK * n, dict.fromkeys(later, 1.0), None))
        sources.append((known.slope_walk * n, {c: middles[c] - begin for c in later}, None))
        for s in others:
            if s in [setting for setting, _, _ in blocks[: b + 1]]:
                sources.append((OFFSET_WALK * n, {c: 1.0 for c in later if blocks[c][0] == s}, s))
    sources += [(_FIRST_OFFSET, {b: 1.0 for b, block in enumerate(blocks) if block[0] == s}, s) for s in others]
    covariance = np.array([[_noises(ends, blocks, b, c, white, slow) for c in range(len(blocks))] for b in range(len(blocks))])
    for variance, weights, _ in sources:
        row = np.array([weights.get(b, 0.0) for b in range(len(blocks))])
        covariance += variance * np.outer(row, row)
    gains, means = np.linalg.inv(covariance), np.array([value for _, _, value in blocks])
    for s in others:
        own = [(variance, weights) for variance, weights, of in sources if of == s]
        shared = sum(variance * np.array([weights.get(b, 0.0) for b in range(len(blocks))]) for variance, weights in own)
        mean, variance = known.offset(s)
        assert mean == pytest.approx(float(shared @ gains @ means), abs=1e-6)
        assert variance == pytest.approx(sum(v for v, _ in own) - float(shared @ gains @ shared), abs=1e-6)


def _noises(ends: list[int], blocks: list[tuple[float, int, float]], b: int, c: int, white: float, slow: float) -> float:
    """Covariance of two means by that of all pairs of their samples; the slow noise begins at 0 before the first block."""
    n, m = blocks[b][1], blocks[c][1]
    pairs = ((i, j) for i in range(ends[b] - n, ends[b]) for j in range(ends[c] - m, ends[c]))
    total = sum(slow * (RHO ** abs(i - j) - RHO ** (i + j + 2)) for i, j in pairs)
    return total / n / m + (white / n if b == c else 0.0)


def test_intervals_hold_and_are_narrow_under_drift() -> None:
    """A setting 4 % slower, a job that gets 10 % slower over the run, 2 % of noise: 400 runs of the same plan."""
    draw, noise, hits, halves, errors = random.Random(5), Noise(4e-4), 0, [], []
    for _ in range(400):
        known, done = Contrasts(250.0), 0
        for i in range(60):
            setting, n = (250.0, 10) if i % 10 == 0 else (200.0, 25)
            middle = done + n / 2
            truth = 0.1 * middle / 1500 + (0.04 if setting == 200.0 else 0.0)
            known = known.add_block(setting, truth + draw.gauss(0, 0.02 / math.sqrt(n)), noise.block(n))
            done += n
        mean, variance = known.offset(200.0)
        hits += abs(mean - 0.04) <= 1.96 * math.sqrt(variance)
        halves.append(1.96 * math.sqrt(variance))
        errors.append(abs(mean - 0.04))
    assert hits / 400 >= 0.93
    assert sum(halves) / 400 <= 2 * sorted(errors)[380]


def test_a_swinging_drift_is_told_by_the_likelihood() -> None:
    draw, noise = random.Random(1), Noise(4e-4)
    for swing, restless in ((0.0, False), (0.05, True)):
        calm, other, done = Contrasts(250.0), Contrasts(250.0, slope_walk=RESTLESS), 0
        for i in range(100):
            n = 25
            value = swing * math.sin(done / 160) + draw.gauss(0, 0.004)
            calm, other = (k.add_block(250.0 if i % 4 == 0 else 200.0, value, noise.block(n)) for k in (calm, other))
            done += n
        assert (other.log_likelihood > calm.log_likelihood + 2) == restless


def test_surprise_knows_settings_that_were_never_measured() -> None:
    known = Contrasts(250.0).add_block(250.0, 1.0, Noise(4e-4).block(20))
    error, sd = known.surprise(100.0, 1.5, Noise(4e-4).block(10))
    assert abs(error) < 1.1 * sd
    error, sd = known.surprise(250.0, 1.5, Noise(4e-4).block(10))
    assert abs(error) > 20 * sd
