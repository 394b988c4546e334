"""Intervals of an agent against a raw counter whose course is known."""

import math

from hypothesis import given
from hypothesis import strategies as st

from wattlens.doctor.acceptance.comparison import AgentReading, CounterReadings, compare

S = 1_000_000_000
LATE = 3_000_000  # ns between the agent's reading of the counter and its time stamp


def counter_mj(t_ns, power_w=300.0, tick_ns=S // 10):
    """A counter that ticks every 100 ms."""
    return math.floor(t_ns / tick_ns) * tick_ns * power_w / 1e6


def raw(seconds=30, every_ns=S // 10, offset_ns=37_000_000, reset_at=None):
    readings = CounterReadings(scale=1000)
    for n in range(seconds * S // every_ns):
        t_ns = offset_ns + n * every_ns
        value = counter_mj(t_ns)
        readings.add(
            t_ns, t_ns + 200_000, round(value if reset_at is None or t_ns < reset_at else value - counter_mj(reset_at))
        )
    return readings


def agent(times, gain=1.0, edge_j=60.0, start_j=1000.0):
    return [
        AgentReading(round(t * S), LATE, start_j + gain * counter_mj(round(t * S) - LATE // 2) / 1000, edge_j, 0.0)
        for t in times
    ]


@given(st.lists(st.floats(0.2, 29.5), min_size=2, max_size=30, unique=True))
def test_an_agent_that_differences_the_counter_is_always_within_the_bounds(times):
    figures = compare(agent(sorted(times), edge_j=0.0), raw(), 0, 30 * S)
    assert "reason" not in figures
    assert figures["covered"] == figures["intervals"] == len(times) - 1
    counter = figures["counter_j"]
    assert counter.lower - 1e-3 <= figures["agent_j"] <= counter.upper + 1e-3
    assert counter.upper - counter.lower <= 2 * 300 * 0.2 + 1e-3  # two ticks at either end


def test_a_gain_shows_in_the_total_and_without_wide_edges_in_the_intervals():
    figures = compare(agent(range(1, 29), gain=1.05, edge_j=0.0), raw(), 0, 30 * S)
    assert figures["agent_j"] > figures["counter_j"].upper
    wide = compare(agent(range(1, 29, 9), gain=1.05, edge_j=0.0), raw(every_ns=S // 100), 0, 30 * S)
    assert wide["covered"] < wide["intervals"]
    assert wide["miss_j"] > 50


def test_silence_counts_from_the_start_and_to_the_end_of_the_window():
    assert compare(agent([5, 6, 7]), raw(), 0, 30 * S)["silent_s"] == 23.0
    assert compare(agent([25, 26, 27]), raw(), 0, 30 * S)["silent_s"] == 25.0


def test_readings_outside_of_the_counters_are_left_out():
    assert compare(agent([0.01, 5.0, 6.0, 31.0]), raw(), 0, 30 * S)["intervals"] == 1
    assert compare(agent([0.01, 31.0]), raw(), 0, 30 * S)["reason"] == "fewer than two readings of the agent"


def test_a_counter_that_fell_is_not_compared():
    figures = compare(agent([1, 2, 3]), raw(reset_at=10 * S), 0, 30 * S)
    assert (figures["resets"], figures["reason"]) == (1, "the raw counter restarted")
