"""The delay of an energy counter, from the instant power of the GPUs of one model. Pure.

A counter that passes through firmware shows energy some time late. Its ticks do not show a delay that is the same at each of
them. Instant power does: wherever power changes, the counter's course, moved by the delay, has to agree with it. Power is a
mean over a window of unknown length, so the likelihood of each pair of a delay and a window is kept. Within a tick, power
either steps once or changes evenly. The spread of a reading is that of the course of energy within ticks
(`interpolation.bridge_j2`), with the tails of Student's t distribution with four degrees of freedom. A delay that power
itself has cannot be seen.
"""

from collections import deque
from collections.abc import Sequence
from math import exp, log, sqrt

from energy_agent.metering.interpolation import CoursePoint

STEP_S = 0.005
DELAY_S = 0.200
"""The longest delay that is assumed of a counter whose delay is unknown."""
SLOWEST_S = 0.25
"""Of a counter with a longer period no delay is learned: it is less than a tick."""
_EARLIEST, _LATEST = -12, 44  # delays that are tried, in steps: a counter that samples is early by half a tick
_WINDOWS = (1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 20)  # windows of power that are tried, in steps
BEFORE, AFTER = _WINDOWS[-1] - _EARLIEST + 1, _LATEST + 1
"""Steps of the counter's course that a reading needs before and after it."""
_FLOOR = 0.02  # of the mean power: differences below it are those of the sensors
_WEIGHT = 0.35, 70.0  # of a reading, and of all together: those of one step of power are not independent
_WINDOW_WEIGHT = 0.1, 16.0  # the same for the window, which unseen changes within ticks make seem longer
_SMOOTH_WEIGHT = 0.1, 5.0  # where power rises and falls evenly, which shows no window
_CLEARLY = 0.5  # the difference by one course, relative to that by the other, below which it is the likelier one
_LEFT_OUT = 0.015  # probability on each side of the range
_CONTRADICTED = 1e-3  # less than this probability within the range that is assumed: power is not what it should be
_NO_DELAY = 6.0  # prior odds of no delay, relative to those of any other: most counters show no delay
_KEPT = 150
_MANY = 600


class PowerAlignment:
    """What power readings show of the counter's delay."""

    def __init__(self) -> None:
        """No reading so far."""
        self.count = self._steps = self._ramps = 0
        size = _LATEST - _EARLIEST + 1
        self._logs = [[0.0] * size for _ in _WINDOWS]
        self._kept: deque[tuple[float, float, list[float]]] = deque(maxlen=_KEPT)
        self._posterior: tuple[int, list[float], int, int] = (-1, [], 0, 0)

    @property
    def learns(self) -> bool:
        """More readings are of use."""
        return self.count < _MANY

    def add(self, power_w: float, half_s: float, course: Sequence[CoursePoint], mean_w: float) -> None:
        """A reading of instant power, whose instant is known to `half_s`; the course in steps around it, and its mean power."""
        self.count += 1
        energies = [point.joules for point in course]
        self._kept.append((power_w, mean_w, energies))
        slopes = [(b - a) / (2 * STEP_S) for a, b in zip(energies, energies[2:], strict=False)]  # slopes[k] at k + 1
        floor_w2 = (_FLOOR * mean_w) ** 2
        blur_s2 = (half_s + STEP_S / 2) ** 2 / 3
        first = BEFORE + _EARLIEST
        if self.count > 1:
            _, window, k = self._weights()
            a, b = course[first + k - window], course[first + k]
            step_w = abs(power_w - (b.joules - a.joules) / (window * STEP_S))
            ramp_w = abs(power_w - (b.ramp_j - a.ramp_j) / (window * STEP_S))
            self._steps += step_w < _CLEARLY * ramp_w
            self._ramps += ramp_w < _CLEARLY * step_w
        for window, logs in zip(_WINDOWS, self._logs, strict=True):
            window_s = window * STEP_S
            for k in range(len(logs)):
                a, b = course[first + k - window], course[first + k]
                if a.tick == b.tick:
                    variance_j2 = b.rate_w2 * window_s * max(0.0, b.length_s - window_s)
                else:
                    variance_j2 = a.variance_j2 + b.variance_j2
                turn_w = slopes[first + k - 1] - slopes[first + k - window - 1]
                variance_w2 = floor_w2 + (variance_j2 + turn_w * turn_w * blur_s2) / (window_s * window_s)
                step_w = power_w - (b.joules - a.joules) / window_s
                ramp_w = power_w - (b.ramp_j - a.ramp_j) / window_s
                density = (1.0 + step_w * step_w / (4.0 * variance_w2)) ** -2.5
                density += (1.0 + ramp_w * ramp_w / (4.0 * variance_w2)) ** -2.5
                logs[k] += log(density) - 0.5 * log(variance_w2)

    def delays_s(self, low_s: float, high_s: float) -> tuple[float, float, float] | None:
        """The delay within [low_s, high_s], and the range that holds it; None where the readings do not show it."""
        if not self.count:
            return None
        weights, _, _ = self._weights()
        first, last = (round(edge_s / STEP_S) - _EARLIEST for edge_s in (low_s, high_s))
        first = max(0, first)
        weights = weights[first : last + 1]
        total = sum(weights)
        if total < _CONTRADICTED:
            return None
        mean_s = STEP_S * sum((_EARLIEST + first + k) * w for k, w in enumerate(weights)) / total
        low, high = _quantile(weights, total), len(weights) - 1 - _quantile(weights[::-1], total)
        return mean_s, STEP_S * (_EARLIEST + first + low - 1), STEP_S * (_EARLIEST + first + high + 1)

    @property
    def early(self) -> float:
        """Probability that the counter shows energy before power does: it samples the end of a tick, or power is late."""
        return sum(self._weights()[0][:-_EARLIEST]) if self.count else 0.0

    def slope(self) -> tuple[float, float, float]:
        """Slope of power on the mean power of the counter, where they agree best, its standard error, and a share.

        It is 1 where the counter integrates. A counter that samples has errors of its own, which lower it. The share is that of
        the variance of the counter in the variance of power.
        """
        _, window, delay = self._weights()
        at, crossed, counter_squares, squares = BEFORE + _EARLIEST + delay, 0.0, 1e-9, 0.0
        for power_w, mean_w, energies in self._kept:
            counter_w = (energies[at] - energies[at - window]) / (window * STEP_S) - mean_w
            crossed += counter_w * (power_w - mean_w)
            counter_squares += counter_w * counter_w
            squares += (power_w - mean_w) ** 2
        slope = crossed / counter_squares
        return (
            slope,
            sqrt(max(0.0, squares - slope * crossed) / max(1, len(self._kept)) / counter_squares),
            counter_squares / max(1e-9, squares),
        )

    def _weights(self) -> tuple[list[float], int, int]:
        """Probability of each delay; the likeliest window in steps, and the index of the likeliest delay with it."""
        sample_count, weights, window, delay = self._posterior
        if sample_count != self.count:
            tops = [max(row) for row in self._logs]
            of_windows = _WINDOW_WEIGHT if self._steps > 2 * self._ramps else _SMOOTH_WEIGHT
            weight, window_weight = (min(most, of / self.count) for most, of in (_WEIGHT, of_windows))
            cells = []
            for row, top in zip(self._logs, tops, strict=True):
                values = [exp(weight * (value - top)) for value in row]
                share = exp(window_weight * (top - max(tops))) / sum(values)
                cells.append([share * value for value in values])
            sums = [sum(column) for column in zip(*cells, strict=True)]
            sums[-_EARLIEST] *= _NO_DELAY
            total = sum(sums)
            _, row_number, delay = max((value, j, k) for j, row in enumerate(self._logs) for k, value in enumerate(row))
            weights, window = [value / total for value in sums], _WINDOWS[row_number]
            self._posterior = (self.count, weights, window, delay)
        return weights, window, delay


def _quantile(weights: Sequence[float], total: float) -> int:
    """Index up to which the weights sum to the share _LEFT_OUT of `total`."""
    remaining = _LEFT_OUT * total
    for k, weight in enumerate(weights):
        remaining -= weight
        if remaining < 0:
            return k
    return len(weights) - 1
