"""Policy bisect: within the budget on tables that it never sees, live over counters, and on servers."""

import pytest

from dvfs import knees
from dvfs.policies.bisect import SPEC, TRIALS, learn, propose, start_pairs
from dvfs.replay.training import Weather, play
from dvfs.types import Decision
from energy_agent.core.errors import UsageError
from tests.dvfs.policies.job_tables import job
from tests.dvfs.policies.serving_load import Load
from tests.dvfs.policies.training_job import Job

CONFIG = SPEC.configure({}, knees.load())


@pytest.mark.parametrize("knob", ["power_limit_w", "sm_clock_mhz"])
@pytest.mark.parametrize("budget", [0.05, 0.1])
def test_runs_are_within_the_budget_and_save(knob: str, budget: float) -> None:
    scores = [play(TRIALS, job("A100", knob, 12, seed), budget, 3000, seed, Weather()) for seed in range(12)]
    assert max(score.slowdown_ratio for score in scores) <= budget
    assert max(score.chosen_slowdown_ratio for score in scores) <= budget
    assert sum(s.saving_ratio for s in scores) >= 0.6 * sum(s.oracle_ratio for s in scores)


def test_a_slower_workload_moves_a_held_setting_up() -> None:
    table, steeper = job("A100", "sm_clock_mhz", 12, 3), job("A100", "sm_clock_mhz", 12, 8)
    light, heavy = sorted((table, steeper), key=lambda one: one.best(0.05).setting)
    score = play(TRIALS, light, 0.05, 12_000, 1, Weather(), then=heavy)
    assert score.chosen_slowdown_ratio <= 0.05


@pytest.mark.parametrize("step_s", [0.05, 0.7])
def test_live_over_counters(step_s: float) -> None:
    table = job("A100", "sm_clock_mhz", 40, 3)
    trained = Job(table, SPEC, CONFIG, step_s=step_s).run(7200)
    assert trained.work_s / trained.default_s - 1 <= 0.05
    assert trained.energy_j < 0.95 * trained.default_s * table.default.power_w
    assert {decision.reason for decision in trained.told} >= {"reference", "probe", "hold"}


def test_in_shadow_nothing_is_set() -> None:
    trained = Job(job("A100", "sm_clock_mhz", 12, 3), SPEC, CONFIG, enforced=False).run(600)
    assert {decision.action for decision in trained.told} == {"hold"}


def test_one_setting_is_held() -> None:
    trial, search = propose(start_pairs("power_limit_w", [300.0], 0.05, None))
    assert (trial.setting, trial.reason) == (300.0, "hold")
    assert propose(learn(search, 300.0, [1.0], [1.0]))[0] == trial


@pytest.mark.parametrize(("times", "powers"), [([], []), ([1.0], []), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_a_block_without_measurements_is_refused(times: list[float], powers: list[float]) -> None:
    with pytest.raises(ValueError, match="one time per power value"):
        learn(start_pairs("power_limit_w", [1.0, 2.0], 0.05, None), 2.0, times, powers)


@pytest.mark.parametrize(("settings", "budget"), [([], 0.05), ([1.0], 0.0)])
def test_a_search_needs_settings_and_a_budget(settings: list[float], budget: float) -> None:
    with pytest.raises(ValueError, match="needs settings and a budget"):
        start_pairs("power_limit_w", settings, budget, None)


def test_a_server_with_slack_comes_to_the_knee_and_one_at_its_limit_stays_above() -> None:
    assert Load(SPEC, CONFIG, ttft_s=0.05, itl_s=0.01).run(600).clock() == 1005
    server = Load(SPEC, CONFIG, ttft_s=0.05, itl_s=0.035, follows_clock=True).run(1200)  # 50 ms at 1386 MHz
    assert 1386 <= server.clock() <= 1560
    assert {decision.reason for decision in server.told} >= {"kept", "missed"}


def test_a_held_clock_that_misses_is_left_and_a_queue_or_missing_metrics_release_it() -> None:
    server = Load(SPEC, CONFIG, ttft_s=0.05, itl_s=0.01).run(600)
    server.queue = 2
    assert server.second() == Decision("release", "queue")
    server.second()
    assert server.clock() == 1005  # the queue no longer grows
    server.ttft_s = 0.9
    server.run(20)
    assert server.clock() == 1980
    server.ttft_s = 0.05
    server.run(1500)
    assert server.clock() < 1980  # tried again after 15 minutes
    server.queue = None
    assert server.second() == Decision("release", "missing_queue")


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UsageError, match="dvfs policy bisect: knob"):
        SPEC.configure({"knob": "memory"}, knees.load())
