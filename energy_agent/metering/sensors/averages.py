"""Average power against the energy counter or instant power: boxcar or exponential, and how long. Pure.

A boxcar is (E(t) - E(t - n)) / n of cumulative energy E. Length, gain and lag are fitted by least squares with Gauss-Newton
steps (Bjoerck, Numerical Methods for Least Squares Problems, 1996, chapter 9); the interval is that of batch means. Between
two ticks of the counter E is taken for straight, which would shorten the fitted length: points whose ends are in a tick in
which the load changed do not count.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, pstdev, pvariance, stdev
from typing import Final

from energy_agent.metering.sensors.steps import STEADY
from energy_agent.metering.sensors.traces import BATCHES, MIN_TICKS, STUDENT, ProfileEstimate, SensorSignal, absent

_LONGEST_MS: Final = 3000.0  # of an average
_POINTS: Final = 800  # of an average that enter a fit
_STEP_MS: Final = 2.0  # of a numerical derivative

Points = list[tuple[float, float]]  # ms, mW


@dataclass(frozen=True, slots=True)
class EnergyCourse:
    """Cumulative energy in uJ, straight between known instants in ms; `steady`: the load did not change in this interval."""

    times: list[float]
    sums: list[float]
    steady: list[bool]

    def until(self, ms: float) -> float:
        """Energy until `ms`."""
        k = self._interval(ms) + 1
        a, b = self.times[k - 1], self.times[k]
        return self.sums[k - 1] + (self.sums[k] - self.sums[k - 1]) * (ms - a) / (b - a)

    def is_steady(self, ms: float) -> bool:
        """Whether the load did not change in the interval around `ms`."""
        return self.steady[self._interval(ms)]

    def _interval(self, ms: float) -> int:
        return min(max(0, bisect_right(self.times, ms) - 1), len(self.times) - 2)


def _course_of_counter(energy: SensorSignal) -> EnergyCourse:
    times, sums = energy.times[1:], [v * 1000.0 for v in energy.values[1:]]
    means = [(f - e) / (b - a) for (a, b), (e, f) in zip(pairwise(times), pairwise(sums), strict=True)]
    blur = 0.01 + 4.0 * fmean(energy.doubts[1:]) / (energy.clock.period_ms or 1.0)  # of a mean, by the uncertainty of its ends
    near = [abs(a - b) <= blur * max(a, b) for a, b in pairwise(means)]
    return EnergyCourse(times, sums, [a or b for a, b in zip([False, *near], [*near, False], strict=True)])


def _course_of_power(instant: SensorSignal) -> EnergyCourse:
    sums = [0.0]
    for (a, b), power_mw in zip(pairwise(instant.times[1:]), instant.values[1:], strict=False):
        sums.append(sums[-1] + power_mw * (b - a))
    return EnergyCourse(instant.times[1:], sums, [True] * (len(sums) - 1))


def counter_to_power(energy: SensorSignal, instant: SensorSignal) -> ProfileEstimate:
    """Energy by the counter over integrated instant power: 1 where they agree, whatever their common gain."""
    if energy.clock.period_ms is None or not instant.moves:
        return absent(energy.clock.reason or instant.clock.reason)
    by_counter, by_power = _course_of_counter(energy), _course_of_power(instant)
    shift_ms = instant.clock.period_ms or 0.0  # a tick of power describes the time before it
    start, end = max(by_counter.times[0], by_power.times[0]), min(by_counter.times[-1], by_power.times[-1]) - shift_ms
    edges = [start + (end - start) * b / BATCHES for b in range(BATCHES + 1)]
    if end - start < BATCHES * 4 * energy.clock.period_ms:
        return absent("measure for longer")
    pairs = [
        (by_counter.until(b) - by_counter.until(a), by_power.until(b + shift_ms) - by_power.until(a + shift_ms))
        for a, b in pairwise(edges)
    ]
    value = sum(e for e, _ in pairs) / sum(p for _, p in pairs)
    error = STUDENT * stdev([e / p for e, p in pairs]) / math.sqrt(BATCHES)
    return ProfileEstimate(value, value - error, value + error, BATCHES)


def shape_of_average(
    average: SensorSignal, energy: SensorSignal, instant: SensorSignal, read_ms: float
) -> dict[str, ProfileEstimate]:
    """Boxcar or exponential, and how long. The reference is instant power, else the counter; its lag is fitted as well."""
    names = ("average_window_ms", "average_tau_ms")
    reference = instant if instant.moves else energy
    if not average.moves or not reference.moves:
        return dict.fromkeys(names, absent(average.clock.reason or reference.clock.reason))
    course = _course_of_power(instant) if instant.moves else _course_of_counter(energy)
    lag_ms = 1.5 * (reference.clock.period_ms or 100.0)
    points = _points(average, course, lag_ms)
    if len(points) < 2 * MIN_TICKS or pstdev([v for _, v in points]) < 0.02 * fmean(v for _, v in points):
        return dict.fromkeys(names, absent(STEADY))
    fits = {name: MeanFit.of(course, points, name == "average_tau_ms", lag_ms) for name in names}
    winner, loser = sorted(names, key=lambda name: fits[name].misfit)
    best = fits[winner]
    if best.misfit > 0.2 * pvariance([v for _, v in best.points]):
        return dict.fromkeys(names, absent("it fits neither a boxcar nor an exponential mean"))
    if fits[loser].misfit < 1.3 * best.misfit:
        return dict.fromkeys(names, absent(f"{STEADY}: a boxcar and an exponential mean fit about equally well"))
    n = len(best.points)
    batches = [best.refined(best.points[n * b // BATCHES : n * (b + 1) // BATCHES]).length_ms for b in range(BATCHES)]
    error = STUDENT * stdev(batches) / math.sqrt(BATCHES) + read_ms
    other = "it is exponential" if winner == "average_tau_ms" else "it is a boxcar"
    length = best.length_ms
    return {winner: ProfileEstimate(length, length - error, length + error, len(best.points)), loser: absent(other)}


def _points(average: SensorSignal, course: EnergyCourse, lag_ms: float) -> Points:
    """Times and values of the average that have the whole reference before them; at most _POINTS."""
    low, high = course.times[0] + _LONGEST_MS + lag_ms, course.times[-1] - lag_ms - _STEP_MS
    rows = [(t, v) for t, v in zip(average.times[1:], average.values[1:], strict=True) if low <= t <= high]
    return rows[:: max(1, len(rows) // _POINTS)]


@dataclass(frozen=True, slots=True)
class MeanFit:
    """A mean of the reference, fitted to points of the average: its length, the reference's lag, mean square of the rest."""

    course: EnergyCourse
    points: Points
    exponential: bool
    lag_limit_ms: float
    length_ms: float
    lag_ms: float
    misfit: float

    @classmethod
    def of(cls, course: EnergyCourse, points: Points, exponential: bool, lag_limit_ms: float) -> "MeanFit":
        """Start from the best length of a logarithmic grid, without a lag."""
        fits = [cls(course, points, exponential, lag_limit_ms, 10.0 * 300.0 ** (i / 24), 0.0, math.inf) for i in range(25)]
        return min(fits, key=lambda fit: fit.step()[0]).refined(points)

    def refined(self, points: Points) -> "MeanFit":
        """The same fitted to `points` by Gauss-Newton steps from here; the best of them."""
        fit, best = replace(self, points=points), replace(self, misfit=math.inf)
        for _ in range(8):
            misfit, length, lag = fit.step()
            if misfit < best.misfit:
                best = replace(fit, misfit=misfit)
            length = min(1.25 * fit.length_ms, max(0.8 * fit.length_ms, length))
            lag = min(self.lag_limit_ms, max(-self.lag_limit_ms, lag))
            fit = replace(fit, length_ms=length, lag_ms=lag)
        return best

    def step(self) -> tuple[float, float, float]:
        """Mean square of the residuals, and the next length and lag.

        Average and reference may differ in gain: the residuals are those after the best common factor, and the step solves the
        linear least-squares problem in factor, length and lag.
        """
        model = _exponential if self.exponential else _boxcar
        now = model(self.course, self.points, self.length_ms, self.lag_ms)
        longer = model(self.course, self.points, self.length_ms + _STEP_MS, self.lag_ms)
        later = model(self.course, self.points, self.length_ms, self.lag_ms + _STEP_MS)
        lags = (self.lag_ms,) if self.exponential else (self.lag_ms, self.lag_ms - self.length_ms)
        kept = [i for i, (ms, _) in enumerate(self.points) if all(self.course.is_steady(ms + lag) for lag in lags)]
        kept = kept if len(kept) >= MIN_TICKS else list(range(len(self.points)))
        values, now, longer, later = ([each[i] for i in kept] for each in ([v for _, v in self.points], now, longer, later))
        columns = [now, [(m - n) / _STEP_MS for m, n in zip(longer, now, strict=True)],
                   [(m - n) / _STEP_MS for m, n in zip(later, now, strict=True)]]  # fmt: skip
        factor = _dot(values, now) / _dot(now, now)
        misfit = fmean((v - factor * m) ** 2 for v, m in zip(values, now, strict=True))
        try:
            scale, by_length, by_lag = _solve([[*(_dot(c, d) for d in columns), _dot(c, values)] for c in columns])
            return misfit, self.length_ms + by_length / scale, self.lag_ms + by_lag / scale
        except ZeroDivisionError:  # the points do not depend on it
            return misfit, self.length_ms, self.lag_ms


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _solve(rows: list[list[float]]) -> list[float]:
    """Solution of linear equations, each row with its right side, by Gauss-Jordan elimination of a positive definite matrix."""
    for i, pivot in enumerate(rows):
        pivot[:] = [x / pivot[i] for x in pivot]
        for other in rows:
            if other is not pivot:
                other[:] = [x - other[i] * y for x, y in zip(other, pivot, strict=True)]
    return [row[-1] for row in rows]


def _boxcar(course: EnergyCourse, points: Points, length_ms: float, lag_ms: float) -> list[float]:
    return [(course.until(t + lag_ms) - course.until(t + lag_ms - length_ms)) / length_ms for t, _ in points]


def _exponential(course: EnergyCourse, points: Points, tau_ms: float, lag_ms: float) -> list[float]:
    """Starts from the first point, whose value is the mean of all before it."""
    now, mean = points[0][0] + lag_ms, points[0][1]
    means, k = [mean], bisect_right(course.times, now)
    for t, _ in points[1:]:
        while now < t + lag_ms:
            end = min(course.times[k], t + lag_ms)
            power = (course.sums[k] - course.sums[k - 1]) / (course.times[k] - course.times[k - 1])
            mean = power + (mean - power) * math.exp((now - end) / tau_ms)
            now = end
            k += end == course.times[k]
        means.append(mean)
    return means
