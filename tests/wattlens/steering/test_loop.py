"""Steering: what policies see of the devices."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from energy_agent.config.dvfs import Dvfs, DvfsGroup
from energy_agent.core.energy import DeviceInfo, DeviceSample, Identity, Method, SourceHealth
from energy_agent.core.snapshot import DeviceView, DvfsDevice, Snapshot
from energy_agent.runtime.clock import RealClock
from energy_agent.tokens.poller import ModelProgress, TokenPoller
from tests.support import eventually
from wattlens.steering.groups import named
from wattlens.steering.loop import HISTORY, Steering


class Rig:
    """Steering in mode shadow over snapshots made by hand, a tenth of a second apart."""

    def __init__(self, blocks: dict[str, object] | None = None) -> None:
        config = Dvfs.model_validate(
            {
                "mode": "shadow",
                "policy": "static",
                "options": {"static": {"clean_s": 0}},
                "blocks": blocks,
                "groups": [{"name": "job", "devices": ["0", "1"]}],
            }
        )
        self.clock = RealClock()
        self.steering = Steering(config, self.clock, TokenPoller(self.clock))
        self.rounds = 0

    def view(self, index: int, answers: bool = True) -> DeviceView:
        info = DeviceInfo(f"GPU-{index}", index, "NVIDIA H100 80GB HBM3", "Hopper", "", "")
        now = self.clock.boot_ns()
        sample = DeviceSample(info.uuid, self.clock.utc_ns(), now, sm_clock_mhz=1980, event_reasons=0, gpu_percent=100)
        energy = {Method.COUNTER: now // 1000}
        return DeviceView(info, answers, "" if answers else "gpu_is_lost", sample if answers else None, energy, 0, {}, 0.0, 0)

    def give(self, *views: DeviceView) -> dict[str, int]:
        """Hand over a snapshot and wait until it is dealt with: reasons of decisions so far on GPU-0, with their counts."""
        self.rounds += 1
        identity = Identity("c", "n", "b", "v", simulated=True)
        self.steering(Snapshot(self.rounds, self.clock.utc_ns(), identity, views))
        return eventually(self.reasons_of_this_round, 5)

    def reasons_of_this_round(self) -> dict[str, int] | None:
        with self.steering._fresh:  # the views alone, without handing over a snapshot
            views = self.steering._views
        counts: dict[str, int] = {}
        for (_, _, reason), count in (views[0].decisions if views else {}).items():
            counts[reason] = counts.get(reason, 0) + count
        return counts if sum(counts.values()) >= self.rounds else None


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(blocks: dict[str, object] | None = None) -> Rig:
        rigs.append(Rig(blocks))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.steering.stop()


def test_a_device_that_does_not_answer_stays_in_its_group(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    assert rig.give(rig.view(0), rig.view(1)) == {"knee": 1}
    assert rig.give(rig.view(0), rig.view(1, answers=False)) == {"knee": 1, "missing": 1}
    assert rig.give(rig.view(0), rig.view(1)) == {"knee": 2, "missing": 1}


def test_a_group_shows_its_decisions_while_steering_runs(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.give(rig.view(0), rig.view(1))
    [group] = rig.steering.describe_groups()
    assert (group["group"], group["mode"], group["devices"]) == ("job", "shadow", ["GPU-0", "GPU-1"])
    [decision] = group["decisions"]  # type: ignore[misc]
    assert (decision["policy"], decision["action"], decision["reason"]) == ("static", "set", "knee")
    assert group["proven"] == {"reason": "nothing is applied in mode shadow"}
    rig.steering.stop()
    with rig.steering._fresh:
        rig.steering._ended = "steering has ended"
    assert rig.steering.describe_groups() == []


def groups(*devices: tuple[str, ...]) -> tuple[DvfsGroup, ...]:
    return tuple(DvfsGroup(name=f"g{n}", devices=names) for n, names in enumerate(devices))


@pytest.mark.parametrize(("devices", "reasons"), [
    ((("0", "1"), ("GPU-2",)), ("", "")),
    ((("0", "99"), ("1",)), ("no GPU '99'; there are 0, 1, 2", "")),
    ((("GPU-77",),), ("no GPU 'GPU-77'",)),
    ((("0",), ("GPU-0", "1")), ("", "GPU 0 is in group 'g0' already")),
    ((("0", "GPU-0"),), ("GPU 0 is in it twice",)),
    ((("7",),), ("GPU 7 has not answered yet",)),
])  # fmt: skip
def test_group_is_whole_or_has_a_reason(make_rig: Callable[..., Rig], devices, reasons) -> None:
    rig = make_rig()
    views = tuple(rig.view(n) for n in range(3))
    silent = SourceHealth("nvml", False, "index 7", "GPU_IS_LOST")
    snapshot = Snapshot(1, 0, Identity("c", "n", "b", "v", simulated=True), views, health=(silent,))
    steering_groups = named(groups(*devices), snapshot)
    for of, reason in zip(steering_groups, reasons, strict=True):
        assert bool(of.reason) == bool(reason), of.name
        assert reason in of.reason
    assert {of.reason for of in named(groups(*devices), replace(snapshot, devices=()))} == {""}


def test_a_group_of_a_gpu_that_is_not_there_is_named_once_and_in_health(
    make_rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig()
    for _ in range(3):
        rig.steering(Snapshot(1, 0, Identity("c", "n", "b", "v", simulated=True), (rig.view(0),)))
        (health,) = eventually(rig.steering.health, 5)
    assert (health.source, health.up) == ("dvfs:job", False)
    assert "no GPU '1'" in health.reason
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [f"group job: {health.reason}"]
    rig.give(rig.view(0), rig.view(1))
    assert [(h.up, h.reason) for h in rig.steering.health()] == [(True, "")]


class SteppedClock(RealClock):
    """The machine's clock, and seconds that a test adds."""

    added_s = 0

    def boot_ns(self) -> int:
        return super().boot_ns() + self.added_s * 1_000_000_000


class Tokens(TokenPoller):
    """Endpoints of two workloads; what reading those of `bad` comes to is set by the test."""

    def __init__(self, clock: RealClock) -> None:
        super().__init__(clock)
        self.clock = clock
        self.bad: Callable[[], object] = lambda: None

    def latest(self, workload: str) -> ModelProgress | None:
        if workload == "bad":
            self.bad()
        return ModelProgress(self.clock.boot_ns(), 100, None, None, None, None, None, None)


class TwoGroups:
    """Two groups in mode shadow; GPU 0 is of the group `bad`, GPU 1 of `good`."""

    def __init__(self) -> None:
        groups = [{"name": name, "devices": [str(n)], "workload": name} for n, name in enumerate(("bad", "good"))]
        options = {"static": {"clean_s": 0}}
        config = Dvfs.model_validate({"mode": "shadow", "policy": "static", "options": options, "groups": groups})
        self.clock = SteppedClock()
        self.tokens = Tokens(self.clock)
        self.steering = Steering(config, self.clock, self.tokens)
        self.view = lambda n: Rig.view(self, n)  # type: ignore[arg-type]

    def give(self) -> dict[str, DvfsDevice]:
        identity = Identity("c", "n", "b", "v", simulated=True)
        snapshot = Snapshot(1, self.clock.utc_ns(), identity, (self.view(0), self.view(1)))
        return {view.device: view for view in self.steering(snapshot)[1]}

    def health(self) -> dict[str, tuple[bool, str]]:
        return {health.source: (health.up, health.reason) for health in self.steering.health()}

    def steered(self) -> set[str]:
        """Return devices with a requested setting."""
        return {uuid for uuid, view in self.give().items() if view.wanted}


@pytest.fixture
def two_groups() -> Iterator[TwoGroups]:
    groups_rig = TwoGroups()
    yield groups_rig
    groups_rig.steering.stop()


def test_a_group_that_fails_is_released_and_shown_and_the_others_are_steered_on(two_groups: TwoGroups) -> None:
    eventually(lambda: two_groups.steered() == {"GPU-0", "GPU-1"}, 5)

    def fail() -> None:
        raise KeyError("GPU-0")

    two_groups.tokens.bad = fail
    eventually(lambda: two_groups.steered() == {"GPU-1"} and not two_groups.health()["dvfs:bad"][0], 5)
    assert "KeyError" in two_groups.health()["dvfs:bad"][1]
    assert two_groups.health()["dvfs:good"] == (True, "")
    two_groups.tokens.bad = lambda: None
    eventually(lambda: two_groups.steered() == {"GPU-0", "GPU-1"} and two_groups.health()["dvfs:bad"] == (True, ""), 5)


def test_a_thread_that_hangs_is_shown_and_its_last_views_are_not_taken_for_those_of_now(two_groups: TwoGroups) -> None:
    eventually(lambda: two_groups.steered() == {"GPU-0", "GPU-1"}, 5)
    hangs, end = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        end.wait(120)

    two_groups.tokens.bad = hang
    eventually(lambda: (two_groups.give(), hangs.is_set())[1], 5)
    assert two_groups.steered() == {"GPU-0", "GPU-1"}  # its leases are not over yet
    two_groups.clock.added_s = 11
    views = two_groups.give().values()
    assert {(view.mode, view.lease_active, len(view.setting), len(view.wanted)) for view in views} == {("observe", False, 0, 0)}
    assert two_groups.health()["dvfs"][0] is False
    two_groups.tokens.bad = lambda: None
    end.set()
    eventually(lambda: two_groups.steered() == {"GPU-0", "GPU-1"} and "dvfs" not in two_groups.health(), 5)


def test_a_thread_that_ends_is_shown_and_leaves_nothing_active(two_groups: TwoGroups) -> None:
    eventually(lambda: two_groups.steered() == {"GPU-0", "GPU-1"}, 5)

    def end() -> None:
        raise SystemExit("out of luck")

    two_groups.tokens.bad = end
    eventually(lambda: not two_groups.steered() and not two_groups.health().get("dvfs", (True, ""))[0], 5)
    assert {view.mode for view in two_groups.give().values()} == {"observe"}
    assert "ended" in two_groups.health()["dvfs"][1]


def test_a_gpu_in_mig_mode_is_exempt_and_no_source_that_is_down(two_groups: TwoGroups) -> None:
    eventually(lambda: two_groups.steered() == {"GPU-0", "GPU-1"}, 5)
    plain = two_groups.view
    two_groups.view = lambda n: replace(v := plain(n), info=replace(v.info, mig_enabled=n == 0))
    eventually(lambda: two_groups.steered() == {"GPU-1"} and two_groups.health() == {"dvfs:good": (True, "")}, 5)
    exempt = {uuid: view.exempt for uuid, view in two_groups.give().items()}
    assert exempt == {"GPU-0": ("bad", "GPU 0 is in MIG mode: its instances may serve others"), "GPU-1": None}
    two_groups.view = plain
    eventually(lambda: two_groups.steered() == {"GPU-0", "GPU-1"}, 5)
    assert {view.exempt for view in two_groups.give().values()} == {None}


def test_the_place_in_the_actuators_history_is_not_a_proof(caplog: pytest.LogCaptureFixture) -> None:
    clock = RealClock()
    config = Dvfs.model_validate({"mode": "shadow", "auto_groups": True})
    Steering(config, clock, TokenPoller(clock), states={HISTORY: '{"name": "a", "number": 3}'}).stop()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
