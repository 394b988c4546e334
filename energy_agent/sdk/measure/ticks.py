"""The ticks of one GPU's energy counter, what they show of its sensor, and the time of the next read. Pure.

A tick is a change of the counter; power readings have clocks of their own. Period and jitter are learned from the ticks. Reads
then wait for the earliest instant of the next tick, so that a handful of them find it to a millisecond.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, sqrt
from statistics import fmean

from energy_agent.metering.interpolation import EnergyBetween, PowerRange, Tick, bridge_j2, energy_within, mean_w
from energy_agent.sdk.measure.alignment import SLOWEST_S
from energy_agent.sdk.measure.power_ticks import LOOK_S, PowerTicks
from energy_agent.sdk.measure.sensor_record import LeftOut, birge_ratio
from energy_agent.sdk.measure.sensor_record import SensorRecord as SensorRecord

_WEIGHT = 1 / 16  # of the latest pair of intervals in a mean
_PAIRS = 3  # of intervals, before which their length shows nothing
_LEVELS = 20
_GAIN = 0.05  # power readings may differ from the counter by this share, always
_SHORTEST_S = 2.0  # below, the windows and delays of power readings hide what the samples miss
KEEP_S = 8.0
"""Ticks are kept this long; open windows keep those at their own start."""
START_S = 0.100
"""Period until it is learned: the longest that is published."""
_HIGHEST, _LOWEST = 1.2, 0.9
"""Transients pass a GPU's power limit, and readings of a mean its lowest power, by so much."""
_SHOWN = 20  # readings of power, after which the lowest one is a bound
_LEARNED = 3  # lengths of ticks, after which reads wait for the next one
_SHARP = 0.06  # an instant is known if its interval is this share of a tick
_FAILING = 1.5  # a scale above this: power does not behave as the variance assumes
_ENOUGH = 10  # ticks, before which nothing is concluded from them
_BLUNT = 0.1  # a tick whose instant is known no better does not show how power changes
_CLEAR = 0.1  # a step is clear if it is this share of the power, and the steps next to it are this share of it
_STEP_SHARES = (0.07, 1.07)  # of a step that a tick shows: another tick shows the rest, or it is no single step
_USUAL = 1 / 30  # weight of a tick in the usual variance of ticks
_OF_USUAL = 0.3  # of it that is added to that of each tick: a tick does not show all of its own
_Z = 1.96  # two-sided 95 % of a normal distribution


@dataclass(slots=True)
class _Level:
    """Intervals of one length: the one that waits for its pair (length, energy, difference), and means over pairs."""

    waiting: tuple[float, float, float] | None = None
    pairs: int = 0
    length_s: float = 0.0
    variance_j2: float = 0.0
    bias_j2: float = 0.0


class PowerDifferences:
    """The counter against integrated power, over intervals of one tick, of two, of four, and so on."""

    def __init__(self) -> None:
        """Nothing was read so far."""
        self._levels: list[_Level] = [_Level() for _ in range(_LEVELS)]

    def add(self, length_s: float, energy_j: float, difference_j: float) -> None:
        """The counter's energy over a tick, and how much more that is than by power readings."""
        for level in self._levels:
            if level.waiting is None:
                level.waiting = length_s, energy_j, difference_j
                return
            before_s, earlier_j, before_j = level.waiting
            level.waiting = None
            level.pairs += 1
            weight = max(_WEIGHT, 1 / level.pairs)
            level.length_s += weight * ((before_s + length_s) / 2 - level.length_s)
            level.variance_j2 += weight * ((difference_j - before_j) ** 2 / 2 - level.variance_j2)
            length_s, energy_j, difference_j = before_s + length_s, earlier_j + energy_j, before_j + difference_j
            bias_j = max(0.0, abs(difference_j) - _GAIN * energy_j) / 2
            level.bias_j2 += weight * (bias_j**2 - level.bias_j2)

    def restart(self) -> None:
        """Readings are missing: intervals do not go on."""
        for level in self._levels:
            level.waiting = None

    def deviation_j(self, length_s: float) -> float:
        """Standard deviation of the difference over an interval, J.

        The highest that intervals of this length and longer ones show; of intervals that are too long to have occurred, by the
        longest that did: its differences are then independent, but a bias goes on.
        """
        levels = [level for level in self._levels if level.pairs >= _PAIRS and level.length_s > _SHORTEST_S]
        longer = [level for level in levels if level.length_s * 1.5 >= length_s]
        if longer:
            return max(sqrt(max(x.variance_j2, x.bias_j2)) * min(1.0, length_s / x.length_s) for x in longer)
        if not levels:
            return 0.0
        longest = levels[-1]
        times = length_s / longest.length_s
        return sqrt(max(longest.variance_j2 * times, longest.bias_j2 * times * times))


class TickTracker:
    """One GPU. Instants are of the node's clock, in s; energies J, powers W."""

    def __init__(self, record: SensorRecord, limit_w: float | None = None) -> None:
        """`record`: of the GPU's model; `limit_w`: the highest power limit that the GPU takes, where it is known."""
        self.ticks: deque[Tick] = deque()
        self.resets = 0
        self._record = record
        self._limit_w = limit_w
        self._lengths: deque[float] = deque(maxlen=32)
        self.period_s, self._jitter_s = START_S, 0.25 * START_S
        self._last: tuple[float, float] | None = None  # time of the last read, counter
        self._power_w: float | None = None
        self._low_w, self._high_w, self._power_readings = inf, 0.0, 0
        self._step_w = 0.0
        self._left_out: LeftOut = deque(maxlen=60)
        self._calm: deque[tuple[float, float]] = deque(maxlen=60)
        """Of each tick left out: variance of the bridge, J^2, and squared error relative to the variance by timing."""
        self._power = PowerTicks(record)
        self.differences = PowerDifferences()
        self._integral_j, self._integral_s = 0.0, 0.0
        self._usual_j2 = 0.0

    @property
    def has_period(self) -> bool:
        """The period is learned."""
        return bool(self._lengths)

    @property
    def longest_s(self) -> float:
        """Ticks further apart have others between them that were not seen."""
        return 1.5 * self.period_s

    @property
    def power(self) -> PowerRange:
        """Between these powers the GPU draws."""
        lowest_w = _LOWEST * self._low_w if self._power_readings >= _SHOWN else 0.0
        highest_w = _HIGHEST * max(self._high_w, self._limit_w or 0.0)
        return PowerRange(lowest_w, highest_w)

    @property
    def scale(self) -> float:
        """Squared errors of ticks that were left out, relative to their variance; the model's counts until there are many."""
        return birge_ratio(self._left_out, self._record.scale)

    @property
    def timing_scale(self) -> float:
        """Squared errors of ticks that were left out in calm power, relative to what the instants of ticks explain; at least 1.

        More is unexplained where the counter is late by a varying time.
        """
        calm = sorted(self._calm)[: len(self._calm) // 4]
        return max(1.0, fmean(ratio for _, ratio in calm)) if calm else 1.0

    @property
    def fails(self) -> bool:
        """The errors of ticks that were left out contradict their variance."""
        return len(self._left_out) >= _ENOUGH and self.scale > _FAILING

    @property
    def sampled(self) -> float:
        """Probability that the counter adds up samples of power."""
        return self._record.sampled

    @property
    def delays_s(self) -> tuple[float, float, float]:
        """How late the counter is, and the range that holds it."""
        return self._record.delays_s(self.period_s)

    @property
    def hidden_j(self) -> float:
        """Half-width by swings of power within ticks, which the counter does not show."""
        return self._power.hidden_j(self.period_s)

    def halves_j(self, energy: EnergyBetween, length_s: float) -> tuple[float, float]:
        """Half-widths of a window's 95 % interval: by errors of a known spread, and by hidden swings of power."""
        variance_j2 = self.scale * energy.learned_j2 + energy.course_j2 + self.timing_scale * energy.timing_j2
        if self._record.may_sample:
            samples_j2 = min(1.0, 2 * self.sampled) * energy.steps_j2
            if self.sampled > 0.5:
                samples_j2 = max(samples_j2, self.differences.deviation_j(length_s) ** 2)
            variance_j2 += samples_j2
        return _Z * sqrt(variance_j2) + 2e-3, self.hidden_j

    def feed(self, asked_s: float, answered_s: float, energy_j: float, power_w: float | None) -> None:
        """A reading, made somewhere between the two instants."""
        if power_w is not None:
            self._power_readings += 1
            self._low_w, self._high_w = min(self._low_w, power_w), max(self._high_w, power_w)
            self._power.feed(asked_s, answered_s, power_w)
        last, self._last = self._last, (asked_s, energy_j)
        shown_w, self._power_w = self._power_w, power_w
        if last is not None and shown_w is not None:
            self._integral_j += shown_w * (asked_s - last[0])
            self._integral_s += asked_s - last[0]
        if last is not None and energy_j < last[1]:
            self.ticks.clear()  # the counter began again: it cannot be joined to what was before
            self.resets += 1
            last = None
        if last is None or energy_j != last[1]:
            low_s = answered_s - self.period_s - self._jitter_s
            if last is not None:
                low_s = max(low_s, last[0])
            self._append(Tick((low_s + answered_s) / 2, (answered_s - low_s) / 2, energy_j, shown_w))

    def narrowed(self, ticks: Sequence[Tick]) -> list[Tick]:
        """Ticks of this GPU, their instants narrowed by those of the ticks after them.

        The first tick of a series of reads was before the first of them, at an unknown time: the next one shows when.
        """
        result = list(ticks)
        for k in range(len(result) - 2, -1, -1):
            if self._lengths and result[k + 1].at_s - result[k].at_s <= self.longest_s:
                result[k] = _within(result[k], *self._apart(result[k + 1], -1))
        return result

    def ticks_since(self, at_s: float) -> int:
        """How many of the ticks came after an instant for certain, counted up to two."""
        return sum(tick.at_s - tick.half_s >= at_s for tick in (self.ticks[k] for k in range(-min(2, len(self.ticks)), 0)))

    def due_s(self, now_s: float, fine: bool) -> float:
        """When to read again: not before the next tick can come, and then in steps until it is seen."""
        due_s = self._tick_due_s(now_s, fine)
        looks = self._power.reported and self.period_s < SLOWEST_S
        if looks and self._record.alignment.learns:
            return min(due_s, now_s + LOOK_S)
        return min(due_s, now_s + 2 * LOOK_S) if looks and fine else due_s

    def _tick_due_s(self, now_s: float, fine: bool) -> float:
        step_s = max(0.001, 0.02 * self.period_s)
        if len(self._lengths) < _LEARNED or not self.ticks:
            return now_s + max(step_s, 0.002)
        if not fine:
            if self.period_s < 0.05:
                return now_s + 0.1
            step_s = max(step_s, self._jitter_s / 2)
        last = self.ticks[-1]
        return max(now_s + step_s, last.at_s - last.half_s + self.period_s - self._jitter_s - 0.001)

    def _append(self, tick: Tick) -> None:
        if self.ticks:
            before = self.ticks[-1]
            length_s, learned = tick.at_s - before.at_s, len(self._lengths) >= _LEARNED
            if self._integral_s > 0.5 * length_s:
                energy_j = tick.energy_j - before.energy_j
                self.differences.add(length_s, energy_j, energy_j - self._integral_j * length_s / self._integral_s)
            else:
                self.differences.restart()
            self._integral_j = self._integral_s = 0.0
            whole = length_s <= self.longest_s
            if max(tick.half_s, before.half_s) < _SHARP * length_s and (whole or not learned):
                self._lengths.append(length_s)
                self._learn_period()
            elif whole and learned and tick.half_s > 0.1 * self.period_s:
                self._lengths.popleft()  # it came before it was expected: read closely again
            if whole and len(self._lengths) >= _LEARNED:
                tick = _within(tick, *self._apart(before, 1))
            if whole:
                self._high_w = max(self._high_w, mean_w(self.ticks[-1], tick))
        if len(self.ticks) > 1:
            tick = replace(tick, steps_j2=self.ticks[-1].steps_j2 + self._steps_j2(tick))
        self.ticks.append(tick)
        self._check()
        self._power.compare(self.ticks, self.period_s, self.scale)
        while self.ticks[0].at_s < tick.at_s - KEEP_S:
            self.ticks.popleft()

    def _learn_period(self) -> None:
        """The jitter is the largest that occurred and something for the larger ones that a few ticks do not show."""
        self.period_s = fmean(self._lengths)
        spread_s = max(abs(length - self.period_s) for length in self._lengths)
        more = 1.0 / len(self._lengths)
        self._jitter_s = min(0.3 * self.period_s, (0.02 + 0.2 * more) * self.period_s + spread_s * (1.1 + more))

    def _apart(self, tick: Tick, sign: int) -> tuple[float, float]:
        """The interval in which the tick after (`sign` 1) or before (-1) this one lies by the period and its jitter."""
        half_s = tick.half_s + self._jitter_s
        return tick.at_s + sign * self.period_s - half_s, tick.at_s + sign * self.period_s + half_s

    def _steps_j2(self, tick: Tick) -> float:
        """What a tick adds to the variance of a counter that samples.

        Such a counter misses where in the tick power stepped. Steps in two ticks in a row are of power that changes faster than
        it is sampled, and the samples are then as far from the mean as from each other.
        """
        first, before = self.ticks[-2], self.ticks[-1]
        length_s, tick_w = tick.at_s - before.at_s, mean_w(before, tick)
        if length_s > self.longest_s:
            return self._usual_j2 * length_s / self.period_s
        if max(first.half_s, before.half_s, tick.half_s) > _BLUNT * length_s:
            return self._usual_j2
        timing_w2 = (tick_w / length_s) ** 2 * (first.half_s**2 + 4 * before.half_s**2 + tick.half_s**2)
        earlier_w, self._step_w = self._step_w, sqrt(max(0.0, (tick_w - mean_w(first, before)) ** 2 - timing_w2))
        again_w = min(earlier_w, self._step_w)
        own_j2 = (self._step_w**2 + 3 * again_w**2) * length_s**2 / 6
        self._record.add_change(self._step_w, again_w)
        self._usual_j2 += _USUAL * (own_j2 - self._usual_j2)
        return own_j2 + _OF_USUAL * self._usual_j2

    def _check(self) -> None:
        """Learn from the last ticks: predict one from its neighbours, and see what it shows of power and of the counter."""
        if len(self.ticks) < 6:
            return
        recent = [self.ticks[k] for k in range(-6, 0)]
        longest_s, bluntest_s = max(b.at_s - a.at_s for a, b in pairwise(recent)), max(t.half_s for t in recent)
        if longest_s > self.longest_s or bluntest_s > _BLUNT * self.period_s:
            return
        powers = [mean_w(p, q) for p, q in pairwise(recent)]
        self._predict(*recent[1:])
        step_w = powers[3] - powers[1]
        beside_w = max(abs(powers[1] - powers[0]), abs(powers[4] - powers[3]))
        if abs(step_w) > _CLEAR * max(powers) and beside_w < _CLEAR * abs(step_w):
            share = (powers[2] - powers[1]) / step_w
            if _STEP_SHARES[0] < share < _STEP_SHARES[1]:
                self._record.add_step(share)

    def _predict(self, first: Tick, start: Tick, left_out: Tick, end: Tick, last: Tick) -> None:
        """Leave a tick out: predict the counter at its instant from the two on each side."""
        before_w, both_w, after_w = mean_w(first, start), mean_w(start, end), mean_w(end, last)
        length_s, x = end.at_s - start.at_s, left_out.at_s - start.at_s
        error_j = start.energy_j + energy_within(before_w, both_w, after_w, length_s, x) - left_out.energy_j
        variance_j2 = bridge_j2(max(abs(both_w - before_w), abs(after_w - both_w)), length_s, x)
        share = x / max(1e-4, length_s)
        halves_s2 = left_out.half_s**2 + ((1 - share) * start.half_s) ** 2 + (share * end.half_s) ** 2
        timing_j2 = both_w**2 * halves_s2 / 3.0
        self._calm.append((variance_j2, error_j**2 / max(1e-6, timing_j2)))
        if variance_j2 > timing_j2:
            self._left_out.append((max(0.0, error_j**2 - timing_j2), variance_j2))
            self._record.add_left_out(*self._left_out[-1])


def _within(tick: Tick, low_s: float, high_s: float) -> Tick:
    """The tick within [low_s, high_s] where that overlaps its own interval; else as it is."""
    low, high = max(tick.at_s - tick.half_s, low_s), min(tick.at_s + tick.half_s, high_s)
    return replace(tick, at_s=(low + high) / 2, half_s=(high - low) / 2) if low < high else tick
