"""From a snapshot to observations, and the governor on its own thread."""

from dvfs.governor import Governor, GovernorConfig
from dvfs.observe import Group, observations
from dvfs.policies.static import SPEC
from dvfs.steering import Steering
from dvfs.types import Mode, Progress
from energy_agent.clock import RealClock
from energy_agent.core.snapshot import DeviceView, Snapshot, TokenCount
from energy_agent.core.types import DeviceInfo, DeviceSample, Identity, Method
from tests.support import eventually


def view(index: int, *, up: bool = True) -> DeviceView:
    info = DeviceInfo(f"GPU-{index}", index, "NVIDIA H100 80GB HBM3", "Hopper", "0", "1")
    sample = DeviceSample(info.uuid, 1, 5, sm_clock_mhz=1980, event_reasons=0)
    return DeviceView(info, up, "" if up else "lost", sample, {Method.COUNTER: 3, Method.BRIDGED: 4}, 0, {}, 0.0, 0)


SNAPSHOT = Snapshot(
    1, 1, Identity("c", "n", "b", "v", True), (view(0), view(1, up=False), view(2)),
    tokens=(TokenCount("w", "m", "prompt", 5), TokenCount("w", "m", "generation", 6), TokenCount("other", "m", "prompt", 9)),
)  # fmt: skip


def test_a_device_that_is_down_stays_as_a_hole() -> None:
    groups = [
        Group("by-index", ("0", "1")),
        Group("by-uuid", ("GPU-2",), "w"),
        Group("absent", ("GPU-9",)),
        Group("mute", ("2",), "x"),
    ]
    first, second, mute = observations(SNAPSHOT, groups, 7)
    assert [(d.uuid, d.sm_clock_mhz, d.boot_ns) for d in first.devices] == [("GPU-0", 1980, 5), ("GPU-1", None, 0)]
    assert first.devices[0].energy_uj == 7
    assert (first.progress, first.progress_expected) == (None, False)
    assert second.progress == Progress(7, tokens=11)
    assert (mute.progress, mute.progress_expected) == (None, True)


def test_steering_answers_at_once_and_shows_what_the_governor_did() -> None:
    clock = RealClock()
    governor = Governor(GovernorConfig(Mode.SHADOW, "static", SPEC.configure({}, ())), SPEC, None, clock)
    steering = Steering(governor, [Group("g", ("0",))], clock)
    assert eventually(lambda: steering(SNAPSHOT)[1])[0].mode == "shadow"
    assert steering.close() == []
