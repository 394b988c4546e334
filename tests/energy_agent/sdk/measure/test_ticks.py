"""What a tracker learns of a GPU's sensor from readings made when it asks for them."""

import random
from statistics import fmean

import pytest

from benchmarks.sensors.plant import Alternating, Gpu, RandomLevels, Sensors
from energy_agent.sdk.measure.ticks import SensorRecord, TickTracker

INTEGRATING = Sensors(0.1, 0.05, 0.09, 0.05, 0.025)


def follow(sensors, load=None, *, seed=1, seconds=20.0, holds_s=(0.5, 2.0)):
    """A tracker after some time of a GPU, and how often it read it per s."""
    rng = random.Random(seed)
    gpu = Gpu(rng, seconds + 1, sensors, load or RandomLevels(rng, seconds + 1, holds_s))
    tracker, now_s, reads = TickTracker(SensorRecord(), 700.0), 0.0, 0
    while now_s < seconds:
        tracker.feed(now_s, now_s + 1e-5, *gpu.read(now_s))
        now_s, reads = max(tracker.due_s(now_s, fine=True), now_s + 5e-4), reads + 1
    return tracker, reads / seconds


@pytest.mark.parametrize("period_s", [0.02, 0.1])
@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.2])
def test_ticks_are_found_to_a_millisecond_by_few_reads(period_s, jitter):
    tracker, reads_per_s = follow(Sensors(period_s, jitter, 0.09, 0.05, 0.025))
    assert tracker.period_s == pytest.approx(period_s, rel=0.06)
    assert fmean(tick.half_s for tick in list(tracker.ticks)[5:]) <= 0.0015
    assert reads_per_s * period_s <= 30


def test_a_period_that_changes_is_learned_again():
    tracker, _ = follow(INTEGRATING, seconds=10.0)
    gpu = Gpu(random.Random(2), 30.0, Sensors(0.05, 0.02, 0.09, 0.05, 0.025), RandomLevels(random.Random(3), 30.0, (0.5, 2.0)))
    offset_j = tracker.ticks[-1].energy_j + 100
    now_s = 0.0
    while now_s < 20.0:
        energy_j, power_w = gpu.read(now_s)
        tracker.feed(10.0 + now_s, 10.0 + now_s, energy_j + offset_j, power_w)
        now_s = max(tracker.due_s(10.0 + now_s, fine=True) - 10.0, now_s + 5e-4)
    assert tracker.period_s == pytest.approx(0.05, rel=0.1)


def test_a_counter_that_samples_is_distinguished_from_one_that_integrates():
    integrating = [follow(INTEGRATING, seed=seed)[0].sampled for seed in range(5)]
    sampling = [follow(Sensors(0.1, 0.05, 0.09, 0.05, 0.025, samples_s=0.02), seed=seed)[0].sampled for seed in range(5)]
    assert max(integrating) < 0.2
    assert min(sampling) > 0.9


def test_power_that_changes_within_each_tick_widens_the_interval():
    slow, fast = (follow(INTEGRATING, holds_s=holds_s)[0] for holds_s in ((0.5, 2.0), (0.01, 0.05)))
    assert fast.scale > 5 * slow.scale


def test_a_counter_that_is_late_by_a_varying_time_widens_the_interval():
    punctual, late = (follow(sensors)[0] for sensors in (INTEGRATING, Sensors(0.1, 0.02, 0.09, 0.05, 0.025, lag_s=0.03)))
    assert punctual.timing_scale < 3
    assert late.timing_scale > 10


def test_work_with_the_period_of_the_counter_is_seen_by_power_alone():
    sensors = Sensors(0.1, 0.0, 0.083, 0.0, 0.01)
    steady, _ = follow(sensors, holds_s=(2.0, 4.0))
    periodic, _ = follow(sensors, Alternating(random.Random(4), 21.0, 0.1))
    assert steady.hidden_w < 5
    assert periodic.hidden_w > 150


def test_a_counter_that_starts_again_leaves_no_ticks_of_before():
    tracker, _ = follow(INTEGRATING)
    tracker.feed(20.1, 20.1, 0.5, 100.0)
    assert tracker.resets == 1
    assert [tick.energy_j for tick in tracker.ticks] == [0.5]
