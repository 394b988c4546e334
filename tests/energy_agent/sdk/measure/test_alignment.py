"""How late a counter is, as learned from instant power, in simulated time."""

import pytest

from energy_agent.sdk.measure.alignment import DELAY_S
from energy_agent.sdk.measure.sampler_windows import Windows
from tests.energy_agent.sdk.measure.test_ticks import follow, levels, sensors_of


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_range_of_delays_holds_a_constant_delay_and_is_narrow(delay_s):
    for seed in range(3):
        tracker, _ = follow(sensors_of(delay_s=delay_s), seed=seed, seconds=60.0)
        _, low_s, high_s = tracker.delays_s
        assert low_s <= delay_s <= high_s
        assert high_s - low_s < 0.12


def test_delay_without_instant_power_is_assumed():
    tracker, _ = follow(sensors_of(power=None, delay_s=0.05))
    delay_s, low_s, high_s = tracker.delays_s
    assert delay_s == 0
    assert low_s <= 0
    assert high_s == DELAY_S


def test_delay_under_constant_power_is_assumed():
    tracker, _ = follow(sensors_of(delay_s=0.05), holds_s=(100.0, 200.0))
    assert tracker.delays_s[2] == DELAY_S


def measured(period_s, length_s, **counter):
    """The result of a window, and its wait after the end in s."""
    sensors = sensors_of(period_s=period_s, **counter)
    tracker, _ = follow(sensors, seconds=10.0)
    windows = Windows({"GPU-0": tracker}, {})
    windows.open(1, 6.0)
    windows.close(1, 6.0 + length_s)
    now_s = 6.0 + length_s
    while not windows.step(now_s):
        now_s += 0.01
    return windows.result(1)["devices"]["GPU-0"], now_s - 6.0 - length_s


def test_window_shorter_than_the_period_of_a_slow_counter_is_refused_with_the_period():
    device, _ = measured(1.0, 0.5)
    assert "joules" not in device
    assert "changes every 0.996 s" in device["reason"]


def test_window_of_a_slow_counter_waits_for_two_ticks():
    device, _ = measured(0.5, 2.0)
    true_j = levels(1, (0.5, 2.0)).between_j(6.0, 8.0)
    assert abs(device["joules"] - true_j) <= device["half_j"]
