"""What every `Nvml` must do. Runs on the simulated library, on every capture in `captures/`, and read-only on a real GPU
(marker `gpu`) where one is there. A capture of another node is a further file there (docs/troubleshooting.md).
"""

import ctypes
import os
import re
import time
from pathlib import Path

import pytest

from energy_agent.core.energy import EVENT_REASONS
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from tests.doubles.nvml_replay import replay
from tests.support import eventually

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.json"))


@pytest.fixture(
    params=["simulated", *CAPTURES, pytest.param("real", marks=pytest.mark.gpu)], ids=lambda p: getattr(p, "stem", p)
)
def nvml(request, tmp_path, monkeypatch):
    """An initialised library with at least one device."""
    if request.param == "simulated":
        Plant.create(tmp_path / "plant", [BoardSpec("H100-SXM5-80GB"), BoardSpec("A100-SXM4-80GB")], seed=2, rate=5.0).close()
        monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
        nvml = RealNvml(library_path())
    elif isinstance(request.param, Path):
        nvml = replay(request.param)
    else:
        if not Path("/dev/nvidiactl").exists():
            pytest.skip("no NVIDIA driver on this machine")
        if "wattlens/sim-" in Path("/proc/self/maps").read_text(errors="replace"):
            pytest.skip("the simulated library is loaded in this process: run pytest -m gpu")
        nvml = RealNvml()
    nvml.init()
    yield nvml
    nvml.shutdown()


@pytest.fixture
def device(nvml):
    return nvml.device_by_index(0)


def test_handles_and_names_agree(nvml):
    assert re.fullmatch(r"\d+(\.\d+)+", nvml.driver_version())
    uuids = set()
    for index in range(nvml.device_count()):
        device = nvml.device_by_index(index)
        uuid = nvml.uuid(device)
        uuids.add(uuid)
        assert re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid)
        assert nvml.uuid(nvml.device_by_uuid(uuid)) == uuid
        assert nvml.name(device)
        assert nvml.architecture(device)[0].isupper()
        assert re.fullmatch(r"[0-9A-F]{8}:[0-9A-F]{2}:[0-9A-F]{2}\.0", nvml.pci_bus_id(device))
        assert isinstance(nvml.mig_enabled(device), bool)
        assert isinstance(nvml.persistence_mode(device), bool)
    assert len(uuids) == nvml.device_count()


def test_missing_device_raises_its_error_code(nvml):
    with pytest.raises(NvmlError) as error:
        nvml.device_by_index(nvml.device_count())
    assert error.value.code == abi.INVALID_ARGUMENT
    with pytest.raises(NvmlError) as error:
        nvml.device_by_uuid("GPU-00000000-0000-0000-0000-000000000000")
    assert error.value.code in (abi.NOT_FOUND, abi.INVALID_ARGUMENT)
    assert "nvmlDeviceGetHandleByUUID" in str(error.value)


def test_fields_come_in_order_each_with_its_code(nvml, device):
    ids = [abi.FIELD_TOTAL_ENERGY, 1, abi.FIELD_POWER_INSTANT, abi.FIELD_CURRENT_POWER_LIMIT, abi.FIELD_TOTAL_ENERGY]
    values = nvml.field_values(device, ids)
    assert [v.field_id for v in values] == ids
    assert [values[i].code for i in (0, 2, 3)] == [abi.SUCCESS] * 3
    assert all(v.value == 0 for v in values if v.code != abi.SUCCESS)
    assert values[0].value == values[4].value


def test_the_counter_rises_and_its_two_ways_agree(nvml, device):
    first = nvml.total_energy_mj(device)
    (field,) = nvml.field_values(device, [abi.FIELD_TOTAL_ENERGY])
    assert first <= field.value <= nvml.total_energy_mj(device)
    eventually(lambda: nvml.total_energy_mj(device) > first)


def test_readings_are_plausible_and_limits_hold_together(nvml, device):
    low, high = nvml.power_limit_range_mw(device)
    assert 0 < low <= nvml.power_limit_default_mw(device) <= high
    assert low <= nvml.power_limit_mw(device) <= high
    assert 1_000 < nvml.power_usage_mw(device) < 2 * high
    assert 0 < nvml.temperature_c(device) < 120
    used, total = nvml.memory_b(device)
    assert 0 <= used <= total
    clocks = nvml.supported_sm_clocks_mhz(device)
    assert clocks == sorted(clocks, reverse=True)
    assert clocks[0] == nvml.sm_clock_max_mhz(device)
    assert 0 < nvml.sm_clock_mhz(device) <= nvml.sm_clock_max_mhz(device)
    assert nvml.memory_clock_mhz(device) > 0
    assert nvml.event_reasons(device) & ~sum(EVENT_REASONS) == 0
    gpu, memory = nvml.utilization_percent(device)
    assert 0 <= gpu <= 100
    assert 0 <= memory <= 100


def test_an_idle_device_lists_no_use(nvml, device):
    assert all(pid > 0 for pid, _ in nvml.compute_processes(device))
    assert nvml.process_utilization(device, time.time_ns() // 1000 + 3_600_000_000) == []


def test_polling_for_xids_does_not_wait(nvml, device):
    events = nvml.xid_events([device])
    assert events.poll() == []
    events.close()


def test_init_nests_and_after_the_end_nothing_answers(nvml):
    nvml.init()
    nvml.shutdown()
    assert nvml.device_count() > 0
    nvml.shutdown()
    with pytest.raises(NvmlError) as error:
        nvml.device_count()
    assert error.value.code == abi.UNINITIALIZED
    nvml.init()


# ---- setters: on the simulated library alone ----


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    plant = Plant.create(tmp_path / "plant", [BoardSpec("H100-SXM5-80GB")], seed=2, manual=True)
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    nvml = RealNvml(library_path())
    nvml.init()
    yield plant, nvml, nvml.device_by_index(0)
    nvml.shutdown()


def test_a_limit_is_requested_at_once_and_in_effect_soon(simulated):
    plant, nvml, device = simulated
    nvml.set_power_limit_mw(device, 450_000)
    ids = [abi.FIELD_CURRENT_POWER_LIMIT, abi.FIELD_REQUESTED_POWER_LIMIT]
    assert [v.value for v in nvml.field_values(device, ids)] == [700_000, 450_000]
    plant.advance_to(plant.now_ns() + 25_000_000)
    assert [v.value for v in nvml.field_values(device, ids)] == [450_000, 450_000]
    for wrong in (199_999, 700_001):
        with pytest.raises(NvmlError) as error:
            nvml.set_power_limit_mw(device, wrong)
        assert error.value.code == abi.INVALID_ARGUMENT
    assert nvml.power_limit_mw(device) == 450_000


def test_locked_clocks_hold_until_they_are_reset(simulated):
    plant, nvml, device = simulated
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    plant.submit(0, slot, reference_ns=3600 * 10**9, memory_boundness=0.9, intensity=0.5)
    plant.advance_to(plant.now_ns() + 10**9)
    assert nvml.sm_clock_mhz(device) == 1980
    nvml.set_locked_sm_clocks_mhz(device, 345, 1005)
    plant.advance_to(plant.now_ns() + 10_000_000)
    assert nvml.sm_clock_mhz(device) == 1980
    plant.advance_to(plant.now_ns() + 40_000_000)
    assert nvml.sm_clock_mhz(device) == 1005
    for low, high in ((1200, 1005), (0, 100), (2000, 2100)):
        with pytest.raises(NvmlError) as error:
            nvml.set_locked_sm_clocks_mhz(device, low, high)
        assert error.value.code == abi.INVALID_ARGUMENT
    nvml.reset_locked_sm_clocks(device)
    plant.advance_to(plant.now_ns() + 50_000_000)
    assert nvml.sm_clock_mhz(device) == 1980


# ---- numbers of the interface ----


def test_codes_fields_and_bits_are_those_of_the_official_binding():
    import pynvml

    for code, name in abi.CODE_NAMES.items():
        assert getattr(pynvml, f"NVML_{name}" if code == 0 else f"NVML_ERROR_{name}") == code
    for ours, theirs in {
        abi.FIELD_MEMORY_TEMPERATURE: "MEMORY_TEMP", abi.FIELD_TOTAL_ENERGY: "TOTAL_ENERGY_CONSUMPTION",
        abi.FIELD_POWER_AVERAGE: "POWER_AVERAGE", abi.FIELD_POWER_INSTANT: "POWER_INSTANT",
        abi.FIELD_CURRENT_POWER_LIMIT: "POWER_CURRENT_LIMIT", abi.FIELD_REQUESTED_POWER_LIMIT: "POWER_REQUESTED_LIMIT",
    }.items():  # fmt: skip
        assert getattr(pynvml, f"NVML_FI_DEV_{theirs}") == ours
    reasons = {
        "idle": "GpuIdle", "applications_clocks": "ApplicationsClocksSetting", "sw_power_cap": "SwPowerCap",
        "hw_slowdown": "HwSlowdown", "sync_boost": "SyncBoost", "sw_thermal_slowdown": "SwThermalSlowdown",
        "hw_thermal_slowdown": "HwThermalSlowdown", "hw_power_brake": "HwPowerBrakeSlowdown",
        "display_clock": "DisplayClockSetting",
    }  # fmt: skip
    for bit, name in EVENT_REASONS.items():
        assert any(getattr(pynvml, f"nvmlClocks{word}Reason{reasons[name]}", None) == bit for word in ("Event", "Throttle")), (
            name
        )


def test_the_simulated_library_has_every_function_that_pynvml_looks_up():
    import pynvml

    library = ctypes.CDLL(str(library_path()))
    names = set(re.findall(r'_nvmlGetFunctionPointer\("(nvml\w+)"', Path(pynvml.__file__).read_text(encoding="utf-8")))
    assert len(names) > 300
    assert [name for name in sorted(names) if not hasattr(library, name)] == []
