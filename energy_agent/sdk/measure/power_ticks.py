"""The instant power of one GPU: when it changes, how it compares with the counter, and what the counter does not show. Pure."""

from cmath import exp, pi
from collections import deque
from collections.abc import Sequence
from itertools import islice, pairwise

from energy_agent.metering.interpolation import CoursePoint, Tick, sample_course
from energy_agent.sdk.measure.alignment import AFTER, BEFORE, SLOWEST_S, STEP_S
from energy_agent.sdk.measure.sensor_record import SensorRecord

LOOK_S = 0.005
"""Time between reads that show when power changes."""
_APART_S = 0.008  # between readings that are used: others would show the same
_BLUNT_S = 0.015  # a reading whose instant is known no better is not used
_VARIES = 0.1  # share of its mean by which power varies, where the delay shows
_BLOCK = 10  # steps over which the mean is taken for it
_ENOUGH = 10  # readings, before which they show no swing
_SPAN_S = 3.0  # in which a swing is looked for
_STEADY = 0.05  # share of the mean power: a lesser swing is of no weight
_SLOWEST, _FASTEST = 0.6, 5.0  # swings that are looked for, per period of the counter
_HIGHEST_HZ = 60.0  # above, power averages them out
_SIGNIFICANT = 9.0  # squared amplitude of a swing, relative to that by chance


class PowerTicks:
    """Changes of instant power."""

    def __init__(self, record: SensorRecord) -> None:
        """`record`: of the GPU's model."""
        self._record = record
        self._last: tuple[float, float] | None = None  # time of the last read, power
        self._changed = False
        self._changed_s = 0.0
        self._waiting: deque[tuple[float, float, float]] = deque(maxlen=1000)
        self._rests: deque[tuple[float, float]] = deque(maxlen=96)
        """Instants, and the power read then less the counter's mean power over a period around it."""
        self._mean_w = 0.0
        self._steady: deque[tuple[float, float]] = deque(maxlen=60)
        """In steady power: power read, and mean power by the counter."""

    @property
    def reported(self) -> bool:
        """The GPU reports instant power."""
        return self._last is not None

    def feed(self, asked_s: float, answered_s: float, power_w: float) -> None:
        """A reading, made between two instants."""
        last, self._last = self._last, (asked_s, power_w)
        if last is None:
            return
        before, self._changed = self._changed, power_w != last[1]
        if not self._changed:
            return
        since_s = asked_s if before else last[0]  # power that changes at every read has no ticks
        at_s, half_s = (since_s + answered_s) / 2, (answered_s - since_s) / 2
        gap_s, self._changed_s = at_s - self._changed_s, at_s
        self._record.add_power_gap(gap_s)
        period_s, doubt_s = self._record.power_period_s
        if gap_s > 1.5 * period_s:  # the tick before showed the same as those before it
            self._wait(at_s - period_s, half_s + doubt_s, last[1])
        self._wait(at_s, half_s, power_w)

    def _wait(self, at_s: float, half_s: float, power_w: float) -> None:
        if half_s < _BLUNT_S and (not self._waiting or at_s - self._waiting[-1][0] > _APART_S):
            self._waiting.append((at_s, half_s, power_w))

    def compare(self, ticks: Sequence[Tick], period_s: float, scale: float) -> None:
        """Compare readings with the counter's course, once its ticks around them are known."""
        while self._waiting and len(ticks) > 5 and ticks[-3].at_s > self._waiting[0][0] + AFTER * STEP_S:
            at_s, half_s, power_w = self._waiting.popleft()
            start_s = at_s - BEFORE * STEP_S
            first = next((k for k in range(len(ticks) - 1, -1, -1) if ticks[k].at_s <= start_s), 0) - 1
            if first < 0 or period_s > SLOWEST_S:
                continue
            around = list(islice(ticks, first, None))
            if max(b.at_s - a.at_s for a, b in pairwise(around)) < 1.5 * period_s:
                course = sample_course(around, start_s, STEP_S, BEFORE + AFTER + 1, scale)
                self._use(at_s, half_s, power_w, course, period_s)

    def hidden_j(self, period_s: float) -> float:
        """Half-width by a swing of power within the counter's ticks: both ends of a window may come anywhere in it.

        The ticks do not show it where it repeats with them, or nearly so. The readings do: their periodogram (N. R. Lomb,
        Astrophys. Space Sci. 39, 1976, p. 447) has a peak.
        """
        rests = [(at_s, rest_w) for at_s, rest_w in self._rests if at_s > self._rests[-1][0] - _SPAN_S]
        squares_w2 = sum(rest_w * rest_w for _, rest_w in rests)
        if len(rests) < _ENOUGH or squares_w2 < (_STEADY * self._mean_w) ** 2 * len(rests):
            return 0.0
        least_hz, step_hz = _SLOWEST / period_s, 1 / (2 * _SPAN_S)
        most_hz = min(_FASTEST / period_s, _HIGHEST_HZ)
        peak_j = 0.0
        for k in range(max(0, int((most_hz - least_hz) / step_hz) + 1)):
            turn = 2j * pi * (least_hz + k * step_hz)
            wave_w = abs(sum(rest_w * exp(turn * at_s) for at_s, rest_w in rests))
            if wave_w * wave_w > _SIGNIFICANT * squares_w2:
                peak_j = max(peak_j, 2 * wave_w / len(rests) / abs(turn))
        return 2.5 * peak_j

    def _use(self, at_s: float, half_s: float, power_w: float, course: Sequence[CoursePoint], period_s: float) -> None:
        """Keep what a reading shows of the gain, of the delay, and of power within ticks."""
        mean_w = (course[-1].joules - course[0].joules) / ((len(course) - 1) * STEP_S)
        gained_w = self._gain() * power_w
        blocks = [b.joules - a.joules for a, b in pairwise(course[::_BLOCK])]
        if max(blocks) - min(blocks) <= _VARIES * mean_w * _BLOCK * STEP_S:
            self._steady.append((power_w, mean_w))
        elif self._record.alignment.learns:
            self._record.alignment.add(gained_w, half_s, course, mean_w)
        middle = BEFORE + round(self._record.delays_s(period_s)[0] / STEP_S)
        half = max(1, round(period_s / 2 / STEP_S))
        around_j = course[min(middle + half, len(course) - 1)].joules - course[max(0, middle - half)].joules
        self._rests.append((at_s, gained_w - around_j / (2 * half * STEP_S)))
        self._mean_w = mean_w

    def _gain(self) -> float:
        """The counter's mean power relative to the power that is read."""
        if not self._steady:
            return 1.0
        powers_w, means_w = map(sum, zip(*self._steady, strict=True))
        return means_w / max(1e-9, powers_w)
