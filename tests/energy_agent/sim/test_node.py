"""The simulated node as processes: what runs, what others see of it, what happens when parts of it are killed."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from energy_agent.core.errors import WattlensError
from energy_agent.sim import roots, scenario
from energy_agent.sim.gpu.plant_abi import DeviceLostError
from energy_agent.sim.node import SimulatedNode, elapsed_s
from energy_agent.sim.workloads.worker import GPU_LOST
from energy_agent.tokens.account import EndpointAccount
from energy_agent.tokens.endpoint import fetch
from energy_agent.tokens.response_parser import names_of, read
from energy_agent.tokens.servers import vllm
from tests.support import eventually, refusal

NODE = """
boards: [{count: 4, sku: H100-SXM5-80GB}]
rate: 10
workloads:
  - {name: train, kind: training, gpus: [0, 1], step_s: 0.4, cgroup: /system.slice/train-llama.service}
  - {name: chat, kind: serving, gpus: [2], rate_per_s: 6, cgroup: docker}
  - {name: lab, kind: notebook, gpus: [3], every_s: 1, cgroup: kubepods}
"""
BURST = "boards: [{count: 2, sku: A40}]\nrate: 10\nworkloads: [{name: b, kind: burst, gpus: [0], memory_gb: 1%s}]\n"


def node(folder: Path, text: str) -> SimulatedNode:
    return SimulatedNode.start(scenario.parse(text.encode(), "test"), folder)


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    with node(tmp_path_factory.mktemp("busy") / "node", NODE) as running:
        yield running


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with node(tmp_path_factory.mktemp("small") / "node", BURST % "") as running:
        yield running


def take(account: EndpointAccount, url: str):
    """Read an engine's page; what each model did since the first reading, in which no engine may have started again."""
    t_ns = time.time_ns()
    assert not any(
        delta.restarted for delta in account.feed(read(vllm.SPEC, fetch(url, names_of(vllm.SPEC), timeout_s=60.0), t_ns), t_ns)
    )
    return account.totals(up=True)


def pids(running: SimulatedNode) -> list[int]:
    """The daemon and its workloads."""
    return [running.state()["pid"], *(w["pid"] for w in running.workloads() if w["pid"])]


def owners(running: SimulatedNode, gpu: int) -> list[int]:
    with running.plant() as plant:
        return [s.pid for s in plant.truth(gpu).slots if s.live]


def test_workloads_run_and_are_seen_as_on_a_real_node(busy):
    work = {w["name"]: w for w in busy.workloads()}
    assert [owners(busy, gpu) for gpu in range(4)] == [[work[name]["pid"]] for name in ("train", "train", "chat", "lab")]
    for name, pattern in (("train", "train-llama.service"), ("chat", "docker-"), ("lab", "cri-containerd-")):
        proc = busy.directory / "proc" / str(work[name]["pid"])
        assert (proc / "cgroup").read_text() == f"0::{work[name]['cgroup']}\n"
        assert pattern in work[name]["cgroup"]
        injected, real = ((root / "stat").read_text().split()[21] for root in (proc, Path(f"/proc/{work[name]['pid']}")))
        assert injected == real
        assert name in (proc / "cmdline").read_text()
    assert {p.name for p in (busy.directory / "proc").iterdir()} == {str(w["pid"]) for w in work.values()}

    # Steps are made, tokens flow, and the plant knows of the work.
    eventually(lambda: busy.workload("train")["counters"]["steps"] > 5)
    eventually(lambda: busy.workload("lab")["counters"]["steps"] > 0)
    account = EndpointAccount("chat", "page", live=True)

    def later():
        [total] = take(account, work["chat"]["metrics_url"])
        return total.counts["generation"] > 200 and total.counts["prompt"] > 1000 and total.itl.count > 100 and total

    take(account, work["chat"]["metrics_url"])
    total = eventually(later)
    assert total.model == "meta-llama/Llama-3.1-8B-Instruct"
    assert 0.005 < total.itl.sum_s / total.itl.count < 2  # in seconds of the plant, of which a busy machine makes more
    with busy.plant() as plant:
        truth = plant.truth(2)
        assert truth.busy_ns > 0
        assert truth.true_uj > 0
        assert truth.slots[0].active_uj <= truth.true_uj


def test_kill_of_a_workload_frees_its_gpus_and_nothing_else(busy):
    before = {w["name"]: w["pid"] for w in busy.workloads()}
    os.kill(before["train"], signal.SIGKILL)
    eventually(lambda: not owners(busy, 0) and not owners(busy, 1))
    failed = eventually(lambda: (w := busy.workload("train"))["phase"] == "failed" and w)
    assert failed["pid"] is None
    assert failed["exit_code"] == -signal.SIGKILL
    assert not (busy.directory / "proc" / str(before["train"])).exists()
    assert owners(busy, 2) == [before["chat"]]
    assert busy.workload("chat")["phase"] == "running"


def test_a_lost_gpu_ends_its_workload_which_comes_back_with_it(tmp_path):
    with node(tmp_path / "node", BURST % ", restart: on-failure") as running:
        running.fault(0, "lost")
        failed = eventually(lambda: (w := running.workload("b"))["phase"] == "failed" and w)
        assert failed["exit_code"] == GPU_LOST
        assert [f.kind for f in running.faults()] == ["lost"]
        with running.plant() as plant, pytest.raises(DeviceLostError):
            plant.attach_process(0, os.getpid(), memory_b=0)
        running.clear(0, "lost")
        assert running.faults() == []
        again = eventually(lambda: (w := running.workload("b"))["phase"] == "running" and w)
        assert again["restarts"] >= 1
        assert eventually(lambda: owners(running, 0)) == [running.workload("b")["pid"]]


def test_the_timeline_sets_and_clears_faults_and_starts_and_ends_workloads(tmp_path):
    text = (BURST % ", start_s: 10, end_s: 80") + (
        "faults:\n"
        "  - {at_s: 0, gpu: 1, kind: hang, call: nvmlDeviceGetPowerUsage, for_s: 40}\n"
        "  - {at_s: 15, gpu: 1, kind: counter_reset}\n"
    )
    with node(tmp_path / "node", text) as running, running.plant() as plant:
        phase, faults = running.workload("b")["phase"], [(f.gpu, f.kind, f.call) for f in running.faults()]
        passed_s = elapsed_s(running.state(), plant)  # 10 s are one of ours, and a busy machine may have taken it by now
        assert phase == "waiting" or passed_s > 10
        assert faults == [(1, "hang", "nvmlDeviceGetPowerUsage")] or passed_s > 15
        eventually(lambda: running.workload("b")["phase"] in ("running", "ended"))
        eventually(lambda: plant.truth(1).counter_resets == 1)
        ended = eventually(lambda: (w := running.workload("b"))["phase"] == "ended" and w)
        assert ended["counters"]["steps"] >= 1
        assert owners(running, 0) == []
        assert eventually(lambda: running.faults() == [])


def test_stop_and_the_death_of_the_daemon_leave_no_process_behind(tmp_path):
    def started():
        running = node(tmp_path / "node", NODE)
        processes = [(pid, roots.start_ticks(pid)) for pid in pids(running)]
        assert len(processes) == 4
        assert all(ticks is not None for _, ticks in processes)
        return running, processes, lambda: all(roots.start_ticks(pid) != ticks for pid, ticks in processes)

    running, _, ended = started()
    running.stop()
    assert not running.running
    assert ended()
    assert all(not w["pid"] and w["counters"]["steps"] is not None for w in running.workloads())  # counters stay for a look
    running.stop()  # a second time does nothing
    running, processes, ended = started()
    os.kill(processes[0][0], signal.SIGKILL)
    eventually(ended)
    assert "no simulated node runs" in refusal(SimulatedNode.attach, tmp_path / "node")
    running.stop()
    with node(tmp_path / "node", BURST % "") as again:
        assert [w["name"] for w in again.workloads()] == ["b"]


def test_a_client_of_nvml_sees_the_node(small):
    code = (
        "import pynvml as p; p.nvmlInit(); print(p.nvmlDeviceGetCount(), p.nvmlDeviceGetUUID(p.nvmlDeviceGetHandleByIndex(1)))"
    )
    output = small.run([sys.executable, "-c", code], timeout_s=60)
    with small.plant() as plant:
        assert output.stdout.split() == ["2", plant.uuid(1)]
    assert "not found" in refusal(small.run, ["/nonexistent/program"])
    assert "did not end" in refusal(small.run, ["sleep", "60"], timeout_s=0.2, error=WattlensError)


def test_the_seed_decides_about_the_boards_and_the_ids(tmp_path):
    def about(seed: int, folder: str) -> tuple[str, float, str]:
        parsed_scenario = scenario.parse((BURST % ", cgroup: docker").encode(), "x")
        with SimulatedNode.start(parsed_scenario, tmp_path / folder, seed=seed) as running, running.plant() as plant:
            return plant.uuid(0), plant.truth(0).gain, running.workload("b")["cgroup"]

    first = about(4, "a")
    assert first == about(4, "b")
    assert all(x != y for x, y in zip(first, about(5, "b"), strict=True))


def test_start_is_the_time_of_the_node(tmp_path):
    text = "boards: [{count: 1, sku: A40}]\nstart: 2026-07-01T02:00:00+02:00\n"
    with node(tmp_path / "node", text) as running, running.plant() as plant:
        assert 0 <= plant.now_ns() - 1_782_864_000 * 10**9 < 10**12  # 2026-07-01T00:00Z; the test takes less than 1,000 s


def test_workload_that_cannot_start_logs_the_reason_and_the_node_runs_on(tmp_path):
    work = "{name: s, kind: serving, gpus: [0], memory_gb: 20, arrivals: trace, trace: /none}"
    text = f"boards: [{{count: 1, sku: A40}}]\nworkloads: [{work}]"
    with node(tmp_path / "node", text) as running:
        eventually(lambda: running.workload("s")["phase"] == "failed")
        assert "trace /none cannot be read" in (running.directory / "workloads" / "s.log").read_text()


def test_it_refuses_what_is_not_its_folder(tmp_path, small):
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "scenario.yaml").write_text("mine too")
    assert "does not contain a simulated node" in refusal(node, tmp_path, BURST % "")
    assert [(tmp_path / name).read_text() for name in ("precious.txt", "scenario.yaml")] == ["mine", "mine too"]
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)
    for name, says in (("shared", "only you can write"), ("link", "you own"), ("precious.txt/node", "cannot use")):
        assert says in refusal(node, tmp_path / name, BURST % "")
    assert "no simulated node runs" in refusal(SimulatedNode.attach, tmp_path / "none")
    assert stat.S_IMODE(small.directory.stat().st_mode) == 0o700
    assert "already runs" in refusal(node, small.directory, BURST % "")
    assert SimulatedNode.attach(small.directory).workload("b")["phase"] == "running"
    line = refusal(small.workload, "c")
    assert "'c'" in line
    assert line.endswith(": b")


def test_a_process_that_is_killed_leaves_the_table_whoever_entered_it(small):
    with subprocess.Popen(["sleep", "60"]) as child:
        entry = small.directory / "proc" / str(child.pid)
        roots.add_process(small.directory, child.pid, roots.cgroup_path("mine", "docker", 1))
        roots.forget_ended(small.directory)
        assert (entry / "stat").exists()
        child.kill()
        eventually(lambda: not entry.exists())
        roots.add_process(small.directory, child.pid, roots.cgroup_path("mine", "docker", 1))
        assert not entry.exists()  # it has ended, though nobody has waited for it
        for pid in set(pids(small)) - {small.state()["pid"]}:
            assert (entry.parent / str(pid)).exists()  # who lives stays


def test_a_signal_reaches_only_the_process_that_was_meant():
    with subprocess.Popen(["sleep", "60"]) as child:
        ticks = roots.start_ticks(child.pid)
        assert ticks is not None
        assert not roots.signal_process(child.pid, ticks + 1, signal.SIGKILL)  # its pid was used again
        assert child.poll() is None
        assert roots.signal_process(child.pid, ticks, signal.SIGKILL)
        assert child.wait(60) == -signal.SIGKILL
        assert not roots.signal_process(child.pid, ticks, signal.SIGKILL)


def test_attaching_to_a_node_loads_no_scenarios():
    """An agent on a simulated node, and most `wattlens sim` commands, start in half the time without their models."""
    code = "import sys, energy_agent.sim.node; sys.exit('pydantic' in sys.modules or 'yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
