"""Every fault, as an NVML client meets it, and what it does to the truth."""

import os
import threading
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.driver_epoch import simulated_driver_epoch
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import FAULTS, Plant
from energy_agent.sim.gpu.plant_abi import DeviceLostError, PlantError

START_NS = 1_700_000_000_000_000_000
S = 1_000_000_000
H100 = BoardSpec("H100-SXM5-80GB")


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Two H100 in lockstep time, and NVML on them."""
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    plant = Plant.create(tmp_path / "plant", [H100, H100], seed=5, manual=True, start_utc_ns=START_NS)
    nvml = RealNvml(library_path())
    nvml.init()
    yield plant, nvml, [nvml.device_by_index(0), nvml.device_by_index(1)]
    nvml.shutdown()


def step(plant: Plant, seconds: float) -> None:
    plant.advance_to(plant.now_ns() + round(seconds * S))


def code_of(call, *arguments) -> int:
    try:
        call(*arguments)
    except NvmlError as error:
        return error.code
    return abi.SUCCESS


def conserved(plant: Plant) -> None:
    truth = plant.truth(0)
    assert truth.sensed_uj + truth.pending_uj + truth.unseen_uj == pytest.approx(truth.gain * truth.true_uj, abs=20)


def test_a_lost_gpu_is_lost_alone_and_comes_back_reset(node):
    plant, nvml, (device, other) = node
    nvml.set_power_limit_mw(device, 400_000)
    slot = plant.attach_process(0, os.getpid(), memory_b=1 << 30)
    plant.submit(0, slot, reference_ns=100 * S, memory_boundness=0.5)
    step(plant, 5)
    before = plant.truth(0)
    plant.fault(0, "lost")
    for call in (nvml.uuid, nvml.total_energy_mj, nvml.compute_processes, nvml.power_usage_mw, nvml.reset_locked_sm_clocks):
        assert code_of(call, device) == abi.GPU_IS_LOST
        assert code_of(call, other) == abi.SUCCESS
    assert code_of(nvml.device_by_index, 0) == abi.GPU_IS_LOST
    assert nvml.device_count() == 2
    for call in (plant.done_ns, plant.detach_process):
        with pytest.raises(DeviceLostError):
            call(0, slot)
    with pytest.raises(DeviceLostError):
        plant.attach_process(0, os.getpid(), memory_b=0)
    step(plant, 10)
    lost = plant.truth(0)
    assert lost.sensed_uj == before.sensed_uj
    assert lost.true_uj - before.true_uj > 70 * 10 * 1_000_000
    conserved(plant)
    plant.clear(0, "lost")
    back = plant.truth(0)
    assert (back.counter_mj, back.counter_resets, back.power_limit_mw) == (0, 1, 700_000)
    assert back.unseen_true_uj == pytest.approx(back.true_uj - before.sensed_uj / before.gain, abs=50)
    assert nvml.compute_processes(device) == []
    step(plant, 5)
    assert plant.truth(0).counter_mj == nvml.total_energy_mj(device) > 0
    conserved(plant)


def test_a_counter_reset_loses_only_what_was_not_published(node):
    plant, nvml, (device, _) = node
    step(plant, 7.7)
    before = plant.truth(0)
    plant.fault(0, "counter_reset")
    assert nvml.total_energy_mj(device) == 0
    after = plant.truth(0)
    assert after.unseen_uj == pytest.approx(before.pending_uj, abs=2)
    assert (after.sensed_uj, after.pending_uj, after.counter_resets) == (before.sensed_uj, 0, 1)
    step(plant, 3)
    conserved(plant)


@pytest.mark.parametrize("resume", [0, 1])
def test_a_stuck_sensor_freezes_and_catches_up_or_not(node, resume):
    plant, nvml, (device, _) = node
    step(plant, 3)
    plant.fault(0, "stuck_sensor", value=resume)
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    plant.submit(0, slot, reference_ns=100 * S, memory_boundness=0.5)
    frozen = nvml.total_energy_mj(device), nvml.power_usage_mw(device)
    step(plant, 5)
    assert (nvml.total_energy_mj(device), nvml.power_usage_mw(device)) == frozen
    conserved(plant)
    plant.clear(0, "stuck_sensor")
    step(plant, 0.2)
    counted_uj = nvml.total_energy_mj(device) * 1000 - frozen[0] * 1000
    assert (counted_uj > 500 * 5 * 1_000_000) is not bool(resume)
    conserved(plant)
    assert (plant.truth(0).unseen_uj > 0) is bool(resume)


def test_calls_can_be_refused_one_by_one_or_all(node):
    plant, nvml, (device, other) = node
    for kind, code in (
        ("not_supported", abi.NOT_SUPPORTED), ("no_permission", abi.NO_PERMISSION), ("unknown_error", abi.UNKNOWN),
        ("timeout", abi.TIMEOUT), ("reset_required", abi.RESET_REQUIRED),
    ):  # fmt: skip
        plant.fault(0, kind, call="nvmlDeviceGetPowerUsage")
        assert code_of(nvml.power_usage_mw, device) == code
        assert code_of(nvml.total_energy_mj, device) == abi.SUCCESS
        plant.fault(0, kind)
        assert code_of(nvml.total_energy_mj, device) == code
        assert code_of(nvml.total_energy_mj, other) == abi.SUCCESS
        plant.clear(0, kind)
        assert code_of(nvml.power_usage_mw, device) == abi.SUCCESS


def test_a_call_named_without_its_version_is_meant_in_every_version(node):
    plant, nvml, (device, _) = node
    plant.fault(0, "unknown_error", call="nvmlDeviceGetComputeRunningProcesses")
    assert code_of(nvml.compute_processes, device) == abi.UNKNOWN
    plant.clear(0)
    plant.fault(0, "unknown_error", call="nvmlDeviceGetComputeRunningProcesses_v2")
    assert code_of(nvml.compute_processes, device) == abi.SUCCESS


def test_one_field_can_be_refused(node):
    plant, nvml, (device, _) = node
    plant.fault(0, "not_supported", call="186")
    plant.fault(0, "no_permission", call="83")
    assert [v.code for v in nvml.field_values(device, [186, 83, 190])] == [abi.NOT_SUPPORTED, abi.NO_PERMISSION, abi.SUCCESS]


def test_setters_need_permission(node):
    plant, nvml, (device, _) = node
    plant.fault(0, "unprivileged")
    assert code_of(nvml.set_power_limit_mw, device, 400_000) == abi.NO_PERMISSION
    assert code_of(nvml.set_locked_sm_clocks_mhz, device, 345, 1005) == abi.NO_PERMISSION
    assert code_of(nvml.reset_locked_sm_clocks, device) == abi.NO_PERMISSION
    assert nvml.power_limit_mw(device) == 700_000
    plant.clear(0, "unprivileged")
    plant.fault(0, "unprivileged", value=1)
    allowed = abi.SUCCESS if os.geteuid() == 0 else abi.NO_PERMISSION
    assert code_of(nvml.set_power_limit_mw, device, 400_000) == allowed


def test_a_hung_call_ends_when_the_fault_does_and_holds_up_nobody_else(node):
    plant, nvml, (device, other) = node
    plant.fault(0, "hang", call="nvmlDeviceGetPowerUsage")
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(nvml.power_usage_mw(device)), daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert nvml.total_energy_mj(device) >= 0
    assert nvml.power_usage_mw(other) > 0
    plant.clear(0, "hang")
    thread.join(60)
    assert len(answers) == 1


def test_latency_delays_a_call_by_plant_time(tmp_path, monkeypatch):
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    plant = Plant.create(tmp_path / "plant", [H100], seed=5, rate=10.0)
    nvml = RealNvml(library_path())
    nvml.init()
    device = nvml.device_by_index(0)
    plant.fault(0, "latency", call="nvmlDeviceGetPowerUsage", value=1000)
    before = plant.now_ns()
    nvml.power_usage_mw(device)
    assert plant.now_ns() - before >= S
    nvml.shutdown()


def test_xid_events_reach_every_listener_once(node):
    plant, nvml, devices = node
    plant.fault(0, "xid", value=13)  # before anybody listens
    first, second = nvml.xid_events(devices), nvml.xid_events(devices[1:])
    assert first.poll() == []
    plant.fault(0, "xid", value=48)
    plant.fault(1, "xid", value=94)
    plant.fault(1, "lost")
    assert sorted(first.poll()) == sorted([(plant.uuid(0), 48), (plant.uuid(1), 94), (plant.uuid(1), 79)])
    assert second.poll() == [(plant.uuid(1), 94), (plant.uuid(1), 79)]
    assert first.poll() == second.poll() == []
    for _ in range(100):
        plant.fault(0, "xid", value=63)
    assert len(first.poll()) == 32  # the ring's length
    first.close()
    first.close()
    second.close()


def test_mig_mode_shows_instances_and_hides_utilisation(node):
    import pynvml

    plant, nvml, (device, other) = node
    assert not nvml.mig_enabled(device)
    plant.fault(0, "mig", value=2)
    assert nvml.mig_enabled(device)
    assert not nvml.mig_enabled(other)
    assert code_of(nvml.utilization_percent, device) == abi.NOT_SUPPORTED
    assert code_of(nvml.process_utilization, device, 0) == abi.NOT_SUPPORTED
    assert nvml.total_energy_mj(device) >= 0
    instances = [pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, i) for i in range(2)]
    uuids = [nvml.uuid(i) for i in instances]
    assert len(set(uuids)) == 2
    assert all(u.startswith("MIG-") for u in uuids)
    assert nvml.uuid(nvml.device_by_uuid(uuids[1])) == uuids[1]
    assert code_of(nvml.power_usage_mw, instances[0]) == abi.NOT_SUPPORTED
    assert nvml.memory_b(instances[0])[1] < nvml.memory_b(device)[1] / 4
    with pytest.raises(pynvml.NVMLError):
        pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device, 2)
    for _ in range(3):
        plant.attach_process(0, os.getpid(), memory_b=1)
    assert [len(nvml.compute_processes(i)) for i in instances] == [2, 1]
    plant.clear(0, "mig")
    assert code_of(nvml.uuid, instances[0]) == abi.INVALID_ARGUMENT


def test_a_driver_mismatch_stops_the_whole_node(node):
    plant, nvml, _ = node
    plant.fault(1, "driver_mismatch")
    nvml.shutdown()
    assert code_of(nvml.init) == abi.LIB_RM_VERSION_MISMATCH
    plant.clear(0)
    nvml.init()


def test_a_driver_reload_starts_every_counter_and_epoch_anew_and_no_client_outlives_it(node, tmp_path):
    plant, nvml, (device, _) = node
    step(plant, 5)
    before, was = simulated_driver_epoch(tmp_path / "plant"), [plant.truth(g) for g in range(plant.count)]
    plant.fault(0, "driver_reload")
    now = [plant.truth(g) for g in range(plant.count)]
    assert [t.counter_resets for t in now] == [t.counter_resets + 1 for t in was]
    assert all(w.counter_mj > 0 and t.counter_mj == 0 and t.sensed_uj == w.sensed_uj for t, w in zip(now, was, strict=True))
    assert simulated_driver_epoch(tmp_path / "plant") not in ("", before)
    assert code_of(nvml.uuid, device) == abi.UNINITIALIZED
    nvml.shutdown()
    nvml.init()
    assert nvml.uuid(nvml.device_by_index(0)) == plant.uuid(0)


def test_unknown_or_too_many_faults_are_refused(node):
    plant, _, _ = node
    with pytest.raises(UsageError, match="counter_reset"):
        plant.fault(0, "los")
    with pytest.raises(UsageError):
        plant.fault(0, "hang", call="n" * 48)
    for number in range(16):
        plant.fault(0, "not_supported", call=str(number))
    plant.fault(0, "not_supported", call="3")  # set already: no more room taken
    with pytest.raises(PlantError):
        plant.fault(0, "not_supported", call="16")
    plant.clear(0)
    for kind in FAULTS:
        plant.fault(0, kind)
        plant.clear(0, kind)


def test_the_library_without_a_node_says_that_no_driver_is_loaded(monkeypatch, tmp_path):
    nvml = RealNvml(library_path())
    monkeypatch.delenv("WATTLENS_SIM", raising=False)
    assert code_of(nvml.init) == abi.DRIVER_NOT_LOADED
    monkeypatch.setenv("WATTLENS_SIM", str(Path(tmp_path) / "none"))
    assert code_of(nvml.init) == abi.DRIVER_NOT_LOADED
    assert code_of(nvml.device_count) == abi.UNINITIALIZED
