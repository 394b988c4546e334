"""Policy progress over counters read once a second: within the budget, quick to let go, and honest in shadow."""

from dataclasses import replace

import pytest

from dvfs import knees
from dvfs.policies._trials import candidates
from dvfs.policies.progress import SPEC, SearchState
from dvfs.tables import SettingTable
from dvfs.types import Setting
from tests.dvfs.policies.job_tables import job
from tests.dvfs.policies.training_job import Job


def make_job(table: SettingTable, **more: object) -> Job:
    knob = "clock" if table.knob == "sm_clock_mhz" else "power"
    config = SPEC.configure({"knob": knob}, knees.load())
    return Job(table, SPEC, config, **more)


@pytest.mark.smoke
@pytest.mark.parametrize("knob", ["sm_clock_mhz", "power_limit_w"])
@pytest.mark.parametrize("step_s", [0.05, 0.7, 4.0])
def test_two_hours_of_training_are_within_the_budget_and_cheaper(knob: str, step_s: float) -> None:
    table = job("A100", knob, 40, 3)
    best = table.best(0.05)
    possible = 1 - best.time_s * best.power_w / table.default.time_s / table.default.power_w
    trained = make_job(table, step_s=step_s).run(7200 if step_s < 4 else 14_400)
    assert trained.work_s / trained.default_s - 1 <= 0.05
    energy = trained.energy_j / (trained.default_s * table.default.power_w)
    assert 1 - energy >= 0.75 * possible
    assert {d.reason for d in trained.decisions} >= {"reference", "probe"}


def test_steps_of_different_length_are_compared_by_their_tokens() -> None:
    table = job("A100", "sm_clock_mhz", 40, 3)
    trained = make_job(table, step_s=1.5, lengths=(0.4, 1.6)).run(7200)
    assert trained.state.search.measured.sd < 0.04  # the lengths alone would make it 0.35
    assert trained.work_s / trained.default_s - 1 <= 0.05
    assert trained.energy_j < 0.97 * trained.default_s * table.default.power_w


def test_it_lets_go_on_heat_and_begins_that_trial_again() -> None:
    training = make_job(job("A100", "sm_clock_mhz", 12, 3))
    while not training.in_force:
        training.second()
    training.changes = {"event_reasons": 0x40}
    decision = training.second()
    assert (decision.action, decision.reason) == ("release", "hw_thermal_slowdown")
    assert training.second().action == "hold"
    search_before = training.state.search
    training.changes = {}
    training.run(3)
    assert training.state.search.measured == search_before.measured  # nothing of the hot time was learned


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"sm_clock_mhz": None}, "missing"), ({"boot_ns": 0}, "stale"), ({"energy_uj": None}, "no_energy")],
)
def test_it_lets_go_when_it_cannot_see(changes: dict[str, object], reason: str) -> None:
    training = make_job(job("A100", "sm_clock_mhz", 12, 3))
    while not training.in_force:
        training.second()
    training.changes = changes
    decision = training.second()
    assert (decision.action, decision.reason) == ("release", reason)


def test_evaluation_is_no_step_time() -> None:
    """Steps stand still for a minute: none of that time is in a sample."""
    training = make_job(job("A100", "sm_clock_mhz", 12, 3)).run(20)
    training.doing = "evaluation"
    training.run(60)
    training.doing = "training"
    training.run(200)
    assert training.state.search.measured.sd < 0.05


def test_a_job_that_starts_again_is_another_run() -> None:
    training = make_job(job("A100", "sm_clock_mhz", 12, 3)).run(300)
    assert training.state.search.measured.samples
    while not training.in_force:
        training.second()
    training.steps = 0
    assert (training.second().action, training.in_force) == ("release", {})
    assert training.run(2).state.search is None
    assert training.run(300).in_force or training.state.search.measured.samples > 100


def test_a_setting_that_is_not_in_force_teaches_nothing() -> None:
    training = make_job(job("A100", "sm_clock_mhz", 12, 3))
    while not training.in_force:
        training.second()
    training.in_force = {}  # the actuator refused, or somebody else took it back
    samples = training.state.search.measured.samples
    for _ in range(60):
        decision = training.second()
        training.in_force = {}
        assert decision.action == "hold"
    assert decision.reason == "not_in_force"
    assert training.state.search.measured.samples == samples


def test_shadow_writes_nothing_and_promises_what_is_likely() -> None:
    """The interval of the promise holds the best setting's saving in 95 of 100 jobs, and says something."""
    hits, widths, total = 0, [], 0
    for board in ("A100", "H100", "A40", "V100"):
        for knob in ("sm_clock_mhz", "power_limit_w"):
            for seed in range(6):
                table = job(board, knob, 40, seed)
                shadow = make_job(table, enforced=False).run(80)
                assert not shadow.in_force
                promise = SPEC.predict(shadow.state, shadow.config)
                if promise is None:
                    continue
                best = table.best(0.05)
                truth = 1 - best.time_s * best.power_w / table.default.time_s / table.default.power_w
                hits += promise.low - 1e-9 <= truth <= promise.high + 1e-9
                assert promise.low <= promise.saving_ratio <= promise.high
                widths.append(promise.high - promise.low)
                total += 1
                assert any(d.reason == "predicted" for d in shadow.decisions)
    assert total >= 40
    assert hits / total >= 0.9
    assert sum(widths) / total < 0.5


def test_candidates_lie_between_the_knee_and_what_was_found() -> None:
    training = make_job(job("A100", "sm_clock_mhz", 12, 3))
    clocks = candidates(training.observation(), training.config)
    assert (clocks[0], clocks[-1], len(clocks)) == (1020, 1410, 12)
    assert all(clock % 15 == 0 for clock in clocks)
    watts = make_job(job("A100", "power_limit_w", 12, 3))
    limits = candidates(watts.observation(), watts.config)
    assert (limits[0], limits[-1]) == (160, 400)
    watts.changes = {"power_range_mw": None}
    assert candidates(watts.observation(), watts.config) == []
    assert watts.second().reason == "nothing_to_choose"


def test_the_reference_of_power_limits_is_the_original_one_whatever_is_in_force() -> None:
    """An agent that starts over its predecessor's 250 of 400 W: the record of the actuator counts."""
    watts = make_job(job("A100", "power_limit_w", 12, 3))
    whole = candidates(watts.observation(), watts.config)
    for now_mw in (150_000, 250_000, 399_000):
        watts.changes = {"power_limit_mw": now_mw}
        reduced = watts.observation()
        originals = dict.fromkeys((device.uuid for device in reduced.devices), 400_000)
        assert candidates(replace(reduced, original_limit_mw=originals), watts.config) == whole
        originals.popitem()  # of one it is not known: nothing is tried until it is
        assert candidates(replace(reduced, original_limit_mw=originals), watts.config) == []


def test_a_job_without_a_hook_is_held_with_the_reason() -> None:
    training = make_job(job("A100", "sm_clock_mhz", 12, 3))
    training.steps = None  # type: ignore[assignment]
    training.doing = ""
    observation = training.observation()
    decision, state = SPEC.decide(observation, SearchState(asked=Setting(1005)), training.config)
    assert (decision.action, decision.reason) == ("release", "no_steps")
    assert state.asked is None
