"""Windows on boards whose counter and power tick apart: the interval holds the truth, and the method has its own name."""

from statistics import fmean, median

import pytest

from energy_agent.sdk.measure.sampler_windows import Windows
from energy_agent.sdk.measure.tracker import Tracker
from energy_agent.sdk.measure.wire import INTERPOLATED
from tests.energy_agent.sdk.measure.two_clocks import windows

# counter and power: period in s and jitter; how much of the end of power's tick a reading is the mean of
APART = {
    "equal periods": {},
    "fast power": {"power": (0.02, 0.05)},
    "fast counter": {"counter": (0.02, 0.05)},
    "much jitter": {"counter": (0.1, 0.2), "power": (0.1, 0.2)},
    "new power at every read": {"power": (0.001, 0.0), "window_s": 0.01},
    "mean over the whole tick": {"window_s": 0.1},
    "short levels": {"levels_s": (0.01, 0.05)},
    "long levels": {"levels_s": (0.5, 3.0)},
}
# median error of one board, per cent, by the window's length in ms; short levels are hidden from a straight line
BARS = {100: 6.0, 300: 2.5, 1000: 1.0}


def measured(seed, count=30, **board):
    """By length: relative error, whether the interval holds the truth, and the method, of each board and window."""
    found = {}
    for length, devices, truth in windows(
        lambda: Tracker("Hopper", True, 700.0), lambda t: Windows(t, {}), [*BARS], count, seed, **board
    ):
        for uuid, true_j in truth.items():
            told = devices[uuid]
            error_j = abs(told["joules"] - true_j)
            found.setdefault(length, []).append((error_j / true_j, error_j <= told["half_j"], told.get("method")))
    return found


@pytest.mark.parametrize("name", APART)
def test_with_two_clocks_the_interval_is_a_bound(name):
    for length, rows in measured(7, **APART[name]).items():
        assert fmean(held for _, held, _ in rows) >= 0.99, length
        assert fmean(method == INTERPOLATED for *_, method in rows) >= 0.97, length
        assert 100 * median(error for error, *_ in rows) <= BARS[length] * (2 if name == "short levels" else 1), length


def test_with_one_clock_the_narrow_interval_stays():
    rows = [row for rows in measured(8, count=60, same=True).values() for row in rows]
    assert {method for *_, method in rows} == {None}
    assert fmean(held for _, held, _ in rows) >= 0.95


def test_the_energy_of_a_bound_is_never_below_the_lowest_or_above_the_highest_power():
    from energy_agent.sdk.measure.estimate import Tick, TickModel, window_energy

    ticks = [Tick(t - 0.001, t, 50.0 * k, 0.0, counter_lo_s=t - 0.001) for k, t in enumerate((0.0, 0.1, 0.2, 0.3))]
    sensor = TickModel(0.1, 0.005, 0.1, 0, None, two_clocks=True, low_w=60.0, high_w=840.0)
    for start, end in ((0.02, 0.05), (0.05, 0.25), (-0.1, 0.05), (0.25, 0.5), (0.35, 0.4)):
        found = window_energy(ticks, start, end, sensor)
        assert 60.0 * (end - start) <= found.joules + 1e-9
        assert found.joules - found.half_j <= 500 * (end - start) <= found.joules + found.half_j
        assert found.joules + found.half_j <= 840 * (end - start) + found.half_j
