"""Policy phase: low clocks in waits that last, gone with the first sign of work."""

from dataclasses import replace

from dvfs import knees
from dvfs.policies.phase import SPEC
from dvfs.types import Decision, DeviceObservation, Observation, Setting, WorkCounters

NS = 1_000_000_000
CONFIG = SPEC.configure({}, knees.load())


class Run:
    """A job that is observed second by second."""

    def __init__(self, sku: str = "NVIDIA H100 80GB HBM3") -> None:
        self.t_s, self.state, self.sku, self.decisions = 100, SPEC.start(), sku, []

    def for_seconds(self, seconds: int, doing: str, busy: int = 0, **device: object) -> list[Decision]:
        decisions = []
        for _ in range(seconds):
            self.t_s += 1
            now = self.t_s * NS
            one = replace(DeviceObservation("GPU-0", self.sku, now, 1980, 100_000, 700_000, 0, busy, 0, None, 1980), **device)
            observation = Observation("g", now, (one,), WorkCounters(now, steps=1, doing=doing), True)
            decision, self.state = SPEC.decide(observation, self.state, CONFIG)
            decisions.append(decision)
        self.decisions += decisions
        return decisions


def actions(decisions: list[Decision]) -> list[str]:
    return [d.action for d in decisions if d.action != "hold"]


def test_a_checkpoint_that_lasts_is_steered_and_ends_with_training() -> None:
    run = Run()
    run.for_seconds(10, "training", 100)
    decisions = run.for_seconds(30, "checkpoint")
    assert actions(decisions) == ["set"]
    assert [d.action for d in decisions].index("set") == 3  # after three seconds of it
    assert next(d for d in decisions if d.action == "set").settings == {"GPU-0": Setting(502)}
    assert actions(run.for_seconds(3, "training", 100)) == ["release"]


def test_waits_that_are_short_are_left_alone_once_they_are_known() -> None:
    run = Run()
    for _ in range(4):
        run.for_seconds(20, "training", 100)
        last = run.for_seconds(4, "data_wait")
    assert actions(last) == []
    assert last[-1].reason == "short_waits"
    assert actions(run.for_seconds(40, "checkpoint")) == ["set"]  # each phase has its own history


def test_evaluation_that_keeps_the_gpus_busy_is_work() -> None:
    run = Run()
    assert actions(run.for_seconds(60, "evaluation", 80)) == []
    assert actions(run.for_seconds(10, "checkpoint")) == ["set"]
    assert actions(run.for_seconds(1, "checkpoint", 50)) == ["release"]


def test_trouble_ends_it_and_unknown_boards_are_left_alone() -> None:
    run = Run()
    run.for_seconds(10, "checkpoint")
    assert actions(run.for_seconds(1, "checkpoint", event_reasons=0x40)) == ["release"]
    assert actions(Run("Some GPU").for_seconds(10, "checkpoint", sm_clock_max_mhz=None)) == []
    assert Run("Some GPU").for_seconds(10, "checkpoint")[3].settings == {"GPU-0": Setting(495)}
