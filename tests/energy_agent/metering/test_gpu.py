"""The meter's laws, for any trajectory of power and any times of reading. The truth is tests' own arithmetic (board_model)."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from energy_agent.core.boundary import NO_SENSOR, UNBOUNDED
from energy_agent.core.energy import DeviceSample, Method
from energy_agent.core.meters.difference import energy_uj
from energy_agent.metering.gpu import MeterState, SensorLimits, advance, gap_threshold_ns
from tests.energy_agent.metering.board_model import POWER_MAX_MW, SENSOR, START_NS, TICK_MS, BoardModel, Metered, Stuck
from tests.support import examples

EDGE_UJ = POWER_MAX_MW * TICK_MS  # a reading is at most one tick old
ROUNDING_UJ = 2_000
law = settings(deadline=None, max_examples=examples(150))

powers = st.lists(st.tuples(st.integers(1, 4_000), st.integers(20_000, POWER_MAX_MW)), min_size=1, max_size=12).map(
    lambda parts: [*parts, (30_000, parts[-1][1])]
)
ticks = st.lists(st.integers(30, TICK_MS), min_size=1, max_size=5)
instants = st.lists(st.integers(0, 30_000), min_size=2, max_size=40, unique=True).map(sorted)


def of_readings(*readings):
    metered = Metered()
    for t_s, counter_mj in readings:
        metered.feed(DeviceSample("GPU-x", START_NS + t_s * 10**9, (t_s + 1) * 10**9, energy_mj=counter_mj))
    return metered


@law
@given(powers, ticks, instants)
def test_any_sampling_of_a_counter_telescopes(power, ticks, times):
    board = BoardModel(power, ticks)
    metered = Metered.read(board, times)
    assert metered.recorded_uj == 1000 * (board.counter_mj(times[-1]) - board.counter_mj(times[0]))
    assert metered.gaps == []
    true_uj = board.true_uj(times[-1]) - board.true_uj(times[0])
    assert abs(metered.recorded_uj - true_uj) <= EDGE_UJ + ROUNDING_UJ


@law
@given(powers, ticks, instants, st.integers(0, 20_000_000))
def test_a_counter_that_wraps_telescopes_too(power, ticks, times, before_wrap_mj):
    for wrap_mj in (1 << 32, 1 << 64):
        board = BoardModel(power, ticks, counter_start_mj=wrap_mj - before_wrap_mj, wrap_mj=wrap_mj)
        straight = BoardModel(power, ticks, counter_start_mj=wrap_mj - before_wrap_mj)
        metered = Metered.read(board, times)
        assert metered.recorded_uj == 1000 * (straight.counter_mj(times[-1]) - straight.counter_mj(times[0]))
        assert metered.gaps == []


@law
@given(st.integers(6_000, 40_000), st.integers(20_000, POWER_MAX_MW), st.booleans(), st.data())
def test_a_fall_over_hours_is_bounded_by_a_reset_and_by_wraps(off_s, power_mw, is_reset, data):
    """At 800 W a counter of 32 bits passes its range in 90 minutes, so a fall does not show how often it wrapped."""
    drawn_mj = off_s * power_mw
    if is_reset:
        after_mj = data.draw(st.integers(0, min(drawn_mj, (1 << 32) - 1)))
        before_mj = data.draw(st.integers(after_mj + 1, 1 << 32))
    else:
        assume(drawn_mj % (1 << 32))
        after_mj = data.draw(st.integers(0, drawn_mj % (1 << 32) - 1))
        before_mj = (after_mj - drawn_mj) % (1 << 32)
    metered = of_readings((0, before_mj), (off_s, after_mj))
    assert metered.recorded_uj <= drawn_mj * 1000 <= metered.recorded_uj + metered.bound_uj


def test_a_counter_beyond_32_bits_that_fell_was_reset():
    """The reset came after the first reading, so all that the counter shows now was drawn."""
    metered = of_readings((0, (1 << 32) + 100_000), (5, 400_000))
    assert metered.recorded_uj == 400_000_000
    assert metered.bound_uj >= POWER_MAX_MW * 5_000 - 400_000_000


@law
@given(powers, ticks, instants)
def test_intervals_tile_the_time_and_name_their_method(power, ticks, times):
    metered = Metered.read(BoardModel(power, ticks), times)
    for interval in metered.intervals:
        assert START_NS + times[0] * 10**6 <= interval.start_ns < interval.end_ns
        assert interval.method is (Method.COUNTER if interval.end_ns - interval.start_ns <= SENSOR.gap_ns else Method.BRIDGED)
    for before, after in zip(metered.intervals, metered.intervals[1:], strict=False):
        assert after.start_ns == before.end_ns


@law
@given(powers, ticks, instants, st.lists(st.integers(1, 29_000), min_size=1, max_size=3, unique=True).map(sorted))
def test_each_value_is_recorded_once_at_resets_and_the_bound_covers_losses(power, ticks, times, resets):
    board = BoardModel(power, ticks, resets=resets)
    readings_mj = [board.counter_mj(t) for t in times]
    spans = list(itertools.pairwise(times))
    # A reset of the GPU alone that the readings do not show is outside the law, as the module says.
    assume(all(board.counter_mj(a) > board.counter_mj(b) for a, b in spans if any(a < r <= b for r in resets)))
    metered = Metered.read(board, times)
    forward_mj = sum(b - a for a, b in itertools.pairwise(readings_mj) if b >= a)
    restarted_mj = sum(b for a, b in itertools.pairwise(readings_mj) if b < a)
    counted_uj = sum(i.energy_uj for i in metered.intervals if i.method is not Method.INTEGRATED)
    assert 1000 * forward_mj <= counted_uj <= 1000 * (forward_mj + restarted_mj)  # each value once, none twice
    true_uj = board.true_uj(times[-1]) - board.true_uj(times[0])
    assert metered.holds(true_uj, EDGE_UJ)
    assert all(g.start_ns < g.end_ns for g in metered.gaps)


def test_a_reset_between_two_close_readings_is_closed_by_instant_power():
    board = BoardModel([(40_000, 400_000)], resets=[7_600])
    metered = Metered.read(board, range(0, 20_000, 1_000))
    true_uj = board.true_uj(19_000) - board.true_uj(0)
    assert abs(metered.recorded_uj - true_uj) <= EDGE_UJ  # the 0.6 s that the counter forgot are not missing
    assert metered.gaps == []
    assert [i.method for i in metered.intervals].count(Method.INTEGRATED) == 1


stuck_windows = st.tuples(st.integers(1_000, 12_000), st.integers(2_600, 14_000), st.booleans(), st.booleans())


@law
@given(powers, ticks, st.integers(700, 2_000), stuck_windows)
def test_a_stuck_sensor_never_books_twice_and_its_bound_is_honest(power, ticks, period_ms, window):
    start_ms, lasts_ms, catches_up, power_too = window
    assume(lasts_ms >= 2 * period_ms + 3 * TICK_MS)  # a shorter one looks like a slow tick
    board = BoardModel(power, ticks, stuck=Stuck(start_ms, start_ms + lasts_ms, catches_up, power_too))
    times = range(0, 30_000, period_ms)
    metered = Metered.read(board, times)
    true_uj = board.true_uj(times[-1]) - board.true_uj(0)
    assert metered.holds(true_uj, EDGE_UJ + ROUNDING_UJ)


def test_a_counter_that_goes_on_behind_its_face_is_booked_exactly_once():
    board = BoardModel([(40_000, 300_000)], stuck=Stuck(5_050, 25_050, catches_up=True, power_too=True))
    metered = Metered.read(board, range(0, 35_000, 1_000))
    assert metered.recorded_uj == 1000 * (board.counter_mj(34_000) - board.counter_mj(0))
    assert metered.gaps == []  # more than one second can hold: it is certain that it went on
    assert [i.method for i in metered.intervals if i.end_ns - i.start_ns > 10**9 or i.energy_uj > 400_000_000] == [
        Method.BRIDGED
    ]


def test_a_counter_that_resumes_where_it_froze_leaves_a_gap_with_its_bound():
    board = BoardModel([(40_000, 300_000)], stuck=Stuck(5_050, 25_050, catches_up=False, power_too=True))
    metered = Metered.read(board, range(0, 35_000, 1_000))
    unseen_uj = board.true_uj(34_000) - board.true_uj(0) - metered.recorded_uj
    assert unseen_uj > 19 * 300_000_000  # the power reading froze as well, so the meter could not record energy
    (gap,) = metered.gaps
    assert unseen_uj <= gap.bound_uj <= 23 * POWER_MAX_MW * 1_000
    assert gap.start_ns <= START_NS + 6 * 10**9
    assert gap.end_ns == START_NS + 26 * 10**9


@pytest.mark.parametrize("catches_up", [True, False])
def test_moving_power_is_integrated_while_the_counter_stands(catches_up):
    power = [(500, 300_000 + 2_000 * (i % 7)) for i in range(80)]
    board = BoardModel(power, stuck=Stuck(5_050, 25_050, catches_up, power_too=False))
    metered = Metered.read(board, range(0, 25_000, 1_000))
    assert metered.recorded_uj == pytest.approx(board.true_uj(24_000), rel=0.05)
    for t in range(25_000, 35_000, 1_000):
        metered.feed(board.sample(t))
    assert metered.recorded_uj == pytest.approx(board.true_uj(34_000), rel=0.04)


@law
@given(powers, st.integers(200, 2_000))
def test_without_a_counter_power_is_integrated_within_its_own_bound(power, period_ms):
    slow = [(max(d, 2_000), p) for d, p in power]
    board = BoardModel(slow)
    times = range(0, 25_000, period_ms)
    metered = Metered.read(board, times, counter=False)
    assert {i.method for i in metered.intervals} == {Method.INTEGRATED}
    true_uj = board.true_uj(times[-1])
    assert abs(metered.recorded_uj - true_uj) <= metered.integration_error_uj / 2 + ROUNDING_UJ


def test_a_counter_that_vanishes_and_returns_hands_over_to_power_and_back():
    board = BoardModel([(40_000, 300_000)])
    metered = Metered()
    for t in range(0, 20_000, 1_000):
        metered.feed(board.sample(t, counter=not 5_000 <= t < 10_000))
    assert metered.gaps == []
    assert [i.method for i in metered.intervals].count(Method.INTEGRATED) == 6
    assert abs(metered.recorded_uj - board.true_uj(19_000)) <= 3 * 300_000 * TICK_MS


def test_with_neither_counter_nor_power_nothing_is_invented():
    board = BoardModel([(40_000, 300_000)])
    metered = Metered()
    for t in range(0, 20_000, 1_000):
        dark = 5_000 <= t < 10_000
        metered.feed(board.sample(t, counter=not dark, power=not dark))
    assert metered.gaps == []
    assert metered.recorded_uj == 1000 * (board.counter_mj(19_000) - board.counter_mj(0))  # the counter bridges it
    assert sum(i.method is Method.BRIDGED for i in metered.intervals) == 1


def test_power_alone_does_not_bridge_a_gap_in_the_readings():
    board = BoardModel([(40_000, 300_000)])
    metered = Metered.read(board, (0, 1_000, 2_000, 9_000, 10_000), counter=False)
    (gap,) = metered.gaps
    assert gap.bound_uj >= 7 * 300_000 * 1_000
    assert metered.recorded_uj == pytest.approx(3 * 300_000 * 1_000, rel=1e-6)


def test_a_sensor_that_was_blind_is_bounded_also_when_the_counter_vanishes():
    board = BoardModel([(40_000, 300_000)], stuck=Stuck(2_050, 9_500, catches_up=False))
    metered = Metered()
    for t in range(0, 20_000, 1_000):
        metered.feed(board.sample(t, counter=t < 9_000))
    assert board.true_uj(19_000) <= metered.recorded_uj + metered.bound_uj + EDGE_UJ + metered.integration_error_uj


@law
@given(powers, ticks, st.integers(0, 20_000), st.integers(1, 9_000), st.integers(0, 100_000))
def test_over_a_reboot_the_new_counter_is_booked_whole_and_the_rest_is_bounded(power, ticks, off_ms, up_ms, boot_ms):
    board = BoardModel(power, ticks)
    after = BoardModel([(60_000, 400_000)], ticks, counter_start_mj=0)
    metered = Metered.read(board, (0, 1_000))
    first = after.sample(up_ms)
    rebooted = replace(first, t_ns=START_NS + (1_000 + off_ms + up_ms) * 10**6, boot_ns=(boot_ms + up_ms) * 10**6)
    metered.feed(rebooted, "boot-2")
    assert metered.state.boot_id == "boot-2"
    assert metered.recorded_uj == 1000 * (board.counter_mj(1_000) - board.counter_mj(0) + after.counter_mj(up_ms))
    assert sum(g.bound_uj for g in metered.gaps) >= energy_uj(POWER_MAX_MW, (off_ms + up_ms) * 10**6) - after.true_uj(up_ms)


def test_utc_that_stepped_back_over_a_reboot_still_books_and_bounds():
    board = BoardModel([(60_000, 400_000)])
    metered = Metered.read(board, (0, 1_000))
    back = BoardModel([(60_000, 400_000)], counter_start_mj=0).sample(5_000)
    metered.feed(replace(back, t_ns=START_NS - 3_600 * 10**9, boot_ns=5_000 * 10**6), "boot-2")
    assert metered.recorded_uj == 1000 * (board.counter_mj(1_000) - board.counter_mj(0)) + 1000 * (back.energy_mj)
    assert all(i.start_ns < i.end_ns for i in metered.intervals)
    assert all(0 <= g.start_ns < g.end_ns for g in metered.gaps)
    assert metered.bound_uj >= 0


@law
@given(st.lists(st.tuples(st.integers(1, 3_000), st.integers(-4_000_000, 4_000_000)), min_size=1, max_size=20), powers)
def test_steps_of_utc_neither_lose_energy_nor_stretch_durations(moves, power):
    board = BoardModel(power)
    metered, now, shift = Metered(), 0, 0
    first = board.sample(0)
    metered.feed(first)
    for ahead, step in moves:
        now, shift = now + ahead, shift + step
        if now > 30_000:
            break
        sample = board.sample(now)
        metered.feed(replace(sample, t_ns=sample.t_ns + shift * 10**6))
    assert metered.recorded_uj == 1000 * (metered.state.energy_mj - first.energy_mj)
    assert all(i.start_ns < i.end_ns for i in metered.intervals)
    tolerance_ns = len(moves) * 50_000_000 + 0.01 * 30e9
    assert abs(sum(i.end_ns - i.start_ns for i in metered.intervals) - (metered.state.boot_ns - first.boot_ns)) <= tolerance_ns


def test_a_reading_that_is_not_newer_books_nothing():
    board = BoardModel([(40_000, 300_000)])
    metered = Metered()
    metered.feed(board.sample(1_000))
    before = metered.feed(board.sample(2_000)).state
    assert metered.feed(board.sample(2_000)).state == before
    assert metered.feed(board.sample(1_500)).state == before
    assert len(metered.intervals) == 1


def test_an_impossible_difference_is_a_gap_and_the_next_reading_counts_again():
    state = MeterState("b", START_NS, 10**9, 1_000, 690_000, 10**9)
    full = DeviceSample("GPU-x", START_NS + 10**9, 2 * 10**9, energy_mj=1_000 + 700_000, power_mw=700_000)
    sensor = SensorLimits(150_000_000, 700_000, 2_500_000_000)
    assert advance(state, full, sensor, "b").interval.energy_uj == 700_000_000  # the meter accepts the energy of full power
    step = advance(state, replace(full, energy_mj=10**12), SENSOR, "b")
    assert step.interval is None
    assert step.gap.bound_uj >= POWER_MAX_MW * 1_000
    after = replace(full, t_ns=START_NS + 2 * 10**9, boot_ns=3 * 10**9, energy_mj=10**12 + 300_000)
    assert advance(step.state, after, SENSOR, "b").interval.energy_uj == 300_000_000


@pytest.mark.parametrize(("period_s", "threshold_s"), [(0.05, 2.5), (1, 2.5), (10, 25), (60, 150)])
def test_the_gap_threshold_follows_the_period(period_s, threshold_s):
    assert gap_threshold_ns(round(period_s * 1e9)) == threshold_s * 1e9


def read_at(t_s, **values):
    return DeviceSample("GPU-x", START_NS + t_s * 10**9, (t_s + 1) * 10**9, **values)


@law
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.booleans())
def test_a_device_without_a_sensor_has_gaps_and_time_and_no_energy(pauses, limit_known):
    """Time is for owners only where readings follow each other; the gaps cover all of it and are bounded by the power limit."""
    sensor = replace(SENSOR, limit_known=limit_known)
    step = advance(None, read_at(0), sensor, "boot")
    t_s, gaps, held_ns = 0, [], 0
    for pause_s in pauses:
        t_s += pause_s
        step = advance(step.state, read_at(t_s), sensor, "boot")
        assert step.interval is None
        gaps.append(step.gap)
        if step.time is not None:
            assert step.time.energy_uj == step.time.edge_uj == 0
            held_ns += step.time.end_ns - step.time.start_ns
    assert held_ns == sum(s * 10**9 for s in pauses if s * 10**9 <= sensor.gap_ns)
    assert [gap.start_ns for gap in gaps] == [START_NS, *(gap.end_ns for gap in gaps[:-1])]
    assert gaps[-1].end_ns == START_NS + t_s * 10**9
    if limit_known:
        assert sum(gap.bound_uj for gap in gaps) == energy_uj(POWER_MAX_MW, t_s * 10**9)
        assert {gap.reason for gap in gaps} == {NO_SENSOR}
    else:
        assert {(gap.bound_uj, gap.reason) for gap in gaps} == {(0, UNBOUNDED + NO_SENSOR)}


def test_a_sensor_that_appears_counts_from_its_first_reading():
    step = advance(None, read_at(0), SENSOR, "boot")
    step = advance(step.state, read_at(1, energy_mj=5_000_000), SENSOR, "boot")
    assert (step.interval, step.gap.reason) == (None, NO_SENSOR)
    step = advance(step.state, read_at(2, energy_mj=5_300_000), SENSOR, "boot")
    assert (step.interval.energy_uj, step.gap) == (300_000_000, None)
