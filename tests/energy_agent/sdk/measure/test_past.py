"""Energy of a tick by the ticks of the second before it, on synthetic boards whose counter samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sdk.measure.past import told_length
from energy_agent.sdk.measure.tracker import Tracker

AVERAGED = 10
levels_w = st.integers(70, 700)


def lengths_ms(pairs):
    """Lengths of ticks, 100 ms on the mean."""
    shifts = st.lists(st.integers(-5, 5), min_size=pairs, max_size=pairs)
    return shifts.map(lambda found: [100 + sign * shift for shift in found for sign in (1, -1)])


def board(powers, lengths, integrates=False):
    """Feeds a tracker ticks in whose first 75 ms the power is powers[k][0], then powers[k][1]; their energies in J."""
    tracker, t_s, counter_j, energies = Tracker("Hopper", True), 0.0, 0.0, []
    readings = 0.0, 0.0, 0.0
    for k, ((first_w, last_w), length_ms) in enumerate(zip(powers, lengths, strict=True)):
        length_s = length_ms / 1e3
        energies.append(first_w * (length_s - 0.025) + last_w * 0.025)
        t_s += length_s
        counter_j += energies[-1] if integrates else last_w * length_s
        span = slice(max(0, k + 1 - AVERAGED), k + 1)
        average_w = 1e3 * sum(energies[span]) / sum(lengths[span])
        if k:
            tracker.feed(t_s - 0.001, t_s - 0.001, *readings)
        readings = round(counter_j, 3), float(last_w), round(average_w, 3)
        tracker.feed(t_s + 0.001, t_s + 0.001, *readings)
    return tracker, energies


@given(steady=levels_w, later=st.lists(st.tuples(levels_w, levels_w), min_size=10, max_size=10), lengths=lengths_ms(12))
def test_a_second_of_steady_power_tells_the_energy_of_the_next_ten_ticks_whatever_they_do(steady, later, lengths):
    tracker, energies = board([(steady, steady)] * 14 + later, lengths)
    for tick, energy_j in list(zip(tracker.ticks, energies, strict=True))[-10:]:
        assert tick.past_var > 0
        assert tick.past_j == pytest.approx(energy_j, abs=0.02)
        assert tick.past_var**0.5 < 0.02 + 0.001 * steady


@given(st.lists(st.tuples(levels_w, levels_w), min_size=16, max_size=16), lengths_ms(8))
def test_lengths_are_exact_where_the_counter_samples(powers, lengths):
    tracker, _ = board(powers, lengths)
    ticks = list(tracker.ticks)
    told = [(t.length_s, n) for t, n in zip(ticks[1:], lengths[1:], strict=True) if t.length_s]
    assert told
    for length_s, length_ms in told:
        assert length_s == pytest.approx(length_ms / 1e3, abs=3e-5)


def test_a_counter_that_goes_on_by_more_than_its_power_tells_no_length():
    tracker, _ = board([(100, 400)] * 8, [100] * 8, integrates=True)
    assert not any(t.length_s for t in tracker.ticks)
    assert not any(told_length(a, b, 0.1) for a, b in zip(list(tracker.ticks), list(tracker.ticks)[1:], strict=False))
