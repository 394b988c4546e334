"""Profile of a GPU's sensors from its own readings: tick, jitter, step, window of instant power, counter against power. Pure.

The load may be any: the profile uses the changes that occur, and an estimate is absent, with the reason, if there were too few.
All comparisons are of the GPU with itself, so that its unknown gain cancels.

The window. Let a load step from L0 to L1 at u before a tick of length T. A counter that sees everything shows the mean power
M = L1 + (L0 - L1) (T - u) / T of that tick, so u = T (L0 - M) / (L0 - L1); power that is the mean of the last w shows
P = L1 + (L0 - L1) f with f = max(0, 1 - u / w). Steps with 0 < f < 1 give w = u / (1 - f). A counter that only sums the power
samples does not determine u; then w / T is the share of steps with an f in between, since a load is independent of the ticks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, pstdev, stdev
from typing import Any

MIN_TICKS, MIN_STEPS = 20, 5
STEADY = "the load did not vary enough"
UNCLEAN = "the load ramped, or changed more than once within a tick"
_Z = 1.96
_TRAIL_MAX = 20  # ticks


@dataclass(frozen=True, slots=True)
class SensorTick:
    """A reading that differs from the one before it.

    Args:
        after_ns: boot-clock instant before which the old values were still read.
        by_ns: instant by which the new ones were.
        energy_mj: the counter, from now on.
        power_mw: instant power, from now on; None if the GPU does not report it.
    """

    after_ns: int
    by_ns: int
    energy_mj: int
    power_mw: int | None


@dataclass(frozen=True, slots=True)
class ProfileEstimate:
    """A value within [low, high] at 95 %, from `n` observations; or None with the reason."""

    value: float | None
    low: float = 0.0
    high: float = 0.0
    n: int = 0
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """{"value", "low", "high", "n"}, or {"absent": reason}."""
        if self.value is None:
            return {"absent": self.reason}
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4), "n": self.n}


@dataclass(frozen=True, slots=True)
class SensorProfile:
    """All of one board. Times in ms; `counter_step_mj` is the greatest common divisor of the counter's differences."""

    tick_ms: ProfileEstimate
    tick_jitter_ms: ProfileEstimate
    tick_max_ms: ProfileEstimate
    counter_step_mj: ProfileEstimate
    counter_to_power_ratio: ProfileEstimate
    power_window_ms: ProfileEstimate
    power_age_ms: ProfileEstimate
    counter_model: str  # full: sees all energy | sampled: sums power samples | undecided
    counter_model_reason: str

    def as_json(self) -> dict[str, Any]:
        """By field."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {k: v.as_json() if isinstance(v, ProfileEstimate) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class _Tick:
    """The interval between two ticks: its length, the uncertainty of that length, its energy, and the power at its end."""

    ns: float
    doubt_ns: float
    uj: int
    power_mw: int | None

    @property
    def mean_mw(self) -> float:
        return self.uj * 1e6 / self.ns


def absent(reason: str) -> SensorProfile:
    """The profile of a GPU whose readings do not determine it, with the reason."""
    none = ProfileEstimate(None, reason=reason)
    return SensorProfile(none, none, none, none, none, none, none, "undecided", reason)


def profile(changes: Sequence[SensorTick]) -> SensorProfile:
    """The sensor profile of a GPU from its changes in order of time; the first change only gives the initial counter."""
    runs = _runs(changes)
    ticks = [t for run in runs for t in run]
    if len(ticks) < MIN_TICKS:
        return absent(
            f"{len(ticks)} whole ticks observed, {MIN_TICKS} required: measure for longer, or with fewer programs running"
        )
    tick = _tick(ticks)
    jitter, longest = _jitter(ticks)
    step = math.gcd(*(t.uj // 1000 for t in ticks))
    window, model, why = _window(runs, tick)
    return SensorProfile(
        tick,
        jitter,
        longest,
        ProfileEstimate(step, 1, step, len(ticks)),
        _ratio(ticks),
        window,
        _age(tick, longest, window),
        model,
        why,
    )


def _runs(changes: Sequence[SensorTick]) -> list[list[_Tick]]:
    """Ticks in unbroken runs. Where we looked away for a quarter of a tick or more, the run ends."""
    edges: list[SensorTick] = []
    for change in changes:
        if edges and change.energy_mj == edges[-1].energy_mj:  # power alone: it belongs to the tick before
            last = edges[-1]
            edges[-1] = SensorTick(last.after_ns, last.by_ns, last.energy_mj, change.power_mw)
        else:
            edges.append(change)
    edges = edges[1:]  # where the first one began nobody saw
    if len(edges) < 3:
        return []
    usual_ns = median(b.by_ns - a.by_ns for a, b in pairwise(edges))
    runs: list[list[_Tick]] = [[]]
    for a, b in pairwise(edges):
        doubts = (a.by_ns - a.after_ns, b.by_ns - b.after_ns)
        uj = (b.energy_mj - a.energy_mj) * 1000
        if max(doubts) > usual_ns / 4 or uj <= 0:
            runs.append([])
            continue
        length_ns = (b.by_ns + b.after_ns - a.by_ns - a.after_ns) / 2
        runs[-1].append(_Tick(length_ns, sum(doubts) / 2, uj, b.power_mw))
    return [r for r in runs if r]


def _tick(ticks: Sequence[_Tick]) -> ProfileEstimate:
    lengths = [t.ns / 1e6 for t in ticks]
    error = _Z * stdev(lengths) / math.sqrt(len(ticks)) + fmean(t.doubt_ns for t in ticks) / 1e6 / len(ticks)
    mean = fmean(lengths)
    return ProfileEstimate(mean, mean - error, mean + error, len(ticks))


def _jitter(ticks: Sequence[_Tick]) -> tuple[ProfileEstimate, ProfileEstimate]:
    """Half the range of the ticks' lengths, and the longest that a tick is to be taken for.

    The low bound takes each length as near to the others as the instants of our looks allow, the high one as far. What n ticks
    did not show, a further one may: the range of n draws lacks 2 / (n + 1) of a uniform law's.
    """
    n = len(ticks)
    spread = max(t.ns for t in ticks) - min(t.ns for t in ticks)
    inner = max(0.0, max(t.ns - t.doubt_ns for t in ticks) - min(t.ns + t.doubt_ns for t in ticks))
    outer = max(t.ns + t.doubt_ns for t in ticks) - min(t.ns - t.doubt_ns for t in ticks)
    further = 1.0 + 2.0 / (n - 1)
    jitter = ProfileEstimate(spread / 2e6, inner / 2e6, outer * further / 2e6, n)
    most, sure = max(t.ns for t in ticks), max(t.ns - t.doubt_ns for t in ticks)
    high = max(t.ns + t.doubt_ns for t in ticks) + outer * (further - 1.0)
    return jitter, ProfileEstimate(most / 1e6, sure / 1e6, high / 1e6, n)


def _ratio(ticks: Sequence[_Tick]) -> ProfileEstimate:
    """Energy by the counter over power integrated from tick to tick; 1 where they agree, whatever their common gain."""
    pairs = [(float(t.uj), t.power_mw * t.ns / 1e6) for t in ticks if t.power_mw is not None]
    total = sum(p for _, p in pairs)
    if len(pairs) < MIN_TICKS or total <= 0:
        return ProfileEstimate(None, reason="no instant power")
    value = sum(e for e, _ in pairs) / total
    residuals = [e - value * p for e, p in pairs]
    doubt = max(t.doubt_ns for t in ticks) / sum(t.ns for t in ticks)
    error = _Z * pstdev(residuals) * math.sqrt(len(pairs)) / total + doubt
    return ProfileEstimate(value, value - error, value + error, len(pairs))


def _age(tick: ProfileEstimate, longest: ProfileEstimate, window: ProfileEstimate) -> ProfileEstimate:
    """Mean age of what instant power shows to who reads at any time: half a tick since it came and half its window before."""
    if window.value is None or tick.value is None:
        return ProfileEstimate(None, reason=window.reason)
    return ProfileEstimate(
        (tick.value + window.value) / 2, (tick.low + window.low) / 2, (tick.high + window.high) / 2, window.n
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """A load step within one tick: `shown` is f, `before_ns` is u with its error; `apart`: power and counter differ."""

    shown: float
    before_ns: float
    error_ns: float
    apart: bool


def _window(runs: Sequence[Sequence[_Tick]], tick: ProfileEstimate) -> tuple[ProfileEstimate, str, str]:
    if any(t.power_mw is None for run in runs for t in run):
        return ProfileEstimate(None, reason="no instant power"), "undecided", "no instant power"
    assert tick.value is not None
    trail = _trail(runs)
    if trail is not None:
        reason = "power is a mean over several ticks, which does not determine it"
        return (
            ProfileEstimate(trail * tick.value, (trail - 0.5) * tick.low, (trail + 0.5) * tick.high, trail),
            "undecided",
            reason,
        )
    steps = [s for run in runs for s in _steps(run)]
    if len(steps) < MIN_STEPS:
        reason = f"{STEADY}: {len(steps)} clean steps of power observed, {MIN_STEPS} required"
        return ProfileEstimate(None, reason=reason), "undecided", reason
    share = _share(steps, tick)
    # Power that is the mean of the whole tick is what the counter counts, and sampling leaves nothing out.
    part = sum(s.apart for s in steps) / len(steps)
    if part > 0.5:
        return _fitted(steps, tick), "full", "the counter also rose by energy that power did not show"
    if share.low > 0.7 * tick.value:
        return share, "full", "power is the mean of the whole tick, and the counter agrees with it"
    if part > 0.1:
        return share, "undecided", "counter and power agree at some load steps and disagree at others"
    if share.high < 0.9 * tick.value:
        return share, "sampled", "the counter rises by power times the tick, even if the load steps within the tick"
    return share, "undecided", f"{STEADY}: counter and power agree, but the window is too uncertain"


def _steps(run: Sequence[_Tick]) -> list[_Step]:
    """Steps of a load that stood still for a tick before and after, so that both its levels are known."""
    steps = []
    powers = [float(t.power_mw or 0) for t in run]
    for k in range(2, len(run) - 2):
        before, level0, now, level1, after = powers[k - 2 : k + 3]
        size = level0 - level1
        if abs(size) < 0.1 * max(level0, level1) or abs(now - level0) < 0.03 * abs(size):
            continue
        if abs(before - level0) > 0.03 * abs(size) or abs(after - level1) > 0.03 * abs(size):
            continue
        shown = (now - level1) / size
        if not -0.03 < shown < 0.97:
            continue
        tick = run[k]
        u = tick.ns * (level0 - tick.mean_mw) / size
        error = tick.doubt_ns * abs(tick.mean_mw / size) + 0.01 * tick.ns
        steps.append(_Step(min(1.0, max(0.0, shown)), u, error, abs(u - tick.ns * (1.0 - shown)) > error))
    return steps


def _fitted(steps: Sequence[_Step], tick: ProfileEstimate) -> ProfileEstimate:
    """The w that most steps agree with: u = w (1 - f) where power shows a part, u >= w where it shows the new level alone.

    A load that changes twice within a tick, or ramps, is not a step and agrees with no w; with too many of these the window has
    no value. The bounds enclose every w that at most one step fewer agrees with.
    """
    assert tick.value is not None
    counts = {}
    for quarter_ms in range(1, round(4 * tick.value) + 1):
        w = quarter_ms * 250_000
        counts[w] = sum(_agrees(s, w) for s in steps)
    best = max(counts.values())
    partial = sum(0.05 < s.shown < 0.95 for s in steps)
    if best < 0.75 * len(steps):
        return ProfileEstimate(None, reason=f"{UNCLEAN}: {best} of {len(steps)} steps agree on a window")
    if partial < 3:
        return ProfileEstimate(
            None, reason=f"{STEADY}: power showed a part of the step in {partial} of {len(steps)} load steps, 3 required"
        )
    good = [w for w, n in counts.items() if n == best]
    near = [w for w, n in counts.items() if n >= best - 1]
    return ProfileEstimate((good[0] + good[-1]) / 2e6, near[0] / 1e6, near[-1] / 1e6, best)


def _agrees(step: _Step, w: float) -> bool:
    if step.shown < 0.05:
        return step.before_ns >= w * 0.95 - step.error_ns
    return abs(step.before_ns - w * (1 - step.shown)) <= step.error_ns


def _share(steps: Sequence[_Step], tick: ProfileEstimate) -> ProfileEstimate:
    """Tick times the share of steps that power shows in part, with Wilson's interval."""
    assert tick.value is not None
    n = len(steps)
    p = sum(0.03 < s.shown < 0.97 for s in steps) / n
    centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n)) / (1 + _Z**2 / n)
    high = min(1.0, (centre + half) / 0.94)  # a share of 6 % of the positions counts as not in part
    return ProfileEstimate(p * tick.value, max(0.0, centre - half) * tick.low, high * tick.high, n)


def _trail(runs: Sequence[Sequence[_Tick]]) -> int | None:
    """Over how many ticks power is a mean, if two or more: the number that makes the counter's mean power equal to it."""
    misfit = {}
    for n in range(1, _TRAIL_MAX + 1):
        squares, powers = [], []
        for run in runs:
            for k in range(_TRAIL_MAX, len(run)):
                span = run[k - n + 1 : k + 1]
                mean_mw = sum(t.uj for t in span) * 1e6 / sum(t.ns for t in span)
                power = float(run[k].power_mw or 0)
                squares.append((power - mean_mw) ** 2)
                powers.append(power)
        if len(powers) < MIN_TICKS:
            return None
        misfit[n] = math.sqrt(fmean(squares))
    best = min(misfit, key=lambda n: misfit[n])
    moved = pstdev(powers)
    return best if best > 1 and moved > 0.02 * fmean(powers) and misfit[best] < min(0.2 * moved, 0.5 * misfit[1]) else None
