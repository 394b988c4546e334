"""Policy `slo`: the lowest clock at which so many requests keep the latency limits as the owner asks.

The target is an error budget (`_budget`): the share of requests that may miss the limit on the time to first token, and of
those that may miss the limit between tokens, each over the last 1,000 requests and the last hour. Misses are counted in the
server's histograms (`_misses`) and remembered by batch and clock (`_experience`). A clock is used if the requests that were
served at it keep the budget, or would even if everything were as much slower as the clock is lower. Otherwise one step down is
tried after a calm time, as long as half the budget is left. Queue growth, a spent budget, missing or stale metrics, thermal
trouble and a restart of the server release the clock at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import exp, log2

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
from dvfs.policies._shadow_saving import ShadowSaving
from dvfs.policies.slo._budget import REQUESTS, ErrorBudget
from dvfs.policies.slo._experience import QUEUED, Experience, MissCurve, curve
from dvfs.policies.slo._misses import itl_misses, ttft_misses
from dvfs.policies.slo._work import WorkMeans
from dvfs.types import Decision, DvfsPolicy, Observation, Prediction, Setting, WorkCounters

_NS = 1_000_000_000
_CALM_S = 3.0  # before a step that is a trial: a second or two of a batch say little
_FEW = 20  # requests at a clock before the next step is tried
_MANY = 100  # requests that prove a clock: one in a hundred prompts may be long
_AIM = 0.75  # of the budget: misses come in bursts
_SHARES = (0.5, 0.8, 5.0)  # least, first and most of what one load may miss, in budgets: others miss less
_QUEUED = 0.1  # of the time with a queue: near saturation a backlog is not made up for
_QUEUED_S = 300.0  # that this is the mean of
_MARGIN = 0.95  # of the limit between tokens: requests' means differ from that of their time
_HARMFUL = 0.3  # of the budget spent, from which a queue counts in full
_TRIAL = 0.5  # of the budget spent: beyond it no step is tried
_LARGEST = 2.0**16  # batch
_BURST = 0.1  # of an interval's requests that missed: a clock that is plainly too low, whatever the budget


@dataclass(frozen=True, slots=True)
class SloState:
    """State of one group. Mappings are by latency, `ttft` and `itl`.

    Args:
        asked: limits and clocks that the rest is about.
        reading, counters: the last ones.
        level: index of the clock in the grid; None: the original clock.
        since_ns, served: time of the last change of the clock, and requests since then.
        budgets: error budgets.
        shares: of the requests of one load that may miss, in budgets.
        known: misses by load and clock.
        work: mean prompt, output and gap.
        blame: load and level at which a queue began to grow, until it has gone.
        queued: share of the time with such a queue, of the last minutes.
        wanted: the settings of the last decision.
        shadow: energy that the decisions would have saved in shadow mode.
    """

    asked: tuple[object, ...] = ()
    reading: LatencyReading | None = None
    counters: WorkCounters | None = None
    level: int | None = None
    since_ns: int = 0
    served: float = 0.0
    budgets: Mapping[str, ErrorBudget] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    known: Mapping[str, Experience] = field(default_factory=dict)
    work: WorkMeans = field(default_factory=WorkMeans)
    blame: tuple[int, int] | None = None
    queued: float = 0.0
    wanted: Mapping[str, Setting] = field(default_factory=dict)
    shadow: ShadowSaving = field(default_factory=ShadowSaving)


def decide(observation: Observation, state: SloState, config: ServingOptions) -> tuple[Decision, SloState]:
    """One round, see the module."""
    period = period_of(observation, state.reading, config.knees, config.levels, config.stale_ns, shadow=True)
    counters = observation.progress
    if not isinstance(period, ServedPeriod) or counters is None or state.counters is None:
        reason, reading = period if isinstance(period, tuple) else ("learning", period.reading)
        kept = SloState(state.asked, budgets=state.budgets) if reason == "restarted" else state
        kept = replace(
            kept, reading=reading, counters=counters, level=None, since_ns=observation.boot_ns, served=0.0, blame=None
        )
        return unsteered(state.level, reason), kept
    asked = observation.terms.ttft_s, observation.terms.itl_s, period.grid
    if asked != state.asked:  # misses of another limit say nothing of this one
        state = SloState(asked, state.reading, state.counters, state.level, state.since_ns)
    top = len(period.grid) - 1
    load = _load(period, counters)
    state, seen = _learn(state, period, counters, load, observation)
    level = top if state.level is None else min(state.level, top)
    new, reason = _choose(observation, state, period, load, level, seen)
    state = replace(state, reading=period.reading, counters=counters)
    if not observation.enforced:
        state = replace(state, shadow=state.shadow.add(observation, period.seconds, period.grid[new] / period.grid[top]))
    if new == level:
        return Decision("hold", reason), state
    decision, applied = lock(observation, period.grid, new, reason), None if new == top else new
    return decision, replace(state, level=applied, since_ns=observation.boot_ns, served=0.0, wanted=decision.settings)


def _load(period: ServedPeriod, counters: WorkCounters) -> int:
    """Mean batch of the period or batch now, whichever is larger, as a power of two."""
    itl = period.seen.get("itl")
    mean = itl.seen.sum_s / period.seconds if itl is not None and period.seconds > 0 else 0.0
    return round(log2(min(_LARGEST, max(1.0, mean, counters.running or 0))))


def _learn(
    state: SloState, period: ServedPeriod, counters: WorkCounters, load: int, observation: Observation
) -> tuple[SloState, Mapping[str, MissCurve]]:
    """With the period in budgets and experience; and the misses of the period, by latency."""
    before = state.counters or counters
    ttft, itl = period.seen.get("ttft"), period.seen.get("itl")
    requests = ttft.seen.count if ttft is not None else max(0, (counters.requests or 0) - (before.requests or 0))
    prompts = max(0, (counters.prompt_tokens or 0) - (before.prompt_tokens or 0))
    gaps = itl.seen if itl is not None else None
    work = state.work.add(requests, prompts, gaps, period.seconds, (load, period.level))
    if work.is_other:  # of which nothing is known
        state = replace(state, known={}, shares={})
    seen = {name: _misses(period, interval, work) for name, interval in period.seen.items()}
    blame = state.blame
    refused = blame is None and period.grown >= QUEUE_GROWTH
    blame = (load, period.level) if refused else blame
    budgets, known, shares = dict(state.budgets), dict(state.known), dict(state.shares)
    allowed, now_s = 1.0 - observation.terms.attainment_ratio, observation.boot_ns / _NS
    for name, one in seen.items():
        budgets[name] = budgets.get(name, ErrorBudget()).add(now_s, one.requests, one.missed[0])
        one = one.add(QUEUED) if refused and period.level < len(period.grid) - 1 else one
        known[name] = known.get(name, Experience()).add(*(blame or (load, period.level)), one, now_s)
        growth = exp(max(-1.0, min(1.0, (_AIM * one.requests - one.missed[0] / allowed) / REQUESTS)))
        shares[name] = min(_SHARES[2], max(_SHARES[0], shares.get(name, _SHARES[1]) * growth))
    queued = state.queued + (float(blame is not None) - state.queued) * (1.0 - exp(-period.seconds / _QUEUED_S))
    served = state.served + max((one.requests for one in seen.values()), default=0.0)
    blame = blame if period.reading.queue else None
    return replace(
        state, budgets=budgets, shares=shares, known=known, work=work, blame=blame, queued=queued, served=served
    ), seen


def _misses(period: ServedPeriod, interval: LatencyInterval, work: WorkMeans) -> MissCurve:
    if not interval.is_mean:
        return curve(interval.seen.count, partial(ttft_misses, interval.seen, interval.limit_s))
    requests = interval.seen.count / work.gaps
    # In a decode pool only the queue shows the wait for the second token, which by Little's law takes so long.
    wait_s = 0.0 if "ttft" in period.seen else period.reading.queue * period.seconds / max(1.0, requests)
    limit_s = _MARGIN * interval.limit_s
    return curve(requests, lambda factor: requests * itl_misses(work.recent, limit_s, work.gaps, factor, wait_s))


def _choose(
    observation: Observation, state: SloState, period: ServedPeriod, load: int, level: int, seen: Mapping[str, MissCurve]
) -> tuple[int, str]:
    """The next level, and why."""
    allowed, top = 1.0 - observation.terms.attainment_ratio, len(period.grid) - 1
    spent = {name: state.budgets[name].spent_ratio(allowed) for name in seen}
    queued = state.queued * min(1.0, max(spent.values()) / _HARMFUL)  # a queue by which nobody misses is welcome
    if state.blame is not None or period.grown >= QUEUE_GROWTH or queued > _QUEUED:
        return top, "queue"
    if max(spent.values()) >= 1.0:
        return top, "budget_spent"
    burst = [name for name, one in seen.items() if one.missed[0] >= 2 and one.missed[0] > _BURST * one.requests]
    if burst:
        return level + (top - level + 1) // 2, burst[0]
    share = {name: allowed * state.shares[name] * min(1.0, 2.0 * (1.0 - spent[name]), 1.0 - queued / _QUEUED) for name in seen}
    new, reason = top, max(spent, key=lambda name: spent[name])
    for candidate in range(top):
        open_ones = [name for name in seen if not _is_kept(state.known[name], period, load, candidate, share[name])]
        if not open_ones:
            new = candidate
            break
        reason = open_ones[0]
    calm_s = (observation.boot_ns - state.since_ns) / _NS
    may_try = observation.enforced and calm_s >= _CALM_S and state.served >= _FEW and max(spent.values()) <= _TRIAL
    if may_try and 0 < new >= level and not any(state.known[name].is_missed(load, new - 1, share[name]) for name in seen):
        itl = period.seen.get("itl")
        if itl is None or state.work.expected_gap_s(load, new - 1, period.grid) < itl.limit_s:
            return new - 1, "trial"
    return new, reason if new else "knee"


def _is_kept(known: Experience, period: ServedPeriod, load: int, level: int, share: float) -> bool:
    """Whether at this load and clock at most `share` of the requests miss, as far as was seen."""
    requests, missed = known.at_most(load, level, period.grid, _MANY)
    return not known.is_missed(load, level, share) and requests >= _MANY and missed <= share * requests + 0.5


def predict(state: SloState, _config: ServingOptions) -> Prediction | None:
    """Bounds of the saving of its decisions in shadow mode; None in the first minute."""
    ratio = state.shadow.saving_ratio
    return None if ratio is None else Prediction(state.wanted, ratio / 2, 0.0, ratio)


SPEC = DvfsPolicy(
    summary="serving: the lowest clock that keeps the error budgets of time to first token and time between tokens",
    options=OPTIONS,
    configure=partial(configure, "slo"),
    start=SloState,
    decide=decide,
    kind="slo",
    predict=predict,
    serves=True,
)
