"""A real agent on a simulated node under the shipped memory limit, scraped while an attack runs, judged against the plant.

Invariants that an attack must not violate:

- memory of the agent and its children stays under the limit of the shipped DaemonSet, and nothing is killed for memory;
- the 95th percentile of scrapes is under 10 ms, and each scrape gets a response;
- each GPU's recorded energy equals the change of the driver's counter to the microjoule;
- each workload is within 2 % of the counters of the GPUs that it uses alone;
- at most 1 % is unattributed, where the attack injects no fault of its own.
"""

import os
import statistics
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.runner import Row
from benchmarks.running import AgentProcess, of_family, pss_b, simulated
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode

MEMORY_LIMIT_B = 192 << 20
SCRAPE_BAR_MS = 10.0
WORKLOAD_BAR = 0.02
UNATTRIBUTED_BAR = 0.01
SETTLE_S = 3.0
_BEFORE_NS, _AFTER_NS = 250_000_000, 20_000_000
"""A reading is stamped after the driver replied; the counter that it saw was published in this time around its stamp."""
_PAUSE_NS = 18_000_000
"""Between two looks that are closer, no tick of a counter is missed."""


@dataclass(slots=True)
class Rig:
    """Environment of an attack."""

    node: SimulatedNode  # the simulated node, eight H100s with three workloads; GPU 7 is free
    agent: AgentProcess  # the real agent, started before the attack
    folder: Path  # for the attack's own files; removed afterwards
    seconds: float  # how long the attack should last
    figures: dict[str, object] = field(default_factory=dict)  # the attack's own measurements, printed with the outcome
    violations: list[str] = field(default_factory=list)  # invariants that the attack found violated; each one fails the run
    # How far ahead of the plant's time the node's UTC has been, 0 included.
    utc_offsets_ns: list[int] = field(default_factory=lambda: [0])

    def plant_time_ns(self, utc_ns: int, near_ns: int) -> int:
        """The plant's time at which the node's UTC was `utc_ns`: the one of its offsets that lies nearest to the run."""
        return min((utc_ns - offset_ns for offset_ns in self.utc_offsets_ns), key=lambda ns: abs(ns - near_ns))

    def require(self, law: str, holds: bool) -> None:
        """Record a violation unless the law holds."""
        if not holds:
            self.violations.append(law)


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile or broken neighbour."""

    name: str  # of its function, and on the command line
    summary: str  # one line on the neighbour's behaviour
    run: Callable[[Rig], None]  # for `rig.seconds`; it starts and ends its own processes
    # The agent's configuration, given the attack's folder; called before the agent starts, so it may start servers for it.
    configuration: Callable[[Path], Mapping[str, Any]]
    injects_faults: bool  # takes readings away by design, so energy may be unattributed and scrapes may wait
    needs_root: bool  # cannot be carried out by an ordinary user


ATTACKS: dict[str, Attack] = {}


def attack(
    summary: str,
    configuration: Callable[[Path], Mapping[str, Any]] = lambda _: {},
    *,
    injects_faults: bool = False,
    needs_root: bool = False,
) -> Callable[[Callable[[Rig], None]], Callable[[Rig], None]]:
    """Enter a function into ATTACKS."""

    def enter(run: Callable[[Rig], None]) -> Callable[[Rig], None]:
        ATTACKS[run.__name__] = Attack(run.__name__, summary, run, configuration, injects_faults, needs_root)
        return run

    return enter


def measure(attack: Attack, seconds: float) -> Row:
    """Run one attack against a new agent."""
    with simulated("h100-node") as (base, node), node.plant() as plant, _limit() as limit:
        base.chmod(0o755)  # attackers are other users
        folder = base / "attack"
        folder.mkdir()
        (base / "agent.yaml").write_text(yaml.safe_dump(dict(attack.configuration(folder))))
        agent = AgentProcess(node.directory, base / "state", base / "agent.yaml", limit=limit.enter)
        counters, scraper = CounterRecorder(plant), ScrapeRecorder(agent)
        counters.start()
        time.sleep(0.5)
        agent.start()
        memory = MemoryRecorder(agent.pid)
        try:
            time.sleep(SETTLE_S)
            scraper.start()
            memory.start()
            rig = Rig(node, agent, folder, seconds)
            attack.run(rig)
            time.sleep(SETTLE_S)
        finally:
            scraper.ended.set()
            memory.ended.set()
            if agent.process is not None and agent.process.poll() is None:
                agent.stop()
            time.sleep(0.2)
            counters.ended.set()
        for thread in (scraper, memory, counters):
            thread.join()
        return _judge(attack, rig, counters, scraper, memory, limit)


class CounterRecorder(threading.Thread):
    """The driver's energy counters as published, sampled at about 100 Hz."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(daemon=True)
        self._plant = plant
        self.ended = threading.Event()
        self._times: dict[str, list[int]] = {plant.uuid(i): [] for i in range(plant.count)}
        self._values_mj: dict[str, list[tuple[int, int]]] = {uuid: [] for uuid in self._times}
        self._last_looks: dict[str, tuple[int, int]] = {}
        self._longest_pause_ns = 0  # a busy machine pauses the agent before its stamp as long as this thread

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(0.01):
            for gpu, uuid in enumerate(self._times):
                truth = self._plant.truth(gpu)
                t_ns, value = self._last_looks.get(uuid, (truth.t_ns, -1))
                self._longest_pause_ns = max(self._longest_pause_ns, truth.t_ns - t_ns)
                if value == truth.counter_mj:
                    self._last_looks[uuid] = truth.t_ns, value
                    continue
                if truth.t_ns - t_ns > _PAUSE_NS:
                    self._times[uuid].append(t_ns)
                    self._values_mj[uuid].append((min(value, truth.counter_mj), max(value, truth.counter_mj)))
                self._times[uuid].append(truth.t_ns)
                self._values_mj[uuid].append((truth.counter_mj, truth.counter_mj))
                self._last_looks[uuid] = truth.t_ns, truth.counter_mj

    def candidates_mj(self, uuid: str, stamp_ns: int) -> list[tuple[int, int]]:
        """Ranges of values that a reading with this stamp can have seen; of one value, unless this thread paused there."""
        times, values = self._times[uuid], self._values_mj[uuid]
        first = max(0, bisect_right(times, stamp_ns - max(_BEFORE_NS, 3 * self._longest_pause_ns)) - 1)
        return values[first : max(first + 1, bisect_left(times, stamp_ns + _AFTER_NS))]

    def difference_uj(self, uuid: str, start_ns: int, end_ns: int, recorded_uj: int) -> int:
        """Recorded energy minus the change of the counter between the readings at two stamps; the nearest that is possible."""
        changes = (
            ((last[0] - first[1]) * 1000, (last[1] - first[0]) * 1000)
            for first in self.candidates_mj(uuid, start_ns)
            for last in self.candidates_mj(uuid, end_ns)
        )
        return min((recorded_uj - min(max(recorded_uj, low), high) for low, high in changes), key=abs)

    def judge(self, cells: Sequence[Cell], at_ns: Callable[[int], int] = lambda ns: ns) -> tuple[int, int, dict[str, int]]:
        """Recorded energy of all GPUs, its difference from their counters, and that of each GPU; `at_ns`: UTC to plant time."""
        recorded: dict[str, int] = {}
        difference = 0
        for uuid in sorted({cell.device for cell in cells}):
            gpu_cells = [cell for cell in cells if cell.device == uuid]
            recorded[uuid] = sum(cell.energy_uj for cell in gpu_cells)
            span = min(at_ns(cell.run.start_ns) for cell in gpu_cells), max(at_ns(cell.run.end_ns) for cell in gpu_cells)
            difference += abs(self.difference_uj(uuid, *span, recorded[uuid]))
        return sum(recorded.values()), difference, recorded


class ScrapeRecorder(threading.Thread):
    """Scrapes /metrics ten times per second, each time on a new connection."""

    def __init__(self, agent: AgentProcess) -> None:
        super().__init__(daemon=True)
        self._agent = agent
        self.ended = threading.Event()
        self.took_ms: list[float] = []
        self.failed = 0

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(0.1):
            began_s = time.monotonic()
            try:
                self._agent.fetch(timeout_s=2.0)
                self.took_ms.append((time.monotonic() - began_s) * 1e3)
            except OSError:
                self.failed += 1


class MemoryRecorder(threading.Thread):
    """Peak of the memory of the agent and its children, four times per second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.ended = threading.Event()
        self.peak_b = 0.0

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(0.25):
            self.peak_b = max(self.peak_b, of_family(pss_b, self._pid))


@dataclass(slots=True)
class MemoryLimit:
    """A memory cgroup with the shipped limit; without one (not root) the peak alone is judged."""

    path: Path | None

    def enter(self) -> None:
        """Move the calling process in; children inherit it."""
        if self.path is not None:
            (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self) -> int:
        """Processes that the kernel killed for memory."""
        files = [self.path / name for name in ("memory.events", "memory.oom_control")] if self.path is not None else []
        counts = dict(line.split() for file in files if file.exists() for line in file.read_text().splitlines())
        return int(counts.get("oom_kill", 0))


@contextmanager
def _limit() -> Iterator[MemoryLimit]:
    version_1 = Path("/sys/fs/cgroup/memory")
    path = (version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")) / f"wattlens-hostile-{os.getpid()}"
    try:
        path.mkdir()
        (path / ("memory.limit_in_bytes" if version_1.is_dir() else "memory.max")).write_text(str(MEMORY_LIMIT_B))
    except OSError:
        yield MemoryLimit(None)
        return
    try:
        yield MemoryLimit(path)
    finally:
        path.rmdir()


def _judge(
    attack: Attack, rig: Rig, counters: CounterRecorder, scraper: ScrapeRecorder, memory: MemoryRecorder, limit: MemoryLimit
) -> Row:
    rows = [located.row for located in read_rows(rig.agent.state)]
    cells = [row for row in rows if isinstance(row, Cell) and row.device.startswith("GPU-")]
    users = {gpu for workload in rig.node.workloads() for gpu in workload["gpus"]}
    with rig.node.plant() as plant:
        now_ns, used = plant.now_ns(), {plant.uuid(gpu) for gpu in users}
    recorded, difference, energies = counters.judge(cells, lambda ns: rig.plant_time_ns(ns, now_ns))
    unattributed = sum(cell.energy_uj for cell in cells if cell.state.unattributed_reason)
    by_workload: dict[str, dict[str, int]] = {uuid: {} for uuid in used}
    for cell in cells:
        if cell.device in used and cell.workload:
            device_totals = by_workload[cell.device]
            device_totals[cell.workload] = device_totals.get(cell.workload, 0) + cell.energy_uj
    worst = max(
        (1 - max(by_workload[uuid].values(), default=0) / energies[uuid] for uuid in used & energies.keys()), default=0.0
    )
    p95 = statistics.quantiles(scraper.took_ms, n=20)[-1] if len(scraper.took_ms) > 1 else float("inf")
    ratio = unattributed / recorded if recorded else 1.0
    rig.require(f"memory stays under {MEMORY_LIMIT_B >> 20} MiB", memory.peak_b < MEMORY_LIMIT_B and not limit.kills())
    rig.require("recorded energy equals the change of the driver's counters", difference == 0)
    rig.require("all eight GPUs are recorded", len(energies) == 8)
    if not attack.injects_faults:
        rig.require("each scrape is answered", scraper.failed == 0)
        rig.require(f"the 95th percentile of scrapes is under {SCRAPE_BAR_MS:g} ms", p95 < SCRAPE_BAR_MS)
        rig.require(f"workloads are within {WORKLOAD_BAR:.0%} of their GPUs' counters", worst <= WORKLOAD_BAR)
        rig.require(f"at most {UNATTRIBUTED_BAR:.0%} is unattributed", ratio <= UNATTRIBUTED_BAR)
    return {
        "attack": attack.name, "summary": attack.summary, "seconds": rig.seconds, "memory_peak_mib": memory.peak_b / 2**20,
        "memory_kills": limit.kills(), "scrapes": len(scraper.took_ms), "failed_scrapes": scraper.failed, "scrape_p95_ms": p95,
        "scrape_worst_ms": max(scraper.took_ms, default=float("inf")), "recorded_uj": recorded,
        "counter_difference_uj": difference, "workload_error": worst, "unattributed": ratio, **rig.figures,
        "broken": rig.violations, "ok": not rig.violations,
    }  # fmt: skip
