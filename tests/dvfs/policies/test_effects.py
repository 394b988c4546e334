"""Effects of settings and the account of a run's slowdown, out of blocks of samples whose truth is known."""

import math
import random

import pytest

from dvfs.policies._effects import Measurements

TOP, LOW = 100.0, 80.0
SLOWER = {TOP: 1.0, LOW: 1.06}


def measure(
    measurements: Measurements, setting: float, samples: int, level: float, draw: random.Random, noise: float = 0.02
) -> Measurements:
    times = [level * SLOWER[setting] * math.exp(draw.gauss(0, noise)) for _ in range(samples)]
    return measurements.learn(setting, times, [draw.gauss(300 if setting == TOP else 240, 3) for _ in times])


def alternate(rounds: int, seed: int, drift: float = 0.0, noise: float = 0.02) -> Measurements:
    """The level drifts by `drift` of itself with each block."""
    measurements, draw, level = Measurements(TOP), random.Random(seed), 2.0
    for _ in range(rounds):
        measurements, level = measure(measurements, TOP, 10, level, draw, noise), level * (1 + drift)
        for _ in range(3):
            measurements, level = measure(measurements, LOW, 25, level, draw, noise), level * (1 + drift)
    return measure(measurements, TOP, 10, level, draw, noise)


@pytest.mark.parametrize("drift", [0.0, 0.002, -0.002])
def test_a_drift_cancels_and_the_standard_error_is_right(drift: float) -> None:
    errors = []
    for seed in range(60):
        measurements = alternate(12, seed, drift)
        standard = measurements.sd * math.sqrt(measurements.variance + measurements.weight**2 / 10) / measurements.work
        errors.append((measurements.excess / measurements.work - 0.06 * 900 / (900 + 130)) / standard)
        assert measurements.effects[LOW].power == pytest.approx(math.log(240 / 300), abs=0.02)
    assert abs(sum(errors) / 60) < 0.6  # drift weighs the later work a little more
    assert 0.6 < math.sqrt(sum(error**2 for error in errors) / 60) < 1.4


def test_the_account_counts_blocks_that_wait_for_the_next_reference() -> None:
    draw = random.Random(1)
    measurements = measure(measure(Measurements(TOP), TOP, 50, 1.0, draw, 0.001), LOW, 100, 1.0, draw, 0.001)
    assert measurements.excess == 0
    assert measurements.now().excess == pytest.approx(6, rel=0.05)
    assert measurements.now().work == pytest.approx(150, rel=0.01)


def test_stalls_are_no_slowdown() -> None:
    measurements, draw = Measurements(TOP), random.Random(2)
    for _ in range(10):
        measurements = measure(measurements, TOP, 10, 1.0, draw)
        measurements = measurements.learn(
            LOW, [1.06 * (3 if draw.random() < 0.1 else draw.gauss(1, 0.02)) for _ in range(25)], [240.0] * 25
        )
    assert measurements.now().effects[LOW].time == pytest.approx(math.log(1.06), abs=0.01)
    assert measurements.sd < 0.04


def test_one_disturbed_block_changes_nothing() -> None:
    """Twice the time in a block of the reference: it is measured again, and the account goes on."""
    measurements, draw = alternate(8, 3), random.Random(3)
    time_effect = measurements.effects[LOW].time
    measurements = measure(measurements, TOP, 10, 4.0, draw)
    assert measurements.aside is not None
    measurements = measure(measurements, TOP, 10, 2.0, draw)
    assert measurements.aside is None
    assert measurements.effects[LOW].time == pytest.approx(time_effect, abs=0.001)
    assert measurements.excess / measurements.work == pytest.approx(0.053, abs=0.01)


@pytest.mark.parametrize("slower", [1.06, 1.3])
def test_new_work_keeps_the_account_and_drops_effects_only_if_they_changed(slower: float) -> None:
    """Steps take five times as long from a block's middle on; a response of 1.3 is another one."""
    measurements, draw = alternate(8, 4), random.Random(4)
    excess, work = measurements.now().excess, measurements.now().work
    times = [2.0 * 1.06] * 12 + [10.0 * slower] * 13
    measurements = measurements.learn(LOW, times, [240.0] * 25)
    measurements = measure(measurements, TOP, 10, 10.0, draw)
    fresh = measurements.effects[LOW]
    assert fresh.time == pytest.approx(math.log(slower), abs=0.03)
    assert (fresh.samples < 25) == (slower > 1.06)
    assert measurements.excess - excess == pytest.approx(13 * 5 * (slower - 1), rel=0.3)
    assert measurements.work > work + 5 * 20


def test_a_step_of_the_reference_is_other_work() -> None:
    measurements, draw = alternate(8, 5), random.Random(5)
    excess = measurements.excess
    for _ in range(2):
        measurements = measure(measurements, TOP, 10, 20.0, draw)
    assert not measurements.effects
    assert measurements.excess == pytest.approx(excess)


@pytest.mark.parametrize("bad", [([], []), ([1.0], []), ([0.0], [1.0]), ([1.0], [math.nan]), ([1.0], [math.inf])])
def test_samples_that_cannot_be_are_refused(bad: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Measurements(TOP).learn(TOP, *bad)
