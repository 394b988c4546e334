"""Deviation of the GPU and server models from measured tables of LLM inference.

`python -m benchmarks dvfs_calibration` compares them with the tables in benchmarks/data: power of decode and prefill by batch,
power and throughput by power cap, and the cost of a cap by depth of speculation. Errors are simulated / measured - 1. The model
of a GPU has no scale of throughput: its mean per table and depth is set to the measured one. No parameter was fitted to the
points that are *held out*. A GPU is within the bar where the error of power is at most 10 % at every point, or where
boards.json marks the phase. `--refit` searches the parameters again, from the fitted half.

`python -m benchmarks dvfs_traces --fit` compares the server model with the ML.ENERGY leaderboard v2 and fits the host times of
models.json. The leaderboard keeps a server full: a request that ends is replaced, so `batch` requests decode all the time and
prompts come in between. In that state a step takes host + decode + prefill, with

    host    = h0 + h1 * batch
    decode  = weights + sequences * batch + keys and values of batch * (prompt + answer / 2) tokens
    prefill = batch / answer prompts

and h0, h1 are those for which the squares of the relative errors of the time per output token are least. The length of its
prompts is not in the data: 220 tokens is assumed.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.llm_power import tables
from benchmarks.llm_power.tables import CapPoint, CapTable
from benchmarks.llm_power.workloads import CURVE, CappedStep, Workload, change, run_capped, search
from benchmarks.runner import Row
from dvfs.replay.serving import boards, models
from dvfs.replay.serving.boards import GpuPowerModel
from dvfs.replay.serving.server import BOUNDNESS, ReplicaSpec, server
from energy_agent.core.errors import UsageError

FILE = Path("ml-energy-v2/llm_text_generation_flat.csv")
PROMPT = 220
SAME_RATIO = 0.01  # between what models.json has, which is rounded, and the fit
BAR_PERCENT = 10.0  # error of power above which a GPU is refitted or marked
LIMITS = {  # of the search
    "p0_w": (40.0, 180.0), "b_w_per_mhz": (0.03, 0.4), "knee_mhz": (1000.0, 2700.0), "s_per_mhz": (1e-4, 3e-3),
    "memory_power_ratio": (0.05, 0.8), "bandwidth_knee_mhz": (300.0, 1800.0),
    "boundness": (0.0, 1.0), "intensity": (0.3, 2.0), "boundness_per_draft": (-0.4, 0.05), "intensity_per_draft": (-0.05, 0.4),
    "drafts_max": (1.0, 6.0),
}  # fmt: skip
PAIRS = (
    ("h100-sxm", "NVIDIA H100 80GB HBM3", "llama-8b", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    ("h100-sxm", "NVIDIA H100 80GB HBM3", "llama-70b", "meta-llama/Meta-Llama-3.1-70B-Instruct"),
    ("a100-sxm-40gb", "NVIDIA A100-SXM4-40GB", "llama-8b", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    ("a100-sxm-40gb", "NVIDIA A100-SXM4-40GB", "llama-70b", "meta-llama/Meta-Llama-3.1-70B-Instruct"),
)


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """One row of the leaderboard: mean batch, time per output token in s, energy per request in J, mean answer in tokens."""

    limit: int
    batch: float
    tpot_s: float
    request_j: float
    answer: float


def points(path: Path, gpu: str, model: str) -> list[LeaderboardRow]:
    """The rows of one GPU model and language model, by ascending batch.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [r for r in csv.DictReader(file) if (r["GPU"], r["Model"], r["task"]) == (gpu, model, "chat")]
    except (OSError, KeyError) as error:
        raise UsageError(f"{path}: cannot read the leaderboard: {error}") from error
    names = ("Max BS (reqs)", "Avg BS (reqs)", "Avg TPOT (s)", "Energy/req (J)", "Avg Output Tokens")
    found = [LeaderboardRow(int(r[names[0]]), *(float(r[name]) for name in names[1:])) for r in rows]
    return sorted(found, key=lambda p: p.limit)


def device_s(one: ReplicaSpec, point: LeaderboardRow) -> tuple[float, float]:
    """Decode and prefill part of a step at the highest clock, in s."""
    kept = point.batch * (PROMPT + point.answer / 2)
    decode_s = one.weights_s + one.sequence_s * point.batch + one.kv_s * kept
    return decode_s, point.batch / point.answer * one.prompt_s(PROMPT)


def fitted(one: ReplicaSpec, rows: Sequence[LeaderboardRow]) -> tuple[float, float]:
    """h0 and h1 in s by weighted least squares."""
    weights = [1 / p.tpot_s**2 for p in rows]
    total = math.fsum(weights)
    host = [p.tpot_s - sum(device_s(one, p)) for p in rows]
    x = math.fsum(w * p.batch for w, p in zip(weights, rows, strict=True)) / total
    y = math.fsum(w * h for w, h in zip(weights, host, strict=True)) / total
    slope = math.fsum(w * (p.batch - x) * (h - y) for w, p, h in zip(weights, rows, host, strict=True))
    slope /= math.fsum(w * (p.batch - x) ** 2 for w, p in zip(weights, rows, strict=True))
    return y - slope * x, slope


def errors(one: ReplicaSpec, host: tuple[float, float], point: LeaderboardRow) -> tuple[float, float]:
    """Relative errors of the time per output token and of the energy per request."""
    rates = one.rates(None)
    batch = min(round(point.batch), one.max_num_seqs)
    decode_s, prefill_s = device_s(one, point)
    host_s = host[0] + host[1] * point.batch
    joules = host_s * rates.held_w + decode_s * rates.decode_w[batch] + prefill_s * rates.prefill_w
    return (host_s + decode_s + prefill_s) / point.tpot_s - 1, joules * point.answer / point.batch / point.request_j - 1


def fit(data: Path) -> Iterator[Row]:
    """Fit every GPU and model that both the leaderboard and models.json have; errors are modelled / measured - 1."""
    for key, gpu, name, published in PAIRS:
        model = models.find(name)
        one = server(boards.find(key), model, engine="lean", boundness=BOUNDNESS["mid"], max_num_seqs=1024)
        rows = points(data / FILE, gpu, published)
        host, found = model.host_of(key, "vllm-2024"), fitted(one, rows)
        stored = host.step_s, host.sequence_s
        columns: dict[str, list[float]] = {"time_error": [], "left_out_error": [], "energy_error": []}
        for point in rows:
            others = fitted(one, [p for p in rows if p is not point])
            time_error, energy_error = errors(one, stored, point)
            checked = time_error, errors(one, others, point)[0], energy_error
            for column, value in zip(columns.values(), checked, strict=True):
                column.append(value)
            measured = {"tpot_ms": 1e3 * point.tpot_s, "request_j": point.request_j}
            yield {"model": name, "board": key, "batch": point.limit, **measured, **dict(zip(columns, checked, strict=True))}
        yield {
            "model": name, "board": key, "fitted_s": found, "stored_s": stored,
            "rms": {column: math.sqrt(math.fsum(v * v for v in values) / len(values)) for column, values in columns.items()},
            "ok": all(abs(a / b - 1) <= SAME_RATIO for a, b in zip(stored, found, strict=True)),
        }  # fmt: skip


Errors = dict[tuple[str, str, str], list[tuple[bool, float, float | None]]]
"""(is fitted, error of power, error of throughput) in percent, by GPU, phase and source."""


def run(data: Path = tables.DATA, refit: bool = False) -> Iterator[Row]:
    """Print every point, then the cost of caps, then a summary per GPU, phase and source."""
    if refit:
        yield from _refit(data)
        return
    gpus = boards.load()
    errors: Errors = defaultdict(list)
    yield from _by_batch(data, gpus, errors)
    yield from _by_cap(data, gpus, errors)
    yield from _cost_of_caps(data, gpus)
    yield from _summaries(gpus, errors)
    yield {"never compared with LLM inference": sorted(gpus.keys() - {gpu for gpu, _, _ in errors})}


def _by_batch(data: Path, gpus: Mapping[str, GpuPowerModel], errors: Errors) -> Iterator[Row]:
    model = models.find("llama-8b")
    specs = {key: server(gpu, model, gpus=1, engine="lean", max_num_seqs=512) for key, gpu in gpus.items()}
    rates = {key: spec.rates(None) for key, spec in specs.items()}
    for point in tables.batch_points(data):
        modelled = rates[point.gpu]
        simulated_w = modelled.prefill_w if point.phase == "prefill" else modelled.decode_w[point.tokens]
        error = 100 * (simulated_w / point.power_w - 1)
        errors[point.gpu, point.phase, point.source].append((point.is_fitted, error, None))
        yield {
            "gpu": point.gpu, "phase": point.phase, "source": point.source, "tokens_per_step": point.tokens,
            "measured_w": point.power_w, "simulated_w": simulated_w, "error_percent": error, "half": _half(point.is_fitted),
        }  # fmt: skip


def _by_cap(data: Path, gpus: Mapping[str, GpuPowerModel], errors: Errors) -> Iterator[Row]:
    for table in tables.CAP_TABLES:
        for point, step, speed in _simulate(gpus[table.gpu], table.workload, table.points(data)):
            power_error, speed_error = 100 * (step.power_w / point.power_w - 1), 100 * (speed / point.tokens_per_s - 1)
            errors[table.gpu, table.phase, table.name].append((point.is_fitted, power_error, speed_error))
            yield {
                "gpu": table.gpu, "source": table.name, "cap_w": point.cap_w, "drafts": point.depth,
                "measured_w": point.power_w, "simulated_w": step.power_w, "power_error_percent": power_error,
                "measured_tokens_s": point.tokens_per_s, "simulated_tokens_s": speed, "speed_error_percent": speed_error,
                "measured_mhz": point.clock_mhz, "simulated_mhz": step.clock_mhz, "half": _half(point.is_fitted),
            }  # fmt: skip


def _simulate(gpu: GpuPowerModel, workload: Workload, points: Sequence[CapPoint]) -> list[tuple[CapPoint, CappedStep, float]]:
    """Each point with the simulated state and throughput; the mean throughput of each depth is the measured one."""
    steps = [run_capped(gpu, workload, point.cap_w, point.depth) for point in points]
    scales = {
        depth: math.exp(
            math.fsum(math.log(p.tokens_per_s / s.speed) for p, s in zip(points, steps, strict=True) if p.depth == depth)
            / sum(p.depth == depth for p in points)
        )
        for depth in {point.depth for point in points}
    }
    return [(point, step, step.speed * scales[point.depth]) for point, step in zip(points, steps, strict=True)]


def _cost_of_caps(data: Path, gpus: Mapping[str, GpuPowerModel]) -> Iterator[Row]:
    """Throughput that the lowest cap costs against the highest, by depth of speculation."""
    for table in tables.CAP_TABLES:
        by_depth: dict[int, list[CapPoint]] = defaultdict(list)
        for point in table.points(data):
            by_depth[point.depth].append(point)
        if len(by_depth) == 1:
            continue
        for depth, points in by_depth.items():
            low, high = min(points, key=lambda p: p.cap_w), max(points, key=lambda p: p.cap_w)
            speeds = [run_capped(gpus[table.gpu], table.workload, p.cap_w, depth).speed for p in (low, high)]
            measured, simulated = 100 * (1 - low.tokens_per_s / high.tokens_per_s), 100 * (1 - speeds[0] / speeds[1])
            yield {
                "gpu": table.gpu, "drafts": depth, "from_w": high.cap_w, "to_w": low.cap_w, "measured_cost_percent": measured,
                "simulated_cost_percent": simulated, "error_points": simulated - measured, "half": _half(low.is_fitted),
            }  # fmt: skip


def _summaries(gpus: Mapping[str, GpuPowerModel], errors: Errors) -> Iterator[Row]:
    for (gpu, phase, source), rows in errors.items():
        power = [abs(error) for _, error, _ in rows]
        held_out = [abs(error) for is_fitted, error, _ in rows if not is_fitted]
        speed = [abs(error) for is_fitted, _, error in rows if error is not None and not is_fitted]
        mark = dict(gpus[gpu].marks).get(phase)
        is_within = max(power) <= BAR_PERCENT
        yield {
            "gpu": gpu, "phase": phase, "source": source, "points": len(rows), "power_median": median(power),
            "power_worst": max(power), "held_out_median": median(held_out), "held_out_worst": max(held_out),
            "speed_held_out_worst": max(speed, default=None),
            "verdict": "within 10 %" if is_within else "marked" if mark is not None else "beyond 10 %, unmarked",
            "ok": is_within or mark is not None,
        }  # fmt: skip


def _half(is_fitted: bool) -> str:
    return "fitted" if is_fitted else "held out"


Sweep = tuple[CapTable, Sequence[CapPoint]]


def _refit(data: Path) -> Iterator[Row]:
    """Search curve and workloads of GPUs with sweeps of caps, and decode intensities of GPUs with GEMMs, on the fitted half."""
    gpus = boards.load()
    for key in dict.fromkeys(table.gpu for table in tables.CAP_TABLES):
        sweeps = [(t, [p for p in t.points(data) if p.is_fitted]) for t in tables.CAP_TABLES if t.gpu == key]
        start = {name: float(getattr(gpus[key], name)) for name in CURVE}
        for number, (table, _) in enumerate(sweeps):
            start |= {f"{number} {name}": float(getattr(table.workload, name)) for name in _changed(table)}
        limits = {name: LIMITS[name.split()[-1]] for name in start}
        for name, value in search(partial(_loss, gpus[key], sweeps), start, limits).items():
            number, _, parameter = name.rpartition(" ")
            where = sweeps[int(number)][0].name if number else "curve"
            yield {"gpu": key, "of": where, "parameter": parameter, "stored": start[name], "fitted": value}
    for row in _by_batch(data, gpus, defaultdict(list)):
        gpu, batch = gpus[row["gpu"]], row["tokens_per_step"]
        if row["source"] == "operators" and row["half"] == "fitted":
            stored = dict(gpu.decode_intensity)[batch]
            fitted_value = stored * (row["measured_w"] - gpu.p0_w) / (row["simulated_w"] - gpu.p0_w)
            parameter = f"decode_intensity at {batch}"
            yield {"gpu": gpu.key, "of": "decode", "parameter": parameter, "stored": stored, "fitted": fitted_value}


def _loss(gpu: GpuPowerModel, sweeps: Sequence[Sweep], values: Mapping[str, float]) -> float:
    changed = change(gpu, {name: values[name] for name in CURVE})
    return math.fsum(_squares(changed, _workload(n, t, values), points) for n, (t, points) in enumerate(sweeps))


def _changed(table: CapTable) -> tuple[str, ...]:
    drafts = ("boundness_per_draft", "intensity_per_draft", "drafts_max")
    return ("boundness", "intensity", *(drafts if table.workload.intensity_per_draft else ()))


def _workload(number: int, table: CapTable, values: Mapping[str, float]) -> Workload:
    return replace(table.workload, **{name: values[f"{number} {name}"] for name in _changed(table)})


def _squares(gpu: GpuPowerModel, workload: Workload, points: Sequence[CapPoint]) -> float:
    """Squared relative errors: throughput counts four times power, the clock a quarter."""
    total = 0.0
    for point, step, speed in _simulate(gpu, workload, points):
        total += (step.power_w / point.power_w - 1) ** 2 + 4 * (speed / point.tokens_per_s - 1) ** 2
        total += 0.25 * (step.clock_mhz / point.clock_mhz - 1) ** 2 if point.clock_mhz else 0.0
    return total
