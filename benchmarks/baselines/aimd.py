"""Baseline `aimd`: serves at the lowest clock that keeps the measured latency slack: fast up, slow down.

It counts misses of both limits, from the growth of the histograms, and compares them
with the share that the SLO permits. Misses halve the distance to the highest clock. One step down follows after a calm time
with slack: the observations at this clock would keep the limits even if they took longer in proportion to the clock, or so many
were observed that their misses are certain to be few. A growing queue, a spent error budget and missing or stale metrics
release the clock at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp

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
from dvfs.types import Decision, DvfsPolicy, Observation

_NS = 1_000_000_000
_CALM_S = 5.0  # before a step down; stepping each second would outrun the histograms, which show a request when it ends
_BUDGET_S = 600.0  # of memory for the error budget: the shortest window that holds hundreds of requests under light load
_RESERVE = 0.5  # of the error budget: beyond it no step down, since detecting a bad step costs misses too
_FEW = 20  # observations at a clock, below which slack is luck
_BURST = 0.1  # share of an interval's observations that missed: a clock that is plainly too low, whatever the budget


@dataclass(frozen=True, slots=True)
class MissCount:
    """Observations, those above the limit, and those that would be if they took longer by a factor."""

    count: float = 0.0
    missed: float = 0.0
    near: float = 0.0

    def add(self, interval: LatencyInterval, stretch: float = 1.0, fade: float = 1.0) -> "MissCount":
        """With the observations of an interval; earlier ones fade."""
        count, missed, near = self.count * fade, self.missed * fade, self.near * fade
        return MissCount(count + interval.observations.count, missed + interval.missed(), near + interval.missed(stretch))


@dataclass(frozen=True, slots=True)
class AimdState:
    """State of one group. `level`: index of the clock in the grid, None: the original clock.

    `recent` is the error budget's memory, `here` counts since the last change. `resume`: the level before the queue grew.
    """

    reading: LatencyReading | None = None
    level: int | None = None
    since_ns: int = 0
    recent: Mapping[str, MissCount] = field(default_factory=dict)
    here: Mapping[str, MissCount] = field(default_factory=dict)
    resume: int | None = None


def decide(observation: Observation, state: AimdState, config: ServingOptions) -> tuple[Decision, AimdState]:
    """One round, see the module."""
    period = period_of(observation, state.reading, config.knees, config.levels, config.stale_ns)
    if not isinstance(period, ServedPeriod):
        next_state = AimdState(period[1], since_ns=observation.boot_ns, recent=state.recent)
        return unsteered(state.level, period[0]), next_state
    grid, latencies, top = period.grid, period.latencies, len(period.grid) - 1
    level = top if state.level is None else min(state.level, top)
    stretch, fade = grid[level] / grid[max(0, level - 1)], exp(-period.seconds / _BUDGET_S)
    recent = {name: state.recent.get(name, MissCount()).add(interval, stretch, fade) for name, interval in latencies.items()}
    here = {name: state.here.get(name, MissCount()).add(interval, stretch) for name, interval in latencies.items()}
    state = replace(state, reading=period.reading, recent=recent, here=here)
    new, reason, resume = _next_level(observation, state, latencies, level, top, period.grown)
    if new == level:
        return Decision("hold", reason), replace(state, resume=resume)
    now, applied = observation.boot_ns, None if new == top else new
    return lock(observation, grid, new, reason), replace(state, level=applied, since_ns=now, here={}, resume=resume)


def _next_level(
    observation: Observation, state: AimdState, latencies: Mapping[str, LatencyInterval], level: int, top: int, grown: int
) -> tuple[int, str, int | None]:
    """The next level, why, and the level to resume after a queue."""
    budget = 1.0 - observation.terms.attainment_ratio
    if grown >= QUEUE_GROWTH:
        return top, "queue", level if state.resume is None else state.resume
    spent = {name: past.missed / (budget * past.count + 1.0) for name, past in state.recent.items()}  # a single miss is chance
    missed = {name: interval.missed() for name, interval in latencies.items()}
    late = max(missed, key=lambda name: spent[name] if missed[name] else -1.0)
    if max(spent.values()) >= 1.0:
        return top, "budget_spent", None
    burst = any(n >= 2 and n > _BURST * latencies[name].observations.count for name, n in missed.items())
    if burst or (missed[late] and spent[late] > _RESERVE):
        return level + (top - level + 1) // 2, late, None
    if state.resume is not None:
        return (min(top, state.resume + 1), "resumed", None) if grown <= 0 else (level, "queue", state.resume)
    calm_s = (observation.boot_ns - state.since_ns) / _NS
    if level and calm_s >= _CALM_S and max(spent.values()) <= _RESERVE:
        if not (tight := [name for name, here in state.here.items() if not _has_slack(name, here, budget)]):
            return level - 1, "slack", None
        return level, tight[0], None
    return level, "knee" if not level else "calm", None


def _has_slack(name: str, here: MissCount, budget: float) -> bool:
    if here.count >= _FEW and here.near <= budget * here.count:
        return True
    # Within a bucket a histogram cannot show slack, so the next clock is tried. A mean shows it.
    return name == "ttft" and here.count >= 1.0 / budget and here.missed <= _RESERVE * budget * here.count


SPEC = DvfsPolicy("clock steps on measured latency slack", OPTIONS, configure, AimdState, decide, "slo")
