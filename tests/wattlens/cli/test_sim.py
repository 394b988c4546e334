"""`wattlens sim` as a person uses it: start, status, faults of GPUs and meters, run, env, stop, and its errors."""

import json
import signal
import subprocess
import sys

import pytest

from energy_agent.sim.node import SimulatedNode
from tests.support import Said, eventually, said_here

NODE = """
boards: [{count: 2, sku: A40}]
rate: 10
facility: {meters: {main: {gain: 1.005}}}
workloads: [{name: load, kind: burst, gpus: [0], memory_gb: 1, on_s: 0.5, off_s: 0}]
"""


def sim(*arguments: str) -> Said:
    """In a process of its own only what starts or ends one, or becomes another program."""
    if arguments[0] not in ("start", "stop", "run"):
        return said_here("sim", *arguments)
    command = [sys.executable, "-m", "wattlens", "sim", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def ok(*arguments: str) -> str:
    done = sim(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a node of NODE runs."""
    tmp_path = tmp_path_factory.mktemp("sim")
    (tmp_path / "node.yaml").write_text(NODE)
    folder = str(tmp_path / "node")
    started = ok("start", str(tmp_path / "node.yaml"), "--dir", folder)
    assert "load" in started
    assert "  no workload                    gpu 1\n" in started
    assert f"\nstop: wattlens sim stop --dir {folder}\n" in started
    yield folder
    assert ok("stop", "--dir", folder) == f"stopped the simulated node in {folder}\n"
    assert sim("status", "--dir", folder).returncode == 2


def status(folder: str) -> dict:
    return json.loads(ok("status", "--dir", folder, "--json"))


def building(folder):
    return status(folder)["facility"]


def kinds(folder, meter):
    return [fault["kind"] for each in building(folder)["meters"] if each["id"] == meter for fault in each["faults"]]


def test_the_truth_of_the_building(folder):
    first = eventually(lambda: (b := building(folder))["pue"] and b)  # just after the start it has no value
    assert first["meters"][0] | {"true_j": 0, "power_w": 0} == {
        "id": "main", "role": "total", "unit": 1, "true_j": 0, "power_w": 0, "gain": 1.005, "faults": []}  # fmt: skip
    assert 1.1 < first["pue"] < 2
    later = eventually(lambda: (b := building(folder))["meters"][0]["true_j"] > first["meters"][0]["true_j"] and b)
    assert later["port"] == first["port"]
    output = ok("status", "--dir", folder)
    assert f"building: Modbus TCP on 127.0.0.1:{first['port']}" in output
    assert "\nmain         total" in output


def test_faults_of_meters(folder):
    assert ok("fault", "meter:main", "offline", "--dir", folder) == "meter:main: offline set\n"
    assert ok("fault", "meter:main", "slow", "--value", "20", "--dir", folder) == "meter:main: slow set\n"
    assert kinds(folder, "main") == ["offline", "slow"]
    assert kinds(folder, "ups") == []
    assert "offline, slow" in ok("status", "--dir", folder)
    assert ok("clear", "meter:main", "slow", "--dir", folder) == "meter:main: slow cleared\n"
    assert kinds(folder, "main") == ["offline"]
    assert ok("clear", "meter:main", "--dir", folder) == "meter:main: all faults cleared\n"
    assert kinds(folder, "main") == []
    output = ok("fault", "meter:ups", "stuck", "--for", "2s", "--dir", folder)
    assert output == "meter:ups: stuck set; will be cleared after 2s (Ctrl-C clears it now)\nmeter:ups: stuck cleared\n"
    assert kinds(folder, "ups") == []


def test_a_session(folder):
    first = status(folder)

    def later_status() -> dict | None:
        now = status(folder)
        used_j = now["gpus"][0]["true_j"] - first["gpus"][0]["true_j"]
        return now if used_j > 300 and now["workloads"][0]["counters"]["steps"] >= 1 else None

    later = eventually(later_status)
    assert later["gpus"][0]["sensed_j"] > first["gpus"][0]["sensed_j"]
    assert later["gpus"][0]["pids"] == [later["workloads"][0]["pid"]]

    ok("fault", "gpu1", "hang", "--call", "nvmlDeviceGetPowerUsage", "--dir", folder)
    assert [f["call"] for f in status(folder)["gpus"][1]["faults"]] == ["nvmlDeviceGetPowerUsage"]
    assert "hang nvmlDeviceGetPowerUsage" in ok("status", "--dir", folder)
    assert ok("clear", "1", "--dir", folder) == "gpu1: all faults cleared\n"
    assert "cleared" in ok("fault", "gpu1", "lost", "--for", "1s", "--dir", folder)
    assert status(folder)["gpus"][1]["faults"] == []

    code = "import pynvml as p; p.nvmlInit(); print(p.nvmlDeviceGetCount())"
    assert ok("run", "--dir", folder, "--", sys.executable, "-c", code) == "2\n"
    assert sim("run", "--dir", folder, "--", sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    assert ok("run", "--dir", folder, "--", "nvidia-smi", "-L").count("NVIDIA A40 (UUID: GPU-") == 2
    shell = subprocess.run(
        ["sh", "-c", f'{ok("env", "--dir", folder)}\necho "$WATTLENS_SIM"'], capture_output=True, text=True, check=True
    )
    assert shell.stdout.strip() == folder


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("fault gpu1 lots", "unknown fault 'lots'; did you mean 'lost'?"),
        ("fault gpu2 lost", "no GPU 'gpu2' on this node: it has gpu0 to gpu1"),
        ("fault gpu1 lost --for soon", "--for: "),
        ("fault gpu1 xid --value 13 --for 1s", "happens once"),
        ("clear gpu1 lots", "unknown fault 'lots'"),
        ("run", "no command given"),
        ("run -- /none", "cannot run '/none'"),
        ("start idle", "already runs"),
        ("fault meter:mian offline", "unknown meter 'mian'; did you mean 'main'?"),
        ("fault meter:main lost", "unknown meter fault 'lost'"),
        ("fault meter:main reset --for 1s", "happens once"),
        ("fault meter:main reset --value 1", "does not take a value"),
        ("fault meter:main slow --call nvmlInit", "--call: cannot be combined with a meter"),
        ("clear meter:main lots", "unknown meter fault 'lots'"),
        ("fault main offline", "unknown fault 'offline'"),
    ],
)
def test_wrong_usage_on_a_running_node(folder, arguments, says):
    action, *more = arguments.split()
    done = said_here("sim", action, "--dir", folder, *more)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("wattlens")
    assert says in done.stderr


@pytest.mark.parametrize("action", ["status", "stop", "env", "run -- true", "fault gpu0 lost", "clear gpu0"])
def test_without_a_node(tmp_path, action):
    word, *more = action.split()
    done = said_here("sim", word, "--dir", str(tmp_path / "none"), *more)
    assert done.returncode == 2
    assert done.stderr == f"wattlens: no simulated node runs in {tmp_path / 'none'}; start one with 'wattlens sim start'\n"


def test_help_and_list():
    assert "the GPU has fallen off the bus" in ok("fault", "--help")
    assert "h100-node" in json.loads(ok("list", "--json"))
    assert said_here("sim", "start", "h100-nod").stderr.startswith(
        "wattlens: unknown scenario 'h100-nod'; did you mean 'h100-node'?"
    )


def test_in_the_foreground_until_it_is_interrupted(tmp_path):
    command = [sys.executable, "-m", "wattlens", "sim", "start", "idle", "--foreground", "--dir", str(tmp_path / "node")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("simulated node: idle")
            assert process.stdout.readline() == "Ctrl-C stops it\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert sim("status", "--dir", str(tmp_path / "node")).returncode == 2


def test_a_node_without_a_building(tmp_path):
    node = str(tmp_path / "node")
    with SimulatedNode.start("idle", tmp_path / "node"):
        assert "facility" not in status(node)
        done = said_here("sim", "fault", "meter:main", "offline", "--dir", node)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "add the key 'facility' to its scenario" in done.stderr
