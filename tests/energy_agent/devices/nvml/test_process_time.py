"""SM time from the driver's samples: windows, periods, garbage, and stamps in microseconds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.devices.nvml.abi import Utilization
from energy_agent.devices.nvml.process_time import sm_time

NOW = 1_790_000_000_000_000  # us
SINCE = NOW - 5_000_000


def at(seconds_ago, pid, percent):
    return Utilization(pid, NOW - round(seconds_ago * 1e6), percent)


def test_one_sample_a_process_is_the_mean_of_the_whole_window():
    found = sm_time([at(0.1, 10, 60), at(0.1, 11, 20)], SINCE, NOW)
    assert found.by_pid == {10: 60 * 49_000, 11: 20 * 49_000}
    assert (found.last_us, found.believed) == (NOW - 100_000, True)


def test_samples_of_single_periods_are_added_up():
    """11 was at work in three periods of four, 10 in one: not 'the last percent', and not the highest."""
    samples = [at(0.5, 11, 40), at(0.3, 11, 40), at(0.3, 10, 90), at(0.1, 11, 40)]
    found = sm_time(samples, NOW - 700_000, NOW)
    assert found.by_pid == {11: 3 * 40 * 2_000, 10: 90 * 2_000}


def test_after_a_pause_a_period_is_no_longer_than_a_driver_has():
    samples = [at(4.0, 10, 50), at(0.2, 10, 50), at(0.0, 11, 50)]
    found = sm_time(samples, SINCE, NOW)
    assert found.by_pid == {10: 50 * 10_000 + 50 * 10_000, 11: 50 * 2_000}


@pytest.mark.parametrize(
    "garbage",
    [
        at(0.1, 10, 808_334_905),
        at(0.1, 10, 101),
        at(0.1, 10, -1),
        at(0.1, 0, 50),
        Utilization(10, 0, 50),
        Utilization(10, 2**63, 50),
        Utilization(10, NOW // 1_000_000, 50),  # seconds
        Utilization(10, NOW * 1_000, 50),  # nanoseconds
    ],
)
def test_garbage_is_dropped_and_does_not_move_the_window(garbage):
    found = sm_time([garbage, at(0.1, 11, 30)], SINCE, NOW)
    assert found.by_pid == {11: 30 * 49_000}
    assert found.last_us == NOW - 100_000
    alone = sm_time([garbage], SINCE, NOW)
    assert (alone.by_pid, alone.last_us, alone.believed) == ({}, SINCE, False)


def test_stale_samples_are_dropped_and_nothing_is_an_answer():
    found = sm_time([at(7.0, 10, 99)], SINCE, NOW)
    assert (found.by_pid, found.last_us, found.believed) == ({}, NOW - 1_000_000, True)
    assert sm_time([], SINCE, NOW).believed


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.builds(
            Utilization, st.integers(-5, 2**32), st.integers(0, 2**64) | st.integers(SINCE - 10**7, NOW), st.integers(-5, 2**32)
        )
    ),
    st.integers(0, NOW),
)
def test_whatever_a_driver_answers_time_is_bounded_and_the_window_moves_forward(samples, since):
    found = sm_time(samples, since, NOW)
    assert found.last_us >= since
    assert all(pid > 0 and 0 <= us <= 60_000_000 + len(samples) * 1_000_000 for pid, us in found.by_pid.items())
