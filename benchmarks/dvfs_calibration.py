"""Deviation of the LLM-server model from the ML.ENERGY leaderboard v2, and a new fit of the host times of models.json.

The leaderboard keeps a server full: a request that ends is replaced, so `batch` requests decode all the time and prompts come
in between. In that state a step takes host + decode + prefill, with

    host    = h0 + h1 * batch
    decode  = weights + sequences * batch + keys and values of batch * (prompt + answer / 2) tokens
    prefill = batch / answer prompts

and h0, h1 are those for which the squares of the relative errors of the time per output token are least. The length of its
prompts is not in the data: 220 tokens is assumed.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runner import Row
from dvfs.replay.serving import boards, models
from dvfs.replay.serving.server import BOUNDNESS, ReplicaSpec, server
from energy_agent.core.errors import UsageError

FILE = Path("ml-energy-v2/llm_text_generation_flat.csv")
PROMPT = 220
SAME_RATIO = 0.01  # between what models.json has, which is rounded, and the fit
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
