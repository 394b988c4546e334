"""Neighbours on the node: none, a stepped clock, a user who starts processes, a broken scheduler, a driver that hangs."""

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.hostile.rig import Rig, attack
from benchmarks.runner import Row
from benchmarks.running import children, family
from energy_agent.ledger import chain
from energy_agent.owners.lone_processes import OF_USER
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim import roots
from energy_agent.sim.gpu.plant_abi import DeviceLostError, PlantError
from energy_agent.sim.node import SimulatedNode

HOUR_NS = 3600 * 10**9
OFFSETS_NS = (HOUR_NS, 0, -HOUR_NS, 24 * HOUR_NS, -24 * HOUR_NS, 0)
FREEZER = Path("/sys/fs/cgroup/freezer")
LONGEST_S = 60.0
GPU, PERIOD_S = 7, 0.05
LIFE_S = 1.4  # the simulated driver has room for 32 processes per GPU
SESSION = "/user.slice/user-65534.slice/session-1.scope"
_STARTER = """
import os, sys, time
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
period_s, life_s = float(sys.argv[1]), sys.argv[2]
due_s = time.monotonic()
while True:
    print(os.posix_spawn("/bin/sleep", ["sleep", life_s], {}), flush=True)
    while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
        pass
    due_s += period_s
    time.sleep(max(0.0, due_s - time.monotonic()))
"""
_COMMAND = """#!/bin/sh
case $(( $(date +%s) % 2 )) in
0) exec >&- 2>&-; exec sleep 600 ;;
*) exec yes ;;
esac
"""


@attack("nobody attacks: the figures to compare with")
def nobody(rig: Rig) -> None:
    """Wait."""
    time.sleep(rig.seconds)


@attack("NTP or an administrator sets UTC forward and back by an hour and a day")
def clock_steps(rig: Rig) -> None:
    """Set the clock six times; commits must continue all the time."""
    clock, per_s = SimulatedClock(rig.node.directory / "plant"), []
    for offset_ns in OFFSETS_NS:
        rig.utc_offsets_ns.append(offset_ns)
        clock.set_utc(offset_ns)
        before, seconds = _commits(rig), max(3.0, rig.seconds / len(OFFSETS_NS))
        time.sleep(seconds)
        per_s.append((_commits(rig) - before) / seconds)
    report = chain.verify([rig.agent.state / "segments"])
    rig.figures |= {"fewest commits per second between two steps": min(per_s), "segments": report.files}
    rig.require("the agent commits all the time", min(per_s) > 0.5)
    rig.require("the chain of segments is whole", report.ok)


def _commits(rig: Rig) -> float:
    return sum(value for (name, _), value in rig.agent.page().items() if name == "wattlens_ledger_commits_total")


class ProcessChurn(threading.Thread):
    """Processes of a separate user, each attached to a GPU for its whole life."""

    def __init__(self, node: SimulatedNode) -> None:
        super().__init__(daemon=True)
        self._node = node
        self.ended = threading.Event()
        self.started = 0

    def run(self) -> None:
        """Until `ended`."""
        command = [sys.executable, "-I", "-c", _STARTER, str(PERIOD_S), str(LIFE_S)]
        alive: deque[tuple[float, int, int]] = deque()
        with self._node.plant() as plant, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
            assert starter.stdout is not None
            try:
                while not self.ended.is_set():
                    pid = int(starter.stdout.readline())
                    roots.add_process(self._node.directory, pid, SESSION)
                    try:
                        slot = plant.attach_process(GPU, pid, memory_b=1 << 20)
                    except PlantError:  # this machine is slow, and too many live
                        roots.remove_process(self._node.directory, pid)
                    else:
                        alive.append((time.monotonic() + LIFE_S - 0.1, pid, slot))
                        self.started += 1
                    while alive and alive[0][0] <= time.monotonic():
                        self._end(plant, *alive.popleft()[1:])
            finally:
                starter.kill()
                for _, pid, slot in alive:
                    self._end(plant, pid, slot)

    def _end(self, plant: Any, pid: int, slot: int) -> None:
        with suppress(DeviceLostError):  # the plant noticed its end itself
            plant.detach_process(GPU, slot)
        roots.remove_process(self._node.directory, pid)


@attack("a user starts 20 processes per second on a GPU", lambda _: {"holders": {"retention_s": 60}})
def process_churn(rig: Rig) -> None:
    """Start and end processes; `/metrics` may show at most as many as one user's rate permits."""
    churn = ProcessChurn(rig.node)
    churn.start()
    pages, end_s = [], time.monotonic() + rig.seconds
    while time.monotonic() < end_s:
        time.sleep(1.0)
        pages.append(rig.agent.fetch(2.0))
    churn.ended.set()
    churn.join(10.0)
    most = max(page.count(b"\nwattlens_workload_info{") for page in pages)
    rig.figures |= {"processes started": churn.started, "workloads, peak": most, "page bytes, peak": max(map(len, pages))}
    rig.require("one user has a bounded number of workloads", most <= OF_USER * (1 + rig.seconds / 3600) + 10)


def _slurm(folder: Path) -> Row:
    """A Slurm with our own commands."""
    for name in ("scontrol", "squeue"):
        (folder / name).write_text(_COMMAND)
        (folder / name).chmod(0o755)
    return {"holders": {"slurm": {"scontrol": str(folder / "scontrol"), "period_s": 1, "timeout_s": 1}}}


@attack("a scheduler's commands close their output and never end, or never stop writing", _slurm, injects_faults=True)
def silent_scheduler(rig: Rig) -> None:
    """Count the agent's processes all the time."""
    most, end_s = 0, time.monotonic() + rig.seconds
    while time.monotonic() < end_s:
        most = max(most, len(list(family(rig.agent.pid))))
        time.sleep(0.1)
    down = _down(rig)
    rig.figures |= {"most processes at a time": most, "reasons": down}
    rig.require("no command piles up", most <= 4)
    rig.require("the scheduler is a source that is down", any("holders:slurm" in line for line in down))


@attack("readers and probers hang where SIGKILL does not end them, as in the driver", injects_faults=True, needs_root=True)
def frozen_children(rig: Rig) -> None:
    """Freeze each prober of one hung GPU while another recovers; then freeze every reader that the agent starts."""
    if not FREEZER.is_dir():
        rig.figures["skipped"] = "no freezer of cgroup v1, under which SIGKILL ends no process"
        return
    with rig.node.plant() as plant:
        hung, other = plant.uuid(5), plant.uuid(6)
        try:
            with _freezer(rig) as freeze:
                plant.fault(5, "hang")
                plant.fault(6, "hang")
                rig.require("a prober was frozen", _until(lambda: freeze(hung, "--probe")))
                plant.clear(6, "hang")
                rig.require("a GPU returns while another's prober cannot be killed", _until(lambda: _is_up(rig, other)))
                plant.clear(5, "hang")
            rig.require("its GPU returns once the prober has ended", _until(lambda: _is_up(rig, hung)))
            with _freezer(rig) as freeze:
                frozen: set[int] = set()
                end_s = time.monotonic() + LONGEST_S
                while time.monotonic() < end_s and not any("cannot be killed" in line for line in _down(rig)):
                    frozen |= freeze("energy_agent.reader.main")
                    time.sleep(0.02)
                time.sleep(5.0)
                frozen |= freeze("energy_agent.reader.main")
                rig.figures["readers frozen"] = len(frozen)
                rig.require("two readers that cannot be killed are the most", len(frozen) == 2)
            rig.require("GPUs are read again once they have ended", _until(lambda: _is_up(rig, hung)))
        finally:
            plant.clear(5)
            plant.clear(6)


@contextmanager
def _freezer(rig: Rig) -> Iterator[Callable[..., set[int]]]:
    """Freeze the agent's children with all these words in their command; at the end they resume and get their SIGKILL."""
    folder = FREEZER / f"wattlens-hostile-{os.getpid()}"
    folder.mkdir()

    def freeze(*words: str) -> set[int]:
        frozen = set()
        for pid in children(rig.agent.pid):
            with suppress(OSError):  # it ended
                command = Path(f"/proc/{pid}/cmdline").read_text()
                if all(word in command for word in words):
                    (folder / "cgroup.procs").write_text(str(pid))
                    frozen.add(pid)
        return frozen

    try:
        (folder / "freezer.state").write_text("FROZEN")
        yield freeze
    finally:
        (folder / "freezer.state").write_text("THAWED")
        end_s = time.monotonic() + 10
        while (pids := (folder / "cgroup.procs").read_text().split()) and time.monotonic() < end_s:
            for pid in pids:
                (FREEZER / "cgroup.procs").write_text(pid)
        folder.rmdir()


def _until(condition: Callable[[], object]) -> bool:
    end_s = time.monotonic() + LONGEST_S
    while not (is_met := bool(condition())) and time.monotonic() < end_s:
        time.sleep(0.05)
    return is_met


def _lines(rig: Rig) -> list[str]:
    with suppress(OSError):
        return rig.agent.fetch(timeout_s=5.0).decode().splitlines()
    return []


def _down(rig: Rig) -> list[str]:
    return [line for line in _lines(rig) if "source_down_info{" in line]


def _is_up(rig: Rig, uuid: str) -> bool:
    lines = [line for line in _lines(rig) if line.startswith("wattlens_gpu_up{") and uuid in line]
    return bool(lines) and lines[0].endswith((" 1", " 1.0"))
