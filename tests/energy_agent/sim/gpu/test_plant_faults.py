"""Every fault, as an NVML client meets it, and what it does to the truth."""

import os
import threading

import pynvml
import pytest

from energy_agent.core.errors import UsageError
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.driver_epoch import simulated_driver_epoch
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import FAULTS, Plant
from energy_agent.sim.gpu.plant_abi import DeviceLostError, PlantError
from tests.doubles.gpus import H100, S, code_of
from tests.support import refusal


@pytest.fixture
def node(gpus):
    """Two H100 and NVML on them."""
    rig = gpus(H100, H100)
    return rig, rig.plant, rig.nvml, *rig.devices


def conserved(rig):
    truth = rig.truth()
    assert truth.sensed_uj + truth.pending_uj + truth.unseen_uj == pytest.approx(truth.gain * truth.true_uj, abs=20)


def test_a_lost_gpu_is_lost_alone_and_comes_back_reset(node):
    rig, plant, nvml, device, other = node
    nvml.set_power_limit_mw(device, 400_000)
    slot = rig.load()
    rig.step(5)
    before = rig.truth()
    plant.fault(0, "lost")
    for call in (nvml.uuid, nvml.total_energy_mj, nvml.compute_processes, nvml.power_usage_mw, nvml.reset_locked_sm_clocks):
        assert (code_of(call, device), code_of(call, other)) == (abi.GPU_IS_LOST, abi.SUCCESS)
    assert code_of(nvml.device_by_index, 0) == abi.GPU_IS_LOST
    assert nvml.device_count() == 2
    refusal(rig.attach, error=DeviceLostError)
    for call in (plant.done_ns, plant.detach_process):
        refusal(call, 0, slot, error=DeviceLostError)
    rig.step(10)
    assert rig.truth().sensed_uj == before.sensed_uj
    assert rig.truth().true_uj - before.true_uj > 70 * 10 * 1_000_000
    conserved(rig)
    plant.clear(0, "lost")
    back = rig.truth()
    assert (back.counter_mj, back.counter_resets, back.power_limit_mw) == (0, 1, 700_000)
    assert back.unseen_true_uj == pytest.approx(back.true_uj - before.sensed_uj / before.gain, abs=50)
    assert nvml.compute_processes(device) == []
    rig.step(5)
    assert rig.truth().counter_mj == nvml.total_energy_mj(device) > 0
    conserved(rig)


def test_a_counter_reset_loses_only_what_was_not_published(node):
    rig, plant, nvml, device, _ = node
    rig.step(7.7)
    before = rig.truth()
    plant.fault(0, "counter_reset")
    after = rig.truth()
    assert (nvml.total_energy_mj(device), after.pending_uj, after.counter_resets) == (0, 0, 1)
    assert (after.sensed_uj, after.unseen_uj) == (before.sensed_uj, pytest.approx(before.pending_uj, abs=2))
    rig.step(3)
    conserved(rig)


@pytest.mark.parametrize("resume", [0, 1])
def test_a_stuck_sensor_freezes_and_catches_up_or_not(node, resume):
    rig, plant, nvml, device, _ = node
    rig.step(3)
    plant.fault(0, "stuck_sensor", value=resume)
    rig.load()
    frozen = nvml.total_energy_mj(device), nvml.power_usage_mw(device)
    rig.step(5)
    assert (nvml.total_energy_mj(device), nvml.power_usage_mw(device)) == frozen
    conserved(rig)
    plant.clear(0, "stuck_sensor")
    rig.step(0.2)
    conserved(rig)
    assert (nvml.total_energy_mj(device) - frozen[0] > 500 * 5 * 1000) is (not resume)
    assert (rig.truth().unseen_uj > 0) is bool(resume)


def test_calls_can_be_refused_one_by_one_or_all(node):
    _, plant, nvml, device, other = node
    for kind, code in (
        ("not_supported", abi.NOT_SUPPORTED), ("no_permission", abi.NO_PERMISSION), ("unknown_error", abi.UNKNOWN),
        ("timeout", abi.TIMEOUT), ("reset_required", abi.RESET_REQUIRED),
    ):  # fmt: skip
        plant.fault(0, kind, call="nvmlDeviceGetPowerUsage")
        assert (code_of(nvml.power_usage_mw, device), code_of(nvml.total_energy_mj, device)) == (code, abi.SUCCESS)
        plant.fault(0, kind)
        assert (code_of(nvml.total_energy_mj, device), code_of(nvml.total_energy_mj, other)) == (code, abi.SUCCESS)
        plant.clear(0, kind)
        assert code_of(nvml.power_usage_mw, device) == abi.SUCCESS
    # A call that is named without its version is meant in every version.
    plant.fault(0, "unknown_error", call="nvmlDeviceGetComputeRunningProcesses")
    assert code_of(nvml.compute_processes, device) == abi.UNKNOWN
    plant.clear(0)
    plant.fault(0, "unknown_error", call="nvmlDeviceGetComputeRunningProcesses_v2")
    assert code_of(nvml.compute_processes, device) == abi.SUCCESS
    plant.fault(0, "not_supported", call="186")  # one field
    plant.fault(0, "no_permission", call="83")
    assert [v.code for v in nvml.field_values(device, [186, 83, 190])] == [abi.NOT_SUPPORTED, abi.NO_PERMISSION, abi.SUCCESS]


def test_setters_need_permission(node):
    _, plant, nvml, device, _ = node
    plant.fault(0, "unprivileged")
    assert code_of(nvml.set_power_limit_mw, device, 400_000) == abi.NO_PERMISSION
    assert code_of(nvml.set_locked_sm_clocks_mhz, device, 345, 1005) == abi.NO_PERMISSION
    assert code_of(nvml.reset_locked_sm_clocks, device) == abi.NO_PERMISSION
    assert nvml.power_limit_mw(device) == 700_000
    plant.clear(0, "unprivileged")
    plant.fault(0, "unprivileged", value=1)
    allowed = abi.SUCCESS if os.geteuid() == 0 else abi.NO_PERMISSION
    assert code_of(nvml.set_power_limit_mw, device, 400_000) == allowed


def test_hung_call_ends_with_the_fault_and_blocks_no_other_device(node):
    _, plant, nvml, device, other = node
    plant.fault(0, "hang", call="nvmlDeviceGetPowerUsage")
    answers = []
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
    plant = Plant.create(tmp_path / "plant", [BoardSpec(H100)], seed=5, rate=10.0)
    nvml = RealNvml(library_path())
    nvml.init()
    plant.fault(0, "latency", call="nvmlDeviceGetPowerUsage", value=1000)
    before = plant.now_ns()
    nvml.power_usage_mw(nvml.device_by_index(0))
    assert plant.now_ns() - before >= S
    nvml.shutdown()


def test_xid_events_reach_every_listener_once(node):
    rig, plant, nvml, *_ = node
    plant.fault(0, "xid", value=13)  # before anybody listens
    first, second = nvml.xid_events(rig.devices), nvml.xid_events(rig.devices[1:])
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
    for listener in (first, first, second):
        listener.close()


def test_mig_mode_shows_instances_and_hides_utilisation(node):
    rig, plant, nvml, device, other = node
    assert not nvml.mig_enabled(device)
    plant.fault(0, "mig", value=2)
    assert (nvml.mig_enabled(device), nvml.mig_enabled(other)) == (True, False)
    assert code_of(nvml.utilization_percent, device) == code_of(nvml.process_utilization, device, 0) == abi.NOT_SUPPORTED
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
        rig.attach(memory_b=1)
    assert [len(nvml.compute_processes(i)) for i in instances] == [2, 1]
    plant.clear(0, "mig")
    assert code_of(nvml.uuid, instances[0]) == abi.INVALID_ARGUMENT


def test_a_driver_reload_starts_every_counter_and_epoch_anew_and_no_client_outlives_it(node, tmp_path, monkeypatch):
    rig, plant, nvml, device, _ = node
    rig.step(5)
    before, was = simulated_driver_epoch(tmp_path / "plant"), [rig.truth(g) for g in (0, 1)]
    plant.fault(0, "driver_reload")
    for now, then in zip([rig.truth(g) for g in (0, 1)], was, strict=True):
        assert (now.counter_resets, now.counter_mj, now.sensed_uj) == (then.counter_resets + 1, 0, then.sensed_uj)
        assert then.counter_mj > 0
    assert simulated_driver_epoch(tmp_path / "plant") not in ("", before)
    assert code_of(nvml.uuid, device) == abi.UNINITIALIZED
    nvml.shutdown()
    plant.fault(1, "driver_mismatch")  # which stops the whole node
    assert code_of(nvml.init) == abi.LIB_RM_VERSION_MISMATCH
    plant.clear(0)
    for wrong in (str(tmp_path / "none"), ""):
        monkeypatch.setenv("WATTLENS_SIM", wrong)
        assert (code_of(nvml.init), code_of(nvml.device_count)) == (abi.DRIVER_NOT_LOADED, abi.UNINITIALIZED)
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    nvml.init()
    assert nvml.uuid(nvml.device_by_index(0)) == plant.uuid(0)


def test_unknown_or_too_many_faults_are_refused(node):
    _, plant, *_ = node
    assert "counter_reset" in refusal(plant.fault, 0, "los")
    with pytest.raises(UsageError):
        plant.fault(0, "hang", call="n" * 48)
    for number in (*range(16), 3):  # the last is set already and takes no more room
        plant.fault(0, "not_supported", call=str(number))
    with pytest.raises(PlantError):
        plant.fault(0, "not_supported", call="16")
    plant.clear(0)
    for kind in FAULTS:
        plant.fault(0, kind)
        plant.clear(0, kind)
