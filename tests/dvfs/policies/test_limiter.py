"""Policy limiter on boards at their power limit: it ends the waste, and leaves boards without waste as fast as they were."""

import pytest

from dvfs.policies.limiter import SPEC
from dvfs.policies.progress import SPEC as PROGRESS
from tests.dvfs.policies.limited_board import draw_board
from tests.dvfs.policies.limited_job import LimitedJob

LIMITED = [seed for seed in range(20) if draw_board(seed, 0.0).run().is_limited]


@pytest.mark.parametrize("waste_ratio", [0.02, 0.1])
@pytest.mark.parametrize("seed", LIMITED[:4])
def test_the_waste_is_saved_without_slowdown(seed: int, waste_ratio: float) -> None:
    board = draw_board(seed, waste_ratio)
    free = board.run()
    possible = 1 - board.run(free.clock_mhz).step_j / free.step_j
    steered = LimitedJob(board, SPEC, seed).run(3600)
    assert steered.saving_ratio >= 0.6 * possible - 0.002  # of an hour, with all trials
    assert steered.slowdown_ratio <= 0.0055


@pytest.mark.parametrize("seed", LIMITED[:4])
def test_without_waste_hardly_anything_changes(seed: int) -> None:
    steered = LimitedJob(draw_board(seed, 0.0), SPEC, seed).run(3600)
    assert 0 <= steered.saving_ratio < 0.015
    assert steered.slowdown_ratio <= 0.0055


def test_below_the_power_limit_nothing_is_set() -> None:
    seed = next(seed for seed in range(20) if seed not in LIMITED)
    steered = LimitedJob(draw_board(seed, 0.1), SPEC, seed).run(300)
    assert {decision.action for decision in steered.decisions} == {"hold"}
    assert {decision.reason for decision in steered.decisions} == {"watching", "not_limited"}


def test_a_server_is_steered_by_its_tokens_while_requests_wait() -> None:
    board = draw_board(LIMITED[0], 0.1)
    saturated = LimitedJob(board, SPEC, queue=8).run(3600)
    assert saturated.saving_ratio > 0.05
    while not saturated.in_force:
        saturated.run(1)
    saturated.queue = 0
    assert saturated.run(1).decisions[-1].action == "release"
    assert saturated.decisions[-1].reason == "not_saturated"
    assert {decision.action for decision in LimitedJob(board, SPEC, queue=0).run(60).decisions} == {"hold"}


def test_it_watches_again_when_the_work_responds_differently() -> None:
    """The new work draws less: the limit no longer holds its clock, and nothing stays set."""
    steered = LimitedJob(draw_board(LIMITED[0], 0.1), SPEC).run(1800)
    board = steered.plant.board = steered.board = draw_board(next(s for s in range(20) if s not in LIMITED), 0.1)
    assert board.run().step_s != pytest.approx(draw_board(LIMITED[0], 0.1).run().step_s, rel=0.05)
    steered.run(1800)
    assert not steered.in_force
    assert steered.decisions[-1].reason == "not_limited"


def test_progress_starts_at_the_clock_that_the_limit_holds() -> None:
    """With a budget: it saves the waste and more, within the budget."""
    board = draw_board(LIMITED[0], 0.1)
    steered = LimitedJob(board, PROGRESS, slowdown=0.03).run(7200)
    alone = LimitedJob(board, SPEC).run(7200)
    assert steered.saving_ratio > alone.saving_ratio + 0.01
    assert steered.slowdown_ratio <= 0.03
    clock_mhz = board.run().clock_mhz
    assert sum(setting > clock_mhz + 40 for setting in steered.state.search.settings) == 1  # the original one
