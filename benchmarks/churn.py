"""One user starts 20 processes per second on a GPU: memory, disk and /metrics of the real agent over an hour.

Run from the repository's root: python -m benchmarks.churn [--minutes 60] [--retention-s 600] [--starts-per-s 20] [--json]

Each process lives 1.4 s and is attached to GPU 7 of a simulated node with eight H100s, which nobody else uses: the agent lists
processes each second, as one that held the GPU has ended, and each list has twenty that no list had before. The agent runs with
its defaults but for the retention and, where the run is shorter than an hour, segments of a quarter of an hour. Bars: once the
retention is over, anonymous memory of all processes of the agent, the journal and /metrics no longer grow; `wattlens ledger
verify` finds no fault.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.running import AgentProcess, family
from energy_agent.ledger import chain
from energy_agent.ledger.journal.view import read_journal
from energy_agent.sim import roots
from energy_agent.sim.gpu.plant_abi import DeviceLostError, PlantError
from energy_agent.sim.node import SimulatedNode

GPU = 7
LIFE_S = 1.4  # the simulated driver has room for 32 processes per GPU
SESSION = "/user.slice/user-65534.slice/session-1.scope"
GROWTH_BAR = {"memory_mib": 4.0, "journal_mib": 1.0, "page_kib": 64.0}
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
    """A user of its own starts processes, and each is attached to a GPU for as long as it lives."""

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


@dataclass(frozen=True, slots=True)
class Point:
    """The agent at one instant."""

    minute: float
    started: int
    memory_mib: float
    journal_mib: float
    segments_mib: float
    page_kib: float
    workloads: int


def sample(began_s: float, churn: ProcessChurn, agent: AgentProcess) -> Point:
    """Measure the agent now."""
    page = agent.fetch(5.0)
    segments = agent.state / "segments"
    sizes = {
        "journal": [path.stat().st_size for path in agent.state.glob("journal.db*")],
        "segments": [path.stat().st_size for path in segments.iterdir()] if segments.is_dir() else [],
    }
    return Point(
        round((time.monotonic() - began_s) / 60, 2),
        churn.started,
        round(sum(map(anonymous_b, family(agent.pid))) / 2**20, 2),
        round(sum(sizes["journal"]) / 2**20, 3),
        round(sum(sizes["segments"]) / 2**20, 3),
        round(len(page) / 1024, 1),
        page.count(b"\nwattlens_workload_info{"),
    )


def anonymous_b(pid: int) -> int:
    """Memory of its own, bytes: unlike pages of files, it does not depend on what else runs on this machine."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Pss_Anon line")


def growth(points: Sequence[Point], name: str) -> float:
    """Median of the last third minus median of the first third."""
    values = [float(getattr(point, name)) for point in points]
    third = max(1, len(values) // 3)
    return round(statistics.median(values[-third:]) - statistics.median(values[:third]), 3)


def run(minutes: float, retention_s: int, starts_per_s: float) -> dict[str, Any]:
    """All points, and what grew after the retention."""
    every_s = max(2.0, minutes)
    with tempfile.TemporaryDirectory(prefix="wattlens-churn-") as name:
        base = Path(name)
        configuration: dict[str, Any] = {"holders": {"retention_s": retention_s}}
        if minutes < 60:
            configuration["ledger"] = {"segment_s": 900}
        (base / "agent.yaml").write_text(yaml.safe_dump(configuration))
        with SimulatedNode.start("h100-node", base / "node") as node:
            agent = AgentProcess(node.directory, base / "state", base / "agent.yaml")
            agent.start()
            churn = ProcessChurn(node, starts_per_s)
            points: list[Point] = []
            try:
                churn.start()
                began_s = time.monotonic()
                while time.monotonic() < began_s + minutes * 60:
                    time.sleep(every_s)
                    points.append(sample(began_s, churn, agent))
                    if not churn.is_alive():
                        raise RuntimeError("no more processes are started")
                    print(json.dumps(asdict(points[-1])), file=sys.stderr, flush=True)
            finally:
                churn.ended.set()
                churn.join(10.0)
                agent.stop()
        view = read_journal(base / "state/journal.db")
        faults = chain.verify([base / "state/segments"], view).faults
        totals = len(view.book.totals.energy)
    flat = [point for point in points if point.minute * 60 > retention_s + 64]
    grew = {name: growth(flat, name) for name in GROWTH_BAR}
    return {
        "starts": churn.started,
        "points": [asdict(point) for point in points],
        "grew_after_retention": grew,
        "totals_in_journal": totals,
        "ledger_faults": [fault.line for fault in faults],
        "ok": not faults and all(grew[name] <= bar for name, bar in GROWTH_BAR.items()),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the curves; 1 where something grew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--retention-s", type=int, default=600)
    parser.add_argument("--starts-per-s", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.minutes * 60 < 2 * arguments.retention_s:
        parser.error("--minutes: expected at least twice the retention")
    result = run(arguments.minutes, arguments.retention_s, arguments.starts_per_s)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{result['starts']} processes started by uid {65534 if os.geteuid() == 0 else os.geteuid()}")
        for point in result["points"][:: max(1, len(result["points"]) // 12)]:
            print("  " + ", ".join(f"{name} {value}" for name, value in point.items()))
        print(f"grew after the retention: {result['grew_after_retention']}, bars {GROWTH_BAR}")
        print(f"energy totals in the journal: {result['totals_in_journal']}; faults: {result['ledger_faults'] or 'none'}")
        print("ok" if result["ok"] else "FELL SHORT")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
