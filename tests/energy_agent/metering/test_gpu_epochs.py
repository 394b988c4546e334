"""The meter over a driver reload: the counter restarts, and may exceed its old value before the agent reads it."""

from dataclasses import asdict, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Method
from energy_agent.metering.gpu import MeterState, advance
from tests.energy_agent.metering.board_model import POWER_MAX_MW, SENSOR, START_NS, TICK_MS, BoardModel, Metered, Stuck
from tests.support import examples

EDGE_UJ = POWER_MAX_MW * TICK_MS  # a reading is at most one tick old
law = settings(deadline=None, max_examples=examples(200))
powers = st.lists(st.tuples(st.integers(1, 6_000), st.integers(20_000, POWER_MAX_MW)), min_size=1, max_size=12).map(
    lambda parts: [*parts, (60_000, parts[-1][1])]
)
ticks = st.lists(st.integers(30, TICK_MS), min_size=1, max_size=5)
before = st.lists(st.integers(0, 9_000), min_size=1, max_size=6, unique=True).map(sorted)
after = st.lists(st.integers(0, 20_000), min_size=1, max_size=6, unique=True).map(sorted)


@law
@given(powers, ticks, before, after, st.integers(1, 20_000), st.integers(1, 20_000), st.integers(0, 6_000_000))
def test_over_a_reload_the_new_counter_is_booked_once_and_the_rest_is_bounded(
    power, ticks, first, second, loaded_ms, back_ms, counter_start_mj
):
    """The counter may show less or more than before: the meter records what the counter has shown, and no joule twice."""
    reload_ms = first[-1] + loaded_ms
    board = BoardModel(power, ticks, resets=[reload_ms], counter_start_mj=counter_start_mj)
    again = [reload_ms + back_ms + t for t in second]
    metered = Metered.read(board, [*first, *again], reload_ms)
    shown_mj = board.counter_mj(first[-1]) - board.counter_mj(first[0]) + board.counter_mj(again[-1])
    assert metered.recorded_uj == 1000 * shown_mj
    (gap,) = metered.gaps
    assert gap.reason == "driver reload"
    assert first[-1] - TICK_MS <= (gap.start_ns - START_NS) / 10**6 <= first[-1]
    assert gap.end_ns == START_NS + again[0] * 10**6
    true_uj = board.true_uj(again[-1]) - board.true_uj(first[0])
    assert metered.integration_error_uj == 0
    assert metered.holds(true_uj, EDGE_UJ)
    assert metered.state.driver_epoch == "97"


@law
@given(powers, ticks, st.integers(700, 2_000), st.integers(1_000, 8_000), st.integers(3_000, 9_000), st.booleans())
def test_a_reload_that_ends_a_stuck_sensor_never_books_twice(power, ticks, period_ms, stuck_ms, lasts_ms, power_too):
    reload_ms = stuck_ms + lasts_ms
    stuck, times = Stuck(stuck_ms, reload_ms, catches_up=False, power_too=power_too), range(0, 30_000, period_ms)
    board = BoardModel(power, ticks, resets=[reload_ms], stuck=stuck)
    metered = Metered.read(board, times, reload_ms)
    # The counter has a resolution of 1 mJ, and power 1 mW over whole ms: up to 1 mJ at each reading that starts a new count.
    assert metered.holds(board.true_uj(times[-1]) - board.true_uj(0), 2 * EDGE_UJ + 1000 * (len(times) + 1))
    assert "driver reload" in {g.reason for g in metered.gaps}


@law
@given(powers, ticks, before, st.data())
def test_an_epoch_that_is_not_known_changes_nothing(power, ticks, times, data):
    """A machine that does not show its module: no reload is made up."""
    board, plain, knowing = BoardModel(power, ticks), Metered(), Metered()
    for t in times:
        plain.feed(board.sample(t))
        knowing.feed(board.sample(t), epoch=data.draw(st.sampled_from(["", "41"])))
    assert (knowing.intervals, knowing.gaps) == (plain.intervals, plain.gaps)


def test_a_reload_close_to_a_reading_is_a_gap_and_not_guessed_from_power():
    board = BoardModel([(40_000, 400_000)], resets=[7_600])
    metered = Metered.read(board, range(0, 20_000, 1_000), 7_600)
    assert {i.method for i in metered.intervals} == {Method.COUNTER}
    (gap,) = metered.gaps
    assert 0.6 * 400_000_000 <= gap.bound_uj <= POWER_MAX_MW * (1_000 + 2 * TICK_MS)


def test_a_reading_after_a_reload_that_shows_too_much_is_a_gap_alone_and_another_boot_is_a_reboot_whatever_the_epochs():
    state = MeterState("b", START_NS, 10**9, 1_000, 300_000, 10**9, driver_epoch="41")
    sample = replace(BoardModel([(40_000, 300_000)]).sample(0), t_ns=START_NS + 10**9, boot_ns=2 * 10**9, energy_mj=10**9)
    step = advance(state, sample, SENSOR, "b", "97")
    assert step.interval is None
    assert step.gap.bound_uj >= POWER_MAX_MW * 1_000
    assert (step.state.energy_mj, step.state.driver_epoch) == (10**9, "97")
    for epoch in ("41", "97", ""):
        step = advance(state, replace(sample, boot_ns=10**9, energy_mj=5), SENSOR, "c", epoch)
        assert (step.gap.reason, step.state.boot_id, step.state.driver_epoch) == ("reboot", "c", epoch)


def test_state_without_an_epoch_takes_the_first_reported_epoch():
    board = BoardModel([(40_000, 300_000)])
    at = board.sample(0)
    old = asdict(MeterState("b", START_NS, at.boot_ns, board.counter_mj(0), 300_000, at.boot_ns))
    del old["driver_epoch"]
    metered = Metered(MeterState(**old))
    metered.feed(board.sample(1_000), "b", epoch="41")
    assert metered.gaps == []
    assert metered.recorded_uj == 1000 * (board.counter_mj(1_000) - board.counter_mj(0))
    assert metered.state.driver_epoch == "41"
