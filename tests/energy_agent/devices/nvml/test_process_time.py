"""SM time from the driver's samples: windows, periods, garbage, and stamps in microseconds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.devices.nvml.abi import Utilization
from energy_agent.devices.nvml.use import sm_time
from tests.support import examples

NOW = 1_790_000_000_000_000  # us
SINCE = NOW - 5_000_000


def at(seconds_ago, pid, percent):
    return Utilization(pid, NOW - round(seconds_ago * 1e6), percent)


@pytest.mark.parametrize(("samples", "since", "by_pid", "last_s"), [
    # One sample a process is the mean of the whole window.
    ([(0.1, 10, 60), (0.1, 11, 20)], SINCE, {10: 60 * 49_000, 11: 20 * 49_000}, 0.1),
    # 11 was at work in three periods of four, 10 in one: not "the last percent", and not the highest.
    ([(0.5, 11, 40), (0.3, 11, 40), (0.3, 10, 90), (0.1, 11, 40)], NOW - 700_000, {11: 3 * 40 * 2_000, 10: 90 * 2_000}, 0.1),
    # After a pause a period is no longer than a driver has.
    ([(4.0, 10, 50), (0.2, 10, 50), (0.0, 11, 50)], SINCE, {10: 50 * 10_000 + 50 * 10_000, 11: 50 * 2_000}, 0.0),
    ([(7.0, 10, 99)], SINCE, {}, 1.0),  # stale
    ([], SINCE, {}, 1.0),
])  # fmt: skip
def test_time_is_that_of_the_periods_at_work(samples, since, by_pid, last_s):
    result = sm_time([at(*sample) for sample in samples], since, NOW)
    assert (result.by_pid, result.believed, result.last_us) == (by_pid, True, NOW - round(last_s * 1e6))


def test_garbage_is_dropped_and_does_not_move_the_window():
    for garbage in (
        at(0.1, 10, 808_334_905), at(0.1, 10, 101), at(0.1, 10, -1), at(0.1, 0, 50), Utilization(10, 0, 50),
        Utilization(10, 2**63, 50), Utilization(10, NOW // 1_000_000, 50), Utilization(10, NOW * 1_000, 50),  # in s and in ns
    ):  # fmt: skip
        result, alone = sm_time([garbage, at(0.1, 11, 30)], SINCE, NOW), sm_time([garbage], SINCE, NOW)
        assert (result.by_pid, result.last_us) == ({11: 30 * 49_000}, NOW - 100_000)
        assert (alone.by_pid, alone.last_us, alone.believed) == ({}, SINCE, False)


@settings(max_examples=examples(300))
@given(
    st.lists(
        st.builds(
            Utilization, st.integers(-5, 2**32), st.integers(0, 2**64) | st.integers(SINCE - 10**7, NOW), st.integers(-5, 2**32)
        )
    ),
    st.integers(0, NOW),
)
def test_whatever_a_driver_answers_time_is_bounded_and_the_window_moves_forward(samples, since):
    result = sm_time(samples, since, NOW)
    assert result.last_us >= since
    assert all(pid > 0 and 0 <= us <= 60_000_000 + len(samples) * 1_000_000 for pid, us in result.by_pid.items())
