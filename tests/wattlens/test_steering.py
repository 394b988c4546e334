"""Steering: what policies see of the devices, and when the savings file is written."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from energy_agent.clock import RealClock
from energy_agent.config_dvfs import Dvfs, DvfsGroup
from energy_agent.core.snapshot import DeviceView, Snapshot
from energy_agent.core.types import DeviceInfo, DeviceSample, Identity, Method, SourceHealth
from energy_agent.token_poller import TokenPoller
from tests.support import eventually
from wattlens.steering import Steering
from wattlens.steering_groups import named


class Rig:
    """Steering in mode shadow over snapshots made by hand, a tenth of a second apart."""

    def __init__(self, state: Path, blocks: dict[str, object] | None = None) -> None:
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
        self.steering = Steering(config, self.clock, TokenPoller(self.clock), state)
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
        found: dict[str, int] = {}
        for (_, _, reason), count in (views[0].decisions if views else {}).items():
            found[reason] = found.get(reason, 0) + count
        return found if sum(found.values()) >= self.rounds else None


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(blocks: dict[str, object] | None = None) -> Rig:
        rigs.append(Rig(tmp_path, blocks))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.steering.stop()


def test_a_device_that_does_not_answer_stays_in_its_group(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    assert rig.give(rig.view(0), rig.view(1)) == {"knee": 1}
    assert rig.give(rig.view(0), rig.view(1, answers=False)) == {"knee": 1, "missing": 1}
    assert rig.give(rig.view(0), rig.view(1)) == {"knee": 2, "missing": 1}


def test_savings_file_is_written_when_it_changes(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    path = tmp_path / "savings.json"
    rig = make_rig({"pairs": 2})
    rig.give(rig.view(0), rig.view(1))
    eventually(path.exists, 5)
    path.unlink()
    for _ in range(3):
        rig.give(rig.view(0), rig.view(1))
    assert not path.exists()


def test_a_savings_file_that_cannot_be_written_does_not_end_the_steering(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    (tmp_path / "savings.json").mkdir()
    rig = make_rig({"pairs": 2})
    for rounds in (1, 2, 3):
        assert sum(rig.give(rig.view(0), rig.view(1)).values()) == rounds
    (tmp_path / "savings.json").rmdir()
    rig.give(rig.view(0), rig.view(1))
    eventually((tmp_path / "savings.json").is_file, 5)


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
def test_a_group_is_whole_or_says_why_not(make_rig: Callable[..., Rig], devices, reasons) -> None:
    rig = make_rig()
    views = tuple(rig.view(n) for n in range(3))
    silent = SourceHealth("nvml", False, "index 7", "GPU_IS_LOST")
    snapshot = Snapshot(1, 0, Identity("c", "n", "b", "v", simulated=True), views, health=(silent,))
    found = named(groups(*devices), snapshot)
    for of, reason in zip(found, reasons, strict=True):
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
