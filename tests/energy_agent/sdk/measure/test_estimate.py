"""The estimator on readings that are known exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sdk.measure.estimate import Tick, TickModel, tells, window_energy

H100 = TickModel(0.1, 0.005, 0.025, 10, integrates=True)


def ticks(power, count=6, start=0.0):
    """A board at constant power, its ticks known to 2 ms."""
    at = [start + 0.1 * k for k in range(count)]
    return [Tick(t - 0.001, t + 0.001, 1000 + power * t, power, power, k) for k, t in enumerate(at)]


@given(power=st.floats(20, 1000), start=st.floats(0.01, 0.2), length=st.floats(0.02, 0.25))
def test_steady_power_is_power_times_time(power, start, length):
    for integrates in (True, False, None):
        sensor = TickModel(0.1, 0.005, 0.025, 10, integrates)
        found = window_energy(ticks(power), start, start + length, sensor)
        assert found.joules == pytest.approx(power * length, rel=0.01, abs=0.02)
        assert found.half_j < 0.1 * power * length + 0.02 * power


@given(st.lists(st.floats(70, 700), min_size=8, max_size=8), st.floats(0.11, 0.69))
def test_parts_of_a_window_sum_to_the_whole(levels, cut):
    energy, found = 0.0, [Tick(-0.001, 0.001, 0.0, levels[0], None, 0)]
    for k, level in enumerate(levels[1:], 1):
        energy += 0.1 * level
        found.append(Tick(0.1 * k - 0.001, 0.1 * k + 0.001, energy, level, None, k))
    whole = window_energy(found, 0.1, 0.7, H100).joules
    parts = window_energy(found, 0.1, cut, H100).joules + window_energy(found, cut, 0.7, H100).joules
    assert parts == pytest.approx(whole, rel=2e-3)
    assert whole == pytest.approx(0.1 * sum(levels[2:8]), rel=0.02)


def test_a_counter_that_goes_on_by_more_than_the_last_power_integrates():
    before = Tick(0.0, 0.002, 100.0, 100.0)
    assert tells(before, Tick(0.1, 0.102, 150.0, 700.0)) is True
    assert tells(before, Tick(0.1, 0.102, 170.0, 700.0)) is False
    assert tells(before, Tick(0.1, 0.102, 110.0, 100.0)) is None
