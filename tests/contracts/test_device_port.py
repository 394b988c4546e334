"""What every `DeviceBackend` must do: NVML on the simulated library, on each capture of a real node, and on a real GPU."""

import os
from pathlib import Path

import pytest

from energy_agent.core.health import GROUPS
from energy_agent.devices.nvml.backend import NvmlBackend
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.devices.port import BackendError, DeviceGone
from energy_agent.runtime.clock import RealClock, clock_for
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from tests.doubles.nvml_replay import replay

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.json"))


class Calls:
    """A mark that records the calls passed to it."""

    def __init__(self):
        self.device = ""
        self.calls = []

    def __call__(self, call):
        self.calls.append((self.device, call))


@pytest.fixture
def mark():
    return Calls()


@pytest.fixture(
    params=["simulated", *CAPTURES, pytest.param("real", marks=pytest.mark.gpu)], ids=lambda p: getattr(p, "stem", p)
)
def backend(request, tmp_path, monkeypatch, mark):
    if request.param == "simulated":
        Plant.create(tmp_path / "plant", [BoardSpec("H100-SXM5-80GB"), BoardSpec("A100-SXM4-80GB")], seed=2, rate=5.0).close()
        monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
        nvml, clock = RealNvml(library_path()), clock_for(os.environ)
    elif isinstance(request.param, Path):
        nvml, clock = replay(request.param), RealClock()
    else:
        if not Path("/dev/nvidiactl").exists():
            pytest.skip("no NVIDIA driver on this machine")
        nvml, clock = RealNvml(), RealClock()
    nvml_backend = NvmlBackend(nvml, clock, mark, lambda: "epoch")
    nvml_backend.start()
    yield nvml_backend
    nvml.shutdown()


def test_a_started_backend_names_its_driver_and_load(backend):
    assert backend.driver
    assert backend.epoch == "epoch"
    assert backend.count() > 0


def test_a_device_is_the_same_by_index_and_by_uuid(backend, mark):
    for index in range(backend.count()):
        device = backend.open(index)
        assert mark.device == device.uuid == device.info.uuid
        again = backend.open_by_uuid(device.uuid)
        assert (again.uuid, again.info.name) == (device.uuid, device.info.name)
        device.close()
        again.close()


def test_what_is_not_there_is_an_error_with_its_reason(backend):
    for ask in (
        lambda: backend.open(backend.count()),
        lambda: backend.open_by_uuid("GPU-00000000-0000-0000-0000-000000000000"),
    ):
        with pytest.raises((BackendError, DeviceGone)) as error:
            ask()
        assert getattr(error.value, "name", None) or error.value.reason
        assert error.value.call


def test_a_reading_has_each_value_or_the_reason_why_not(backend, mark):
    device = backend.open(0)
    mark.calls.clear()
    fast, full = device.read(full=False), device.read(full=True, list_processes=True, xid_counts={13: 1})
    assert (fast.uuid, fast.fast, full.fast) == (device.uuid, True, False)
    assert full.boot_ns >= fast.boot_ns
    assert full.xid_counts == {13: 1}
    for sample, names in ((fast, ("energy_mj", "power_mw")), (full, ("sm_clock_mhz", "temperature_c", "memory_used_b"))):
        for name in names:
            assert (getattr(sample, name) is None) == (name in sample.absent), name
    assert mark.calls, "a call that hangs is known by name"
    device.close()


def test_every_group_of_health_is_read_whatever_the_driver_answers(backend):
    device = backend.open(0)
    for group in GROUPS:
        record = device.read_health(group)
        assert (record.uuid, record.group) == (device.uuid, group)
        assert not {r.quantity for r in record.readings} & set(record.absent)
    device.close_health()
    device.close_health()  # nothing is held any more
    device.close()


def test_error_events_are_of_the_watched_devices_alone(backend):
    device = backend.open(0)
    if backend.watch_errors([device]):
        assert all(uuid == device.uuid for uuid, _ in backend.poll_errors())
    else:
        assert backend.poll_errors() == []
    device.close()
