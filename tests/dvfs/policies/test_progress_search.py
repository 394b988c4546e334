"""The search on tables that it never sees: its laws, on jobs from the physics of boards. The truth is the table."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.policies.progress import TRIALS, choice, learn, propose, start_search
from dvfs.replay.training import Score, Weather, play
from dvfs.tables import SettingRow, SettingTable
from tests.dvfs.policies.job_tables import BOARDS, job


def rising(share: float) -> float:
    """Every step takes 10 % longer at the end."""
    return 0.1 * share


def swinging(share: float) -> float:
    """Three swings of 5 % up and down."""
    return 0.05 * math.sin(6 * math.pi * share)


KNOBS = ("power_limit_w", "sm_clock_mhz")


def scores(weather: Weather, count: int = 8, budget: float = 0.05, *, jobs: int = 10, change: bool = False) -> list[Score]:
    """Two boards, both knobs, so many jobs each."""
    results = []
    for board in ("A100", "H100"):
        for knob in KNOBS:
            for seed in range(jobs):
                table = job(board, knob, count, seed)
                then = job(board, knob, count, seed + 100) if change else None
                results.append(play(TRIALS, table, budget, 3000, seed, weather, then))
    return results


LONG = pytest.mark.smoke  # forty jobs each: seconds
WEATHERS = [
    pytest.param(Weather(), False, id="noise", marks=LONG),
    pytest.param(Weather(noise=0.05), False, id="much noise", marks=LONG),
    pytest.param(Weather(ar=0.9), False, id="slow noise", marks=LONG),
    pytest.param(Weather(drift=rising), False, id="drift", marks=LONG),
    pytest.param(Weather(drift=swinging), False, id="swings", marks=LONG),
    pytest.param(Weather(stalls=0.02), False, id="stalls", marks=LONG),
    pytest.param(Weather(), True, id="change", marks=LONG),
]


@pytest.mark.parametrize(("weather", "change"), WEATHERS)
def test_within_the_budget_and_close_to_the_best(weather: Weather, change: bool) -> None:
    results = scores(weather, change=change)
    over = [s for s in results if s.slowdown_ratio > 0.05 or s.chosen_slowdown_ratio > 0.05 * 1.0001]
    assert len(over) <= 2  # of 40: a hundredth is allowed, and two of forty happen by chance
    assert max(s.slowdown_ratio for s in results) <= 0.055
    assert sum(s.far_over_ratio for s in results) / len(results) <= 0.06
    saved, possible = sum(s.saving_ratio for s in results), sum(s.oracle_ratio for s in results)
    assert saved >= (0.85 if weather.noise > 0.02 or weather.ar else 0.93) * possible


@pytest.mark.smoke
def test_of_few_jobs_none_is_far_over_the_budget_and_all_are_close_to_the_best() -> None:
    results = scores(Weather(), jobs=4)
    assert sum(s.slowdown_ratio > 0.05 for s in results) <= 1
    assert all(s.slowdown_ratio <= 0.055 and s.chosen_slowdown_ratio <= 0.05 * 1.0001 for s in results)
    assert sum(s.saving_ratio for s in results) >= 0.93 * sum(s.oracle_ratio for s in results)


def test_a_job_that_nothing_helps_is_left_alone_at_little_cost() -> None:
    """Time and power do not depend on the setting."""
    table = SettingTable("idle", "power_limit_w", tuple(SettingRow(float(w), 1.0, 60.0) for w in range(100, 301, 25)))
    for seed in range(5):
        score = play(TRIALS, table, 0.03, 2000, seed, Weather())
        assert abs(score.slowdown_ratio) < 1e-9
        assert abs(score.saving_ratio) < 1e-9


def test_a_lower_setting_that_costs_more_energy_is_not_kept() -> None:
    """Below the knee: power hardly falls any more, so slower is dearer."""
    rows = tuple(SettingRow(float(f), 1410 / f, 300 + 0.02 * f) for f in range(1005, 1411, 45))
    score = play(TRIALS, SettingTable("knee", "sm_clock_mhz", rows), 0.2, 3000, 1, Weather())
    assert score.chosen == 1410
    assert score.saving_ratio > -0.005


@settings(max_examples=30, deadline=None)
@given(
    board=st.sampled_from(list(BOARDS)), knob=st.sampled_from(KNOBS), seed=st.integers(0, 10_000), steps=st.integers(1, 400),
    budget=st.floats(0.005, 0.3), noise=st.floats(0.0, 0.2),
)  # fmt: skip
def test_whatever_happens_trials_are_of_the_settings_and_end_with_the_run(board, knob, seed, steps, budget, noise) -> None:
    table = job(board, knob, 7, seed)
    rows = {r.setting: r for r in table.rows}
    search, steps_left, draw = start_search(knob, list(rows), budget, steps), steps, random.Random(seed)
    while steps_left:
        trial, search = propose(search)
        assert trial.setting in rows
        assert 1 <= trial.samples <= steps_left
        row = rows[trial.setting]
        times = [row.time_s * draw.lognormvariate(0, noise) for _ in range(trial.samples)]
        search = learn(search, trial.setting, times, [row.power_w] * trial.samples)
        steps_left -= trial.samples
        assert search.samples_left == steps_left
    assert choice(search) in rows


def test_the_same_samples_give_the_same_search() -> None:
    table = job("H100", "sm_clock_mhz", 12, 1)
    first, again = (play(TRIALS, table, 0.05, 1500, 9, Weather()) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(("values", "budget"), [([], 0.05), ([1.0], 0.0), ([1.0], float("nan"))])
def test_a_search_needs_settings_and_a_budget(values: list[float], budget: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        start_search("power_limit_w", values, budget, None)
