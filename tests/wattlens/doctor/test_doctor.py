"""The doctor on simulated nodes with faults, and each check on machines that are folders."""

import json
import socket
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from energy_agent.config.agent import Config, LedgerConfig
from energy_agent.core import plugin
from energy_agent.runtime.clock import RealClock, clock_for
from energy_agent.sim.cluster.kubelet import Kubelet
from energy_agent.sim.cluster.model import Pod
from energy_agent.sim.cluster.pods import PodNow
from energy_agent.sim.gpu.build import library_path
from energy_agent.web.server import WebServer
from tests.energy_agent.nodes import environ_of, make_plant
from tests.support import free_port
from wattlens.doctor import checks
from wattlens.doctor.examine import examine
from wattlens.doctor.finding import GROUPS, CheckContext, FindingLevel, NvmlAnswers, gpus
from wattlens.doctor.page import page
from wattlens.doctor.probing import probe

HANG_S = 1.0


def facts_of(folder, environ, **options):
    """Facts of a simulated node, or of a machine that is a folder."""
    clock = clock_for(environ)
    values = {
        "config": Config(),
        "state": folder / "state",
        "listen": f"127.0.0.1:{free_port()}",
        "simulate": folder,
        "environ": environ,
        "clock": clock,
        "procfs": Path("/proc"),
        "probe": probe(environ, HANG_S) if "probe" not in options else None,
        "began_utc_ns": clock.utc_ns(),
        "began_boot_ns": clock.boot_ns(),
    }
    return CheckContext(**values | options)


@contextmanager
def examined(folder, count, *faults):
    """A node's examination; faults are (gpu, kind, options)."""
    environ = environ_of(folder)
    with make_plant(folder, count) as plant:
        for gpu, kind, options in faults:
            plant.fault(gpu, kind, **options)
        yield plant, examine(facts_of(folder, environ), "n1")
        for gpu in range(count):
            plant.clear(gpu)


def findings_of(examination, check, status=None):
    return [f for name, _, f in examination.findings if name == check and status in (None, f.status)]


def test_a_healthy_node_can_run_the_agent(tmp_path):
    with examined(tmp_path, 2) as (plant, examination):
        assert examination.can_run
        assert examination.counts()[FindingLevel.FAIL] == 0
        (answer,) = findings_of(examination, "devices")
        assert answer.status is FindingLevel.OK
        assert answer.devices == (0, 1)
        (readings,) = findings_of(examination, "readings")
        assert readings.means.startswith("energy counter, instant power")
        assert plant.truth(0).power_limit_mw == 700_000
        assert plant.truth(0).locked_mhz == (0, 0)


def test_a_lost_gpu_fails_alone(tmp_path):
    with examined(tmp_path, 3, (1, "lost", {})) as (_, examination):
        assert examination.can_run
        (fail,) = findings_of(examination, "devices", FindingLevel.FAIL)
        assert fail.devices == (1,)
        assert "GPU_IS_LOST" in fail.means
        assert findings_of(examination, "readings", FindingLevel.OK)[0].devices == (0, 2)


def test_hanging_gpus_are_named_with_their_call_and_the_others_are_read(tmp_path):
    faults = [(0, "hang", {"call": "nvmlDeviceGetFieldValues"}), (2, "hang", {})]
    with examined(tmp_path, 4, *faults) as (_, examination):
        assert examination.can_run
        fails = {f.devices: f.means for f in findings_of(examination, "devices", FindingLevel.FAIL)}
        assert fails.keys() == {(0,), (2,)}
        assert "does not return from GetFieldValues" in fails[0,]
        assert findings_of(examination, "readings", FindingLevel.OK)[0].devices == (1, 3)


def test_without_a_gpu_left_the_agent_cannot_run(tmp_path):
    with examined(tmp_path, 2, (0, "lost", {}), (1, "hang", {})) as (_, examination):
        assert not examination.can_run
        assert all(f.stops for f in findings_of(examination, "devices", FindingLevel.FAIL))


@pytest.mark.parametrize(
    ("kind", "reason", "fixed"), [("not_supported", "NOT_SUPPORTED", False), ("no_permission", "NO_PERMISSION", True)]
)
def test_a_reading_that_is_not_there_has_its_reason(tmp_path, kind, reason, fixed):
    with examined(tmp_path, 2, (1, kind, {"call": "nvmlDeviceGetComputeRunningProcesses"})) as (_, examination):
        (warn,) = findings_of(examination, "readings", FindingLevel.WARN)
        assert (warn.subject, warn.devices) == ("process list", (1,))
        assert warn.means.startswith(reason)
        assert bool(warn.fix) == fixed


def test_without_counter_and_power_there_is_nothing_to_account_for(tmp_path):
    calls = ("83", "186", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage")
    with examined(tmp_path, 1, *((0, "not_supported", {"call": c}) for c in calls)) as (_, examination):
        assert not examination.can_run
        assert [f.subject for f in findings_of(examination, "readings", FindingLevel.FAIL)] == ["no energy"]


def test_mig_gives_a_warning(tmp_path):
    folder = tmp_path / "a100"
    with make_plant(folder, 2) as plant:
        plant.fault(1, "mig", value=2)
        examination = examine(facts_of(folder, environ_of(folder)), "n1")
        (warn,) = findings_of(examination, "mig", FindingLevel.WARN)
        assert warn.devices == (1,)
        plant.clear(1)


def test_library_and_driver_mismatch_is_reported_with_its_fix(tmp_path):
    with examined(tmp_path, 1, (0, "driver_mismatch", {})) as (_, examination):
        assert not examination.can_run
        (fail,) = findings_of(examination, "driver", FindingLevel.FAIL)
        assert "LIB_RM_VERSION_MISMATCH" in fail.means
        assert "reboot" in fail.fix


def test_missing_driver_or_library_is_reported(tmp_path):
    environ = {k: v for k, v in environ_of(tmp_path).items() if k != "WATTLENS_SIM"}
    assert probe(environ).fatal.reason == "DRIVER_NOT_LOADED"
    del environ["LD_LIBRARY_PATH"]
    if not Path("/dev/nvidiactl").exists():
        assert probe(environ).fatal.reason == "LIBRARY_NOT_FOUND"


def test_a_driver_that_hangs_as_a_whole_does_not_hang_the_doctor(tmp_path):
    with make_plant(tmp_path, 1) as plant:
        plant.fault(0, "hang", call="nvmlDeviceGetHandleByIndex")
        answers = probe(environ_of(tmp_path), HANG_S)
        assert answers.troubles[0].reason == "HANG"
        assert answers.driver
        plant.clear(0)


# ---- checks on machines that are folders ----


def machine(tmp_path, **options):
    return facts_of(
        tmp_path, {"PATH": ""}, root=tmp_path, simulate=None, **{"procfs": tmp_path / "proc", "probe": NvmlAnswers()} | options
    )


def look(name, facts):
    return list(plugin.load(checks, name).look(facts))


def test_every_check_runs_on_an_empty_machine(tmp_path):
    examination = examine(machine(tmp_path), "n1")
    assert {g for _, g, _ in examination.findings} <= set(GROUPS)
    assert {n for n, _, _ in examination.findings} >= set(plugin.names(checks)) - {"devices", "readings", "persistence", "mig"}
    (fail,) = findings_of(examination, "cgroups", FindingLevel.FAIL)
    assert fail.stops


def test_rapl(tmp_path):
    assert look("rapl", machine(tmp_path))[0].status is FindingLevel.ABSENT
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "energy_uj").write_text("1\n")
    (zone / "name").write_text("package-0\n")
    assert [(f.status, f.means) for f in look("rapl", machine(tmp_path))] == [(FindingLevel.OK, "readable: package-0")]


@pytest.fixture
def short_path():
    """A folder whose name leaves room for the kubelet's path in the 107 bytes of a socket's address."""
    with tempfile.TemporaryDirectory(prefix="wl-") as folder:
        yield Path(folder)


def test_the_kubelets_socket(short_path):
    facts = machine(short_path)
    assert look("pod_resources", facts)[0].status is FindingLevel.ABSENT
    assert look("pod_resources", replace(facts, environ={"KUBERNETES_SERVICE_HOST": "x"}))[0].status is FindingLevel.WARN
    path = short_path / "var/lib/kubelet/pod-resources/kubelet.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert look("pod_resources", facts)[0].status is FindingLevel.WARN  # nobody listens
        server.listen()
        assert look("pod_resources", facts)[0].status is FindingLevel.WARN  # it says nothing
    pytest.importorskip("grpc")
    kubelet = Kubelet(path.parent, other_pods=3)
    logs = short_path / "var/log/pods"
    logs.mkdir(parents=True)
    try:
        gpus = ("GPU-8f6d2b1c-0000-4a3b-9c8d-001122334455",)
        kubelet.show([PodNow(Pod(name="a"), "uid", "Running", gpus, True)])
        (socket_finding,) = look("pod_resources", facts)
        assert (socket_finding.status, socket_finding.means) == (FindingLevel.OK, f"{path} responds: 1 pods have 1 devices")
        kubelet.show([PodNow(Pod(name="a", given="dra"), "uid", "Running", gpus, True)])
        (socket_finding,) = look("pod_resources", facts)
        assert socket_finding.status is FindingLevel.WARN
        assert "gpu.nvidia.com/node/gpu-0" in socket_finding.means
        logs.rmdir()
        assert [finding.status for finding in look("pod_resources", facts)] == [FindingLevel.WARN, FindingLevel.WARN]
    finally:
        kubelet.stop()


def test_cgroups_and_slurm(tmp_path):
    (tmp_path / "proc/1").mkdir(parents=True)
    root = tmp_path / "sys/fs/cgroup"
    (root / "system.slice/node1_slurmstepd.scope").mkdir(parents=True)
    assert "version 1" in look("cgroups", machine(tmp_path))[1].means
    (root / "cgroup.controllers").touch()
    assert "version 2" in look("cgroups", machine(tmp_path))[1].means
    assert look("slurm", machine(tmp_path))[0].status is FindingLevel.OK


def test_the_kernel_modules_version_is_compared(tmp_path):
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    version = tmp_path / "sys/module/nvidia/version"
    facts = machine(tmp_path, probe=NvmlAnswers(driver="580.65.06", count=1))
    version.write_text("580.65.06\n")
    assert [f.status for f in look("driver", facts)] == [FindingLevel.OK, FindingLevel.OK]
    version.write_text("575.57.08\n")
    assert [f.status for f in look("driver", facts)] == [FindingLevel.OK, FindingLevel.WARN]


def test_the_state_folder(tmp_path):
    (state,) = look("state_folder", machine(tmp_path))
    assert state.status is FindingLevel.OK
    assert not (tmp_path / "state").exists()  # looking makes nothing
    (tmp_path / "state").write_text("")
    (fail,) = look("state_folder", machine(tmp_path))
    assert fail.stops
    much = Config(ledger=LedgerConfig(disk_budget_mib=1 << 20))
    assert look("state_folder", machine(tmp_path, state=tmp_path, config=much))[0].status is FindingLevel.WARN


def test_a_taken_port_stops_unless_an_agent_has_it(tmp_path):
    facts = machine(tmp_path)
    assert look("port", facts)[0].status is FindingLevel.OK
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
        (fail,) = look("port", replace(facts, listen=listen))
        assert fail.stops
    with WebServer("127.0.0.1", 0, lambda: None, RealClock()) as server:
        (mine,) = look("port", replace(facts, listen=f"127.0.0.1:{server.port}"))
        assert mine.status is FindingLevel.OK


def test_other_readers_are_seen_and_holders_are_not_taken_for_them(tmp_path):
    for pid, comm, maps in ((7, "nv-hostengine", ""), (8, "odd\x1b[2J", "x /usr/lib/libnvidia-ml.so.1"), (9, "bash", "")):
        folder = tmp_path / f"proc/{pid}"
        folder.mkdir(parents=True)
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "maps").write_text(maps)
        (folder / "cmdline").write_text(comm)
    (warn,) = look("neighbours", machine(tmp_path))
    assert "DCGM, odd?[2J (pid 8);" in warn.means
    assert "bash" not in warn.means


# ---- what people and programs see ----


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("count", [1, 8, 16])
def test_the_page_fits_its_width(tmp_path, width, count):
    with examined(tmp_path, count, (0, "lost", {})) as (
        _,
        examination,
    ):
        text = page(examination, width)
    assert max(map(len, text.splitlines())) <= min(width, 120)
    assert "fail: no response (GPU 0)" in text.splitlines()[-6:]  # also on a terminal of 24 lines


def test_the_json_has_the_keys_that_programs_read(tmp_path):
    with examined(tmp_path, 2, (1, "lost", {})) as (_, examination):
        body = json.loads(json.dumps(examination.as_json()))
    assert list(body) == ["schema", "node", "simulated", "driver", "gpus", "can_run", "counts", "findings"]
    assert body["schema"] == "wattlens-doctor/1"
    for each in body["findings"]:
        assert list(each) == ["check", "group", "status", "subject", "means", "fix", "devices", "stops"]
        assert each["status"] in ("ok", "warn", "fail", "absent")
    assert {"check": "devices", "status": "fail", "devices": [1], "stops": False}.items() <= next(
        f for f in body["findings"] if f["status"] == "fail"
    ).items()


def test_indices_are_printed_as_ranges():
    assert gpus([0, 1, 2, 7, 5, 4]) == "GPU 0-2, 4-5, 7"
    assert gpus([3]) == "GPU 3"


def test_simulated_library_is_the_requested_one(tmp_path):
    with make_plant(tmp_path, 1):
        assert probe(environ_of(tmp_path)).library == str(library_path())
