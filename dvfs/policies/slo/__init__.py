"""Policy `slo`: the lowest clock that keeps as many requests within the latency limits as the owner asks.

The target is an error budget (`ErrorBudget`): the share of requests that may miss the limit on the time to first token, and of
those that may miss the limit between tokens, over the last hours and, with twice that share, over the last 1,000 requests.
Misses are counted in the server's histograms (`_requests`) and remembered by clock.

After a calm time the clock falls, but not below what the arriving requests need (`_load`): to one that has kept the budget, or,
while hardly a request waits, to one that would keep it even if everything took as much longer as the clock is lower (half way
at a time), or by one step as a trial. It rises where more requests missed than the rest of the budget permits, where the mean
time between tokens exceeds its limit, and where more requests arrive than it can serve. A long queue, a spent budget, work of
another kind, missing or stale metrics, thermal trouble and a restart of the server release it at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, sqrt

from dvfs.policies._serving import (
    OPTIONS,
    QUEUE_GROWTH,
    LatencyInterval,
    LatencyReading,
    ServedPeriod,
    ServingOptions,
    configure,
    lock,
    period_of,
    unsteered,
)
from dvfs.policies.slo._load import ServerLoad
from dvfs.policies.slo._requests import LatencyShape, TokenTimes, WorkMeans
from dvfs.types import Decision, DvfsPolicy, Observation, Prediction, Setting, WorkCounters
from energy_agent.core.workloads.tokens import Latencies

_REQUESTS = 1000.0
# Four hours: chosen on seeds 19, 22, 23 and 29 of `benchmarks vllm_plant --long`. A day would keep the target as well, but
# after an hour in which the highest clock misses it, nothing would be saved for a day.
_HOURS_S = 3600.0, 14_400.0
_BURN = 2.0  # times the share that may miss, of the last requests; with conversations, 3 and 6 save as much, 1 a tenth less
_FIRST_S, _TAU_S = 60.0, 3600.0
_NS = 1_000_000_000
# Chosen on engines drawn at random, unless a comment gives another origin. From _NEW_REQUESTS to _WAIT, in `ErrorBudget` and in
# `_load`: on seeds 11 to 16 of `benchmarks vllm_plant`.
_CALM_S = 3.0  # between a change of the clock and a step down: a second or two of a batch say little
_FEW = 20  # requests at a clock before a step down that is not proven
_MANY = 60  # requests that prove a clock
_TRIAL = 0.8  # of the budget spent: beyond it no trial
_HASTE = 3.0  # times the rest of the budget may be missed at one clock, at most the budget
_MEMORY = 1000.0  # requests after which misses at each clock count half
_CHANCE = 1.0  # misses, and standard errors of them, that are chance
_SOON = 0.33  # of a request's time, whose mean between tokens foretells that of the whole
_MARGIN = 0.95  # of the limit between tokens: requests' means differ from that of their time
_POOL_MARGIN = 0.9  # the same in a decode pool, where the wait for the second token counts and no metric shows it
_NEW_REQUESTS, _NEW_S = 500, 300.0  # before one of both, the clock of a new server does not fall: its load is not known
_SETTLING_S = 5.0  # after a rise; 15 does as well
_LOAD = 0.9  # of what a clock can serve, up to which it may be chosen; up to 1 one step down, as a trial while nobody waits
_FEW_WAITING = 2  # requests, for which it does not rise; while more wait, it does not fall to a clock that is not proven
_WAIT = 0.35  # of the limit to the first token that the queue may take
_PACE = 5, 60  # requests that show how long one in the queue takes; beyond the second, older ones count half


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Requests, and those that missed, faded: by number, then by hours. `now_s`: when the last ones were added.

    The share that may miss is 1 - attainment, over the last hour and over the last four. Over the last 1,000 requests it is
    twice that: misses come in bursts of traffic, and after each of them the clock would stay high, although the hour has budget
    left. Google's SRE workbook ("Alerting on SLOs") calls the quotient the budget consumed, and lets a short window consume it
    faster than a long one too.

    Older requests fade: they count 37 % when they are as old as the window is long. Requests that wait when the budget is spent
    still come late. In a window with an end they would count whole for an hour and then not at all, and runs of several hours
    ended at 98.9 % with a target of 99 %. Faded ones keep the clock up until later requests in time have made up for them.
    """

    now_s: float = 0.0
    counts: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 3

    def add(self, now_s: float, requests: float, missed: float) -> "ErrorBudget":
        """With the requests of an interval that ends now."""
        kept = exp(-requests / _REQUESTS), *(exp((self.now_s - now_s) / length_s) for length_s in _HOURS_S)
        counts = ((keep * n + requests, keep * k + missed) for keep, (n, k) in zip(kept, self.counts, strict=True))
        return ErrorBudget(now_s, tuple(counts))

    def spent_ratio(self, allowed: float) -> float:
        """Share of the budget that is spent, where it is largest; a single miss is chance, so there may be one more."""
        shares = _BURN * allowed, allowed, allowed
        return max(k / (share * n + 1.0) for share, (n, k) in zip(shares, self.counts, strict=True))


@dataclass(frozen=True, slots=True)
class ShadowSaving:
    """Energy of the last hour, and by how much decisions that were not applied would at most have lowered it, in J.

    Old periods fade. The bounds follow from physics alone: at a clock r times as high, dynamic power is r * (V/V0)^2 of that
    before, and the voltage falls at most in proportion to the clock. Work that waits for memory takes no longer, and work that
    computes takes 1/r as long. How much of the power is dynamic is not known, at most all of it. So between none and 1 - r^3
    of the power is saved.
    """

    seconds: float = 0.0
    energy_j: float = 0.0
    less_j: float = 0.0

    def add(self, observation: Observation, seconds: float, clock_ratio: float) -> "ShadowSaving":
        """With a period in which the clock would have been `clock_ratio` of the original one."""
        powers = [device.power_mw for device in observation.devices]
        watts = sum(power or 0 for power in powers) / 1e3
        if None in powers or watts <= 0:
            return self
        fade = exp(-seconds / _TAU_S)
        less_j = self.less_j * fade + watts * (1.0 - clock_ratio**3) * seconds
        return ShadowSaving(self.seconds + seconds, self.energy_j * fade + watts * seconds, less_j)

    @property
    def saving_ratio(self) -> float | None:
        """At most this share of the energy; None in the first minute."""
        return self.less_j / self.energy_j if self.seconds >= _FIRST_S and self.energy_j > 0 else None


@dataclass(frozen=True, slots=True)
class SloState:
    """State of one group. Mappings are by latency, `ttft` and `itl`.

    Args:
        target: limits and clocks that the rest is about.
        reading, counters: the last ones.
        level: index of the clock in the grid; None: the original clock.
        before: the level before its last change.
        since_ns: time of its last change.
        requests, near_misses: since then: requests, and how many of them would have missed at each lower clock if everything
            had taken as much longer.
        budgets: error budgets.
        memory: requests and misses by latency and level.
        memory_age: requests since the memory was halved.
        first_tokens, means, token_times, work: what requests are like.
        pace: seconds of service, and first tokens in them.
        load: what arrives and what can be served.
        exposure: seconds and requests since the limits are these.
        resume_level: level to resume when the queue is short again; None: it is.
        settings: of the last decision.
        shadow: energy that the decisions would have saved in shadow mode.
    """

    target: tuple[object, ...] = ()
    reading: LatencyReading | None = None
    counters: WorkCounters | None = None
    level: int | None = None
    before: int | None = None
    since_ns: int = 0
    requests: float = 0.0
    near_misses: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    budgets: Mapping[str, ErrorBudget] = field(default_factory=dict)
    memory: Mapping[tuple[str, int], tuple[float, float]] = field(default_factory=dict)
    memory_age: float = 0.0
    first_tokens: LatencyShape = field(default_factory=LatencyShape)
    means: LatencyShape = field(default_factory=LatencyShape)
    token_times: TokenTimes = field(default_factory=TokenTimes)
    work: WorkMeans = field(default_factory=WorkMeans)
    pace: tuple[float, float] = (0.0, 0.0)
    load: ServerLoad = field(default_factory=ServerLoad)
    exposure: tuple[float, float] = (0.0, 0.0)
    resume_level: int | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    shadow: ShadowSaving = field(default_factory=ShadowSaving)


def decide(observation: Observation, state: SloState, config: ServingOptions) -> tuple[Decision, SloState]:
    """One round, see the module."""
    period = period_of(observation, state.reading, config.knees, config.levels, config.stale_ns)
    counters = observation.progress
    if not isinstance(period, ServedPeriod) or counters is None or state.counters is None:
        reason, reading = period if isinstance(period, tuple) else ("learning", period.reading)
        kept = SloState(state.target, budgets=state.budgets) if reason == "restarted" else state
        kept = replace(kept, reading=reading, counters=counters, resume_level=None)
        return unsteered(state.level, reason), _changed(observation, kept, None)
    target = observation.terms.ttft_s, observation.terms.itl_s, period.grid
    if target != state.target:  # misses of another limit say nothing of this one
        state = SloState(target, state.reading, state.counters, state.level, since_ns=state.since_ns)
    top = len(period.grid) - 1
    level = top if state.level is None else min(state.level, top)
    state = _learn(state, period, counters, observation.boot_ns / _NS)
    if state.work.is_other:  # of which nothing is known
        state = replace(state, memory={}, near_misses={}, requests=0.0, work=state.work.renewed(), load=ServerLoad())
        new, reason, resume_level = top, "other_work", None
    else:
        new, reason, resume_level = _choose(observation, state, period, level if observation.enforced else top)
    state = replace(state, reading=period.reading, counters=counters, resume_level=resume_level)
    if not observation.enforced:
        state = replace(state, shadow=state.shadow.add(observation, period.seconds, period.grid[new] / period.grid[top]))
    if new == level:
        return Decision("hold", reason), state
    decision = lock(observation, period.grid, new, reason)
    return decision, replace(_changed(observation, state, None if new == top else new), settings=decision.settings)


def _changed(observation: Observation, state: SloState, level: int | None) -> SloState:
    """At another level. In shadow mode requests remain those of the original clock."""
    if not observation.enforced:
        return replace(state, level=level)
    return replace(state, level=level, before=state.level, since_ns=observation.boot_ns, requests=0.0, near_misses={})


def _learn(state: SloState, period: ServedPeriod, counters: WorkCounters, now_s: float) -> SloState:
    """With the period in budgets and memory."""
    means = _ended_means(state.counters or counters, counters)
    state, counts = _measure(state, period, counters, means)
    requests = max(counts[name] for name in period.latencies)
    budgets, near_misses, memory = dict(state.budgets), dict(state.near_misses), dict(state.memory)
    level = _responsible_level(state, period, now_s)
    for name, interval in period.latencies.items():
        count, (misses, *below) = counts[name], _misses(state, period, interval, counts[name], means)
        budgets[name] = budgets.get(name, ErrorBudget()).add(now_s, count, misses)
        n, k = memory.get((name, level), (0.0, 0.0))
        proving = count if level == period.level else misses  # what is served at a higher clock proves no lower one
        memory[name, level] = n + proving, k + misses
        before = near_misses.get(name, ())
        is_same = len(before) == len(below)
        near_misses[name] = tuple(a + b for a, b in zip(before, below, strict=True)) if is_same else tuple(below)
    age, total = state.memory_age + requests, state.requests + requests
    if age > _MEMORY:
        age, total = 0.0, total / 2
        memory = {key: (n / 2, k / 2) for key, (n, k) in memory.items()}
        near_misses = {name: tuple(k / 2 for k in misses) for name, misses in near_misses.items()}
    return replace(state, budgets=budgets, near_misses=near_misses, memory=memory, memory_age=age, requests=total)


def _responsible_level(state: SloState, period: ServedPeriod, now_s: float) -> int:
    """The level to which misses are due: the one before a rise, until a queue has gone and requests of that time are served."""
    lower = state.resume_level
    if lower is None and now_s - state.since_ns / _NS < _SETTLING_S:
        lower = state.before
    return period.level if lower is None else min(lower, period.level)


def _measure(
    state: SloState, period: ServedPeriod, counters: WorkCounters, means: Latencies | None
) -> tuple[SloState, Mapping[str, float]]:
    """With what the period shows of requests; and how many got their first token, and how many got their last."""
    before, ttft, itl = state.counters or counters, period.latencies.get("ttft"), period.latencies.get("itl")
    ended = max(0, (counters.requests or 0) - (before.requests or 0))
    begun = ttft.observations.count if ttft is not None else ended
    counts = {"ttft": float(begun), "itl": float(begun if counters.requests is None else ended)}
    prompt_tokens = max(0, (counters.prompt_tokens or 0) - (before.prompt_tokens or 0))
    first_tokens, token_times, pace = state.first_tokens, state.token_times, state.pace
    batch = 1.0
    if itl is not None:
        token_times = token_times.add(begun, itl.observations.count, itl.observations.sum_s, period.seconds)
        batch = max(1.0, itl.observations.sum_s / max(1e-9, period.seconds))
        if means is not None:
            counts["itl"] = float(means.count)
            state = replace(state, means=state.means.add(means))
        elif ttft is None:  # those that ended come in bursts
            counts["itl"] = itl.observations.count / max(1.0, token_times.per_request)
    waits = period.reading.queue > 0 and state.reading is not None and state.reading.queue > 0
    if ttft is not None:
        first_tokens = first_tokens.add(ttft.observations)
        seconds = pace[0] + (min(ttft.observations.sum_s, period.seconds) if waits else ttft.observations.sum_s)
        pace = (seconds, pace[1] + begun) if pace[1] + begun <= _PACE[1] else (seconds / 2, (pace[1] + begun) / 2)
    load = state.load.add(period.seconds, counts["ttft"], period.grown, period.grid[period.level] if waits else None)
    exposure = state.exposure[0] + period.seconds, state.exposure[1] + counts["ttft"]
    work = state.work.add(begun, prompt_tokens, batch)
    state = replace(
        state, first_tokens=first_tokens, token_times=token_times, work=work, pace=pace, load=load, exposure=exposure
    )
    return state, counts


def _ended_means(before: WorkCounters, now: WorkCounters) -> Latencies | None:
    """Mean times between tokens of the requests that ended in between; None if not reported, or if the counters fell."""
    if before.tpot is None or now.tpot is None:
        return None
    try:
        return now.tpot.less(before.tpot)
    except ValueError:
        return None


def _misses(
    state: SloState, period: ServedPeriod, interval: LatencyInterval, requests: float, means: Latencies | None
) -> list[float]:
    """Requests of a period that missed the limit, and that would at each lower clock if they took as much longer."""
    factors = (1.0, *(period.grid[period.level] / mhz for mhz in period.grid[: period.level]))
    if not interval.is_mean:
        return [state.first_tokens.count_late(interval.observations, interval.limit_s, factor) for factor in factors]
    mean_s = state.token_times.mean_s() / (_MARGIN if "ttft" in period.latencies else _POOL_MARGIN)
    if means is None:
        return [requests * (mean_s * factor > interval.limit_s) for factor in factors]
    return [state.means.count_late(means, interval.limit_s, factor, mean_s) for factor in factors]


def _choose(observation: Observation, state: SloState, period: ServedPeriod, level: int) -> tuple[int, str, int | None]:
    """The next level, why, and the level to resume after a queue."""
    top, allowed = len(period.grid) - 1, 1.0 - observation.terms.attainment_ratio
    if _is_queue_long(state, period):
        return top, "queue", level if state.resume_level is None else state.resume_level
    spent = {name: state.budgets[name].spent_ratio(allowed) for name in period.latencies}
    most_spent = max(spent.values())
    if most_spent >= 1.0:
        return top, "budget_spent", None
    share = {name: allowed * min(1.0, _HASTE * (1.0 - part)) for name, part in spent.items()}

    def too_low(at: int) -> str:
        """The latency that was missed too often at this level or a higher one; "" if none was."""
        for (name, i), (n, k) in state.memory.items():
            if at <= i < top and name in share and k > share[name] * n + _CHANCE * (1.0 + sqrt(share[name] * n)):
                return name
        return ""

    lowest = next((i for i in range(top) if not too_low(i)), top)
    enough = next((i for i in range(top) if state.load.at(period.grid[i]) <= _LOAD), top)
    if enough >= level > 0 == period.reading.queue and state.load.at(period.grid[level - 1]) <= 1.0:
        enough = level - 1
    if state.resume_level is not None:
        return max(state.resume_level, lowest, enough), "resumed", None
    if enough > level and period.reading.queue > _FEW_WAITING and state.load.at(period.grid[level]) > 1.0:
        return enough, "load", None
    itl = period.latencies.get("itl")
    if itl is not None and level < top and state.token_times.mean_s(_SOON) > itl.limit_s:
        return level + 1, "itl", None
    if lowest > level:
        return lowest, too_low(level), None
    if level == 0:
        return 0, "knee", None
    if (observation.boot_ns - state.since_ns) / _NS < _CALM_S:
        return level, "calm", None
    seconds, requests = state.exposure
    if seconds < _NEW_S and requests < _NEW_REQUESTS:
        return level, "few", None
    for i in range(max(lowest, enough), level):
        if all(state.memory.get((name, i), (0.0, 0.0))[0] >= _MANY for name in share):
            return i, "proven", None
        if period.reading.queue <= _FEW_WAITING and (reason := _reason_to_try(observation, state, level, i, share, most_spent)):
            return i, reason, None
    return level, too_low(level - 1) or ("load" if enough >= level else "few"), None


def _reason_to_try(
    observation: Observation, state: SloState, level: int, lower: int, share: Mapping[str, float], most_spent: float
) -> str:
    """Why a lower level that is not proven may be used; "" if it may not."""
    if state.requests < _FEW:
        return ""
    near_misses = {name: state.near_misses.get(name, ()) for name in share}
    has_slack = all(len(k) == level and k[lower] <= share[name] * state.requests for name, k in near_misses.items())
    is_next, may_try = lower == level - 1, most_spent <= _TRIAL
    if has_slack and (is_next or (may_try and 2 * lower >= level - 2) or not observation.enforced):
        return "slack"
    return "trial" if is_next and may_try and observation.enforced else ""


def _is_queue_long(state: SloState, period: ServedPeriod) -> bool:
    """Whether the requests that wait are a reason to release the clock."""
    ttft, queue = period.latencies.get("ttft"), period.reading.queue
    seconds, requests = state.pace
    if ttft is None or requests < _PACE[0]:
        return period.grown >= QUEUE_GROWTH or (state.resume_level is not None and queue > 0)
    return queue * seconds / requests > _WAIT * ttft.limit_s


def predict(state: SloState, _config: ServingOptions) -> Prediction | None:
    """Bounds of the saving of its decisions in shadow mode; None in the first minute."""
    ratio = state.shadow.saving_ratio
    return None if ratio is None else Prediction(state.settings, ratio / 2, 0.0, ratio)


SPEC = DvfsPolicy(
    summary="serving: the lowest clock that keeps the error budgets of time to first token and time between tokens",
    options=OPTIONS,
    configure=configure,
    start=SloState,
    decide=decide,
    kind="slo",
    predict=predict,
)
