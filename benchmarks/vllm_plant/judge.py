"""Play one cell: every fixed clock and every policy on the same requests, scored by energy and by request."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.runner import Row
from benchmarks.vllm_plant.cells import LatencyLimits, ServingCell
from benchmarks.vllm_plant.engine import (
    BLOCK_TOKENS,
    EngineParams,
    EngineRequests,
    Floats,
    VllmEngine,
    bucket_edges,
    idle_power_w,
)
from benchmarks.vllm_plant.policy import PlantPolicy
from benchmarks.vllm_plant.systems import clock_settings, engine_params
from benchmarks.vllm_plant.traces import DrawnRequests, draw_requests, read_trace
from dvfs.types import DvfsPolicy

SHORT_POINTS = 0.1
"""A cell is short if it misses the target by more points than this."""
_FEWEST = 2000  # requests, even if they take longer
_CALIBRATION = 2000
_OVERLOAD_REFERENCE = 0.9  # load at which the limits of an overloaded system are chosen
_TRANSFER_BYTES_PER_S, _TRANSFER_S = 40e9, 0.005  # one link from the prefill to the decode pool, and its set-up
_TOP_SLACK = 0.001  # where the highest clock misses the target, its attainment less this is the target
_PERCENTILE = 0.99
_SMALLEST_BEST = 0.01  # saving of the best fixed clock below which shares of it mean nothing


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """A run."""

    energy_j: float  # energy from the start to `end_s`
    end_s: float  # when the run ended, after the last request
    ttft_s: Floats  # time to first token of each request
    itl_s: Floats  # mean time between tokens of each request with two tokens or more; in a decode pool from its arrival on
    mean_mhz: float  # mean clock
    changes: int = 0  # changes of the clock


@dataclass(frozen=True, slots=True)
class CellLoad:
    """Engine and requests of a cell, before their times of arrival are known."""

    cell: ServingCell
    params: EngineParams
    drawn: DrawnRequests

    @classmethod
    def draw(cls, cell: ServingCell, data: Path, requests: int | None) -> "CellLoad":
        """Draw the requests, at most `requests`."""
        params = engine_params(cell.system, cell.role)
        count = cell.requests if requests is None else min(cell.requests, requests)
        kv_tokens = int(params.kv_blocks) * BLOCK_TOKENS
        drawn = draw_requests(read_trace(cell.trace, data), count, cell.seed, kv_tokens, cell.hit_share)
        if cell.role == "prefill":
            drawn = replace(drawn, output=np.ones_like(drawn.output))
        return cls(cell, params, drawn)

    def __len__(self) -> int:
        return len(self.drawn.gap_s)

    def cut(self, count: int) -> "CellLoad":
        """The first requests."""
        drawn = self.drawn
        return replace(
            self, drawn=DrawnRequests(drawn.gap_s[:count], drawn.prompt[:count], drawn.output[:count], drawn.cached[:count])
        )

    def arrivals_s(self, rate_s: float) -> Floats:
        """Times of arrival at a mean rate."""
        at_s: Floats = np.cumsum(self.drawn.gap_s)
        share: Floats = at_s / at_s[-1]
        return share * len(self) / rate_s

    def engine(self, arrival_s: Floats) -> VllmEngine:
        """A new engine with the requests at these times."""
        ready_s = arrival_s
        if self.cell.role == "decode":
            ready_s = self._transfer_ends_s(arrival_s)
        drawn = self.drawn
        requests = EngineRequests(arrival_s, drawn.prompt, drawn.output, drawn.cached, ready_s)
        return VllmEngine(self.params, requests, self.cell.seed)

    def _transfer_ends_s(self, arrival_s: Floats) -> Floats:
        ends_s, free_s = np.empty(len(self)), 0.0
        for i, (at_s, prompt) in enumerate(zip(arrival_s, self.drawn.prompt, strict=True)):
            free_s = max(free_s, at_s) + float(prompt) * self.params.kv_bytes_per_token / _TRANSFER_BYTES_PER_S
            ends_s[i] = free_s + _TRANSFER_S
        return ends_s


def measure_capacity(load: CellLoad) -> float:
    """Requests per second at the highest clock when all arrive at once, until 90 % have finished."""
    load = load.cut(_CALIBRATION)
    with load.engine(np.zeros(len(load))) as engine:
        now_s = 0.0
        while engine.metrics.requests < 0.9 * len(load):
            now_s += 5.0
            engine.advance(now_s, load.params.top_mhz)
        return engine.metrics.requests / now_s


def run_fixed(load: CellLoad, arrival_s: Floats, mhz: int) -> CellOutcome:
    """Run all requests at one clock."""
    with load.engine(arrival_s) as engine:
        now_s = float(arrival_s[-1])
        engine.advance(now_s, mhz)
        while engine.metrics.requests < len(load):
            now_s += 1.0
            engine.advance(now_s, mhz)
        return _outcome(load, arrival_s, engine, mhz, 0)


def run_policy(load: CellLoad, arrival_s: Floats, limits: LatencyLimits, spec: DvfsPolicy) -> CellOutcome:
    """Run all requests under a policy."""
    cell, policy = load.cell, PlantPolicy(spec, load.cell, limits)
    mhz, periods, mhz_sum, changes = clock_settings(cell.system)[-1], 0, 0, 0
    with load.engine(arrival_s) as engine:
        metrics = engine.metrics
        while metrics.requests < len(load):
            periods += 1
            mhz_sum += mhz
            engine.advance(periods * cell.period_s, mhz)
            metrics = engine.metrics
            chosen = policy.choose(metrics, mhz)
            changes += chosen != mhz
            mhz = chosen
        return _outcome(load, arrival_s, engine, mhz_sum / periods, changes)


def _outcome(load: CellLoad, arrival_s: Floats, engine: VllmEngine, mean_mhz: float, changes: int) -> CellOutcome:
    first_s, last_s = engine.token_times_s()
    gaps = load.drawn.output - 1
    # The user of a decode pool has the first token from the prefill pool, so the wait for the second is one between tokens.
    since_s = arrival_s if load.cell.role == "decode" else first_s
    itl_s = (last_s - since_s)[gaps > 0] / gaps[gaps > 0]
    metrics = engine.metrics
    return CellOutcome(metrics.energy_j, metrics.time_s, first_s - arrival_s, itl_s, mean_mhz, changes)


def choose_limits(cell: ServingCell, ttft_s: float, itl_s: float) -> LatencyLimits:
    """Limits of a cell from the 99th percentiles at the highest clock."""
    near = LatencyLimits(round(ttft_s * cell.factors[0], 3), round(itl_s * cell.factors[1], 4))
    ttft_edges, itl_edges = bucket_edges()
    match cell.limits:
        case "near":
            return near
        case "edge":
            return LatencyLimits(_find_edge(ttft_edges, ttft_s) or near.ttft_s, _find_edge(itl_edges, itl_s) or near.itl_s)
        case "between":
            return replace(near, ttft_s=_between_edges(ttft_edges, near.ttft_s, ttft_s))
        case "unmet":
            return LatencyLimits(round(ttft_s * 0.6, 3), round(itl_s * 0.85, 4))


def _find_edge(edges: Sequence[float], percentile_s: float) -> float | None:
    """An edge that a user would choose as limit, if there is one."""
    return next((edge for edge in edges if 1.2 * percentile_s <= edge <= 2.5 * percentile_s), None)


def _between_edges(edges: Sequence[float], limit_s: float, percentile_s: float) -> float:
    """A limit well within the bucket of `limit_s`."""
    below_s, above_s = max(edge for edge in edges if edge <= limit_s), min(edge for edge in edges if edge > limit_s)
    middle_s = (below_s + above_s) / 2
    return round(middle_s if middle_s > 1.2 * percentile_s else below_s + 0.8 * (above_s - below_s), 3)


def play_cell(cell: ServingCell, policies: Mapping[str, DvfsPolicy], data: Path, requests: int | None = None) -> list[Row]:
    """A row per policy."""
    load = CellLoad.draw(cell, data, requests)
    capacity_s = measure_capacity(load)
    load = load.cut(int(min(len(load), max(_FEWEST, capacity_s * cell.load * cell.span_s))))
    arrival_s = load.arrivals_s(cell.load * capacity_s)
    reference_s = load.arrivals_s(min(cell.load, _OVERLOAD_REFERENCE) * capacity_s) if cell.load > 1 else arrival_s
    settings = clock_settings(cell.system)
    reference = run_fixed(load, reference_s, settings[-1])
    limits = choose_limits(cell, _percentile(reference.ttft_s), _percentile(reference.itl_s))

    fixed = {mhz: run_fixed(load, arrival_s, mhz) for mhz in settings}
    steered = {name: run_policy(load, arrival_s, limits, spec) for name, spec in policies.items()}
    return list(_score(load, limits, fixed, steered))


def _score(
    load: CellLoad, limits: LatencyLimits, fixed: Mapping[int, CellOutcome], steered: Mapping[str, CellOutcome]
) -> Iterator[Row]:
    cell = load.cell
    top = fixed[max(fixed)]
    end_s = max(run.end_s for run in (*fixed.values(), *steered.values()))
    idle_w = idle_power_w(load.params)

    def energy_j(run: CellOutcome) -> float:  # to the same end for all
        return run.energy_j + (end_s - run.end_s) * idle_w

    savings = {mhz: 1 - energy_j(run) / energy_j(top) for mhz, run in fixed.items()}
    able = [mhz for mhz, run in fixed.items() if short_points(cell, limits, run, top) <= 1e-9]
    best_mhz = max(able, key=savings.__getitem__)
    best_saving = savings[best_mhz]
    for name, run in steered.items():
        saving = 1 - energy_j(run) / energy_j(top)
        yield {
            "cell": cell.name, "policy": name, "trace": cell.trace, "load_percent": round(100 * cell.load),
            "limits": f"{cell.limits} {1000 * limits.ttft_s:.0f}/{1000 * limits.itl_s:.1f} ms {100 * cell.attainment:g} %",
            "saving_percent": _percent(saving),
            "of_best_percent": _percent(saving / best_saving) if best_saving > _SMALLEST_BEST else None,
            "ttft_percent": _percent(attained(run.ttft_s, limits.ttft_s)),
            "itl_percent": _percent(attained(run.itl_s, limits.itl_s)),
            "short_points": round(short_points(cell, limits, run, top), 6), "mean_mhz": run.mean_mhz,
            "changes": run.changes, "best_mhz": best_mhz, "best_saving_percent": _percent(best_saving),
            "top_ttft_percent": _percent(attained(top.ttft_s, limits.ttft_s)),
            "top_itl_percent": _percent(attained(top.itl_s, limits.itl_s)), "requests": len(load),
        }  # fmt: skip


def _percent(ratio: float) -> float:
    """In per cent, without rounding errors of equal runs and without a negative zero."""
    return round(100 * ratio, 6) + 0.0


def _percentile(values_s: Floats) -> float:
    return float(np.quantile(values_s, _PERCENTILE)) if len(values_s) else 1.0


def attained(values_s: Floats, limit_s: float) -> float:
    """Share of the values within the limit."""
    return float(np.mean(values_s <= limit_s)) if len(values_s) else 1.0


def short_points(cell: ServingCell, limits: LatencyLimits, run: CellOutcome, top: CellOutcome) -> float:
    """Points by which the worse attainment misses the target: the user's, or the highest clock's less 0.1 points if lower.

    A prefill pool has the time to first token alone, a decode pool the time between tokens.
    """
    points = [0.0]
    if cell.role != "decode":
        points.append(_missed(cell, attained(run.ttft_s, limits.ttft_s), attained(top.ttft_s, limits.ttft_s)))
    if cell.role != "prefill":
        points.append(_missed(cell, attained(run.itl_s, limits.itl_s), attained(top.itl_s, limits.itl_s)))
    return 100 * max(points)


def _missed(cell: ServingCell, share: float, top_share: float) -> float:
    target = cell.attainment if top_share >= cell.attainment else top_share - _TOP_SLACK
    return target - share
