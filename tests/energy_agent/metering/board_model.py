"""A board as arithmetic, so that the meter's truth does not come from the meter: power by the ms, ticks, resets, freezes.

Energy is in uJ (mW x ms), time in ms; nothing is rounded but the counter's reading, which is in whole mJ as NVML's.
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from energy_agent.core.energy import DeviceSample, Gap, Interval, Method
from energy_agent.metering.gpu import MeterState, SensorLimits, advance

TICK_MS = 150
POWER_MAX_MW = 800_000
START_NS = 1_790_000_000_000_000_000
BOOT_MS = 5_000_000
SENSOR = SensorLimits(TICK_MS * 1_000_000, POWER_MAX_MW, 2_500_000_000)


@dataclass(frozen=True)
class Stuck:
    """From `start_ms` to `end_ms` the counter shows one value; afterwards it shows all, or goes on from there."""

    start_ms: int
    end_ms: int
    catches_up: bool
    power_too: bool = True


@dataclass
class BoardModel:
    """One board. `power` is (duration in ms, mW) in a row; `ticks` the durations between ticks, repeated for ever."""

    power: Sequence[tuple[int, int]]
    ticks: Sequence[int] = (100,)
    resets: Sequence[int] = ()
    stuck: Stuck | None = None
    counter_start_mj: int = 7_000_000
    wrap_mj: int | None = None
    _edges: list[int] = field(init=False)
    _sums: list[int] = field(init=False)
    _published: list[tuple[int, int]] = field(init=False)

    def __post_init__(self):
        self._edges = [0, *itertools.accumulate(d for d, _ in self.power)]
        self._sums = [0, *itertools.accumulate(d * p for d, p in self.power)]
        self._published = list(self._publish())

    @property
    def end_ms(self):
        return self._edges[-1]

    def true_uj(self, t_ms):
        """Energy drawn in [0, t_ms)."""
        i = min(bisect_right(self._edges, t_ms), len(self.power)) - 1
        return self._sums[i] + (t_ms - self._edges[i]) * self.power[i][1]

    def power_mw(self, t_ms):
        return self.power[min(bisect_right(self._edges, t_ms), len(self.power)) - 1][1]

    def _publish(self):
        """(instant, what the counter shows from then on in uJ)."""
        counter_uj, pending_from, pending_uj = self.counter_start_mj * 1000, 0, 0
        ticks = itertools.takewhile(lambda t: t <= self.end_ms, itertools.accumulate(itertools.cycle(self.ticks)))
        events = sorted([(t, "tick") for t in ticks] + [(t, "reset") for t in self.resets], key=lambda e: e[0])
        if self.stuck is not None:
            events = sorted([*events, (self.stuck.end_ms, "release")], key=lambda e: e[0])
        yield 0, counter_uj
        for t, kind in events:
            frozen = self.stuck is not None and self.stuck.start_ms <= t < self.stuck.end_ms
            if kind == "reset":
                counter_uj, pending_uj, pending_from = 0, 0, t
            elif kind == "release":
                assert self.stuck is not None
                counter_uj, pending_uj = counter_uj + (pending_uj if self.stuck.catches_up else 0), 0
            else:
                energy, pending_from = self.true_uj(t) - self.true_uj(pending_from), t
                if frozen:
                    pending_uj += energy
                else:
                    counter_uj += energy
            yield t, counter_uj

    def counter_mj(self, t_ms):
        i = bisect_right(self._published, t_ms, key=lambda p: p[0]) - 1
        value = self._published[i][1] // 1000
        return value % self.wrap_mj if self.wrap_mj else value

    def sample(self, t_ms, *, counter=True, power=True):
        seen_ms = t_ms
        if self.stuck is not None and self.stuck.power_too and self.stuck.start_ms <= t_ms < self.stuck.end_ms:
            seen_ms = self.stuck.start_ms
        return DeviceSample(
            "GPU-model",
            START_NS + t_ms * 1_000_000,
            (BOOT_MS + t_ms) * 1_000_000,
            energy_mj=self.counter_mj(t_ms) if counter else None,
            power_mw=self.power_mw(seen_ms) if power else None,
            gpu_percent=50,
        )


@dataclass
class Metered:
    """What the meter made of a row of samples."""

    state: MeterState | None = None
    intervals: list[Interval] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    @classmethod
    def read(cls, board, times, reload_ms=None, **options):
        """Read the board at these times (ms), over a load of its driver where one is given."""
        metered = cls()
        for t in times:
            metered.feed(board.sample(t, **options), epoch="" if reload_ms is None else "41" if t < reload_ms else "97")
        return metered

    def feed(self, sample, boot_id="boot-1", sensor=SENSOR, epoch=""):
        step = advance(self.state, sample, sensor, boot_id, epoch)
        self.state = step.state
        if step.interval is not None:
            self.intervals.append(step.interval)
        if step.gap is not None:
            self.gaps.append(step.gap)
        return step

    @property
    def recorded_uj(self):
        return sum(i.energy_uj for i in self.intervals)

    @property
    def bound_uj(self):
        return sum(g.bound_uj for g in self.gaps)

    def holds(self, true_uj, doubt_uj):
        """Whether the recorded energy is at most the true energy, and with the gaps' bounds at least that, within the doubt."""
        doubt_uj += self.integration_error_uj
        return self.recorded_uj <= true_uj + doubt_uj and true_uj <= self.recorded_uj + self.bound_uj + doubt_uj

    @property
    def integration_error_uj(self):
        return sum(2 * i.edge_uj for i in self.intervals if i.method is Method.INTEGRATED)
