"""Steps of the load: window of instant power, and whether the counter integrates or samples. Pure.

Let the load step from L0 to L1 at u, and let power be the mean of the last w. Its first tick s after u shows the share
f = (s - u) / w of the step, or all of it if s - u >= w. Two ticks with shares in between give w = ds / df. With one, u comes
from a counter that integrates: over counter ticks from a to b around u, E = L0 (u - a) + L1 (b - u). Without such a counter,
the share of steps that are shown in part is w over the period, since a load is independent of the ticks.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Final

from energy_agent.metering.sensors.traces import Z_95, ProfileEstimate, SensorSignal, absent

MIN_STEPS = 6
STEADY = "the load did not vary enough"
UNCLEAN = "the load moved in ramps, or more than once within a tick"
_CLEAN: Final = 0.03  # of a step: level that counts as reached


@dataclass(frozen=True, slots=True)
class LoadStep:
    """A step of the load between two steady levels.

    `shown` has time and share of the ticks of instant power that show a part of it, `full_ms` is the first that shows all.
    `at_ms` is when it happened according to a counter that integrates, within `error_ms`; None without a counter.
    `partial`: a tick of the counter saw a part of it, which shows with probability `chance` if it sees all energy (None
    where its ticks are too short to measure); `apart`: the counter saw another part than instant power, which ticks with it.
    """

    partial_ticks: list[tuple[float, float]]
    full_ms: float
    at_ms: float | None
    error_ms: float
    partial: bool | None
    chance: float
    apart: bool


@dataclass(frozen=True, slots=True)
class LoadSteps:
    """Steps of a load that was steady before and after, so that both levels are known; `unclean` changes were not one step."""

    steps: list[LoadStep]
    unclean: int

    @property
    def shown_in_part(self) -> int:
        """Steps of which a tick of instant power shows a part."""
        return sum(bool(step.partial_ticks) for step in self.steps)


def find_steps(instant: SensorSignal, energy: SensorSignal, gain: float) -> LoadSteps:
    """Steps in instant power, located by the counter, whose joules are `gain` times those of power."""
    if not instant.moves:
        return LoadSteps([], 0)
    period_ms = instant.clock.period_ms or 0.0
    span_ms, hold_ms = 2.6 * period_ms or 150.0, 1.3 * ((energy.clock.period_ms or 0.0) + period_ms) + 10.0
    steps, unclean, next_ms = [], 0, instant.times[0] + hold_ms
    for k in range(1, len(instant.times)):
        start = instant.times[k]
        if start < next_ms or start + span_ms + hold_ms > instant.times[-1]:
            continue
        before, after = instant.values[k - 1], instant.at(start + span_ms)
        size = abs(after - before)
        if size < 0.1 * max(before, after) or abs(instant.values[k] - before) < _CLEAN * size:
            continue
        steady = instant.between(start - hold_ms, start - 1e-6), instant.between(start + span_ms, start + span_ms + hold_ms)
        if any(abs(v - level) > _CLEAN * size for values, level in zip(steady, (before, after), strict=True) for v in values):
            continue
        shares = [(t, (instant.at(t) - before) / (after - before)) for t in instant.times[k:] if t <= start + span_ms]
        full_ms = next(t for t, share in [*shares, (start + span_ms, 1.0)] if share > 1 - _CLEAN)
        partial_ticks = [(t, share) for t, share in shares if t < full_ms]
        rises = all(b > a for (_, a), (_, b) in pairwise([(start, 0.0), *partial_ticks, (full_ms, 1.0)]))
        if rises and all(abs(share - 1.0) <= _CLEAN for t, share in shares if t >= full_ms):
            steps.append(_locate(partial_ticks, full_ms, (before, after), period_ms, energy, gain))
        elif not any(b - a > 1.5 * period_ms for (a, _), (b, _) in pairwise(shares)):  # else a level of its own
            unclean += 1
        next_ms = start + span_ms
    return LoadSteps(steps, unclean)


def _locate(
    partial_ticks: list[tuple[float, float]],
    full_ms: float,
    levels: tuple[float, float],
    period_ms: float,
    energy: SensorSignal,
    gain: float,
) -> LoadStep:
    before, after = levels
    first_ms = partial_ticks[0][0] if partial_ticks else full_ms
    low = bisect_right(energy.times, first_ms - 1.3 * period_ms - 5.0) - 1
    high = bisect_left(energy.times, full_ms + 1e-6)
    if energy.clock.period_ms is None or low < 1 or high >= len(energy.times):
        return LoadStep(partial_ticks, full_ms, None, 0.0, None, 0.0, False)
    edges = range(low, high + 1)
    lever = max(before, after) / abs(after - before)
    estimates = []
    for a, b in pairwise(edges):
        length_ms = energy.times[b] - energy.times[a]
        share = ((energy.values[b] - energy.values[a]) * 1000.0 / gain / length_ms - before) / (after - before)
        estimates.append((share, (energy.doubts[a] + energy.doubts[b]) / length_ms * lever))
    span_ms = energy.times[high] - energy.times[low]
    excess = (energy.values[high] - energy.values[low]) * 1000.0 / gain - before * span_ms
    at_ms = energy.times[high] - excess / (after - before)
    error_ms = (energy.doubts[low] + energy.doubts[high]) * lever + 0.01 * span_ms
    blur = max(_CLEAN, *(d for _, d in estimates))
    partial = any(blur < share < 1 - blur for share, _ in estimates) if blur < 0.2 else None
    ends = [abs(energy.times[b] - first_ms) for b in edges[1:]]
    its_tick, share = ends.index(min(ends)), partial_ticks[0][1] if partial_ticks else 1.0
    apart = abs(estimates[its_tick][0] - share) > blur
    return LoadStep(partial_ticks, full_ms, at_ms, error_ms, partial, 1.0 - 2.0 * blur, apart)


def counter_sampled(load: LoadSteps, trigger: ProfileEstimate, instant: SensorSignal, energy: SensorSignal) -> ProfileEstimate:
    """0: the counter integrates. 1: it sums power samples, so that it sees a step in part only if its window does."""
    if energy.clock.period_ms is None or trigger.value is None:
        return absent(energy.clock.reason or trigger.reason)
    judged = [s for s in load.steps if s.partial is not None]
    if len(judged) < 2 * MIN_STEPS:
        return absent(f"{STEADY}: {len(judged)} clean steps of power were seen, {2 * MIN_STEPS} are needed")
    slopes = _slopes(load.steps)
    longest_ms = _median(slopes, 0.0).high if len(slopes) >= MIN_STEPS else _window_by_share(load, instant, 0.0).high
    located = _window_by_counter(load, instant, 0.0)
    if located is not None and located.value is not None:
        longest_ms = min(longest_ms, located.high)
    window = min(1.0, longest_ms / energy.clock.period_ms)
    if window > 0.85:
        return absent("the window of instant power is nearly a whole tick, which fits both kinds of counter")
    if trigger.value == "counter":  # a counter that samples agrees with power at every step
        apart = _wilson(sum(s.apart for s in judged), len(judged))
        expected = fmean(max(0.0, 1.0 - (1.0 - s.chance) / 2 / (1.0 - window)) for s in judged)
        integrates, samples = apart.low > 0.02, apart.high < expected / 2
    else:
        partial = _wilson(sum(bool(s.partial) for s in judged), len(judged), fmean(s.chance for s in judged))
        integrates, samples = partial.low > window, partial.high < 0.9
    if integrates == samples:
        return absent(f"{STEADY}: {len(judged)} clean steps of power are not enough to decide")
    return ProfileEstimate(float(samples), float(samples), float(samples), len(judged))


def _slopes(steps: Sequence[LoadStep]) -> list[float]:
    """Windows by the steps that two or more ticks of power show in part."""
    slopes = []
    for step in steps:
        parts = [(t, share) for t, share in step.partial_ticks if share > _CLEAN]
        if len(parts) > 1 and parts[-1][1] - parts[0][1] > 0.3:
            slopes.append((parts[-1][0] - parts[0][0]) / (parts[-1][1] - parts[0][1]))
    return slopes


def window_of_power(load: LoadSteps, sampled: ProfileEstimate, instant: SensorSignal, read_ms: float) -> ProfileEstimate:
    """The time over which instant power is a mean."""
    if not instant.moves:
        return absent(instant.clock.reason)
    period_ms, steps, slopes = instant.clock.period_ms, load.steps, _slopes(load.steps)
    if len(slopes) >= max(MIN_STEPS, load.shown_in_part / 2):
        return _median(slopes, read_ms)
    if period_ms is None:
        return absent(f"{STEADY}: {len(slopes)} clean steps of power were seen, {MIN_STEPS} are needed")
    if sampled.value == 0.0 and (by_counter := _window_by_counter(load, instant, read_ms)) is not None:
        return by_counter
    if len(steps) < 2 * MIN_STEPS:
        return absent(f"{STEADY}: {len(steps)} clean steps of power were seen, {2 * MIN_STEPS} are needed")
    if load.unclean > 0.1 * len(steps):  # among those that rise from level to level are as many that are not one step
        return absent(f"{UNCLEAN}: {load.unclean} of {load.unclean + len(steps)} changes of the load")
    return _window_by_share(load, instant, read_ms)


def _window_by_counter(load: LoadSteps, instant: SensorSignal, read_ms: float) -> ProfileEstimate | None:
    """From steps located by the counter, taken for one that integrates; None where there are few. A sampling one disagrees."""
    period_ms = instant.clock.period_ms or 0.0
    located = [(s, s.at_ms) for s in load.steps if s.at_ms is not None and s.error_ms < 0.2 * period_ms]
    single = [
        (s.partial_ticks[0][0] - at_ms) / s.partial_ticks[0][1]
        for s, at_ms in located
        if s.partial_ticks and s.partial_ticks[0][1] > 0.2
    ]
    if len(single) < MIN_STEPS:
        return None
    window_ms = median(single)
    agreeing = sum(_agrees(s, at_ms, window_ms, s.error_ms + 0.05 * period_ms) for s, at_ms in located)
    if agreeing < 0.75 * len(located):
        return absent(f"{UNCLEAN}: {agreeing} of {len(located)} steps agree on a window")
    return _median(single, read_ms)


def _window_by_share(load: LoadSteps, instant: SensorSignal, read_ms: float) -> ProfileEstimate:
    share = _wilson(load.shown_in_part, len(load.steps), 1 - 2 * _CLEAN)
    scale = instant.clock.period_ms or 0.0
    # A tick that is later than the window is long misses the rest: on average a quarter of the jitter at window = period.
    high = share.high * scale + instant.clock.jitter.high / 4 + read_ms / 2
    return ProfileEstimate(
        load.shown_in_part / max(1, len(load.steps)) / (1 - 2 * _CLEAN) * scale, share.low * scale, high, share.n
    )


def _agrees(step: LoadStep, at_ms: float, window_ms: float, slack_ms: float) -> bool:
    parts = all(abs(t - at_ms - window_ms * share) <= slack_ms for t, share in step.partial_ticks)
    return parts and step.full_ms - at_ms >= window_ms - slack_ms


def _median(values: Sequence[float], resolution_ms: float) -> ProfileEstimate:
    """Median, with the interval of the sign test, widened by half the time between two reads."""
    ordered, n = sorted(values), len(values)
    rank, tail = 0, 1 / 2**n
    while rank < n // 2 and (tail := tail + math.comb(n, rank + 1) / 2**n) <= 0.025:
        rank += 1
    return ProfileEstimate(median(ordered), ordered[rank] - resolution_ms / 2, ordered[n - 1 - rank] + resolution_ms / 2, n)


def _wilson(count: int, n: int, chance: float = 1.0) -> ProfileEstimate:
    """Share with Wilson's interval, where each of what is counted shows with probability `chance`."""
    if not n:
        return ProfileEstimate(0.0, 0.0, 1.0, 0)
    p = count / n
    centre = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n)) / (1 + Z_95**2 / n)
    value, low, high = (min(1.0, max(0.0, x) / chance) for x in (p, centre - half, centre + half))
    return ProfileEstimate(value, low, high, n)
