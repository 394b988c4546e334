"""What a policy of a server goes by: the clocks to choose from, and the latencies between two readings of a server. Pure.

A time to first token counts as the upper edge of its histogram bucket. So where the edges do not resolve the limit, the
observations around it count as misses, and the clock stays high. The limit between tokens is one on the mean of each request,
which a histogram of single gaps does not have: all requests that decode get their tokens together, so it is compared with the
mean of all gaps of a period. A step with accepted drafts brings several tokens and may be one gap (vLLM), so the mean is that
per token where the server counts tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from dvfs.knees import Knee, clock_grid, find
from dvfs.policies._options import checked
from dvfs.policies._trouble import trouble
from dvfs.types import Decision, Observation, Setting
from energy_agent.core.workloads.error_budget import LatencyInterval as LatencyInterval  # re-exported to the policies
from energy_agent.core.workloads.tokens import Latencies

_MOST_SEEN = 10**9  # observations of a period: more is no server's
_LIVE_SHARE = 0.9  # of the gaps: the last step of a request may bring tokens beyond its end, which do not count
_LIVE_PERIODS = 10  # counters that move when a request ends soon show a period with fewer tokens than gaps
_LIVE_GAPS = 20  # in a period; fewer show nothing
QUEUE_GROWTH = 2  # more requests waiting than one period before: the server is falling behind


def grid_of(observation: Observation, knees: Sequence[Knee], levels: int) -> tuple[int, ...] | str:
    """Clocks of a group, from its highest knee to its lowest maximum; or the reason for their absence in one word."""
    given = sorted(set(observation.clocks_mhz))
    if given:
        return tuple(sorted({given[round(i * (len(given) - 1) / (levels - 1))] for i in range(levels)}))
    rows = [find(knees, device.sku) for device in observation.devices]
    tops = [device.sm_clock_max_mhz for device in observation.devices]
    lowest, highest = [row.knee_mhz for row in rows if row], [top for top in tops if top is not None]
    if len(highest) < len(tops):
        return "missing"
    if len(lowest) < len(rows):
        return "unknown_sku"
    return clock_grid(max(lowest), min(highest), levels) if max(lowest) < min(highest) else "no_room"


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """Options of a policy that chooses clocks by latency. `levels`: clocks to choose from."""

    knees: tuple[Knee, ...]
    levels: int
    stale_ns: int


OPTIONS: Mapping[str, str] = {
    "levels": "clocks between knee and maximum to choose from (default 12)",
    "stale_s": "age in seconds at which a reading counts as missing (default 5)",
}


def configure(options: Mapping[str, object], knees: Sequence[Knee]) -> ServingOptions:
    """Config from the user's options. Raises UsageError."""
    values = checked("slo", options, {"levels": 12, "stale_s": 5.0}, {"levels": (2, 32), "stale_s": (0.1, 3600.0)})
    return ServingOptions(tuple(knees), int(values["levels"]), int(values["stale_s"] * 1e9))


@dataclass(frozen=True, slots=True)
class LatencyReading:
    """Both histograms of a server, where there is a limit, its queue and its tokens, at one instant.

    Args:
        boot_ns: when it was taken.
        queue: requests that wait.
        ttft, itl: the histograms.
        next_tokens: generated tokens but for the first of each request; None: not reported.
        live_periods: periods in which there was a token for each gap, as of counters that move with each step; -1: they do not.
    """

    boot_ns: int
    queue: int
    ttft: Latencies | None
    itl: Latencies | None
    next_tokens: int | None = None
    live_periods: int = 0


def read(observation: Observation, stale_ns: int) -> LatencyReading | str:
    """The reading now; in one word why the clock may not be steered by it."""
    reason, terms, progress = trouble(observation, stale_ns), observation.terms, observation.progress
    if reason or progress is None:
        return reason or "no_progress"
    if terms.ttft_s is None and terms.itl_s is None:
        return "no_slo"
    ttft = progress.ttft if terms.ttft_s is not None else None
    itl = progress.itl if terms.itl_s is not None else None
    if progress.queue is None:
        return "missing_queue"
    if (terms.ttft_s and not ttft) or (terms.itl_s and not itl):
        return "missing_ttft" if terms.ttft_s and not ttft else "missing_itl"
    first = progress.ttft.count if progress.ttft is not None else progress.requests
    next_tokens = None if progress.tokens is None or first is None else progress.tokens - first
    return LatencyReading(progress.boot_ns, progress.queue, ttft, itl, next_tokens)


def between(observation: Observation, before: LatencyReading, now: LatencyReading) -> dict[str, LatencyInterval] | None:
    """The new observations of each latency that has a limit; None if the server restarted, or shows what no server does."""
    terms, latencies = observation.terms, {}
    for name, limit_s, old, new in (
        ("ttft", terms.ttft_s, before.ttft, now.ttft),
        ("itl", terms.itl_s, before.itl, now.itl),
    ):
        if limit_s is not None and new is not None and old is not None:
            try:
                interval = LatencyInterval(limit_s, new.less(old), name == "itl")
            except ValueError:
                return None
            if interval.observations.count > _MOST_SEEN or not isfinite(interval.observations.sum_s):
                return None
            latencies[name] = interval
    return latencies


@dataclass(frozen=True, slots=True)
class ServedPeriod:
    """The time between two readings of a server that may be steered.

    Args:
        grid: clocks to choose from, rising.
        level: index of the applied clock.
        reading: at its end.
        seconds: its length.
        latencies: new observations of each latency with a limit.
        grown: so many more requests wait than before.
    """

    grid: tuple[int, ...]
    level: int
    reading: LatencyReading
    seconds: float
    latencies: Mapping[str, LatencyInterval]
    grown: int


def period_of(
    observation: Observation,
    before: LatencyReading | None,
    knees: Sequence[Knee],
    levels: int,
    stale_ns: int,
) -> ServedPeriod | tuple[str, LatencyReading | None]:
    """The period since `before`; or in one word the reason for its absence, with the reading to continue from."""
    now = read(observation, stale_ns)
    if isinstance(now, str):
        return now, None
    grid = grid_of(observation, knees, levels)
    if isinstance(grid, str):
        return grid, now
    if before is None or (before.ttft is None) != (now.ttft is None) or (before.itl is None) != (now.itl is None):
        return "learning", now  # also after the owner added or removed a limit
    seconds, latencies = (now.boot_ns - before.boot_ns) / 1e9, between(observation, before, now)
    if latencies is None or not 0 <= seconds <= stale_ns / 1e9:
        return "restarted" if latencies is None else "gap", now
    in_force = observation.in_force if observation.enforced else {}
    if "itl" in latencies:
        itl, live_periods = _per_token(latencies["itl"], before, now)
        now = replace(now, live_periods=live_periods)
        if itl is None:
            return "learning", now
        latencies["itl"] = itl
    locks = [in_force.get(device.uuid, Setting()).sm_clock_max_mhz or grid[-1] for device in observation.devices]
    level = min(range(len(grid)), key=lambda i: abs(grid[i] - max(locks)))
    return ServedPeriod(grid, level, now, seconds, latencies, now.queue - before.queue)


def _per_token(itl: LatencyInterval, before: LatencyReading, now: LatencyReading) -> tuple[LatencyInterval | None, int]:
    """Gaps as if each token had one, None while that is not known; and `live_periods`."""
    gaps, live_periods = itl.observations.count, before.live_periods
    if now.next_tokens is None or before.next_tokens is None or live_periods < 0:
        return itl, live_periods
    tokens = now.next_tokens - before.next_tokens
    if gaps >= _LIVE_GAPS:
        live_periods = min(live_periods + 1, _LIVE_PERIODS) if _LIVE_SHARE * gaps <= tokens <= _MOST_SEEN else -1
    if live_periods < 0 or tokens * _LIVE_SHARE <= gaps:
        return itl, live_periods
    if live_periods < _LIVE_PERIODS:
        return None, live_periods
    return replace(itl, observations=Latencies((), (tokens,), itl.observations.sum_s)), live_periods


def lock(observation: Observation, grid: Sequence[int], level: int, reason: str) -> Decision:
    """A decision for a level of the grid; the highest one is a release."""
    if level >= len(grid) - 1:
        return Decision("release", reason)
    return Decision("set", reason, {device.uuid: Setting(sm_clock_max_mhz=grid[level]) for device in observation.devices})


def unsteered(level: int | None, reason: str) -> Decision:
    """The decision for the original clock, where `level` was applied; None: it is the original one already."""
    return Decision("hold" if level is None else "release", reason)
