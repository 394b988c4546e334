"""A vLLM-shaped inference server that shares no code and no formulas with dvfs/replay, steered over the open protocol.

Each step decodes every running sequence once and fills the rest of its token budget with parts of prompts, first come, first
served. At clock f a part of the step with memory-boundness m takes

    m * max(1, knee / f) + (1 - m) * f_max / f     of its time at the highest clock,

where m of decode falls from 1.0 at one sequence to 0.0 at 64, linear in log2 of the batch, and m of prefill is 0.05: the ends
measured on a V100 with vLLM (decode 1.0 alone, 0.00 to 0.10 at 64; prefill 0.02 to 0.10; knee near 950 MHz); the line between
them is assumed. Power is p0 + activity * p1 * (f / f_max) * V(f)^2 with V rising from 0.72 at the knee to 1 [assumed], so that
decode draws 520 W at batch 8 and 660 W at 128; the ML.ENERGY leaderboard has 486 W and 669 W for an H100 SXM.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import log2
from typing import Any

F_MAX_MHZ, KNEE_MHZ = 1980, 950
SETTINGS = (825, 975, 1125, 1275, 1425, 1575, 1725, 1875, 1980)
SWITCH_S = 0.03  # from a new setting to its effect
TTFT_EDGES = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
)  # fmt: skip
ITL_EDGES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """Times at the highest clock in s: of a step, and per sequence, kept token and prompt token in it."""

    host_s: float
    weights_s: float
    sequence_s: float
    kept_s: float
    prompt_s: float
    token_budget: int
    most_sequences: int = 128


ENGINES = {
    "8b": EngineTimes(0.003, 0.0065, 3e-5, 5.7e-8, 3.2e-5, 2048),
    "32b": EngineTimes(0.003, 0.0270, 1.2e-4, 1.1e-7, 1.3e-4, 512),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the load generator and the meter of the plant saw."""

    energy_j: float
    requests: int
    late_first: int
    late_next: int
    seconds: float
    mean_mhz: float

    @property
    def attainment(self) -> tuple[float, float]:
        """Shares of requests within the limits of first token and of mean time between tokens."""
        return 1 - self.late_first / self.requests, 1 - self.late_next / self.requests


def decode_boundness(batch: int) -> float:
    """1.0 at one sequence, 0.0 from 64 on."""
    return max(0.0, 1.0 - log2(max(1, batch)) / 6.0)


PREFILL_BOUNDNESS = 0.05


def stretch(mhz: float, boundness: float) -> float:
    """Time at this clock, of that at the highest one."""
    return boundness * max(1.0, KNEE_MHZ / mhz) + (1.0 - boundness) * F_MAX_MHZ / mhz


def power_w(mhz: float, activity: float) -> float:
    """Power at this clock; activity 0 is idle with the clock up."""
    volts = 0.72 + 0.28 * max(0.0, mhz - KNEE_MHZ) / (F_MAX_MHZ - KNEE_MHZ)
    return 90.0 + (60.0 + 600.0 * activity) * (mhz / F_MAX_MHZ) * volts * volts


def decode_activity(batch: int) -> float:
    """Of a decode step: 0.45 at one sequence to 0.85 from 128 on."""
    return 0.45 + 0.40 * min(1.0, log2(max(1, batch)) / 7.0)


@dataclass(slots=True)
class Counters:
    """Cumulative, as on a metrics endpoint."""

    prompt: int = 0
    generation: int = 0
    finished: int = 0
    steps: int = 0
    ttft_sum: float = 0.0
    itl_sum: float = 0.0
    ttft: list[int] = field(default_factory=lambda: [0] * (len(TTFT_EDGES) + 1))
    itl: list[int] = field(default_factory=lambda: [0] * (len(ITL_EDGES) + 1))


def histogram(edges: Sequence[float], counts: Sequence[int], total_s: float) -> Line:
    """In the form of the protocol."""
    cumulative, buckets = 0, []
    for edge, n in zip([*edges, "+Inf"], counts, strict=True):
        cumulative += n
        buckets.append([edge, cumulative])
    return {"sum": total_s, "count": cumulative, "buckets": buckets}


def serve(
    engine: EngineTimes,
    requests: Sequence[tuple[float, int, int]],
    limits_s: tuple[float, float],
    choose: Callable[[Line], int] | None,
    mhz: int = F_MAX_MHZ,
    period_s: float = 1.0,
) -> Outcome:
    """Serve (arrival in s, prompt, output) in order; `choose` gets each period's line and returns the next clock."""
    counters, waiting, ending, first_s = Counters(), deque[int](), list[tuple[int, int]](), dict[int, float]()
    now = energy_j = clock_s = 0.0
    part, computed = -1, 0  # the prompt that is computed in part
    batch = kept = arrived = steps = late_first = late_next = 0
    next_s, change_s, wanted = period_s, 0.0, mhz
    while counters.finished < len(requests):
        while arrived < len(requests) and requests[arrived][0] <= now:
            waiting.append(arrived)
            arrived += 1
        if wanted != mhz and now >= change_s:
            mhz = wanted
        first: list[int] = []
        tokens, room = 0, engine.token_budget - batch
        while tokens < room and (part >= 0 or (waiting and batch + len(first) < engine.most_sequences)):
            if part < 0:
                part, computed = waiting.popleft(), 0
            take = min(room - tokens, requests[part][1] - computed)
            tokens, computed = tokens + take, computed + take
            if computed == requests[part][1]:
                first.append(part)
                part = -1
        if not batch and not tokens:
            took = max(1e-6, min(requests[arrived][0], next_s) - now)
            energy_j += took * power_w(mhz, 0.0)
        else:
            m = decode_boundness(batch)
            decode_s = (engine.weights_s + engine.sequence_s * batch + engine.kept_s * kept) * stretch(mhz, m) if batch else 0.0
            prefill_s = tokens * engine.prompt_s * stretch(mhz, PREFILL_BOUNDNESS)
            took = engine.host_s + decode_s + prefill_s
            energy_j += engine.host_s * power_w(mhz, 0.0) + decode_s * power_w(mhz, decode_activity(batch))
            energy_j += prefill_s * power_w(mhz, 1.0)
            counters.steps += 1
        now += took
        clock_s += took * mhz
        if batch:
            steps += 1
            kept += batch
            counters.generation += batch
            counters.itl[bisect_left(ITL_EDGES, took)] += batch
            counters.itl_sum += batch * took
            while ending and ending[0][0] <= steps:
                _, one = heappop(ending)
                batch, kept, counters.finished = batch - 1, kept - sum(requests[one][1:]), counters.finished + 1
                late_next += now - first_s.pop(one) > limits_s[1] * (requests[one][2] - 1) + 1e-9
        for one in first:
            arrival_s, prompt, output = requests[one]
            counters.prompt, counters.generation = counters.prompt + prompt, counters.generation + 1
            counters.ttft[bisect_left(TTFT_EDGES, now - arrival_s)] += 1
            counters.ttft_sum += now - arrival_s
            late_first += now - arrival_s > limits_s[0]
            if output > 1:
                batch, kept, first_s[one] = batch + 1, kept + prompt + 1, now
                heappush(ending, (steps + output - 1, one))
            else:
                counters.finished += 1
        if choose is not None and now >= next_s:
            line = _line(counters, now, energy_j, mhz, batch + (part >= 0), len(waiting))
            new = choose(line)
            if new != wanted:
                wanted, change_s = new, now + SWITCH_S
            next_s = max(next_s + period_s, now)
        elif choose is None:
            next_s = float("inf")
    return Outcome(energy_j, len(requests), late_first, late_next, now, clock_s / now)


def _line(counters: Counters, now: float, energy_j: float, mhz: int, running: int, waiting: int) -> Line:
    return {
        "t_s": now,
        "energy_j": energy_j,
        "setting": mhz,
        "tokens": {"prompt": counters.prompt, "generation": counters.generation},
        "requests": counters.finished,
        "engine_steps": counters.steps,
        "running": running,
        "waiting": waiting,
        "ttft": histogram(TTFT_EDGES, counters.ttft, counters.ttft_sum),
        "itl": histogram(ITL_EDGES, counters.itl, counters.itl_sum),
    }
