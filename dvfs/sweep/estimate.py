"""Results of a sweep's intervals: per setting time, power, slowdown and saving with 95 % confidence intervals. Pure.

With T the time per work and P the power of an interval, and primes for the reference at that instant (interpolated between the
references before and after it in its session; the one before alone if none follows)
    t = ln(T / T')        p = ln(P / P')        e = ln(T P / (T' P'))
are taken as draws of a normal distribution for each setting: errors are multiplicative, and a drift that is slow against the
time between two references cancels. Slowdown is exp(mean t) - 1, saving 1 - exp(mean e).

A few intervals of one setting are a poor estimate of its scatter, and stopping when they happen to agree would stop too early.
All settings scatter for the same reasons, so the standard deviation is the pooled one of all settings about their own means, s,
or a setting's own, s_i, if that is larger:
    mean -+ t(0.975, sum(n_i - 1)) max(s, s_i) / sqrt(n_i)
The time itself, in s, is exp(mean t) times the references' mean, and adds the error of that: half-widths in squares.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dvfs.sweep.profile import REFERENCE, Key, SettingEstimate, SettingInterval
from energy_agent.core.interval import ConfidenceInterval, t_quantile

MIN_STRETCHES = 3
"""Before it has so many, no setting is known well enough."""
MIN_FREEDOM = 6
"""Nor before the scatter is: a standard deviation of fewer degrees of freedom is small by chance too often to stop by it."""

Measure = Callable[[SettingInterval], float]
MEASURES: tuple[Measure, ...] = (
    lambda stretch: math.log(stretch.time_s),
    lambda stretch: math.log(stretch.power_w),
    lambda stretch: math.log(stretch.time_s * stretch.power_w),
)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of logarithms with the half-width of its 95 % interval."""

    value: float
    half: float


def precise_settings(intervals: Sequence[SettingInterval], precision_ratio: float) -> frozenset[Key]:
    """Settings whose time and power relative to the reference are known within `precision_ratio`."""
    counts = Counter(interval.key for interval in intervals)
    means = _paired(intervals)
    if sum(counts[key] - 1 for key in means) < MIN_FREEDOM:
        return frozenset()
    return frozenset(
        key
        for key, (time, power, _) in means.items()
        if counts[key] >= MIN_STRETCHES and max(time.half, power.half) <= precision_ratio
    )


def points(intervals: Sequence[SettingInterval]) -> tuple[SettingEstimate, ...]:
    """A point for each setting that has its intervals, the reference first; none before there are two references."""
    references = [interval for interval in intervals if interval.key == REFERENCE]
    if len(references) < 2:
        return ()
    time, power = (_mean([measure(each) for each in references]) for measure in MEASURES[:2])
    results = [_point(REFERENCE, references, time, power)]
    for key, (slower, stronger, dearer) in sorted(_paired(intervals).items(), key=_in_order):
        key_intervals = [interval for interval in intervals if interval.key == key]
        sums = (_sum(time, slower), _sum(power, stronger))
        slowdown = ConfidenceInterval(*(math.expm1(x) for x in _ends(slower)))
        value, low, high = _ends(dearer)
        results.append(
            _point(
                key, key_intervals, *sums, slowdown, ConfidenceInterval(-math.expm1(value), -math.expm1(high), -math.expm1(low))
            )
        )
    return tuple(results)


def _in_order(item: tuple[Key, object]) -> tuple[bool, float, bool, float]:
    clock, limit = item[0]
    return clock is None, clock or 0, limit is None, limit or 0


def _paired(intervals: Sequence[SettingInterval]) -> dict[Key, tuple[Mean, Mean, Mean]]:
    """Means of t, p and e by setting; empty before any setting has two intervals."""
    draws: dict[Key, list[tuple[float, ...]]] = {}
    for i, interval in enumerate(intervals):
        against = _reference(intervals, i) if interval.key != REFERENCE else None
        if against is not None:
            differences = tuple(measure(interval) - expected for measure, expected in zip(MEASURES, against, strict=True))
            draws.setdefault(interval.key, []).append(differences)
    freedom = sum(len(values) - 1 for values in draws.values())
    if not freedom:
        return {}
    columns = {key: [list(column) for column in zip(*values, strict=True)] for key, values in draws.items()}
    pooled = [math.sqrt(sum(_squares(values[k]) for values in columns.values()) / freedom) for k in range(len(MEASURES))]
    means = {
        key: [_mean(column, s, freedom) for column, s in zip(values, pooled, strict=True)] for key, values in columns.items()
    }
    return {key: (time, power, energy) for key, (time, power, energy) in means.items()}


def _reference(intervals: Sequence[SettingInterval], i: int) -> list[float] | None:
    """Reference measures at the instant of interval `i`; None if its session has no reference before it."""
    here = intervals[i]
    of_session = [(n, s) for n, s in enumerate(intervals) if s.session == here.session and s.key == REFERENCE]
    before = next((s for n, s in reversed(of_session) if n < i), None)
    after = next((s for n, s in of_session if n > i), None)
    if before is None:
        return None
    if after is None or after.utc_s <= before.utc_s:
        return [measure(before) for measure in MEASURES]
    share = min(1.0, max(0.0, (here.utc_s - before.utc_s) / (after.utc_s - before.utc_s)))
    return [(1 - share) * measure(before) + share * measure(after) for measure in MEASURES]


def _squares(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _mean(values: Sequence[float], pooled: float = 0.0, freedom: int = 0) -> Mean:
    """Mean with its half-width, from the larger of the values' own standard deviation and the pooled one, if given."""
    n = len(values)
    sample_sd = math.sqrt(_squares(values) / (n - 1)) if n > 1 else 0.0
    return Mean(math.fsum(values) / n, t_quantile(freedom or n - 1, 0.025) * max(pooled, sample_sd) / math.sqrt(n))


def _sum(one: Mean, other: Mean) -> Mean:
    return Mean(one.value + other.value, math.hypot(one.half, other.half))


def _ends(mean: Mean) -> tuple[float, float, float]:
    return mean.value, mean.value - mean.half, mean.value + mean.half


def _point(
    key: Key,
    intervals: Sequence[SettingInterval],
    time: Mean,
    power: Mean,
    slowdown: ConfidenceInterval | None = None,
    saving: ConfidenceInterval | None = None,
) -> SettingEstimate:
    warm = [interval.temperature_c for interval in intervals if interval.temperature_c is not None]
    time_s, time_low_s, time_high_s = map(math.exp, _ends(time))
    power_w, power_low_w, power_high_w = map(math.exp, _ends(power))
    temperature_c = math.fsum(warm) / len(warm) if warm else None
    binding = tuple(sorted({reason for interval in intervals for reason in interval.binding}))
    return SettingEstimate(
        *key, len(intervals), time_s, time_low_s, time_high_s, power_w, power_low_w, power_high_w,
        temperature_c, binding, slowdown, saving,
    )  # fmt: skip
