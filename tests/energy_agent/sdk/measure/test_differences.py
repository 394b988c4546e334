"""How far an energy counter and integrated power readings differ, by duration."""

from math import pi, sin

import pytest

from energy_agent.sdk.measure.ticks import PowerDifferences

TICK_S, POWER_W = 0.1, 400.0


def differences_of(difference_w, ticks=2000):
    """Differences of power by the time of each tick."""
    differences = PowerDifferences()
    for k in range(ticks):
        differences.add(TICK_S, POWER_W * TICK_S, difference_w(k * TICK_S) * TICK_S)
    return differences


def test_constant_gain_of_power_is_no_difference():
    assert differences_of(lambda _: 0.04 * POWER_W).deviation_j(10.0) == pytest.approx(0.0, abs=1e-6)


def test_constant_difference_beyond_the_gain_grows_with_the_window():
    differences = differences_of(lambda _: 0.25 * POWER_W)
    assert differences.deviation_j(20.0) == pytest.approx(0.2 * POWER_W * 20.0, rel=0.3)
    assert differences.deviation_j(40.0) > 1.9 * differences.deviation_j(20.0)


def test_slow_beat_is_seen_in_windows_shorter_than_it():
    differences = differences_of(lambda at_s: 100.0 * sin(2 * pi * at_s / 13.0))
    assert differences.deviation_j(1.0) > 20.0


def test_window_longer_than_all_readings_continues_as_independent_differences():
    differences = differences_of(lambda at_s: 100.0 * sin(2 * pi * at_s / 13.0))
    longest_j = differences.deviation_j(3600.0)
    assert differences.deviation_j(4 * 3600.0) == pytest.approx(2 * longest_j)


def test_no_readings_show_no_difference():
    differences = PowerDifferences()
    differences.restart()
    assert differences.deviation_j(1.0) == 0.0
