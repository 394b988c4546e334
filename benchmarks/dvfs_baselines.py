"""Baselines `aimd` and `bisect` compared with `slo` and `progress`, on the same jobs, arrivals and engines.

Serving: every policy is driven over the protocol of `wattlens dvfs policy NAME --stdio`. *vllm-shaped* is an engine that
shares no code with the policies or with dvfs/replay (serving_plant.py); *replay* is the engine of `wattlens dvfs replay`.
Attainment is counted per request by the load generator. *best fixed* is the clock of least energy whose attainments are not
below the target where the highest clock reaches it, else at most 0.1 points below those of the highest clock; it is chosen with
the whole run known. *lost* is the larger of both shortfalls against the same bar, without the 0.1 points; a cell is *short*
above 0.1 points. A cell has *room* where the best fixed clock saves more than 0.5 %; the share of its saving is summed over
these cells alone.

Training: Zeus's measured tables (benchmarks/data/zeus), raw, 3,000 steps, 2 % noise. *of mixing* compares with the best two
settings in turns.

Traces: Azure LLM inference 2023, conversation (CC-BY-4.0) and Mooncake, conversation (Apache-2.0), from --data.
"""

import json
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import dvfs.policies as package
from benchmarks import serving_plant
from benchmarks.dvfs_traces import DATA, TRACES
from benchmarks.runner import Row, say
from dvfs import knees
from dvfs.policies.bisect import TRIALS as BISECT
from dvfs.policies.progress import SPEC as PROGRESS
from dvfs.replay.rivals import ZEUS
from dvfs.replay.serving import boards, models, replay, trace
from dvfs.replay.serving.fleet import FleetOutcome, RequestLimits, fixed
from dvfs.replay.serving.server import BOUNDNESS, server
from dvfs.replay.serving.steered import NS, START_NS, ReplicaPolicy, SteeredFleet
from dvfs.replay.stdio.lines import JsonLines
from dvfs.replay.stdio.serving import replies
from dvfs.replay.table_files import load
from dvfs.replay.training import Score, Weather, play, summary
from dvfs.tables import SettingTable
from dvfs.types import Observation, Trials
from energy_agent.core import plugin
from energy_agent.core.errors import UsageError
from energy_agent.core.workloads.tokens import Latencies

POLICIES = ("slo", "aimd", "bisect")
TARGET, MARGIN = 0.99, 0.001
FIRST = 6000
"""Requests of a trace that are skipped: the policies were written with the first 1,500 of the Azure trace in view."""
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JudgingCell:
    """One judging cell on the vllm-shaped engine. `rate` is a factor on the trace's own rate."""

    engine: str
    trace: str
    rate: float
    ttft_ms: float
    itl_ms: float


CELLS = (
    JudgingCell("8b", "azure", 0.1, 500, 50),
    JudgingCell("8b", "azure", 0.4, 500, 50),
    JudgingCell("8b", "azure", 0.8, 500, 50),
    JudgingCell("8b", "azure", 1.2, 500, 50),
    JudgingCell("8b", "azure", 1.6, 500, 50),
    JudgingCell("8b", "azure", 2.0, 500, 50),
    JudgingCell("8b", "azure", 0.4, 250, 25),
    JudgingCell("8b", "azure", 0.8, 1000, 25),
    JudgingCell("32b", "azure", 0.05, 1000, 50),
    JudgingCell("32b", "azure", 0.1, 1000, 75),
    JudgingCell("32b", "azure", 0.2, 2500, 100),
    JudgingCell("8b", "conversation", 0.1, 10_000, 100),
    JudgingCell("8b", "conversation", 0.3, 5000, 75),
)


@dataclass(frozen=True, slots=True)
class Served:
    """Energy in J and both attainments of one run."""

    energy_j: float
    ttft: float
    itl: float
    mean_mhz: float | None = None

    def lost(self, top: "Served") -> float:
        """Points of attainment below the target, or below the highest clock's where that misses the target."""
        return 100 * max(0.0, min(TARGET, top.ttft) - self.ttft, min(TARGET, top.itl) - self.itl)


class ProtocolPolicy:
    """A policy behind the protocol: one line in, one clock out."""

    def __init__(self, name: str, settings: Sequence[int], ttft_ms: float, itl_ms: float, gpus: int = 1) -> None:
        slo = {"ttft_ms": ttft_ms, "itl_ms": itl_ms, "attainment": TARGET}
        start = {"settings": list(settings), "slo": slo, "period_s": 1.0, "gpus": gpus}
        self._lines = deque([json.dumps(start)])
        self._replies = replies(plugin.load(package, name), JsonLines(iter(self._lines.popleft, None)))

    def choose(self, line: Line) -> int:
        """The clock for the next period in MHz."""
        self._lines.append(json.dumps(line))
        return int(json.loads(next(self._replies))["setting"])


def compare(cell: Row, top: Served, fixed_clocks: dict[int, Served], steered: dict[str, Served]) -> Iterator[Row]:
    """The rows of a cell: highest clock, best fixed clock, and each policy."""
    good = {mhz: run for mhz, run in fixed_clocks.items() if run.lost(top) <= 100 * MARGIN + 1e-9 or run is top}
    if top.ttft >= TARGET and top.itl >= TARGET:
        good = {mhz: run for mhz, run in good.items() if run.lost(top) == 0.0}
    best_mhz = min(good, key=lambda mhz: good[mhz].energy_j)
    best_j = top.energy_j - good[best_mhz].energy_j
    for name, run in {"highest clock": top, "best fixed": good[best_mhz], **steered}.items():
        saved_j = top.energy_j - run.energy_j
        yield cell | {
            "policy": name,
            "saving_percent": 100 * saved_j / top.energy_j,
            "of_best_percent": 100 * saved_j / best_j if best_j > 0.005 * top.energy_j else None,
            "ttft_percent": 100 * run.ttft,
            "itl_percent": 100 * run.itl,
            "lost_points": run.lost(top),
            "mean_mhz": best_mhz if name == "best fixed" else run.mean_mhz,
            "_saved_j": saved_j / top.energy_j,
        }


def play_cell(job: tuple[JudgingCell, Path, int]) -> list[Row]:
    """One cell on the vllm-shaped engine."""
    cell, data, count = job
    requests = trace.read(data / TRACES[cell.trace])
    last = len(requests)
    start = min(FIRST, last - count) if last > count else 0
    rows = list(zip(requests.arrive_s, requests.prompt, requests.output, strict=True))[start : start + count]
    arrivals = [((at - rows[0][0]) / cell.rate, prompt, output) for at, prompt, output in rows]
    engine, limits = serving_plant.ENGINES[cell.engine], (cell.ttft_ms / 1e3, cell.itl_ms / 1e3)

    def run(choose: Callable[[Line], int] | None, mhz: int = serving_plant.F_MAX_MHZ) -> Served:
        outcome = serving_plant.serve(engine, arrivals, limits, choose, mhz)
        return Served(outcome.energy_j, *outcome.attainment, outcome.mean_mhz)

    clocks = {mhz: run(None, mhz) for mhz in serving_plant.SETTINGS}
    steered = {name: run(ProtocolPolicy(name, serving_plant.SETTINGS, cell.ttft_ms, cell.itl_ms).choose) for name in POLICIES}
    label = {"engine": f"vllm-shaped {cell.engine}", "trace": cell.trace, "rate": cell.rate}
    label |= {"slo_ms": f"{cell.ttft_ms:g}/{cell.itl_ms:g}"}
    return list(compare(label, clocks[serving_plant.F_MAX_MHZ], clocks, steered))


def protocol_steer(name: str, grid: Sequence[int], slo: RequestLimits, gpus: int) -> Callable[[], ReplicaPolicy]:
    """A policy over the protocol in the place of one that runs in the agent."""

    def make() -> ReplicaPolicy:
        policy = ProtocolPolicy(name, grid, 1e3 * slo.ttft_s, 1e3 * slo.itl_s, gpus)

        def steer(observation: Observation, _busy_ratio: float) -> int | None:
            mhz = policy.choose(line_of(observation, grid[-1]))
            return None if mhz == grid[-1] else mhz

        return steer

    return make


def line_of(observation: Observation, top_mhz: int) -> Line:
    """An observation of the replay's engine as a line of the protocol."""
    progress, locks = observation.progress, observation.in_force.values()
    assert progress is not None
    assert progress.ttft is not None
    assert progress.itl is not None
    return {
        "t_s": (observation.boot_ns - START_NS) / NS,
        "energy_j": sum(device.energy_uj or 0 for device in observation.devices) / 1e6,
        "setting": next((lock.sm_clock_max_mhz for lock in locks), None) or top_mhz,
        "tokens": {"prompt": progress.prompt_tokens, "generation": progress.tokens},
        "requests": progress.requests,
        "running": progress.running,
        "waiting": progress.queue,
        "ttft": _histogram(progress.ttft),
        "itl": _histogram(progress.itl),
    }


def _histogram(latencies: Latencies) -> Line:
    return serving_plant.histogram(latencies.edges, latencies.counts, latencies.sum_s)


def play_replay(job: tuple[str, float, Path, float]) -> list[Row]:
    """One cell on the engine of `wattlens dvfs replay`: Llama 3.1 8B on H100 SXM."""
    word, rate, data, seconds = job
    gpu, slo = boards.find("h100-sxm"), RequestLimits(ttft_s=0.5, itl_s=0.05, attainment_ratio=TARGET)
    replica = server(gpu, models.find("llama-8b"), boundness=BOUNDNESS[word])
    requests = trace.read(data / TRACES["azure"]).cut(1200.0, seconds * rate).faster(rate)
    # Two replicas, whatever they attain: the cells go from light load to saturation.
    case = replay.ReplayCase(replica, slo, requests, replay.knee_of(gpu, knees.load())[0], replicas=2)
    made = replay.ready(case)
    grid = [rates.lock_mhz for rates in made.grid]
    clocks = {rates.lock_mhz: _served(fixed(replica, made.dealt, rates)) for rates in made.grid}
    steered = {}
    for name in POLICIES:
        fleet = SteeredFleet(replica, slo, case.seed)
        steered[name] = _served(fleet.run(made.dealt, protocol_steer(name, grid, slo, replica.gpus)).outcome)
    label = {"engine": f"replay {word}", "trace": "azure", "rate": rate, "slo_ms": "500/50"}
    return list(compare(label, clocks[grid[-1]], clocks, steered))


def _served(outcome: FleetOutcome) -> Served:
    n = outcome.requests
    return Served(outcome.energy_j, 1 - outcome.late_first / n, 1 - outcome.late_next / n)


def mixing_saving(table: SettingTable, slowdown: float) -> float:
    """What the best two settings in turns save within the budget: shares of work that just use it up."""
    top = table.default
    points = [(row.time_s / top.time_s - 1.0, row.time_s * row.power_w / (top.time_s * top.power_w)) for row in table.rows]
    least = min(energy for slow, energy in points if slow <= slowdown * (1 + 1e-9))
    for (slow_a, energy_a), (slow_b, energy_b) in product(points, points):
        if slow_a <= slowdown < slow_b:
            share = (slowdown - slow_a) / (slow_b - slow_a)
            least = min(least, energy_a + share * (energy_b - energy_a))
    return 1.0 - least


RULES: dict[str, Trials] = {"progress": PROGRESS.trials or BISECT, "bisect": BISECT, "zeus": ZEUS}


def _play_table(job: tuple[str, SettingTable, float, int]) -> Score:
    rule, table, budget, seed = job
    return play(RULES[rule], table, budget, 3000, zlib.crc32(f"{table.name}/{seed}".encode()), Weather())


def training(pool: ProcessPoolExecutor, seeds: int) -> Iterator[Row]:
    """Every table under each rule."""
    folder = Path(__file__).parent / "data" / "zeus"
    for gpu, budget in product(("v100", "a40", "p100"), (0.05, 0.10)):
        tables = load(folder / f"summary_power_{gpu}.csv")
        mixing = math.fsum(mixing_saving(table, budget) for table in tables) / len(tables)
        for rule in RULES:
            jobs = [(rule, table, budget, seed) for table in tables for seed in range(seeds)]
            scores = list(pool.map(_play_table, jobs, chunksize=16))
            total = asdict(summary(scores, budget))
            yield {
                "tables": gpu,
                "budget_percent": 100 * budget,
                "rule": rule,
                "runs": total["runs"],
                "saving_percent": 100 * total["saving_ratio"],
                "of_best_percent": 100 * total["of_oracle_ratio"],
                "of_mixing_percent": 100 * total["saving_ratio"] / mixing,
                "over_percent": 100 * total["whole_over_ratio"],
                "worst_over_points": 100 * max(0.0, *(score.slowdown_ratio - budget for score in scores)),
            }


def _totals(rows: Sequence[Row]) -> Iterator[Row]:
    for kind in ("vllm-shaped", "replay"):
        cells = [row for row in rows if row["engine"].startswith(kind)]
        room = [row for row in cells if row["policy"] == "best fixed" and row["of_best_percent"] is not None]
        best = math.fsum(row["_saved_j"] for row in room)
        for name in POLICIES:
            own = [row for row in cells if row["policy"] == name]
            if own:
                saved = math.fsum(row["_saved_j"] for row in own)
                of_best = math.fsum(row["_saved_j"] for row in own if row["of_best_percent"] is not None)
                yield {
                    "engines": kind,
                    "policy": name,
                    "cells": len(own),
                    "mean_saving_percent": 100 * saved / len(own),
                    "cells_with_room": len(room),
                    "of_best_percent": 100 * of_best / best if best > 0 else None,
                    "cells_short": sum(row["lost_points"] > 100 * MARGIN for row in own),
                    "mean_lost_points": math.fsum(row["lost_points"] for row in own) / len(own),
                    "worst_lost_points": max(row["lost_points"] for row in own),
                }


def run(
    data: Path = DATA,
    part: tuple[str, ...] = ("vllm", "replay", "training"),
    requests: int = 5000,
    seconds: float = 900.0,
    seeds: int = 2,
    jobs: int = 2,
) -> Iterator[Row]:
    """`requests` per vllm-shaped cell, `seconds` per replay cell, `seeds` runs per training table."""
    for name in ("azure", "conversation"):
        if {"vllm", "replay"} & set(part) and not (data / TRACES[name]).is_file():
            raise UsageError(
                f"{data / TRACES[name]}: no such trace; get it from Azure/AzurePublicDataset (CC-BY-4.0) or "
                "kvcache-ai/Mooncake (Apache-2.0), and name its folder with --data"
            )
    rows: list[Row] = []
    with ProcessPoolExecutor(jobs) as pool:
        if "vllm" in part:
            for cell_rows in pool.map(play_cell, [(cell, data, requests) for cell in CELLS]):
                rows += cell_rows
                say(f"{len(rows) // (2 + len(POLICIES))} cells done")
        if "replay" in part:
            cells = [(word, rate, data, seconds) for word in BOUNDNESS for rate in (0.25, 0.6, 1.0)]
            for cell_rows in pool.map(play_replay, cells):
                rows += cell_rows
                say(f"{len(rows) // (2 + len(POLICIES))} cells done")
        yield from ({name: value for name, value in row.items() if name != "_saved_j"} for row in rows)
        yield from _totals(rows)
        if "training" in part:
            yield from training(pool, seeds)
