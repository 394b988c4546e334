"""What every `HealthNvml` must do. On the simulated library, and on a real GPU (marker `gpu`) where one is there, read-only."""

from pathlib import Path

import pytest

from energy_agent.core.health import GPM, GROUPS, PCIE_THROUGHPUT
from energy_agent.devices.nvml import health_abi as ids
from energy_agent.devices.nvml.abi import SUCCESS, NvmlError
from energy_agent.devices.nvml.health import HealthReader
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.runtime.clock import RealClock
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.gpu)])
def nvml(request, tmp_path, monkeypatch):
    if request.param == "simulated":
        Plant.create(tmp_path / "plant", [BoardSpec("H100-SXM5-80GB"), BoardSpec("A100-SXM4-80GB")], seed=2, rate=5.0).close()
        monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
        nvml = RealNvml(library_path())
    else:
        if not Path("/dev/nvidiactl").exists():
            pytest.skip("no NVIDIA driver on this machine")
        if "wattlens/sim-" in Path("/proc/self/maps").read_text(errors="replace"):
            pytest.skip("the simulated library is loaded in this process: run pytest -m gpu")
        nvml = RealNvml()
    nvml.init()
    yield nvml
    nvml.shutdown()


def test_fields_come_in_order_with_their_scopes_and_repeat(nvml):
    device = nvml.device_by_index(0)
    fields = [(ids.FIELD_NVLINK_COUNT, 0), *((ids.FIELD_NVLINK_STATE, link) for link in range(3)), (3, 0)]
    answers = nvml.scoped_field_values(device, fields)
    assert [a.field_id for a in answers] == [field for field, _ in fields]
    assert all(a.value == 0 for a in answers if a.code != SUCCESS)
    assert nvml.scoped_field_values(device, fields) == answers


def test_every_group_of_every_device_is_read_or_absent_with_a_reason_and_never_negative(nvml):
    for index in range(nvml.device_count()):
        device = nvml.device_by_index(index)
        reader = HealthReader(nvml, device, nvml.uuid(device), RealClock(), lambda _: None)
        for group in (*GROUPS, PCIE_THROUGHPUT, GPM):
            record = reader.read(group)
            assert record.readings or record.absent
            assert all(r.value >= 0 for r in record.readings)
            assert not {r.quantity for r in record.readings} & set(record.absent)
            assert all(record.absent.values())
        reader.close()
        reader.close()


def test_links_are_no_wider_than_they_can_be_and_totals_hold_their_parts(nvml):
    device = nvml.device_by_index(0)
    generation, most, lanes, most_lanes = nvml.pcie_link(device)
    assert 1 <= generation <= most
    assert 1 <= lanes <= most_lanes
    used, total = nvml.bar1_b(device)
    assert 0 < used <= total
    assert nvml.memory_reserved_b(device) < nvml.memory_b(device)[1]


def test_mig_devices_are_only_there_while_mig_is_on(nvml):
    for index in range(nvml.device_count()):
        device = nvml.device_by_index(index)
        try:
            current, _ = nvml.mig_mode(device)
        except NvmlError:
            continue  # the board has none
        mig_devices = nvml.mig_devices(device)
        assert current == nvml.mig_enabled(device)
        assert current or not mig_devices


def test_numbers_are_those_of_the_official_binding():
    import pynvml

    severity = {ids.CORRECTED: "SBE", ids.UNCORRECTED: "DBE"}
    places = {"l1_cache": "L1", "l2_cache": "L2", "dram": "DEV", "register_file": "REG", "texture": "TEX", "cbu": "CBU"}
    for field, (quantity, (s, *place)) in ids.ECC_FIELDS.items():
        counter, where = "VOL" if "volatile" in quantity else "AGG", places[place[0]] if place else "TOTAL"
        assert getattr(pynvml, f"NVML_FI_DEV_ECC_{severity[s]}_{counter}_{where}") == field
    names = {
        29: "RETIRED_SBE", 30: "RETIRED_DBE", 31: "RETIRED_PENDING", 142: "REMAPPED_COR", 143: "REMAPPED_UNC",
        144: "REMAPPED_PENDING", 145: "REMAPPED_FAILURE", 94: "PCIE_REPLAY_COUNTER", 197: "PCIE_COUNT_TX_BYTES",
        198: "PCIE_COUNT_RX_BYTES", 169: "PCIE_L0_TO_RECOVERY_COUNTER", 173: "PCIE_COUNT_CORRECTABLE_ERRORS",
        179: "PCIE_COUNT_NON_FATAL_ERROR", 180: "PCIE_COUNT_FATAL_ERROR", 181: "PCIE_COUNT_UNSUPPORTED_REQ",
        38: "NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", 45: "NVLINK_CRC_DATA_ERROR_COUNT_TOTAL",
        52: "NVLINK_REPLAY_ERROR_COUNT_TOTAL", 59: "NVLINK_RECOVERY_ERROR_COUNT_TOTAL",
        160: "NVLINK_ECC_DATA_ERROR_COUNT_TOTAL", 138: "NVLINK_THROUGHPUT_DATA_TX", 139: "NVLINK_THROUGHPUT_DATA_RX",
        161: "NVLINK_ERROR_DL_REPLAY", 162: "NVLINK_ERROR_DL_RECOVERY", 163: "NVLINK_ERROR_DL_CRC",
        202: "NVLINK_COUNT_XMIT_BYTES", 204: "NVLINK_COUNT_RCV_BYTES", 206: "NVLINK_COUNT_MALFORMED_PACKET_ERRORS",
        207: "NVLINK_COUNT_BUFFER_OVERRUN_ERRORS", 208: "NVLINK_COUNT_RCV_ERRORS", 209: "NVLINK_COUNT_RCV_REMOTE_ERRORS",
        210: "NVLINK_COUNT_RCV_GENERAL_ERRORS", 211: "NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS",
        212: "NVLINK_COUNT_XMIT_DISCARDS", 213: "NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS",
        214: "NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS", 219: "NVLINK_COUNT_EFFECTIVE_ERRORS",
        221: "NVLINK_COUNT_SYMBOL_ERRORS", ids.FIELD_NVLINK_COUNT: "NVLINK_LINK_COUNT",
        ids.FIELD_NVLINK_STATE: "NVLINK_GET_STATE", ids.FIELD_RECOVERY_ACTION: "GET_GPU_RECOVERY_ACTION",
    }  # fmt: skip
    asked = {*ids.MEMORY_FIELDS, *ids.PCIE_FIELDS, *ids.NVLINK_TOTAL_FIELDS, *ids.NVLINK_LINK_FIELDS}
    asked |= {ids.FIELD_NVLINK_COUNT, ids.FIELD_NVLINK_STATE, ids.FIELD_RECOVERY_ACTION}
    assert set(names) == asked
    assert max(*asked, *ids.ECC_FIELDS) <= 250
    for field, name in names.items():
        assert getattr(pynvml, f"NVML_FI_DEV_{name}") == field
    assert pynvml.NVML_MEMORY_LOCATION_SRAM == ids.LOCATION_SRAM
    for number, action in enumerate(ids.RECOVERY_ACTIONS):
        assert getattr(pynvml, f"NVML_GPU_RECOVERY_ACTION_{action.upper()}") == number
    metrics = {
        1: "GRAPHICS_UTIL", 2: "SM_UTIL", 3: "SM_OCCUPANCY", 4: "INTEGER_UTIL", 5: "ANY_TENSOR_UTIL", 10: "DRAM_BW_UTIL",
        11: "FP64_UTIL", 12: "FP32_UTIL", 13: "FP16_UTIL", 20: "PCIE_TX_PER_SEC", 21: "PCIE_RX_PER_SEC",
        60: "NVLINK_TOTAL_RX_PER_SEC", 61: "NVLINK_TOTAL_TX_PER_SEC",
    }  # fmt: skip
    assert set(metrics) == {*ids.GPM_ACTIVITIES, *ids.GPM_TRAFFIC}
    for metric, name in metrics.items():
        assert getattr(pynvml, f"NVML_GPM_METRIC_{name}") == metric
