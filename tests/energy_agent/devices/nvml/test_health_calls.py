"""What is read of a device's health, board by board, against what the plant was made to suffer; and what failures cost."""

import os
from itertools import product

import pytest

from energy_agent.core.health import GPM, GROUPS, MARK_PREFIX, PCIE_THROUGHPUT
from energy_agent.devices.nvml import health_abi as ids
from energy_agent.devices.nvml.health import RETRY_OFF_NS, HealthReader
from energy_agent.runtime.clock import clock_for
from tests.doubles.gpus import S

BOARDS = ("H100-SXM5-80GB", "A100-SXM4-80GB", "V100-SXM2-16GB", "B200", "L40S")
H100, A100, V100, B200, L40S = range(5)


@pytest.fixture
def node(gpus):
    """(GPUs, reader of one, marks that it made)."""
    rig, marks, readers = gpus(*BOARDS, seed=3), [], {}

    def reader(gpu):
        if gpu not in readers:
            readers[gpu] = HealthReader(rig.nvml, rig.devices[gpu], rig.plant.uuid(gpu), clock_for(os.environ), marks.append)
        return readers[gpu]

    yield rig, reader, marks
    for each in readers.values():
        each.close()


def keys(record, quantity):
    return [key for key in values(record) if key[0] == quantity]


def values(record):
    readings = {(r.quantity, *r.labels): r.value for r in record.readings}
    assert len(readings) == len(record.readings)
    return readings


def test_ecc_errors_count_in_both_counters_until_a_reload_clears_the_volatile_one(node):
    rig, reader, _ = node
    rig.plant.fault(H100, "ecc_corrected", value=5)
    rig.plant.fault(H100, "ecc_uncorrected", value=2)
    ecc = values(reader(H100).read("ecc"))
    for kind, (severity, count) in product(("ecc", "ecc_volatile"), ((ids.CORRECTED, 5), (ids.UNCORRECTED, 2))):
        assert ecc[f"{kind}_errors", severity] == count
        assert ecc[f"{kind}_location_errors", severity, "dram"] == count
        assert ecc[f"{kind}_location_errors", severity, "sram"] == 0
    rig.plant.fault(H100, "lost")
    rig.plant.clear(H100, "lost")
    ecc = values(reader(H100).read("ecc"))
    assert [ecc[quantity, ids.UNCORRECTED] for quantity in ("ecc_volatile_errors", "ecc_errors")] == [0, 2]
    locations = {key[2] for key in keys(reader(V100).read("ecc"), "ecc_location_errors")}
    assert locations == {"l1_cache", "l2_cache", "dram", "register_file", "texture", "cbu"}


def test_rows_are_remapped_on_new_boards_and_pages_retired_on_old_ones(node):
    rig, reader, _ = node
    for gpu in (H100, V100):
        rig.plant.fault(gpu, "ecc_uncorrected", value=3)
    rig.plant.fault(A100, "row_remap_failure")
    new, old = reader(H100).read("memory"), reader(V100).read("memory")
    assert values(new)["row_remap_pending",] == values(old)["page_retirement_pending",] == 1
    assert values(new)["remapped_rows", "uncorrected"] == values(old)["retired_pages", "double_bit"] == 0
    assert new.absent == {}
    assert old.absent == dict.fromkeys(("remapped_rows", "row_remap_pending", "row_remap_failed"), "NOT_SUPPORTED")
    assert values(reader(A100).read("memory"))["row_remap_failed",] == 1
    for gpu in (H100, V100):
        rig.plant.fault(gpu, "lost")
        rig.plant.clear(gpu, "lost")
    new, old = values(reader(H100).read("memory")), values(reader(V100).read("memory"))
    assert {("row_remap_pending",), ("page_retirement_pending",)}.isdisjoint({*new, *old})
    assert new["remapped_rows", "uncorrected"] == old["retired_pages", "double_bit"] == 3


def test_pcie_link_reports_replays_width_and_traffic(node):
    rig, reader, _ = node
    rig.plant.fault(H100, "pcie_replay", value=9)
    rig.plant.fault(H100, "pcie_width", value=4)
    rig.load(gpu=H100)
    rig.step(2)
    readings, old = values(reader(H100).read("pcie")), reader(A100).read("pcie")
    assert readings["pcie_replays",] == 9
    assert (readings["pcie_link_lanes",], readings["pcie_link_max_lanes",]) == (4, 16)
    assert readings["pcie_b", "transmit"] == 2 * rig.truth(H100).busy_ns > 0
    assert old.absent == dict.fromkeys(("pcie_b", "pcie_errors"), "NOT_SUPPORTED")
    assert values(old)["pcie_replays",] == 0
    readings = values(reader(H100).read(PCIE_THROUGHPUT))
    assert readings == {("traffic", "pcie", direction, "sampled"): 0 for direction in ("transmit", "receive")}


def test_nvlinks_are_counted_named_when_down_and_their_errors_and_bytes_summed(node):
    rig, reader, _ = node
    for gpu, links, kind in ((V100, 6, "replay"), (A100, 12, "replay"), (H100, 18, "replay"), (B200, 18, "receive")):
        rig.plant.fault(gpu, "nvlink_error", value=6)
        rig.plant.fault(gpu, "nvlink_down", value=5)
        rig.load(gpu=gpu)
        rig.step(2)
        record = reader(gpu).read("nvlink")
        readings = values(record)
        assert record.absent == {}
        assert (readings["nvlink_links", "up"], readings["nvlink_links", "down"]) == (links - 1, 1)
        assert keys(record, "nvlink_down") == [("nvlink_down", "5")]
        assert {key[1]: n for key, n in readings.items() if key[0] == "nvlink_kind_errors" and n} == {kind: 6}
        assert readings["nvlink_errors",] == 6
        true_b = 2 * rig.truth(gpu).busy_ns * links
        for direction in ("transmit", "receive"):
            assert true_b - 1024 * links < readings["nvlink_b", direction] <= true_b
    # If the driver does not support the state field, the reader queries each link.
    rig.plant.fault(H100, "not_supported", call=str(ids.FIELD_NVLINK_STATE))
    readings = values(reader(H100).read("nvlink"))
    assert (readings["nvlink_links", "up"], readings["nvlink_links", "down"], readings["nvlink_down", "5"]) == (17, 1, 1)
    # A total without one of its kinds would fall and look like a reset, so it is absent for that reading.
    health = reader(H100)
    assert values(health.read("nvlink"))["nvlink_errors",] == 6
    rig.plant.fault(H100, "not_supported", call="38")
    record = health.read("nvlink")
    partial = values(record)
    assert ("nvlink_errors",) not in partial
    assert "nvlink_errors" in record.absent
    assert ("nvlink_kind_errors", "replay") in partial
    record = reader(L40S).read("nvlink")
    assert (record.readings, record.absent) == ((), {"nvlink_links": "NOT_SUPPORTED"})


def test_state_reports_the_recovery_action_of_the_driver(node):
    rig, reader, _ = node
    for number, name in ((0, "none"), (4, "drain_and_reset"), (2, "node_reboot"), (77, "action_77")):
        if number:
            rig.plant.fault(H100, "recovery_action", value=number)
        assert keys(reader(H100).read("state"), "recovery_action") == [("recovery_action", name)]
    readings = values(reader(H100).read("state"))
    assert (readings["ecc_enabled",], readings["persistence_enabled",]) == (1, 1)
    assert 0 < readings["bar1_used_b",] < readings["bar1_total_b",]
    assert readings["memory_reserved_b",] == 600 << 20


def test_mig_devices_are_reported_as_currently_configured(node):
    rig, reader, _ = node
    assert values(reader(A100).read("mig"))["mig_enabled",] == 0
    for count in (3, 1):
        rig.plant.fault(A100, "mig", value=count)
        record = reader(A100).read("mig")
        devices = sorted(keys(record, "mig_device"))
        assert values(record)["mig_enabled",] == 1
        assert [key[2:] for key in devices] == [("1g.10gb", str(n), "0") for n in range(1, count + 1)]
        assert all(key[1].startswith("MIG-") for key in devices)
    assert reader(V100).read("mig").absent["mig_device"] == "NOT_SUPPORTED"


def test_gpm_reports_means_between_two_readings(node):
    rig, reader, _ = node
    none = dict.fromkeys(("activity", "traffic"), "NOT_SUPPORTED")
    assert reader(H100).read(GPM).absent == dict.fromkeys(none, "requires two samples")
    rig.load(0.25, gpu=H100)
    rig.step(0.5)
    assert reader(H100).read(GPM).readings == ()  # too soon
    rig.step(9.5)
    readings = values(reader(H100).read(GPM))
    assert readings["activity", "sm"] == pytest.approx(rig.truth(H100).busy_ns / (10 * S), abs=0.001)
    assert readings["activity", "tensor"] == pytest.approx(0.75 / 2 * readings["activity", "sm"], rel=0.01)
    assert readings["activity", "dram"] == pytest.approx(0.25 / 2 * readings["activity", "sm"], rel=0.01)
    assert readings["traffic", "nvlink", "receive", "gpm"] == pytest.approx(18 * readings["traffic", "pcie", "transmit", "gpm"])
    rig.step(10)
    assert values(reader(H100).read(GPM))["activity", "sm"] == pytest.approx(1.0, abs=0.001)
    assert reader(A100).read(GPM).absent == reader(V100).read(GPM).absent == none
    rig.plant.fault(H100, "mig", value=1)
    rig.step(10)
    assert reader(H100).read(GPM).absent["activity"] == "NOT_SUPPORTED"


@pytest.mark.parametrize(
    ("fault", "word"),
    [("no_permission", "NO_PERMISSION"), ("unknown_error", "UNKNOWN"), ("timeout", "TIMEOUT"), ("lost", "GPU_IS_LOST")],
)
def test_failures_cost_their_quantities_alone_and_every_call_is_marked_as_one_for_health(node, fault, word):
    rig, reader, marks = node
    rig.plant.fault(H100, fault)
    for group in (*GROUPS, PCIE_THROUGHPUT, GPM):
        record = reader(H100).read(group)
        assert (record.readings, set(record.absent.values())) == ((), {word}), group
        marks.clear()
        assert reader(B200).read(group)
        assert marks, group
        assert all(mark.startswith(MARK_PREFIX) and len(mark) <= 40 for mark in marks)
    assert reader(A100).read("memory").readings


def test_unsupported_quantities_are_retried_after_a_delay(node):
    rig, reader, marks = node
    reader(L40S).read("nvlink")
    marks.clear()
    assert reader(L40S).read("nvlink").absent == {"nvlink_links": "NOT_SUPPORTED"}
    assert marks == []
    rig.plant.fault(A100, "not_supported", call="nvmlDeviceGetEccMode")
    assert reader(A100).read("state").absent["ecc_enabled"] == "NOT_SUPPORTED"
    rig.plant.clear(A100)
    assert "ecc_enabled" in reader(A100).read("state").absent
    rig.step(RETRY_OFF_NS / S + 1)
    assert "ecc_enabled" not in reader(A100).read("state").absent
