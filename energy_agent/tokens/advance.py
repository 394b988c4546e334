"""Counts of a model's engines from one reading to the next, across restarts of single engines. Pure."""

from collections.abc import Mapping

from energy_agent.core.workloads.tokens import Latencies, joined
from energy_agent.core.workloads.training_report import RATE_MAX
from energy_agent.tokens.counter_state import EngineCounters, ModelCounters
from energy_agent.tokens.reading import EndpointError, EngineReading, ModelReading
from energy_agent.tokens.server_spec import COUNTS, HISTOGRAMS, LATENCIES

COMPUTED = "computed"
DERIVED = "prompt - cached"
"""The name of `computed` where the page has none."""


class CounterDelta:
    """What a model's engines did between two readings."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.parts: dict[str, list[Latencies]] = {}
        self.restarted = False

    def latencies(self, key: str) -> Latencies | None:
        """The sum of all engines."""
        return joined(self.parts.get(key, ()))


def advance(model: ModelCounters, reading: ModelReading, *, first: bool, elapsed_s: float) -> CounterDelta:
    """What the engines did since the last reading; `model` stands at this one afterwards.

    Args:
        model: is changed.
        reading: of the model.
        first: the page was never read before, so what its counters say was done before it.
        elapsed_s: time since the last reading.

    Raises:
        EndpointError: an engine counts faster than any can; `model` is not usable any more.
    """
    allowed = int(RATE_MAX * (elapsed_s + 1))
    names = dict(reading.names)
    if COMPUTED not in names and "prompt" in names and model.names.get(COMPUTED, DERIVED) == DERIVED:
        names[COMPUTED] = DERIVED
    renamed = {key for key, name in names.items() if model.names.get(key, name) != name}
    if names.get(COMPUTED) == DERIVED and renamed & {"prompt", "cached"}:
        renamed.add(COMPUTED)
    model.names |= names
    grown = CounterDelta()
    for now in reading.engines:
        before = model.engines.pop(now.engine, None) or EngineCounters(from_zero=not first)
        if before.rank not in (None, now.rank):
            before = EngineCounters(from_zero=False)  # another rank's copy of the counters: it may stand elsewhere
        before.counts |= {key: None for key in renamed if key in COUNTS}
        before.latencies |= {key: None for key in renamed if key in HISTOGRAMS}
        if _started_again(before, now):
            before, grown.restarted = EngineCounters(), True
        model.engines[now.engine] = before  # behind those that were not on the page
        _count(before, now, grown, allowed, derive=names.get(COMPUTED) == DERIVED)
        _observe(before, now, grown, allowed)
        if not before.from_zero:
            before.counts |= {key: None for key in now.unreadable if key in COUNTS}
            before.latencies |= {key: None for key in now.unreadable if key in HISTOGRAMS}
        before.from_zero, before.rank = True, now.rank
        before.started_s = now.started_s if now.started_s is not None else before.started_s
    _add(model, names, reading, grown)
    return grown


def _started_again(before: EngineCounters, now: EngineReading) -> bool:
    """A changed start time, or any counter that fell."""
    if None not in (before.started_s, now.started_s) and before.started_s != now.started_s:
        return True
    counts = ((before.counts.get(key), n) for key, n in now.counts.items())
    if any(was is not None and n < was for was, n in counts):
        return True
    observed = ((before.latencies.get(key), h) for key, h in now.latencies.items())
    return any(was is not None and h.count < was.count for was, h in observed)


def _check_rate(key: str, grown: int, allowed: int) -> None:
    if grown > allowed:
        raise EndpointError(f"implausible counter: {key} grew by {grown}, more than {RATE_MAX} per second and engine")


def _count(before: EngineCounters, now: EngineReading, grown: CounterDelta, allowed: int, *, derive: bool) -> None:
    counts: Mapping[str, int] = now.counts
    if derive and "prompt" in counts and "cached" not in now.unreadable:
        # The two need not move at the same instant: what was computed does not fall for that.
        computed = max(counts["prompt"] - counts.get("cached", 0), before.counts.get(COMPUTED) or 0)
        counts = {**counts, COMPUTED: computed}
    for key, n in counts.items():
        was = before.counts.get(key, 0 if before.from_zero else None)
        if was is not None:
            _check_rate(key, n - was, allowed)
            grown.counts[key] = grown.counts.get(key, 0) + n - was
        before.counts[key] = n


def _observe(before: EngineCounters, now: EngineReading, grown: CounterDelta, allowed: int) -> None:
    for key, histogram in now.latencies.items():
        if key in before.latencies:
            was = before.latencies[key]
            more = None if was is None else _less(histogram, was)
        else:
            more = histogram if before.from_zero else None
        if more is not None:
            _check_rate(key, more.count, allowed)
            grown.parts.setdefault(key, []).append(more)
        before.latencies[key] = histogram


def _less(now: Latencies, was: Latencies) -> Latencies | None:
    try:
        return now.less(was)
    except ValueError:  # other buckets than before: the increase per bucket is unknown
        return None


def _add(model: ModelCounters, names: Mapping[str, str], reading: ModelReading, grown: CounterDelta) -> None:
    """Add to the totals; the total of each metric of the endpoint starts at 0."""
    for key in names:
        if key in COUNTS:
            model.counts[key] = model.counts.get(key, 0) + grown.counts.get(key, 0)
    for key in LATENCIES:
        total = [model.latencies[key]] if key in model.latencies else []
        shapes = {(h.edges, h.is_sum_exact) for e in reading.engines if (h := e.latencies.get(key)) is not None}
        empty = [Latencies(edges, (0,) * (len(edges) + 1), 0.0, is_exact) for edges, is_exact in shapes]
        sum_ = joined([*total, *empty, *grown.parts.get(key, ())])
        if sum_ is not None:
            model.latencies[key] = sum_
