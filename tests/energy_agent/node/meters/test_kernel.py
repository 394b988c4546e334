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


def test_root_only_file_is_reported_with_a_fix(root):
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


GRACE = (
    ("Module Power Socket 0", 512), ("Grace Power Socket 0", 130), ("CPU Power Socket 0", 81), ("SysIO Power Socket 0", 37),
    ("Module Power Socket 1", 640), ("Grace Power Socket 1", 190), ("CPU Power Socket 1", 120), ("SysIO Power Socket 1", 55),
)  # fmt: skip


def grace_board(root, place):
    """One hwmon device per sensor; `device/` is the ACPI device, which has the files on kernels that are in use."""
    for number, (label, power_w) in enumerate(GRACE):
        folder = root / f"sys/class/hwmon/hwmon{number + 20}"
        (folder / place).mkdir(parents=True)
        (folder / "name").write_text("power_meter\n")
        (folder / place / "power1_oem_info").write_text(f"{label}\n")
        (folder / place / "power1_average").write_text(f"{power_w}000000\n")


@pytest.mark.parametrize("place", [".", "device"])
def test_each_socket_of_a_grace_board_is_a_domain_of_its_own(tmp_path, place):
    grace_board(tmp_path, place)
    readings = psu.SPEC.open(config(tmp_path, psu=Psu(scope="module")), RealClock()).read()
    assert {r.domain: (r.scope, r.power_mw) for r in readings} == {
        "module-0": (Scope.MODULE, 512_000), "grace-0": (Scope.SOCKET, 130_000),
        "cpu-0": (Scope.SOCKET, 81_000), "sysio-0": (Scope.SOCKET, 37_000),
        "module-1": (Scope.MODULE, 640_000), "grace-1": (Scope.SOCKET, 190_000),
        "cpu-1": (Scope.SOCKET, 120_000), "sysio-1": (Scope.SOCKET, 55_000),
    }  # fmt: skip
    assert len(readings) == len(GRACE)


def test_sockets_are_not_part_of_the_supplies_and_a_broken_one_does_not_stop_them(root):
    grace_board(root, "device")
    (root / "sys/class/hwmon/hwmon21/device/power1_average").write_text("-1\n")
    readings = {r.domain: r for r in psu.SPEC.open(config(root, psu=Psu(supplies=3)), RealClock()).read()}
    assert (readings["node"].scope, readings["node"].power_mw) == (Scope.NODE, 1_500_000)
    assert "grace-0" not in readings
    assert readings["cpu-0"].power_mw == 81_000
