"""The grid of cells: systems, traces, loads and special cases, with everything else drawn from a seed."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.vllm_plant.systems import SYSTEMS, Role

LimitKind = Literal["near", "edge", "between", "unmet"]

LOADS = (0.05, 0.3, 0.6, 0.9, 1.05)
_EVERY = (0.3, 0.6)
_TRACES = {
    "H100-8B": ("conv", "code", "moon"), "H100x4-70B": ("conv", "code", "moonsyn"), "H100-30BA3B": ("code", "conv"),
    "H100-8B-spec": ("conv", "code"), "A100-8B": ("code", "conv"), "A100x2-32B": ("conv", "moon"),
    "L40S-8B": ("conv", "code"), "L40S-32Bfp8": ("conv", "code"),
}  # fmt: skip
_PREFILL = ("H100-8B", "A100-8B")
_DECODE = ("H100x4-70B", "A100x2-32B", "H100-8B")
_SHORT_TRACES = ("conv", "code")
_REQUESTS = {0.05: 6000, 0.3: 12_000}
_REQUESTS_OTHER, _REQUESTS_MOON = 20_000, 8000
_SPAN_S, _SHORT_SPAN_S = 6000.0, 2500.0
LONG_LOADS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_LONG_SYSTEMS = ("H100-8B", "A100-8B")
_LONG_REQUESTS = 100_000


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """Limits in s of the time to first token and of the mean time between the tokens of a request."""

    ttft_s: float
    itl_s: float


@dataclass(frozen=True, slots=True)
class ServingCell:
    """A case: a system, a load and a service level objective."""

    name: str  # system, trace, load in per cent and what is special
    system: str  # key of SYSTEMS
    trace: str  # key of traces
    load: float  # request rate relative to the highest that the system can serve
    requests: int  # maximum number of requests
    seed: int  # seed of requests and engine
    factors: tuple[float, float]  # limits `near`: TTFT and time between tokens over the 99th percentile at the top clock
    hit_share: float  # share of the requests with a part of the prompt in the prefix cache
    limits: LimitKind  # `near` that percentile; at a bucket `edge` or `between` two; `unmet` even by the highest clock
    attainment: float = 0.99  # target share of requests within each limit
    period_s: float = 1.0  # time between two decisions
    role: Role = "both"  # the whole engine, or one of a prefill or decode pool
    span_s: float = _SPAN_S  # time after which no more requests arrive


def draw_cells(seed: int) -> list[ServingCell]:
    """The 44 cells of a seed."""
    draw = random.Random(seed)
    return [*_draw_grid(draw), *_draw_pools(draw), *_draw_special(draw)]


def draw_long_cells(seed: int) -> list[ServingCell]:
    """24 cells of 100,000 requests: two GPUs, conversation and code, from light load to saturation."""
    draw = random.Random(f"long {seed}")
    return [
        replace(_draw_cell(draw, system, trace, load, "long"), requests=_LONG_REQUESTS, span_s=math.inf)
        for system in _LONG_SYSTEMS
        for trace in _SHORT_TRACES
        for load in LONG_LOADS
    ]


def _draw_grid(draw: random.Random) -> Iterator[ServingCell]:
    for i, system in enumerate(SYSTEMS):
        for j, load in enumerate(LOADS):
            if (i + j) % 2 == 0 or load in _EVERY:
                yield _draw_cell(draw, system, _TRACES[system][(i + j) % len(_TRACES[system])], load)


def _draw_pools(draw: random.Random) -> Iterator[ServingCell]:
    for load in (0.3, 0.6, 0.9):
        yield _draw_cell(draw, draw.choice(_PREFILL), "conv", load, "prefill", role="prefill")
        yield _draw_cell(draw, draw.choice(_DECODE), "conv", load, "decode", role="decode")


def _draw_special(draw: random.Random) -> Iterator[ServingCell]:
    systems = list(SYSTEMS)
    for load in _EVERY:
        yield _draw_cell(draw, draw.choice(systems), draw.choice(_SHORT_TRACES), load, "between", limits="between")
        yield _draw_cell(draw, draw.choice(systems), draw.choice(_SHORT_TRACES), load, "unmet", limits="unmet")
        yield _draw_cell(draw, draw.choice(systems), draw.choice(_SHORT_TRACES), load, "0.95", attainment=0.95)
        for period_s in (0.2, 5.0):
            yield _draw_cell(draw, draw.choice(systems), draw.choice(_SHORT_TRACES), load, f"{period_s}", period_s=period_s)


def _draw_cell(
    draw: random.Random,
    system: str,
    trace: str,
    load: float,
    special: str = "",
    *,
    limits: LimitKind | None = None,
    attainment: float = 0.99,
    period_s: float = 1.0,
    role: Role = "both",
) -> ServingCell:
    seed = draw.randrange(10**9)
    factors = draw.uniform(1.2, 2), draw.uniform(1.2, 2)
    hit_share = draw.choice([0, 0.3, 0.6])
    if limits is None:
        limits = "edge" if draw.choice([False, True, True]) else "near"
    name = "-".join(filter(None, (system, trace, f"{round(100 * load)}", special)))
    requests = _REQUESTS_MOON if trace == "moon" else _REQUESTS.get(load, _REQUESTS_OTHER)
    span_s = min(_SPAN_S, max(_SHORT_SPAN_S, _SPAN_S * period_s))  # fewer decisions where the period is short
    return ServingCell(
        name, system, trace, load, requests, seed, factors, hit_share, limits, attainment, period_s, role, span_s
    )
