"""Derive the ticks of one device, the properties of its sensor and the time of the next read from burst readings. Pure.

A reading is new when the counter or the power differs from the last one; the tick then fell between the two reads. Nothing is
assumed of the period: it is learned from the ticks, and reads then wait for the next one, so that a tick is known to a
millisecond or two by a handful of reads. What was learned stays for later windows of the same process.

Power that changes while the counter still stands at the next read shows two clocks. From then on only changes of the counter
are ticks, and power is used for no more than the bounds between which it lies.
"""

from collections import deque
from dataclasses import replace
from math import inf

from energy_agent.sdk.measure.estimate import Tick, TickModel, tells
from energy_agent.sdk.measure.past import told_length, with_past

KEEP_S = 4.0
"""Ticks are kept this long; open windows keep those at their own start."""
_START_S = 0.100  # what is taken for the period until two ticks are seen: the longest that is published
_SHARES = {"Volta": 0.5, "Pascal": 0.5, "Turing": 1.0, "Ada": 1.0}
"""Instant power is the mean over this share of a tick (GPU_Power_Benchmark, arXiv 2312.02741): 10 of 20 ms, 100 of 100 ms."""
_QUARTER = 0.25  # GA100, Hopper; taken for later ones
_HIGHEST, _LOWEST = 1.2, 0.9
"""Transients pass a board's power limit, and readings of a mean its lowest power, by so much."""
_EARLY = 3  # so many of the last changes of the counter, and power that was ahead of them has a clock of its own
_UNMOVED = 2  # so many of the last ticks had other energy than their power, which did not change: it ticks elsewhere
_SHOWN = 20  # so many changes of power, and the lowest one is taken for a bound
_HINTS = 3  # so many ticks that look sampled, and none that does not, make a counter one that samples


class Tracker:
    """One device. Instants are of the node's clock, in s; energies J, powers W."""

    def __init__(self, architecture: str, has_average: bool, limit_w: float | None = None) -> None:
        """`limit_w`: the highest power limit that the board takes, where it is known."""
        self.ticks: deque[Tick] = deque()
        self.resets = 0
        self._share = _SHARES.get(architecture, _QUARTER)
        if architecture == "Ampere" and has_average:  # GA10x; GA100 has no average
            self._share = 1.0
        self._has_average = has_average
        self._lengths: deque[float] = deque(maxlen=64)
        self._rhythm: tuple[float, float] | None = None  # period and jitter by these lengths: each read asks for them again
        self._hints = 0
        self._integrates: bool | None = None
        self._last: tuple[float, float, float | None] | None = None  # time of the read, counter, power
        self._unmoved: deque[bool] = deque(maxlen=16)
        self._limit_w = limit_w
        self._two_clocks = False
        self._ahead = False  # the last read showed another power and the same counter
        self._early: deque[bool] = deque(maxlen=16)  # of the last changes of the counter, whether power was ahead of them
        self._low_w, self._high_w, self._shown = inf, 0.0, 0

    @property
    def tick_s(self) -> float:
        """The period, as far as it is known."""
        return self._learned_rhythm()[0]

    @property
    def sensor(self) -> TickModel:
        """What is known of the sensor."""
        tick_s, jitter_s = self._learned_rhythm()
        average = round(1.0 / tick_s) if self._has_average else 0
        low_w = _LOWEST * self._low_w if self._shown >= _SHOWN else 0.0
        high_w = _HIGHEST * max(self._high_w, self._limit_w or 0.0)
        return TickModel(tick_s, jitter_s, self._share * tick_s, average, self._integrates, self._two_clocks, low_w, high_w)

    def feed(self, asked_s: float, answered_s: float, energy_j: float, power_w: float | None, average_w: float | None) -> bool:
        """A reading, made somewhere between the two instants; whether it shows a tick."""
        last, self._last = self._last, (asked_s, energy_j, power_w)
        self._compare_clocks(last, energy_j, power_w)
        if last is not None and (energy_j, power_w) == last[1:]:
            return False
        if last is not None and energy_j < last[1]:
            self.ticks.clear()  # the counter began again: what was before cannot be joined to it
            self.resets += 1
            last = None
        longest = self.tick_s * 1.1
        lo_s = answered_s - longest if last is None else max(last[0], answered_s - longest)
        if power_w is None:  # the GPU does not report power: use the counter's own slope over whole ticks
            self._share, self._integrates = 1.0, True
            if not self.ticks and last is None:
                return False
            before_s, before_j = (self.ticks[-1].hi_s, self.ticks[-1].energy_j) if self.ticks else (lo_s, energy_j)
            power_w = max(0.0, energy_j - before_j) / max(1e-3, answered_s - before_s)
        counted = last is None or energy_j != last[1]
        if self._two_clocks and not counted:
            return False
        counter_lo_s = (-inf if last is None else last[0]) if counted else None
        self._append(Tick(lo_s, answered_s, energy_j, power_w, average_w, counter_lo_s=counter_lo_s))
        if sum(self._unmoved) >= _UNMOVED:
            self._separate()
        return True

    def _compare_clocks(self, last: tuple[float, float, float | None] | None, energy_j: float, power_w: float | None) -> None:
        """Learn from a read whether counter and power tick together, and how much power the board may draw.

        A tick may fall between the two fields of one read. So power that is ahead of the counter for a whole read is a proof;
        power that is ahead until the next read is one where it happens several times.
        """
        if power_w is None:
            return
        same_counter = last is not None and energy_j == last[1]
        ahead, self._ahead = self._ahead, same_counter and last is not None and power_w != last[2]
        if not same_counter:
            self._early.append(ahead)
        if (same_counter and ahead) or sum(self._early) >= _EARLY:
            self._separate()
        if last is None or power_w != last[2]:
            self._shown += 1
            self._low_w, self._high_w = min(self._low_w, power_w), max(self._high_w, power_w)

    def _separate(self) -> None:
        """Counter and power have clocks of their own."""
        if not self._two_clocks:
            self._two_clocks = True
            self._lengths.clear()
            self._rhythm = None
            self.ticks = deque(tick for tick in self.ticks if tick.counter_lo_s is not None)

    def due_s(self, now_s: float, fine: bool) -> float:
        """When to read again: at once and then in steps until the next tick is seen, not before it can come."""
        tick_s = self.tick_s
        step = max(0.001, tick_s * (0.02 if fine else 0.15))
        if not fine and tick_s < 0.05:
            return now_s + 0.1
        if len(self._lengths) < 3 or not self.ticks:
            return now_s + max(step, 0.002)
        return max(now_s + step, self.ticks[-1].lo_s + tick_s - self._learned_rhythm()[1])

    def _learned_rhythm(self) -> tuple[float, float]:
        """Period and jitter, as far as they are known."""
        if self._rhythm is None:
            tick_s = sum(self._lengths) / len(self._lengths) if self._lengths else _START_S
            spread_s = max((abs(length - tick_s) for length in self._lengths), default=0.0)
            self._rhythm = tick_s, max(0.05 * tick_s, min(spread_s, 0.2 * tick_s))
        return self._rhythm

    def _append(self, tick: Tick) -> None:
        ticks, tick_s = self.ticks, self.tick_s
        if ticks:
            before = ticks[-1]
            length = (tick.lo_s + tick.hi_s - before.lo_s - before.hi_s) / 2
            followed = length < 1.5 * tick_s
            sharp = max(tick.hi_s - tick.lo_s, before.hi_s - before.lo_s) < 0.15 * max(length, 1e-3)
            if followed and sharp:
                self._lengths.append(length)
                self._rhythm = None
                told = tells(before, tick)
                self._judge(told)
                self._unmoved.append(bool(told) and tick.power_w == before.power_w)
            energy_j = tick.energy_j - before.energy_j
            gap_s = max(0.0, length - self._share * tick_s)
            step_w = before.power_w - tick.power_w
            drawn_j, drawn_var = before.drawn_j + energy_j, before.drawn_var + (step_w * gap_s) ** 2 / 12
            if followed:
                drawn_j += step_w * gap_s / 2
            index = before.index + max(1, round(length / tick_s))
            told_s = told_length(before, tick, tick_s) if followed else 0.0
            tick = replace(tick, index=index, drawn_j=drawn_j, drawn_var=drawn_var, length_s=told_s)
            tick = self._averaged(self._with_past(tick))
        ticks.append(tick)
        while ticks[0].hi_s < tick.hi_s - KEEP_S:
            ticks.popleft()

    def _with_past(self, tick: Tick) -> Tick:
        wanted = 1 + (round(1.0 / self.tick_s) if self._has_average else 0)
        if wanted < 3 or len(self.ticks) < wanted:
            return tick
        return with_past([self.ticks[k] for k in range(-wanted, 0)], tick, self._share * self.tick_s)

    def _averaged(self, tick: Tick) -> Tick:
        """The energy since the tick of a second ago by the board's average power, which misses nothing."""
        average = round(1.0 / self.tick_s) if self._has_average else 0
        if not average or tick.average_w is None or len(self.ticks) < average:
            return tick
        since = self.ticks[-average]
        if tick.index - since.index != average:
            return tick
        length = (tick.lo_s + tick.hi_s - since.lo_s - since.hi_s) / 2
        blur_s = (tick.hi_s - tick.lo_s) / 3.5
        return replace(
            tick,
            drawn_j=since.drawn_j + tick.average_w * length,
            drawn_var=since.drawn_var + (0.3 * tick.average_w * blur_s) ** 2,
        )

    def _judge(self, told: bool | None) -> None:
        if told:
            self._integrates, self._hints = True, 0
        elif told is False and not self._integrates:
            self._hints += 1
            if self._hints >= _HINTS:
                self._integrates = False
