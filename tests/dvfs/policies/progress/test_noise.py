"""The noise of samples: both parts are found again, and the formulas are those of the process itself."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.policies.progress._noise import RHO, UNKNOWN_NOISE, Noise


def draw_samples(draw: random.Random, n: int, white: float, slow: float) -> list[float]:
    e, samples = draw.gauss(0, math.sqrt(slow)), []
    for _ in range(n):
        e = RHO * e + draw.gauss(0, math.sqrt(slow * (1 - RHO**2)))
        samples.append(e + draw.gauss(0, math.sqrt(white)))
    return samples


@pytest.mark.parametrize(("white", "slow"), [(4e-4, 0.0), (0.0, 4e-4), (1e-4, 3e-4), (25e-4, 0.0)])
def test_both_parts_are_found_again(white: float, slow: float) -> None:
    draw, noise = random.Random(3), UNKNOWN_NOISE
    for _ in range(60):
        noise = noise.add_block(draw_samples(draw, 25, white, slow))
    assert noise.variance_of_mean(25) == pytest.approx(Noise(white, slow).variance_of_mean(25), rel=0.35)
    assert noise.white + noise.slow == pytest.approx(white + slow, rel=0.3)


@given(st.integers(1, 40), st.floats(0, 1e-2), st.floats(0, 1e-2))
def test_variance_of_a_mean_is_that_of_the_process(n: int, white: float, slow: float) -> None:
    """By the covariances of all pairs of samples."""
    pairs = sum(slow * RHO ** abs(i - j) + white * (i == j) for i in range(n) for j in range(n))
    assert Noise(white, slow).variance_of_mean(n) == pytest.approx(pairs / n**2, abs=1e-12)


@given(st.integers(1, 30))
def test_a_block_tells_how_mean_and_end_go_together(n: int) -> None:
    """Covariance of the mean with the slow part at the end, and with its value before the block."""
    slow = 2e-4
    block = Noise(1e-4, slow).block(n)
    with_end = sum(slow * RHO ** (n - i) for i in range(1, n + 1)) / n
    with_start = sum(slow * RHO**i for i in range(1, n + 1)) / n
    assert block.carried * slow == pytest.approx(with_start)
    assert block.carried * block.kept * slow + block.shared == pytest.approx(with_end)
    assert block.kept**2 * slow + block.fresh == pytest.approx(slow)


def test_a_mean_leaves_out_a_stall_but_not_a_habit() -> None:
    noise = Noise(1e-4)
    level = [0.0] * 9
    assert noise.mean([*level, 1.0]) == 0.0
    assert noise.mean([*level, 0.035]) == pytest.approx(0.0035)
    assert noise.mean([0.0, 0.0, 1.0, 1.0]) == pytest.approx(0.5)  # half of the steps are no outliers
