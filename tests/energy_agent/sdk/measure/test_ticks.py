"""What a tracker learns of a GPU's sensor from readings made when it asks for them."""

import random
from statistics import fmean

import pytest

from benchmarks.sensors.loads import Load, Pattern, draw_loads
from benchmarks.sensors.plant import EnergyCounter, Gpu, PowerSensor, Sensors, TickClock
from energy_agent.sdk.measure.ticks import SensorRecord, TickTracker

POWER = PowerSensor(TickClock(0.09, 0.05, True), 0.025)


def sensors_of(period_s=0.1, jitter=0.05, power=POWER, **counter):
    """Sensors with a counter of a period."""
    return Sensors(EnergyCounter(TickClock(period_s, jitter, True), **counter), power, None, 0.0)


def levels(seed, holds_s):
    """Random levels of power, idle three times in ten."""
    rng = random.Random(seed)
    watts = [rng.uniform(70, 110) if rng.random() < 0.3 else rng.uniform(150, 700) for _ in range(1000)]
    return Load(((1.0, 0.0, Pattern([(rng.uniform(*holds_s), level, level) for level in watts])),))


INTEGRATING = sensors_of()


def follow(sensors, load=None, *, seed=1, seconds=20.0, holds_s=(0.5, 2.0)):
    """A tracker after some time of a GPU, and how often it read it per s."""
    gpu = Gpu(seed, sensors, load or levels(seed, holds_s), seconds + 1)
    tracker, now_s, reads = TickTracker(SensorRecord(), 700.0), 0.0, 0
    while now_s < seconds:
        reading = gpu.read(now_s)
        tracker.feed(now_s, now_s + 1e-5, reading.energy_j, reading.instant_w)
        now_s, reads = max(tracker.due_s(now_s, fine=True), now_s + 5e-4), reads + 1
    return tracker, reads / seconds


@pytest.mark.parametrize("period_s", [0.02, 0.1])
@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.2])
def test_ticks_are_found_to_a_millisecond_by_few_reads(period_s, jitter):
    tracker, reads_per_s = follow(sensors_of(period_s, jitter))
    assert tracker.period_s == pytest.approx(period_s, rel=0.06)
    assert fmean(tick.half_s for tick in list(tracker.ticks)[5:]) <= 0.0015
    assert reads_per_s * period_s <= 30


def test_a_period_that_changes_is_learned_again():
    tracker, _ = follow(INTEGRATING, seconds=10.0)
    gpu = Gpu(2, sensors_of(0.05, 0.02), levels(3, (0.5, 2.0)), 30.0)
    offset_j = tracker.ticks[-1].energy_j + 100
    now_s, first_j = 0.0, gpu.read(0.0).energy_j
    while now_s < 20.0:
        reading = gpu.read(now_s)
        tracker.feed(10.0 + now_s, 10.0 + now_s, reading.energy_j - first_j + offset_j, reading.instant_w)
        now_s = max(tracker.due_s(10.0 + now_s, fine=True) - 10.0, now_s + 5e-4)
    assert tracker.period_s == pytest.approx(0.05, rel=0.1)


def test_a_counter_that_samples_is_distinguished_from_one_that_integrates():
    integrating = [follow(INTEGRATING, seed=seed)[0].sampled for seed in range(5)]
    sampling = [follow(sensors_of(share=0.2), seed=seed)[0].sampled for seed in range(5)]
    assert max(integrating) < 0.2
    assert min(sampling) > 0.9


@pytest.mark.parametrize(("load", "seed"), [("square 50 ms", 1), ("square 200 ms", 0), ("square 200 ms", 1)])
def test_a_counter_that_samples_is_distinguished_under_work_that_repeats_with_it(load, seed):
    work = draw_loads(random.Random(seed), load, "1 GPU")[0]
    integrating, sampling = (follow(sensors_of(jitter=0.01, share=share), work, seed=seed)[0] for share in (1.0, 0.25))
    assert integrating.sampled <= 0.2
    assert sampling.sampled > 0.8


def test_power_that_changes_within_each_tick_widens_the_interval():
    slow, fast = (follow(INTEGRATING, holds_s=holds_s)[0] for holds_s in ((0.5, 2.0), (0.01, 0.05)))
    assert fast.scale > 5 * slow.scale


def test_a_counter_that_is_late_by_a_varying_time_widens_the_interval():
    punctual, late = (follow(sensors)[0] for sensors in (INTEGRATING, sensors_of(jitter=0.02, random_delay_s=0.03)))
    assert punctual.timing_scale < 3
    assert late.timing_scale > 10


def test_work_with_the_period_of_the_counter_is_seen_by_power_alone():
    sensors = sensors_of(jitter=0.0, power=PowerSensor(TickClock(0.083), 0.01))
    steady, _ = follow(sensors, holds_s=(2.0, 4.0))
    periodic, _ = follow(sensors, Load(((1.0, 0.0, Pattern([(0.05, 150.0, 150.0), (0.05, 600.0, 600.0)])),)))
    assert steady.hidden_j < 0.5
    assert periodic.hidden_j > 10


def test_a_counter_that_starts_again_leaves_no_ticks_of_before():
    tracker, _ = follow(INTEGRATING)
    tracker.feed(20.1, 20.1, 0.5, 100.0)
    assert tracker.resets == 1
    assert [tick.energy_j for tick in tracker.ticks] == [0.5]
