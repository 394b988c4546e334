"""RAPL and power supplies below an injected root, written as kernels write them."""

import pytest

from energy_agent.config.node_meters import NodeMeters, Psu
from energy_agent.core.meters.reading import MeterError, Scope
from energy_agent.node.meters import psu, rapl
from energy_agent.runtime.clock import RealClock
from energy_agent.sim.host.meters import write_files
from energy_agent.sim.host.power import RAPL_RANGE_UJ, HostTruth
from energy_agent.sim.scenario_model import HostModel


@pytest.fixture
def root(tmp_path):
    write_files(tmp_path, HostModel(sockets=2, supplies=3), HostTruth(9_000, RAPL_RANGE_UJ + 8, 500), 1_500_000_500)
    return tmp_path


def config(root, **more):
    return NodeMeters(sysfs=root / "sys", **more)


def test_packages_and_memory_are_read_and_what_overlaps_them_is_not(root):
    readings = rapl.SPEC.open(config(root), RealClock()).read()
    assert [(r.domain, r.scope, r.energy_uj) for r in readings] == [
        ("package-0", Scope.PACKAGE, 7), ("package-1", Scope.PACKAGE, 7),
        ("dram-0", Scope.DRAM, 500), ("dram-1", Scope.DRAM, 500),
    ]  # fmt: skip
    assert {r.wrap_uj for r in readings} == {RAPL_RANGE_UJ}


def test_rapl_is_off_where_the_kernel_has_none(tmp_path):
    assert rapl.SPEC.period_s(config(tmp_path)) is None
    with pytest.raises(MeterError, match="no RAPL package"):
        rapl.SPEC.open(config(tmp_path), RealClock())


@pytest.mark.parametrize("text", ["-5", "banana", "", str(2 * RAPL_RANGE_UJ)])
def test_a_lying_counter_is_refused(root, text):
    meter = rapl.SPEC.open(config(root), RealClock())
    (root / "sys/class/powercap/intel-rapl:1/energy_uj").write_text(text)
    with pytest.raises(MeterError):
        meter.read()


def test_a_file_that_only_root_can_read_says_what_to_do(root):
    assert "only root can read" in rapl._reason(root, PermissionError(13, "Permission denied"))


def test_supplies_sum_their_inputs_and_not_their_outputs(root):
    (reading,) = psu.SPEC.open(config(root, psu=Psu(supplies=3)), RealClock()).read()
    assert (reading.domain, reading.scope, reading.power_mw) == ("node", Scope.NODE, 1_500_000)


def test_fewer_supplies_than_there_are_is_not_the_node(root):
    with pytest.raises(MeterError, match="expected 4 power supplies that report their input power, got 3"):
        psu.SPEC.open(config(root, psu=Psu(supplies=4)), RealClock())


@pytest.mark.parametrize("text", ["-900000000", "900000000000000", "x"])
def test_an_absurd_supply_is_refused(root, text):
    meter = psu.SPEC.open(config(root, psu=Psu(max_power_w=3000)), RealClock())
    (root / "sys/class/hwmon/hwmon1/power1_input").write_text(text)
    with pytest.raises(MeterError):
        meter.read()


def test_a_module_is_told_as_one(tmp_path):
    folder = tmp_path / "sys/class/hwmon/hwmon0"
    folder.mkdir(parents=True)
    (folder / "power1_oem_info").write_text("Module Power Socket 0\n")
    (folder / "power1_average").write_text("512000000\n")
    (reading,) = psu.SPEC.open(config(tmp_path, psu=Psu()), RealClock()).read()
    assert (reading.domain, reading.scope, reading.power_mw) == ("module-0", Scope.MODULE, 512_000)
