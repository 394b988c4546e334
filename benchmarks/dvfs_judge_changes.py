"""Change points: how many SLO points a policy loses in the first minute after the work changes.

On engines drawn at random, the work changes every 15 minutes between two states: about 1 and about 64 sequences in the batch;
speculation of depth 0 and 4; two models, with counters that restart; prompts as they are and ten times as long. Limits are 1.5
times what the highest clock reaches for 99 % of requests over both states, raised to a bucket edge of the histograms. *lost*
counts requests that arrive within 60 s after a change, over all changes: points of the worse attainment below 99 %, or below
the highest clock's where that misses it. *lost later* counts all other requests.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import dvfs.policies as package
from benchmarks.runner import Row, say
from dvfs.replay.serving.drawn import EDGES, RandomReplica, random_engine, random_gpu
from dvfs.replay.serving.plant import Arrival, EngineChange, RatesCache, ServingSite, SiteOutcome, capacity, serve
from dvfs.replay.serving.verdict import SloTarget, lost_points, under_policy
from energy_agent.core import plugin

PHASE_S = 900.0  # long enough for a policy to settle at a low clock
PHASES = 8
FIRST_S = 60.0
ENGINES = 3
TARGET = 0.99
Map = Callable[..., Iterable[Any]]
"""`map`, or that of an executor."""
_SLACK = 1.5
_SEQUENCES = 64


@dataclass(frozen=True, slots=True)
class ChangingLoad:
    """A site whose work changes every `PHASE_S`, and its requests."""

    site: ServingSite
    arrivals: Sequence[Arrival]


def _requests(random: Random, rates: tuple[float, float], lengths: tuple[int, int] = (1, 1)) -> list[Arrival]:
    """Poisson arrivals at two rates in turns, with prompts that many times as long."""
    rows, at = list[Arrival](), 0.0
    while True:
        phase = int(at // PHASE_S)
        at += random.expovariate(rates[phase % 2])
        if at >= PHASES * PHASE_S:
            return rows
        now = int(at // PHASE_S) % 2
        prompt, output = random.lognormvariate(6.0, 0.6), random.lognormvariate(5.0, 0.6)
        rows.append((at, lengths[now] * max(8, min(3000, round(prompt))), max(2, min(1000, round(output)))))


def _capacity(spec: RandomReplica, lengths: tuple[int, int] = (1, 1)) -> float:
    sample = _requests(Random(0), (1.0, 1.0), lengths)
    rows = [row for row in sample if int(row[0] // PHASE_S) % 2][:500]
    return capacity(ServingSite(spec), rows)[0]


def _alternate(spec: RandomReplica, other: RandomReplica, *, restart: bool) -> tuple[EngineChange, ...]:
    return tuple(EngineChange(n * PHASE_S, other if n % 2 else spec, restart) for n in range(1, PHASES))


def _batch(spec: RandomReplica, random: Random) -> ChangingLoad:
    most = _capacity(spec)
    # By Little's law, from the time that a request of 175 tokens takes at either batch.
    alone_s = 175 * (spec.host_step_s + spec.weights_s + spec.sequence_s)
    full_s = 175 * (spec.host_step_s + spec.weights_s + _SEQUENCES * (spec.sequence_s + 600 * spec.kv_s))
    rates = (min(1.0 / alone_s, 0.2 * most), min(_SEQUENCES / full_s, 0.85 * most))
    return ChangingLoad(ServingSite(spec), _requests(random, rates))


def _speculation(spec: RandomReplica, random: Random) -> ChangingLoad:
    plain, deep = spec.speculate(0), spec.speculate(4)
    rate = 0.4 * min(_capacity(plain), _capacity(deep))
    return ChangingLoad(ServingSite(plain, changes=_alternate(plain, deep, restart=False)), _requests(random, (rate, rate)))


def _model(spec: RandomReplica, random: Random) -> ChangingLoad:
    other = replace(random_engine(f"other {random.random()}", spec.gpu), edges=spec.edges)
    rate = 0.4 * min(_capacity(spec), _capacity(other))
    return ChangingLoad(ServingSite(spec, changes=_alternate(spec, other, restart=True)), _requests(random, (rate, rate)))


def _prompts(spec: RandomReplica, random: Random) -> ChangingLoad:
    rate = 0.6 * _capacity(spec, (1, 10))
    return ChangingLoad(ServingSite(spec), _requests(random, (rate, rate), (1, 10)))


CHANGES: dict[str, Callable[[RandomReplica, Random], ChangingLoad]] = {
    "batch 1 to 64 to 1": _batch,
    "speculation 0 to 4": _speculation,
    "model swap": _model,
    "prompts x 10": _prompts,
}


def play_change(job: tuple[int, str, int, tuple[str, ...]]) -> list[Row]:
    """One change on one engine."""
    seed, name, number, policies = job
    key = f"change {seed} {number}"
    spec = random_engine(key, random_gpu(key))
    load = CHANGES[name](spec, Random(f"{key} {name}"))
    site, cache = replace(load.site, seed=key), RatesCache()
    top = serve(site, load.arrivals, spec.gpu.settings[-1], cache)
    limits = SloTarget(*map(_limit, EDGES[spec.edges][:2], (top.ttft_s, top.itl_s)), TARGET)
    runs = {
        policy: serve(site, load.arrivals, under_policy(plugin.load(package, policy), spec, limits, site.period_s), cache)
        for policy in policies
    }
    rows = []
    for policy, outcome in {"highest clock": top, **runs}.items():
        counts = [_count_kept(outcome, load.arrivals, limits, is_first) for is_first in (True, False)]
        rows.append(
            {
                "change": name,
                "policy": policy,
                "saving": 1 - outcome.energy_j / top.energy_j,
                "first": counts[0],
                "later": counts[1],
            }
        )
    return rows


def _limit(edges: Sequence[float], values: Sequence[float]) -> float:
    limit_s = _SLACK * sorted(values)[int(TARGET * (len(values) - 1))]
    return next(edge for edge in edges if edge >= limit_s)


def _count_kept(outcome: SiteOutcome, arrivals: Sequence[Arrival], limits: SloTarget, is_first: bool) -> tuple[int, int, int]:
    """Requests, and those within each limit, that arrive in the first minute after a change, or at any other time."""
    n = ttft = itl = 0
    for (at, _, _), ttft_s, itl_s in zip(arrivals, outcome.ttft_s, outcome.itl_s, strict=True):
        if (at >= PHASE_S and at % PHASE_S < FIRST_S) is is_first:
            n += 1
            ttft += ttft_s <= limits.ttft_s
            itl += itl_s <= limits.itl_s
    return n, ttft, itl


def play(mapped: Map, seed: int, policies: tuple[str, ...]) -> Iterator[Row]:
    """A row per change and policy, over all engines."""
    for name in CHANGES:
        jobs = [(seed, name, number, policies) for number in range(ENGINES)]
        rows = [row for engine_rows in mapped(play_change, jobs) for row in engine_rows]
        say(f"change: {name}")
        top = [row for row in rows if row["policy"] == "highest clock"]
        for policy in policies:
            own = [row for row in rows if row["policy"] == policy]
            yield {
                "change": name,
                "policy": policy,
                "requests_first_60_s": sum(row["first"][0] for row in own),
                "lost_first_60_s_points": _lost(own, top, "first"),
                "lost_later_points": _lost(own, top, "later"),
                "saving_percent": 100 * sum(row["saving"] for row in own) / len(own),
            }


def _lost(own: Sequence[Row], top: Sequence[Row], when: str) -> float:
    return lost_points(_attained(own, when), _attained(top, when), TARGET)


def _attained(rows: Sequence[Row], when: str) -> tuple[float, float]:
    n, ttft, itl = (sum(row[when][place] for row in rows) for place in range(3))
    return ttft / n, itl / n
