"""How half-widths of several GPUs add up."""

from math import hypot

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.metering.interpolation import Tick
from energy_agent.sdk.measure.sampler_windows import combined, mean_correlation
from tests.energy_agent.sdk.measure.test_ticks import levels


def ticks(load, phase_s, until_s=5.0):
    """Ticks of a counter, one per 0.1 s."""
    instants = [phase_s + 0.1 * k for k in range(round(until_s / 0.1))]
    return [Tick(at_s, 0.001, load.between_j(0.0, at_s)) for at_s in instants]


@pytest.mark.parametrize("count", [2, 8])
def test_gpus_with_one_load_are_in_step_whatever_the_phase_of_their_counters(count):
    load = levels(1, (0.3, 1.0))
    assert mean_correlation([ticks(load, 0.1 * k / count) for k in range(count)]) > 0.6


def test_gpus_with_loads_of_their_own_are_independent():
    correlations = [
        mean_correlation([ticks(levels(100 * seed + k, (0.3, 1.0)), 0.01 * k) for k in range(8)]) for seed in range(10)
    ]
    assert max(correlations) < 0.3


def test_without_enough_steps_half_widths_add_linearly():
    assert mean_correlation([ticks(levels(k, (0.1, 0.2)), 0.0) for k in range(8)]) < 0.5
    assert mean_correlation([ticks(levels(k, (0.1, 0.2)), 0.0, 0.4) for k in range(8)]) == 1.0


@given(st.lists(st.floats(1e-3, 1e6), max_size=8), st.floats(0, 1))
def test_a_combined_half_width_lies_between_squares_and_the_sum(halves, correlation):
    both = combined(halves, correlation)
    assert hypot(*halves) * (1 - 1e-9) <= both <= sum(halves) * (1 + 1e-9) + 1e-9
