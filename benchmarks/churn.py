"""One user starts 20 processes per second on a GPU: memory, disk and /metrics of the real agent over an hour.

Run from the repository's root: python -m benchmarks churn [--minutes 60] [--retention-s 600] [--starts-per-s 20]

Each process lives 1.4 s and is attached to GPU 7 of a simulated node with eight H100s, which has no other users: the agent
lists processes each second, because one that used the GPU has ended, and each list has twenty new ones. The agent runs with its
defaults except for the retention and, if the run is shorter than an hour, segments of a quarter of an hour. Bars: after the
retention, anonymous memory of all processes of the agent and /metrics no longer grow; the journal stays below the size of a log
of 8 MiB, its checkpoints and SQLite's own log; `wattlens ledger verify` finds no fault.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from benchmarks.runner import Row
from benchmarks.running import AgentProcess, of_family, pss_b, running_agent, simulated
from energy_agent.core.errors import UsageError
from energy_agent.ledger import chain
from energy_agent.ledger.journal.view import read_journal
from energy_agent.sim import roots
from energy_agent.sim.gpu.plant_abi import DeviceLostError, PlantError
from energy_agent.sim.node import SimulatedNode

GPU = 7
LIFE_S = 1.4  # the simulated driver has room for 32 processes per GPU
SESSION = "/user.slice/user-65534.slice/session-1.scope"
JOURNAL_MAX_MIB = 32.0
_FLAT_AFTER_S = 64  # after the retention; what grows later is judged
GROWTH_BAR = {"memory_mib": 4.0, "page_kib": 64.0}
"""How much more the last third of the flat part may have than its first third, by the medians."""

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


class ProcessChurn(threading.Thread):
    """Processes of a separate user, each attached to a GPU for its whole life."""

    def __init__(self, node: SimulatedNode, starts_per_s: float, gpu: int = GPU, life_s: float = LIFE_S) -> None:
        super().__init__(daemon=True)
        self._node, self._gpu, self._life_s, self._period_s = node, gpu, life_s, 1 / starts_per_s
        self.ended = threading.Event()
        self.started = 0

    def run(self) -> None:
        """Until `ended`."""
        command = [sys.executable, "-I", "-c", _STARTER, str(self._period_s), str(self._life_s)]
        alive: deque[tuple[float, int, int]] = deque()
        with self._node.plant() as plant, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
            assert starter.stdout is not None
            try:
                while not self.ended.is_set():
                    pid = int(starter.stdout.readline())
                    roots.add_process(self._node.directory, pid, SESSION)
                    try:
                        slot = plant.attach_process(self._gpu, pid, memory_b=1 << 20)
                    except PlantError:  # this machine is slow, and too many live
                        roots.remove_process(self._node.directory, pid)
                    else:
                        alive.append((time.monotonic() + self._life_s - 0.1, pid, slot))
                        self.started += 1
                    while alive and alive[0][0] <= time.monotonic():
                        self._end(plant, *alive.popleft()[1:])
            finally:
                starter.kill()
                for _, pid, slot in alive:
                    self._end(plant, pid, slot)

    def _end(self, plant: Any, pid: int, slot: int) -> None:
        with suppress(DeviceLostError):  # the plant noticed its end itself
            plant.detach_process(self._gpu, slot)
        roots.remove_process(self._node.directory, pid)


def sample(began_s: float, churn: ProcessChurn, agent: AgentProcess) -> Row:
    """Measure the agent now; unlike file pages, anonymous memory does not depend on other processes of the machine."""
    page = agent.fetch(5.0)
    return {
        "minute": round((time.monotonic() - began_s) / 60, 2),
        "started": churn.started,
        "memory_mib": of_family(lambda pid: pss_b(pid, "Pss_Anon"), agent.pid) / 2**20,
        "journal_mib": sum(path.stat().st_size for path in agent.state.glob("journal.db*")) / 2**20,
        "segments_mib": sum(path.stat().st_size for path in agent.state.glob("segments/*")) / 2**20,
        "page_kib": len(page) / 1024,
        "workloads": page.count(b"\nwattlens_workload_info{"),
    }


def growth(points: Sequence[Row], name: str) -> float:
    """Median of the last third minus median of the first third."""
    values = [float(point[name]) for point in points]
    third = max(1, len(values) // 3)
    return round(statistics.median(values[-third:]) - statistics.median(values[:third]), 3)


def run(minutes: float = 60.0, retention_s: int = 600, starts_per_s: float = 20.0) -> Iterator[Row]:
    """All points, and what grew after the retention."""
    least_minutes = 2 * (retention_s + _FLAT_AFTER_S) / 60
    if minutes < least_minutes:
        raise UsageError(f"--minutes: expected at least {least_minutes:.3g} for this retention, got {minutes:g}")
    config: Row = {"holders": {"retention_s": retention_s}} | ({"ledger": {"segment_s": 900}} if minutes < 60 else {})
    with simulated("h100-node") as (base, node):
        points: list[Row] = []
        with running_agent(node, base / "state", config) as agent:
            churn = ProcessChurn(node, starts_per_s)
            churn.start()
            try:
                began_s = time.monotonic()
                while time.monotonic() < began_s + minutes * 60:
                    time.sleep(max(2.0, minutes))
                    points.append(sample(began_s, churn, agent))
                    if not churn.is_alive():
                        raise RuntimeError("no more processes are started")
            finally:
                churn.ended.set()
                churn.join(10.0)
        view = read_journal(base / "state/journal.db")
        faults = chain.verify([base / "state/segments"], view).faults
    flat = [point for point in points if point["minute"] * 60 > retention_s + _FLAT_AFTER_S]
    grew = {name: growth(flat, name) for name in GROWTH_BAR}
    yield from points[:: max(1, len(points) // 12)]
    yield {
        "starts": churn.started,
        "uid": 65534 if os.geteuid() == 0 else os.geteuid(),
        "grew_after_retention": grew,
        "bars": GROWTH_BAR,
        "journal_mib": (journal_mib := max(float(point["journal_mib"]) for point in points)),
        "totals_in_journal": len(view.book.totals.energy),
        "ledger_faults": [fault.line for fault in faults],
        "ok": not faults and journal_mib <= JOURNAL_MAX_MIB and all(grew[name] <= bar for name, bar in GROWTH_BAR.items()),
    }
