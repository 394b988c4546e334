"""Serving policies judged on engines, GPUs and loads drawn at random, which no policy was written for.

A seed draws two GPUs and any number of cells: engine, trace and its start, load from 5 to 110 % of what the engine can serve,
one or several replicas behind a router or separate pools for prefill and decode, limits, attainment target and decision period
(dvfs/replay/serving/drawn.py and plant.py). Every policy is driven over the lines of `wattlens dvfs policy NAME --stdio`;
arrivals are the same for all. The load generator counts attainment per request, for both limits.

*best fixed* is the constant clock of least energy whose attainments are not below the target where the highest clock reaches
it, else at most 0.1 points below those of the highest clock; it is chosen with the whole run known. *lost* are points of the
worse attainment below the target, or below the highest clock's where that misses the target. A cell is *short* where a policy
does not keep the same bar. *of best* is the sum of savings over the sum of the best fixed clock's. *over NAME* is the mean
difference of saving to a baseline in points, with 95 % bounds over cells (Student t).

With --log FILE, each run's start and each policy's totals are appended to FILE as JSON lines with the seed and a hash of the
policy's source. A seed that was judged with another source of the policy is refused: a policy that changed needs cells that it
has not seen.

Part *changes*: see dvfs_judge_changes.py.

Traces: Azure LLM inference 2023, conversation and, if present, code (CC-BY-4.0), and Mooncake, conversation (Apache-2.0), from
--data. A trace shorter than the cell is repeated.
"""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random, SystemRandom
from statistics import mean

import dvfs.policies as package
from benchmarks import dvfs_judge_changes, dvfs_judge_log
from benchmarks.dvfs_judge_changes import Map
from benchmarks.dvfs_traces import DATA
from benchmarks.paired import paired_difference
from benchmarks.runner import Row, say
from dvfs.replay.serving import trace
from dvfs.replay.serving.drawn import EDGES, random_engine, random_gpu
from dvfs.replay.serving.plant import (
    ROUTERS,
    Arrival,
    EngineChange,
    RatesCache,
    ServingSite,
    SiteOutcome,
    capacity,
    serve,
)
from dvfs.replay.serving.verdict import SloTarget, best_fixed, is_short, lost_points, under_policy
from energy_agent.core import plugin
from energy_agent.core.errors import UsageError

POLICIES = ("slo", "aimd", "bisect")
BASELINES = ("aimd", "bisect")
TRACES = {
    "azure": Path("azure-llm-2023/AzureLLMInferenceTrace_conv.csv"),
    "code": Path("azure-llm-2023/AzureLLMInferenceTrace_code.csv"),
    "mooncake": Path("mooncake/conversation_trace_slim.csv"),
}
NEEDED = ("azure", "mooncake")
_CALIBRATION = 600
"""Requests by which the capacity of a server is measured."""
_FEWEST = 1000


@dataclass(frozen=True, slots=True)
class DrawnCell:
    """A cell before its limits are known, which depend on what the highest clock reaches.

    Args:
        work: trace and load in words.
        site: servers and routers.
        arrivals: requests.
        random: draws the limits.
    """

    work: str
    site: ServingSite
    arrivals: Sequence[Arrival]
    random: Random


def draw_cell(seed: int, number: int, data: Path, requests: int, decisions: int) -> DrawnCell:
    """Draw a cell of `requests` requests, or as many as fit the decisions, but at least `_FEWEST`."""
    random = Random(f"cell {seed} {number}")
    gpu = random_gpu(f"{seed} {number % 2}")
    spec = random_engine(f"{seed} {number}", gpu)
    names = [name for name in TRACES if (data / TRACES[name]).is_file()]
    name = names[number // 2 % len(names)]
    rows = _repeated(trace.read(data / TRACES[name]), requests, random.random())
    shape = random.random()
    site = ServingSite(
        spec,
        prefill=1 if shape < 0.25 else 0,
        decode=1 if shape < 0.65 else random.randint(2, 3),
        router=random.choice(ROUTERS),
        period_s=random.choice((0.2, 0.5, 1.0, 2.0, 5.0)),
        transfer_s=random.uniform(0.005, 0.05),
        seed=f"{seed} {number}",
    )
    rate_s, site = _sized(site, rows)
    load = random.uniform(0.05, 1.10)
    replicas = site.prefill + site.decode
    rows = rows[: max(_FEWEST, round(decisions * site.period_s / replicas * rate_s * load))]
    seconds = len(rows) / (rate_s * load)
    scale = seconds / max(1e-9, rows[-1][0])
    arrivals = [(at * scale, prompt, output) for at, prompt, output in rows]
    changes: tuple[EngineChange, ...] = ()
    if random.random() < 0.2:
        depths = [depth for depth in range(5) if depth != spec.draft_tokens]
        changes = (EngineChange(random.uniform(0.3, 0.7) * seconds, spec.speculate(random.choice(depths))),)
    drafts = f"{spec.draft_tokens}" + "".join(f" to {change.spec.draft_tokens}" for change in changes)
    pools = f"{site.prefill}+{site.decode} pools" if site.prefill else f"{site.decode} replicas"
    work = f"{name} {100 * load:.0f} %, {pools}, {site.router}, drafts {drafts}, {site.period_s:g} s"
    return DrawnCell(work, replace(site, changes=changes), arrivals, random)


def _repeated(whole: trace.Trace, requests: int, share: float) -> list[Arrival]:
    """`requests` rows from a share of the trace on; after its end it begins again."""
    rows = list(zip(whole.arrive_s, whole.prompt, whole.output, strict=True))
    span = rows[-1][0] * (1 + 1 / len(rows))
    start = int(share * len(rows))
    endless = ((turn * span + at, prompt, output) for turn in range(requests) for at, prompt, output in rows)
    cut = list(islice(endless, start, start + requests))
    return [(at - cut[0][0], prompt, output) for at, prompt, output in cut]


def _sized(site: ServingSite, rows: Sequence[Arrival]) -> tuple[float, ServingSite]:
    """Requests per second that the site serves at most, and the site with pools that match each other."""
    first, then = capacity(site, rows[:_CALIBRATION])
    if not site.prefill:
        return site.decode * first, site
    site = replace(site, prefill=max(1, min(3, round(then / first))), decode=max(1, min(3, round(first / then))))
    return min(site.prefill * first, site.decode * then), site


def draw_limits(cell: DrawnCell, top: SiteOutcome) -> SloTarget:
    """Draw limits: TTFT from 0.2 to 5 s, the time between tokens so that the highest clock usually keeps it.

    In half of the cells both limits are raised to the next bucket edge of the engine's histograms.
    """
    random = cell.random
    attainment = random.choice((0.95, 0.99))
    ttft_s = math.exp(random.uniform(math.log(0.2), math.log(5.0)))
    reached_s = _quantile(top.ttft_s, attainment)
    if reached_s > ttft_s and random.random() < 0.75:  # few users keep a limit that their server cannot meet
        ttft_s = min(20.0, reached_s * random.uniform(1.05, 2.0))
    itl_s = _quantile(top.itl_s, attainment) * random.uniform(0.97, 2.2)
    if random.random() < 0.5:  # as of a user who looks at the histograms before choosing limits
        ttft_edges, itl_edges, _ = EDGES[cell.site.spec.edges]
        return SloTarget(_edge(ttft_edges, ttft_s), _edge(itl_edges, itl_s), attainment)
    return SloTarget(math.ceil(100 * ttft_s) / 100, math.ceil(2000 * itl_s) / 2000, attainment)


def _edge(edges: Sequence[float], limit_s: float) -> float:
    """The lowest bucket edge that is not below; the limit itself where none is."""
    return next((edge for edge in edges if edge >= limit_s), limit_s)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)))]


def play_cell(job: tuple[int, int, Path, int, int, tuple[str, ...]]) -> list[Row]:
    """Every clock and policy on one cell."""
    seed, number, data, requests, decisions, policies = job
    cell = draw_cell(seed, number, data, requests, decisions)
    site, cache, spec = cell.site, RatesCache(), cell.site.spec
    spent_s = time.process_time()
    top = serve(site, cell.arrivals, spec.gpu.settings[-1], cache)
    spent_s = time.process_time() - spent_s
    limits = draw_limits(cell, top)
    target, best_attained = limits.attainment_ratio, limits.attained(top)
    _, best = best_fixed(site, cell.arrivals, limits, top, cache)
    label = {
        "cell": number,
        "work": cell.work,
        "requests": len(cell.arrivals),
        "slo": f"{1e3 * limits.ttft_s:.0f}/{1e3 * limits.itl_s:.1f} ms {100 * target:g} %",
    }
    rows = []
    runs: dict[str, SiteOutcome] = {"highest clock": top, "best fixed": best}
    for name in policies:
        runs[name] = serve(site, cell.arrivals, under_policy(plugin.load(package, name), spec, limits, site.period_s), cache)
    for name, run in runs.items():
        own = limits.attained(run)
        saved, possible = 1 - run.energy_j / top.energy_j, 1 - best.energy_j / top.energy_j
        rows.append(
            label
            | {
                "policy": name,
                "saving_percent": 100 * saved,
                "of_best_percent": 100 * saved / possible if possible > 0.005 else None,
                "ttft_percent": 100 * own[0],
                "itl_percent": 100 * own[1],
                "lost_points": lost_points(own, best_attained, target),
                "short": is_short(own, best_attained, target),
                "mean_mhz": run.mean_mhz,
                "_cpu_s": spent_s,
                "_requests": len(cell.arrivals),
            }
        )
    return rows


def totals(rows: Sequence[Row], policies: Sequence[str]) -> Iterator[Row]:
    """What the cells come to, per policy."""
    by_policy = {name: [row for row in rows if row["policy"] == name] for name in ("best fixed", *policies)}
    possible = math.fsum(row["saving_percent"] for row in by_policy["best fixed"])
    for name in policies:
        own = by_policy[name]
        saved = math.fsum(row["saving_percent"] for row in own)
        total: Row = {
            "policy": name,
            "cells": len(own),
            "mean_saving_percent": saved / len(own),
            "of_best_percent": 100 * saved / possible if possible > 0 else None,
            "cells_short": sum(row["short"] for row in own),
            "mean_lost_points": mean(row["lost_points"] for row in own),
            "worst_lost_points": max(row["lost_points"] for row in own),
        }
        for baseline in BASELINES:
            pairs = list(zip(own, by_policy.get(baseline, ()), strict=False))
            total[f"over_{baseline}"] = paired_difference([a["saving_percent"] - b["saving_percent"] for a, b in pairs])
        yield total


def run(
    data: Path = DATA,
    part: tuple[str, ...] = ("cells", "changes"),
    cells: int = 30,
    requests: int = 5000,
    decisions: int = 20_000,
    seed: int | None = None,
    policy: tuple[str, ...] = POLICIES,
    log: Path | None = None,
    jobs: int = 1,
) -> Iterator[Row]:
    """`cells` cells of `requests` each, and the change points; a seed is drawn unless given.

    Under light load and with a short period a policy decides many times per request. Such a cell has fewer requests: as many as
    take `decisions` decisions per policy.
    """
    for name in NEEDED if "cells" in part else ():
        if not (data / TRACES[name]).is_file():
            raise UsageError(
                f"{data / TRACES[name]}: no such trace; get it from Azure/AzurePublicDataset (CC-BY-4.0) or "
                "kvcache-ai/Mooncake (Apache-2.0), and name its folder with --data"
            )
    seed = SystemRandom().randrange(10**9) if seed is None else seed
    hashes = {name: dvfs_judge_log.source_hash(name) for name in policy}
    if log is not None:
        dvfs_judge_log.refuse_seen(log, seed, hashes)
        for name, sha256 in hashes.items():  # before the run: an interrupted one has shown its cells as well
            dvfs_judge_log.append(log, seed, sha256, {"policy": name, "started_parts": list(part)})
    say(f"seed {seed}")
    with ExitStack() as stack:
        mapped: Map = map if jobs == 1 else stack.enter_context(ProcessPoolExecutor(jobs)).map
        if "cells" in part:
            rows: list[Row] = []
            for cell_rows in mapped(play_cell, [(seed, number, data, requests, decisions, policy) for number in range(cells)]):
                rows += cell_rows
                say(_progress(cell_rows))
                yield from ({name: value for name, value in row.items() if name[0] != "_"} for row in cell_rows)
            first = [row for row in rows if row["policy"] == "highest clock"]
            speed = sum(row["_requests"] for row in first) / max(1e-9, math.fsum(row["_cpu_s"] for row in first))
            for total in totals(rows, policy):
                yield total
                if log is not None:
                    dvfs_judge_log.append(
                        log, seed, hashes[total["policy"]], total | {"requests": requests, "decisions": decisions}
                    )
            yield {"seed": seed, "requests_per_cell": requests, "engine_requests_per_cpu_s": round(speed)}
        if "changes" in part:
            yield from dvfs_judge_changes.play(mapped, seed, policy)


def _progress(rows: Sequence[Row]) -> str:
    parts = (f"{row['policy']} {row['saving_percent']:.1f} % -{row['lost_points']:.2f}" for row in rows[1:])
    return f"cell {rows[0]['cell']}: {rows[0]['work']}: {', '.join(parts)}"
