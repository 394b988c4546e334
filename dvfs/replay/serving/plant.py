"""Drawn servers under a policy or a fixed clock: pools of replicas behind a router, driven over the open protocol.

Each replica has its own policy, which sees only the lines of `wattlens dvfs policy NAME --stdio`. A new clock applies 25 to
50 ms after the decision. Routers know what a proxy knows when a request arrives: nothing, or how many requests each replica
has. Separate pools: a prefill replica delivers the first token, a decode replica the others, after the transfer of keys and
values. Times of every request are recorded by the load generator; policies have histograms alone.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from random import Random
from typing import Any, Literal

from dvfs.replay.serving.drawn import EDGES, RandomReplica
from dvfs.replay.serving.engine import OpenStream, Replica, ReplicaCounters
from dvfs.replay.serving.spec import Rates
from dvfs.replay.stdio.lines import JsonLines
from dvfs.replay.stdio.serving import replies
from dvfs.types import DvfsPolicy
from energy_agent.core.workloads.tokens import Latencies

Line = dict[str, Any]
Router = Literal["round robin", "random", "least queue"]
Role = Literal["both", "prefill", "decode"]
Choose = Callable[[Line], int]
Arrival = tuple[float, int, int]
"""Arrival in s, tokens of prompt and of answer."""
ROUTERS: tuple[Router, ...] = ("round robin", "random", "least queue")
SWITCH_S = (0.025, 0.050)
_NEVER = float("inf")


class ProtocolPolicy:
    """A policy behind the open protocol: one line in, one clock out. `reason` is that of the last answer."""

    def __init__(self, policy: DvfsPolicy, start: Line) -> None:
        self._lines = deque([json.dumps(start)])
        self._replies = replies(policy, JsonLines(iter(self._lines.popleft, None)))
        self.reason = ""

    def choose(self, line: Line) -> int:
        """The clock for the next period in MHz."""
        self._lines.append(json.dumps(line))
        reply = json.loads(next(self._replies))
        self.reason = str(reply["reason"])
        return int(reply["setting"])


@dataclass(frozen=True, slots=True)
class EngineChange:
    """The server becomes `spec` at `at_s`; after a restart its counters begin at 0."""

    at_s: float
    spec: RandomReplica
    restart: bool = False


class RatesCache:
    """Rate tables, which many runs on the same server share."""

    def __init__(self) -> None:
        self._tables: dict[tuple[int, int], tuple[RandomReplica, Rates]] = {}

    def rates(self, spec: RandomReplica, lock_mhz: int) -> Rates:
        """Of this server at this clock."""
        key = (id(spec), lock_mhz)
        if key not in self._tables:
            self._tables[key] = (spec, spec.rates(lock_mhz))  # with the server, so that its id stays its own
        return self._tables[key][1]


class SteeredReplica:
    """One replica with its clock, its counters and, unless the clock is fixed, its policy."""

    def __init__(
        self,
        spec: RandomReplica,
        cache: RatesCache,
        lock_mhz: int,
        choose: Choose | None = None,
        period_s: float = 1.0,
        random: Random | None = None,
        changes: Sequence[EngineChange] = (),
        *,
        is_prefilled: bool = False,
    ) -> None:
        self.stream = OpenStream(prefilled=is_prefilled)
        self.replica = Replica(spec, self.stream)
        self.replica.log = []
        self.numbers: list[int] = []  # of its requests, in the whole load
        self.decisions = self.clock_changes = 0
        self.mhz_s = 0.0
        self.lock_mhz, self._spec, self._cache = lock_mhz, spec, cache
        self._choose, self._period_s, self._random = choose, period_s, random or Random(0)
        self._changes = deque(changes)
        self._wanted, self._switch_s = lock_mhz, _NEVER
        self._tick_s = self._random.uniform(0.0, period_s) if choose is not None else _NEVER
        self._counters = self._new_counters()
        self._rates = cache.rates(spec, lock_mhz)

    def push(self, number: int, at_s: float, prompt: int, output: int, first_s: float | None = None) -> None:
        """Give it a request."""
        room = self._spec.kv_tokens - self._spec.max_num_seqs * 8
        prompt = max(1, min(prompt, room // 2))
        self.numbers.append(number)
        self.stream.push(at_s, prompt, max(1, min(output, room - prompt)), first_s)

    @property
    def load(self) -> int:
        """Requests that run or wait."""
        return len(self.stream) - self.replica.ended

    def advance(self, until_s: float) -> None:
        """Run until `until_s` or, once its stream is closed, the end of its last request."""
        replica = self.replica
        while replica.now_s < until_s and (replica.is_open or not replica.is_done):
            event_s = min(self._tick_s, self._switch_s, self._changes[0].at_s if self._changes else _NEVER)
            started_s = replica.now_s
            replica.run(min(event_s, until_s), self._rates, self._counters if self._choose is not None else None)
            now = replica.now_s
            self.mhz_s += (now - started_s) * self.lock_mhz
            if now < event_s:
                continue
            if self._changes and self._changes[0].at_s <= now:
                change = self._changes.popleft()
                replica.server = self._spec = change.spec
                self._rates = self._cache.rates(self._spec, self.lock_mhz)
                if change.restart:
                    self._counters = self._new_counters()
            if self._switch_s <= now:
                self.lock_mhz, self._switch_s = self._wanted, _NEVER
                self._rates = self._cache.rates(self._spec, self.lock_mhz)
            if self._tick_s <= now and self._choose is not None:
                self._decide(self._choose, now)

    def wait(self, until_s: float) -> None:
        """Let time pass after the last request."""
        self.mhz_s += (until_s - self.replica.now_s) * self.lock_mhz
        self.replica.wait(until_s, self._rates)

    def _decide(self, choose: Choose, now: float) -> None:
        self._tick_s += self._period_s * (floor((now - self._tick_s) / self._period_s) + 1)  # a long step skips periods
        self.decisions += 1
        wanted = choose(self._line(now))
        if wanted != self._wanted:
            self.clock_changes += 1
            self._wanted, self._switch_s = wanted, now + self._random.uniform(*SWITCH_S)

    def _new_counters(self) -> ReplicaCounters:
        ttft_edges, itl_edges, gap_per_token = EDGES[self._spec.edges]
        return ReplicaCounters(ttft_edges, itl_edges, gap_per_token=gap_per_token)

    def _line(self, now: float) -> Line:
        counters, replica = self._counters, self.replica
        ttft, itl = counters.latencies()
        return {
            "t_s": now,
            "energy_j": replica.energy_j,
            "setting": self.lock_mhz,
            "tokens": {"prompt": counters.prompt_tokens, "generation": round(counters.tokens)},
            "requests": counters.requests,
            "engine_steps": counters.steps,
            "running": replica.running,
            "waiting": replica.waiting,
            "drafts": counters.drafts,
            "accepted": round(counters.accepted),
            "ttft": histogram(ttft),
            "itl": histogram(itl),
        }


def histogram(latencies: Latencies) -> Line:
    """In the form of the protocol: cumulative counts."""
    cumulative, buckets = 0, list[list[float | str]]()
    edges: list[float | str] = [*latencies.edges, "+Inf"]
    for edge, count in zip(edges, latencies.counts, strict=True):
        cumulative += count
        buckets.append([edge, cumulative])
    return {"sum": latencies.sum_s, "count": cumulative, "buckets": buckets}


@dataclass(frozen=True, slots=True)
class ServingSite:
    """Replicas of one server and how requests reach them.

    Args:
        spec: each replica.
        prefill, decode: replicas of either pool; with `prefill` 0, `decode` replicas do both.
        router: of each pool.
        period_s: of the policies.
        transfer_s: from prefill to decode.
        seed: for routers, the phase of the policies and the duration of a clock change.
        changes: of every server during the run.
    """

    spec: RandomReplica
    prefill: int = 0
    decode: int = 1
    router: Router = "round robin"
    period_s: float = 1.0
    transfer_s: float = 0.02
    seed: int | str = 0
    changes: tuple[EngineChange, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteOutcome:
    """Energy until the last request ended, and the times of every request as the load generator has them."""

    energy_j: float
    seconds: float
    ttft_s: list[float]
    itl_s: list[float]
    mean_mhz: float
    clock_changes: int
    decisions: int

    def attainment(self, ttft_s: float, itl_s: float) -> tuple[float, float]:
        """Shares of requests within the limits of the first token and of the mean time between tokens."""
        n = len(self.ttft_s)
        return sum(t <= ttft_s for t in self.ttft_s) / n, sum(t <= itl_s for t in self.itl_s) / n


MakeChoose = Callable[[Role], Choose]
FixedClocks = Mapping[Role, int]
"""A clock in MHz for the replicas of each role."""


def serve(
    site: ServingSite, arrivals: Sequence[Arrival], make: MakeChoose | FixedClocks | int, cache: RatesCache | None = None
) -> SiteOutcome:
    """Serve the arrivals under policies that `make` creates, or at fixed clocks in MHz."""
    shared = cache or RatesCache()
    top = site.spec.gpu.settings[-1]

    def pool(role: Role, count: int) -> list[SteeredReplica]:
        clock = make if isinstance(make, int) else make[role] if isinstance(make, Mapping) else top
        return [
            SteeredReplica(
                site.spec,
                shared,
                clock,
                None if isinstance(make, int | Mapping) else make(role),
                site.period_s,
                Random(f"{site.seed} {role} {number}"),
                site.changes,
                is_prefilled=role == "decode",
            )
            for number in range(count)
        ]

    n = len(arrivals)
    if not site.prefill:
        replicas = pool("both", site.decode)
        _route(replicas, [(at, number, prompt, output, None) for number, (at, prompt, output) in enumerate(arrivals)], site)
        ttft, itl = _times(replicas, n)
        return _outcome(replicas, ttft, itl)
    first, then = pool("prefill", site.prefill), pool("decode", site.decode)
    _route(first, [(at, number, prompt, 1, None) for number, (at, prompt, _) in enumerate(arrivals)], site)
    ttft, itl = _times(first, n)
    handed = []
    for number, (at, prompt, output) in enumerate(arrivals):
        if output > 1:
            first_s = at + ttft[number]
            handed.append((first_s + site.transfer_s, number, prompt + 1, output - 1, first_s))
    _route(then, sorted(handed), site)
    for number, (_, itl_s) in _logged(then):
        itl[number] = itl_s
    return _outcome([*first, *then], ttft, itl)


_Routed = tuple[float, int, int, int, float | None]


def _route(replicas: list[SteeredReplica], requests: Sequence[_Routed], site: ServingSite) -> None:
    """Give every request to a replica, and run them all to the end."""
    random, watches = Random(f"{site.seed} router"), site.router == "least queue" and len(replicas) > 1
    for replica in replicas:
        replica.replica.is_open = watches
    for turn, (at, number, prompt, output, first_s) in enumerate(requests):
        if watches:
            for replica in replicas:
                replica.advance(at)
            chosen = min(replicas, key=lambda one: one.load)
        elif site.router == "random":
            chosen = random.choice(replicas)
        else:
            chosen = replicas[turn % len(replicas)]
        chosen.push(number, at, prompt, output, first_s)
    for replica in replicas:
        replica.replica.is_open = False
        replica.advance(_NEVER)


def _logged(replicas: Sequence[SteeredReplica]) -> list[tuple[int, tuple[float, float]]]:
    return [(replica.numbers[index], (ttft, itl)) for replica in replicas for index, ttft, itl in replica.replica.log or ()]


def _times(replicas: Sequence[SteeredReplica], n: int) -> tuple[list[float], list[float]]:
    ttft, itl = [0.0] * n, [0.0] * n
    for number, (ttft_s, itl_s) in _logged(replicas):
        ttft[number], itl[number] = ttft_s, itl_s
    return ttft, itl


def _outcome(replicas: Sequence[SteeredReplica], ttft: list[float], itl: list[float]) -> SiteOutcome:
    end = max(one.replica.now_s for one in replicas)
    for one in replicas:
        one.wait(end)
    return SiteOutcome(
        sum(one.replica.energy_j for one in replicas),
        end,
        ttft,
        itl,
        sum(one.mhz_s for one in replicas) / (end * len(replicas)),
        sum(one.clock_changes for one in replicas),
        sum(one.decisions for one in replicas),
    )


def capacity(site: ServingSite, arrivals: Sequence[Arrival]) -> tuple[float, float]:
    """Requests per second that a replica of the prefill pool, and one of the decode pool, serves when all wait from the start.

    Without a prefill pool both figures are those of a replica that does both.
    """
    cache, top = RatesCache(), site.spec.gpu.settings[-1]
    figures = []
    roles: tuple[Role, ...] = ("prefill", "decode") if site.prefill else ("both",)
    for role in roles:
        one = SteeredReplica(site.spec, cache, top, is_prefilled=role == "decode")
        for number, (_, prompt, output) in enumerate(arrivals):
            one.push(number, 0.0, prompt, 1 if role == "prefill" else output, 0.0 if role == "decode" else None)
        one.advance(_NEVER)
        figures.append(len(arrivals) / one.replica.now_s)
    return figures[0], figures[-1]
