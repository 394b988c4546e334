"""Exactness under random SIGKILLs of agent and reader, counter resets and a lost GPU, compared with the simulator's truth.

Run from the repository's root: python -m benchmarks exactness [--seconds 600] [--kills 50] [--seed N]

Truth is the simulator's: the published energy of each counter (`sensed`), the energy it never publishes (`unseen`) and the true
energy of the GPU, all sampled during the run and interpolated at the first and the last reading in the ledger. Requirements:

- the ledger's total is within 0.1 % of what the counters should have reported;
- the stated interval of every device and of the total holds the energy really drawn;
- conservation is ==, the chain verifies, and no counter of /metrics ever falls;
- no device is recorded with more than its counter had, and none lacks more than the ledger itself declares: its gaps and the
  uncertainty of energy integrated over a reset. Readings match their time stamps to 0.3 s; this bound depends neither on the
  length of the run nor on the speed of the machine.
"""

import os
import random
import signal
import threading
import time
from bisect import bisect_right
from dataclasses import dataclass

from benchmarks.runner import Row
from benchmarks.running import AgentProcess, children, running_agent, simulated
from energy_agent.core.energy import Method
from energy_agent.core.units import joules
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.owners.cgroup import membership
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually
from wattlens.summary import LedgerSummary, summarise

SCENARIO = {
    "boards": [
        {"count": 4, "sku": "H100-SXM5-80GB", "counter_model": "full"},
        {"count": 2, "sku": "H100-SXM5-80GB", "counter_model": "sampled"},
        {"count": 1, "sku": "A100-SXM4-80GB", "counter_model": "sampled"},
        {"count": 1, "sku": "V100-SXM2-16GB"},
    ],
    "workloads": [
        {"name": "train", "kind": "training", "gpus": [0, 1], "step_s": 0.5, "checkpoint_every_s": 30, "checkpoint_s": 2.0},
        {"name": "chat", "kind": "serving", "gpus": [2], "cgroup": "docker", "model": "Qwen/Qwen3-32B", "rate_per_s": 3.0},
        {"name": "fast", "kind": "burst", "gpus": [3], "on_s": 0.3, "off_s": 0.2, "jitter": 0.5},
        {"name": "mid", "kind": "burst", "gpus": [4], "cgroup": "kubepods", "on_s": 1.1, "off_s": 0.7, "jitter": 0.5},
        {"name": "slow", "kind": "burst", "gpus": [5], "on_s": 6.0, "off_s": 4.0, "jitter": 0.5},
        {"name": "note", "kind": "notebook", "gpus": [6]},
    ],
}
LOST_GPU, RESET_GPUS = 4, (0, 2, 7)
SINCE_START = "wattlens_serving_"
"""Estimates, which count from the agent's start: the only such joules and tokens that are not the journal's."""
SLIP_NS = 300_000_000
"""How much older than its stamp a reading of the counter may be: the two ticks that the meter's own edges allow."""


@dataclass(frozen=True, slots=True)
class GpuTruth:
    """The truth of one GPU at an instant, uJ."""

    t_ns: int
    true_uj: int
    sensed_uj: int
    unseen_uj: int


class TruthRecorder(threading.Thread):
    """Samples the plant at about 50 Hz."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(daemon=True)
        self._plant = plant
        self.ended = threading.Event()
        self.points: dict[str, list[GpuTruth]] = {plant.uuid(i): [] for i in range(plant.count)}

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(0.02):
            for gpu, points in enumerate(self.points.values()):
                t = self._plant.truth(gpu)
                points.append(GpuTruth(t.t_ns, t.true_uj, t.sensed_uj, t.unseen_uj))

    def published(self, uuid: str, span: tuple[int, int]) -> tuple[int, int]:
        """Upper and lower bound of the counter's increase between the readings at the ends of `span`, uJ.

        The samples around an instant are far apart where this thread had to wait, so neither is taken for the instant. A
        reading is stamped after the counter's response: its value is as old as its stamp, or older by SLIP_NS at most.
        """
        first, last = ((self.around(uuid, t - SLIP_NS)[0].sensed_uj, self.around(uuid, t)[1].sensed_uj) for t in span)
        return last[1] - first[0], last[0] - first[1]

    def around(self, uuid: str, t_ns: int) -> tuple[GpuTruth, GpuTruth]:
        """The two samples around an instant."""
        points = self.points[uuid]
        i = min(max(bisect_right(points, t_ns, key=lambda p: p.t_ns), 1), len(points) - 1)
        return points[i - 1], points[i]

    def at(self, uuid: str, t_ns: int) -> GpuTruth:
        """Interpolated between the two samples around an instant."""
        a, b = self.around(uuid, t_ns)
        x = min(1.0, max(0.0, (t_ns - a.t_ns) / max(1, b.t_ns - a.t_ns)))
        mix = [
            round(u + x * (v - u)) for u, v in ((a.true_uj, b.true_uj), (a.sensed_uj, b.sensed_uj), (a.unseen_uj, b.unseen_uj))
        ]
        return GpuTruth(t_ns, *mix)


class CounterMonitor(threading.Thread):
    """Reads /metrics four times per second through every restart and records decreasing counters."""

    def __init__(self, agent: AgentProcess) -> None:
        super().__init__(daemon=True)
        self.agent = agent
        self.ended = threading.Event()
        self.fallen: list[str] = []
        self.scrapes = 0
        self._highest: dict[object, float] = {}

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(0.25):
            try:
                page = self.agent.page()
            except (OSError, ValueError):
                continue  # between a kill and the restart
            self.scrapes += 1
            for key, value in page.items():
                if key[0].endswith(("_joules_total", "tokens_total")) and not key[0].startswith(SINCE_START):
                    if value < self._highest.get(key, value):
                        self.fallen.append(f"{key}: {self._highest[key]} -> {value}")
                    self._highest[key] = value


def run(seconds: float = 600.0, kills: int = 50, seed: int = 1) -> Row:
    """One run in a temporary folder."""
    nodes = {"description": "exactness", "seed": seed} | SCENARIO
    with simulated(nodes) as (base, node), node.plant() as plant:
        truth = TruthRecorder(plant)
        truth.start()
        time.sleep(0.2)
        with running_agent(node, base / "state", _config(node)) as agent:
            scraper = CounterMonitor(agent)
            scraper.start()
            time.sleep(2.0)
            began, done = time.monotonic(), {"agent": 0, "reader": 0, "reset": 0}
            for at_s, what in _timeline(seconds, kills, random.Random(seed)):
                time.sleep(max(0.0, began + at_s - time.monotonic()))
                _strike(what, agent, node, done)
            time.sleep(max(0.0, began + seconds - time.monotonic()))
        for thread in (scraper, truth):
            thread.ended.set()
            thread.join()
        return _judge(agent, truth, done, scraper)


def _config(node: SimulatedNode) -> Row:
    chat = node.workload("chat")
    member = membership(f"0::{chat['cgroup']}")
    assert member is not None
    return {
        "node": {"name": "exact"},
        "holders": {"period_s": 2},
        "ledger": {"segment_s": 900},
        "tokens": [{"workload": member.name, "url": chat["metrics_url"]}],
    }


def _timeline(seconds: float, kills: int, rng: random.Random) -> list[tuple[float, str]]:
    """When what happens: kills at random, resets in the middle, one GPU lost for a tenth of the time."""
    events = [(rng.uniform(0.02, 0.95) * seconds, rng.choice(("agent", "reader"))) for _ in range(kills)]
    events += [(rng.uniform(0.2, 0.9) * seconds, f"reset:{gpu}") for gpu in RESET_GPUS]
    lost_s = rng.uniform(0.2, 0.6) * seconds
    events += [(lost_s, "lost"), (lost_s + max(3.0, 0.1 * seconds), "found")]
    return sorted(events)


def _readers(agent: AgentProcess) -> list[int]:
    """The agent's reader. An agent that lost its first one ends, and is started again as a service manager does."""
    if agent.process.poll() is not None:
        agent.start()
    return children(agent.pid)


def _strike(what: str, agent: AgentProcess, node: SimulatedNode, done: dict[str, int]) -> None:
    if what == "agent":
        agent.kill()
        done["agent"] += 1
        agent.start()
    elif what == "reader":
        os.kill(eventually(lambda: _readers(agent))[0], signal.SIGKILL)  # a starting agent does not have one yet
        done["reader"] += 1
    elif what == "lost":
        node.fault(LOST_GPU, "lost")
    elif what == "found":
        node.clear(LOST_GPU, "lost")
        done["reset"] += 1
    else:
        node.fault(int(what.partition(":")[2]), "counter_reset")
        done["reset"] += 1


def _judge(agent: AgentProcess, truth: TruthRecorder, done: dict[str, int], scraper: CounterMonitor) -> Row:
    """Errors are relative to what the counters should have reported.

    `lacking_j` is energy that counters certainly had and the ledger lacks, `declared_j` the amount that the ledger declares as
    possibly missing. `overbooked` counts devices whose counter had less than the ledger recorded, `underbooked` those that lack
    more than is declared.
    """
    summary: LedgerSummary = summarise(agent.state)
    rows = [located.row for located in read_rows(agent.state)]
    worst, sensor, true, within_bounds, over, under, missing_uj, declared, unseen = 0.0, 0, 0, 0, 0, 0, 0, 0, 0
    for device, bounds in summary.gpus.devices:
        runs = [r.run for r in rows if isinstance(r, Cell) and r.device == device]
        span = min(run_.start_ns for run_ in runs), max(run_.end_ns for run_ in runs)
        start, end = (truth.at(device, t) for t in span)
        sensed, drawn = end.sensed_uj - start.sensed_uj, end.true_uj - start.true_uj
        sensor, true, unseen = sensor + sensed, true + drawn, unseen + end.unseen_uj - start.unseen_uj
        worst = max(worst, abs(bounds.energy_uj - sensed) / sensed)
        within_bounds += bounds.low_uj <= drawn <= bounds.high_uj
        most, least = truth.published(device, span)
        # Only integrated energy can differ from the counter; a hole in a span without a gap row is not declared.
        doubt = sum(r.run.bound_uj for r in rows if isinstance(r, Cell) and (r.device, r.method) == (device, Method.INTEGRATED))
        missing_uj, declared = missing_uj + max(0, least - bounds.energy_uj), declared + bounds.gap_bound_uj + doubt
        over += bounds.energy_uj > most + doubt
        under += bounds.energy_uj < least - bounds.gap_bound_uj - doubt
    total = summary.total
    error, total_held = (total.energy_uj - sensor) / sensor, total.low_uj <= true <= total.high_uj
    faults, fell = len(summary.chain_faults), len(scraper.fallen)
    return {
        "agent_kills": done["agent"], "reader_kills": done["reader"], "resets": done["reset"], "scrapes": scraper.scrapes,
        "ledger_j": joules(total.energy_uj), "sensor_j": joules(sensor), "error_total": error, "error_worst_device": worst,
        "low_j": joules(total.low_uj), "true_j": joules(true), "high_j": joules(total.high_uj), "total_held": total_held,
        "devices_held": within_bounds, "devices": len(summary.gpus.devices), "overbooked": over, "underbooked": under,
        "lacking_j": joules(missing_uj), "declared_j": joules(declared), "gap_bound_j": joules(total.gap_bound_uj),
        "unseen_j": joules(unseen), "conserved": summary.conserved, "chain_faults": faults, "fell": fell,
        "ok": abs(error) <= 0.001 and total_held and within_bounds == len(summary.gpus.devices) and summary.conserved
        and not (faults or fell or over or under),
    }  # fmt: skip
