"""The board at its power limit: laws that hold whatever is drawn, and the measured case that the waste is named after."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dvfs.policies.limited_board import SW_POWER_CAP, LimitedBoard, SaturatedPlant, draw_board

H100_500W = LimitedBoard(62.3, 0.2232, 1005, 0.00072, 1785, 500.0, waste_ratio=0.075, boundness=0.0)
SEEDS = st.integers(0, 10_000)


def test_lock_at_mean_clock_saves_the_waste_at_equal_speed() -> None:
    free = H100_500W.run()
    assert free.is_limited
    assert free.power_w == 500.0
    locked = H100_500W.run(lock_mhz=free.clock_mhz)
    assert not locked.is_limited
    assert locked.step_s == pytest.approx(free.step_s)
    assert locked.power_w == pytest.approx(0.925 * 500.0, rel=1e-6)


def test_without_waste_the_lock_changes_nothing() -> None:
    board = replace(H100_500W, waste_ratio=0.0)
    free = board.run()
    assert free.clock_mhz == pytest.approx(board.clock_at(500.0))
    assert board.run(free.clock_mhz).step_j == pytest.approx(free.step_j, rel=1e-6)


@given(SEEDS, st.floats(0.4, 1.0), st.floats(0.5, 1.0))
def test_limited_clock_is_below_the_lock_that_draws_the_limit(seed: int, lock: float, limit: float) -> None:
    board = draw_board(seed)
    limit_w = limit * board.limit_w
    state = board.run(lock * board.f_max_mhz, limit_w)
    assert state.power_w <= max(limit_w, board.drawn_w(board.f_min_mhz)) + 1e-6
    if state.is_limited:
        best = board.run(board.clock_at(limit_w), limit_w)
        assert state.clock_mhz <= best.clock_mhz + 1e-6
        assert state.step_j >= best.step_j - 1e-9


@given(SEEDS)
def test_lower_lock_never_makes_a_step_draw_more_power(seed: int) -> None:
    board = draw_board(seed)
    powers = [board.run(mhz).power_w for mhz in range(board.f_min_mhz, board.f_max_mhz, 60)]
    assert powers == sorted(powers)


@given(SEEDS)
def test_given_waste_leaves_the_rest_of_the_draw(seed: int) -> None:
    assert replace(draw_board(seed, 0.0), waste_ratio=0.05) == draw_board(seed, 0.05)
    assert 0.0 <= draw_board(seed).waste_ratio <= 0.1


def test_plant_counts_what_the_board_does() -> None:
    plant = SaturatedPlant(replace(H100_500W, time_noise=0.0, power_noise=0.0), seed=1)
    state = plant.advance(100.0)
    assert plant.energy_j == pytest.approx(100.0 * 500.0)
    assert plant.steps == pytest.approx(100.0 / state.step_s, abs=1)
    assert plant.reading()[1:] == (500_000, SW_POWER_CAP)
    plant.lock_mhz = 1005
    assert plant.reading()[::2] == (1005, 0)
