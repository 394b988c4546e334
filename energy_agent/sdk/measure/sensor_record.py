"""What the readings of all GPUs of one model show of their sensors: GPUs of one model have one firmware. Pure."""

from collections import deque
from math import exp, log, pi, sqrt
from statistics import fmean

from energy_agent.sdk.measure.alignment import DELAY_S, PowerAlignment

_PRIOR = 2  # steps of power that the scale of the variance is worth before there are any
_AT_LEVEL = 0.93  # a tick that shows more than this share of a step shows all of it
_SHARES = (0.1, 0.25, 0.5)  # of a tick that a counter may sample
_PRIOR_ODDS = 0.25  # of a counter that samples: NVML documents energy
_IN_STEP = 0.1  # probability of work that repeats with the counter: its samples then change slowly, whatever the work does
_QUIET = 0.25  # share of the counter's variance in that of power, below which they do not compare
_EARLY = 1.9  # odds of a counter that samples and is early by up to 60 ms, where that is as probable as late by up to 200 ms
_EXCLUDED = 0.02  # a probability below it
_SLOPES = 20  # readings of power, before which their slope on the counter shows nothing
_LONGEST_GAP_S = 0.125  # between two ticks of instant power
_GAPS = 5  # between changes of power, before which its period is unknown
_SHARP_S = 0.08  # a range of delays that is wider than this does not show the delay

LeftOut = deque[tuple[float, float]]
"""Of ticks that were left out: squared error of the prediction less that by timing, and the variance of the bridge, J^2."""


def birge_ratio(left_out: LeftOut, prior: float) -> float:
    """Squared errors of ticks that were left out, relative to their variance (R. T. Birge, Phys. Rev. 40, 1932, p. 207)."""
    if not left_out:
        return prior
    errors_j2, variances_j2 = map(sum, zip(*left_out, strict=True))
    prior_j2 = _PRIOR * variances_j2 / len(left_out)
    return float((prior * prior_j2 + errors_j2) / (prior_j2 + variances_j2))


class SensorRecord:
    """The sensors of one model.

    Does the counter integrate power, or does it add up samples of power times the length of the tick? Where power steps once
    within a tick, an integrating counter shows a mean power anywhere between the two levels. A counter that samples the last
    part of each tick shows the new level, unless the step falls into that part. The probability follows by Bayes' rule from
    _PRIOR_ODDS; the part may be any of _SHARES of a tick. Where power changes several times per tick, samples of it differ from
    its mean, and power readings agree less with them (`PowerAlignment.slope`).
    """

    def __init__(self) -> None:
        self.alignment = PowerAlignment()
        self._at_level = self._between = 0
        self._left_out: LeftOut = deque(maxlen=600)
        self._changes: deque[tuple[float, float]] = deque(maxlen=600)
        self._power_gaps: deque[float] = deque(maxlen=64)
        self._sampled = ((-1, -1, -1), 0.0)

    def add_step(self, share: float) -> None:
        """A step of power within a tick that shows this share of it, 0 to 1."""
        if share > _AT_LEVEL:
            self._at_level += 1
        else:
            self._between += 1

    def add_left_out(self, error_j2: float, variance_j2: float) -> None:
        """The squared error of a tick that was predicted from its neighbours, and its variance."""
        self._left_out.append((error_j2, variance_j2))

    def add_change(self, change_w: float, again_w: float) -> None:
        """A change of mean power from tick to tick, and the lesser of it and the change before it."""
        self._changes.append((change_w * change_w, again_w * again_w))

    def add_power_gap(self, gap_s: float) -> None:
        """The time between two changes of instant power."""
        if gap_s < _LONGEST_GAP_S:
            self._power_gaps.append(gap_s)

    @property
    def power_period_s(self) -> tuple[float, float]:
        """The period of instant power, and how much a tick may be off."""
        if len(self._power_gaps) < _GAPS:
            return _LONGEST_GAP_S / 2, _LONGEST_GAP_S / 2.5
        period_s = sorted(self._power_gaps)[len(self._power_gaps) // 5]
        return period_s, 0.1 * period_s

    @property
    def scale(self) -> float:
        """Squared errors of ticks that were left out, relative to their variance."""
        return birge_ratio(self._left_out, 1.0)

    @property
    def sampled(self) -> float:
        """Probability that the counter samples."""
        cache_key = (self._at_level, self._between, self.alignment.count)
        if cache_key != self._sampled[0]:
            n, m = cache_key[:2]
            integrates = n * log(1.0 - _AT_LEVEL) + m * log(_AT_LEVEL)
            samples = [n * log(1.0 - _AT_LEVEL * share) + m * log(_AT_LEVEL * share) for share in _SHARES]
            by_steps = fmean(exp(max(-60.0, min(60.0, s - integrates))) for s in samples)
            slope, error, share = self.alignment.slope() if self.alignment.count >= _SLOPES else (1.0, 0.0, 1.0)
            odds = _PRIOR_ODDS
            if share >= _QUIET or slope >= 1.0:  # else swings within ticks hide what the counter shows
                by_slope, in_step = self._slope_odds(slope, error)
                odds *= self._delay_odds() * ((1.0 - _IN_STEP) * by_steps * by_slope + _IN_STEP * in_step)
            self._sampled = cache_key, odds / (1.0 + odds)
        return self._sampled[1]

    @property
    def may_sample(self) -> bool:
        """The readings do not exclude that the counter samples."""
        return self.sampled > _EXCLUDED

    def delays_s(self, period_s: float) -> tuple[float, float, float]:
        """The counter's delay, and the range that holds it: by instant power, or as assumed.

        A counter that samples is early by up to half a period.
        """
        low_s, high_s = -period_s / 2 if self.may_sample else 0.0, DELAY_S
        aligned = self.alignment.delays_s(low_s, high_s)
        if aligned is not None:
            delay_s, low_s, high_s = aligned
            if high_s - low_s < _SHARP_S:
                return delay_s, low_s, high_s
        return min(max(0.0, low_s), high_s), low_s, high_s

    def _slope_odds(self, slope: float, error: float) -> tuple[float, float]:
        """Odds of a counter that samples by the slope of power on it, should the work come at random or in step with it."""
        if self.alignment.count < _SLOPES or not self._changes:
            return 1.0, 1.0
        changes, again = map(sum, zip(*self._changes, strict=True))
        expected = 1.0 - 1.2 * again / max(1e-9, changes)
        variance = 0.1**2 + 2.0 * error**2
        likely, lower = min(1.0, max(expected, slope)), min(1.0, max(0.0, slope))
        by_chance = exp(((likely - 1.0) ** 2 - (likely - expected) ** 2) / (2 * variance))
        return by_chance, sqrt(variance * pi / 2) * exp((lower - 1.0) ** 2 / (2 * variance))

    def _delay_odds(self) -> float:
        """Odds of a counter that samples, by its delay: half of those that do show energy before an integral of power would."""
        if self.alignment.count < _SLOPES:
            return 1.0
        early = min(0.999, self.alignment.early)
        return 0.5 + _EARLY * early / (1.0 - early)
