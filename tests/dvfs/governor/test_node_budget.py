"""The node's budget on nodes drawn at random: what runs within it is not slowed, and starts exceed it little and briefly."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.dvfs_node_budget import LOST_MOST, DrawnJob, DrawnNode, draw_node, excess_w, play
from tests.support import examples

SEEDS = st.integers(1, 10_000)


@settings(max_examples=examples(60, quick=8), deadline=None)
@given(SEEDS)
def test_a_node_below_its_budget_is_not_slowed(seed: int) -> None:
    node = draw_node(seed, is_below=True)
    run, unsteered = play(node), play(replace(node, budget_w=math.inf))
    assert run.steps > (1 - LOST_MOST) * unsteered.steps
    assert max(excess_w(node, run)) <= 0.5


@settings(max_examples=examples(60, quick=8), deadline=None)
@given(SEEDS)
def test_drawn_power_exceeds_the_budget_by_lowest_limits_of_starting_gpus_at_most(seed: int) -> None:
    node = draw_node(seed, is_below=False)
    assert max(excess_w(node, play(node))) <= 0.5


HALF_BUSY = DrawnNode(
    1, (70.0,) * 8, (200.0, 700.0), 200.0,
    (DrawnJob("train", (0, 1, 2, 3), 0.0, math.inf, 679.25, 0.7, 120.0, 0.01),),
    3200.0, 0.1, 1.0, 0.1, 5.0, 120.0,
)  # fmt: skip


def test_half_of_the_gpus_busy_within_the_budget_run_at_full_speed() -> None:
    run, unsteered = play(HALF_BUSY), play(replace(HALF_BUSY, budget_w=math.inf))
    assert max(unsteered.drawn_w) < 3200
    assert run.steps > 0.99 * unsteered.steps


def test_four_processes_at_once_on_free_gpus_exceed_the_budget_for_seconds() -> None:
    starts = DrawnJob("late", (4, 5, 6, 7), 60.0, math.inf, 690.0, 0.7, 120.0, 0.01)
    node = replace(HALF_BUSY, jobs=(*HALF_BUSY.jobs, starts))
    run = play(node)
    assert max(run.drawn_w[660:]) <= 3200
    assert max(run.drawn_w) <= 3200 + 4 * (200 - 70)
    assert max(excess_w(node, run)) <= 0.5
