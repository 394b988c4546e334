"""Traces of a GPU's sensors, and the clock of each sensor from its own changes. Pure."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pvariance, stdev
from typing import Any, Final

MIN_TICKS = 20
BATCHES: Final = 8
STUDENT: Final = 2.365  # two-sided 95 % point for BATCHES - 1 degrees of freedom
Z_95: Final = 1.96

Row = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SensorTraces:
    """Changes of the sensors of one GPU; None for a sensor that it does not have.

    Each row is (after_ns, by_ns, value): boot-clock instant before which the old value was still read, instant by which the
    new one was, and the new one in mJ or mW. The first row is the first reading, whose change nobody saw.
    """

    read_ms: float  # usual time between two readings
    energy: Sequence[Row] | None
    instant: Sequence[Row] | None
    average: Sequence[Row] | None
    module: Sequence[Row] | None = None  # instant power of the GPU's module


@dataclass(frozen=True, slots=True)
class ProfileEstimate:
    """A value within [low, high] at 95 %, from `n` observations, or a choice in words; None with the reason."""

    value: float | str | None
    low: float = 0.0
    high: float = 0.0
    n: int = 0
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """{"value", "low", "high", "n", "basis"}; {"value", "n", "basis"} of a choice; or {"absent": reason}."""
        if self.value is None:
            return {"absent": self.reason}
        if isinstance(self.value, str):
            return {"value": self.value, "n": self.n, "basis": "measured"}
        numbers = {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}
        return numbers | {"n": self.n, "basis": "measured"}


def absent(reason: str) -> ProfileEstimate:
    """An estimate that the readings do not determine."""
    return ProfileEstimate(None, reason=reason)


@dataclass(frozen=True, slots=True)
class SensorClock:
    """When a sensor changes. `period_ms` is None where it has no ticks: too few changes, or new at every read (`fresh`)."""

    period_ms: float | None
    tick: ProfileEstimate
    jitter: ProfileEstimate
    longest: ProfileEstimate
    fresh: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SensorSignal:
    """Changes of one sensor: middle and half of the time that the reads leave open, in ms, and the value from then on."""

    times: list[float]
    doubts: list[float]
    values: list[float]
    clock: SensorClock

    @property
    def moves(self) -> bool:
        """Whether it changes often enough to be used."""
        return self.clock.fresh or self.clock.period_ms is not None

    def at(self, ms: float) -> float:
        """The value that a read at `ms` shows."""
        return self.values[max(0, bisect_right(self.times, ms) - 1)]

    def between(self, from_ms: float, to_ms: float) -> list[float]:
        """Every value that is shown in [from_ms, to_ms)."""
        first = max(0, bisect_right(self.times, from_ms) - 1)
        return self.values[first : max(first + 1, bisect_left(self.times, to_ms))]


def read_signal(rows: Sequence[Row] | None, read_ms: float, name: str) -> SensorSignal:
    """A sensor from its changes; `name` is for the reasons."""
    rows = rows or ()
    times, doubts = [(a + b) / 2e6 for a, b, _ in rows], [(b - a) / 2e6 for a, b, _ in rows]
    return SensorSignal(times, doubts, [float(v) for _, _, v in rows], _fit_clock(times, doubts, read_ms, name))


def _no_clock(reason: str, *, fresh: bool = False) -> SensorClock:
    none = absent(reason)
    return SensorClock(None, none, none, none, fresh, reason)


def _fit_clock(times: list[float], doubts: list[float], read_ms: float, name: str) -> SensorClock:
    """Period and jitter. A tick without a change, as at steady power, leaves a longer gap between changes.

    With a jitter of at most 20 % a tick lasts 0.8 to 1.2 periods and two of them at least 1.6. Jitter is half the range of the
    ticks. Its low bound takes each tick as near to the others as the reads allow, its high bound as far. What n ticks did not
    show, a further one may: the range of n draws lacks 2 / (n + 1) of a uniform law's.
    """
    if not times:
        return _no_clock(f"no {name}")
    usual_doubt = sorted(doubts[1:])[len(doubts[1:]) // 2] if doubts[1:] else 0.0
    on_time = [(t, d) for t, d in zip(times[1:], doubts[1:], strict=True) if d <= 2.0 * usual_doubt]  # where no read stalled
    gaps = [(b - a, c + d) for (a, c), (b, d) in pairwise(on_time)]
    short_ms = sorted(g for g, _ in gaps)[len(gaps) // 50] if gaps else 0.0
    if len(gaps) >= MIN_TICKS and short_ms < 2.5 * read_ms:
        return _no_clock(f"{name} changes at every read, {read_ms:.1f} ms apart", fresh=True)
    ticks = [(g, d) for g, d in gaps if g <= 1.75 * short_ms and d <= short_ms / 4]
    lengths, n = [g for g, _ in ticks], len(ticks)
    if n < MIN_TICKS:
        return _no_clock(f"{n} whole ticks of {name} were seen and {MIN_TICKS} are needed: measure for longer")
    # With gaps of several ticks too: a longer tick is likelier to see a change, which would bias those that are one tick long.
    usual = fmean(lengths)
    counted = [(g, round(g / usual)) for g, _ in gaps if 0.5 * short_ms < g <= 4.5 * usual]
    total = sum(k for _, k in counted)
    period = sum(g for g, _ in counted) / total
    error = Z_95 * stdev(lengths) / math.sqrt(total) + fmean(d for _, d in ticks) / total
    inner = max(0.0, max(g - d for g, d in ticks) - min(g + d for g, d in ticks)) / 2
    outer = (max(g + d for g, d in ticks) - min(g - d for g, d in ticks)) / 2
    further = 1.0 + 2.0 / (n - 1)
    uniform = math.sqrt(3.0 * max(0.0, pvariance(lengths) - fmean(d * d for _, d in ticks) / 6.0))
    high = max(g + d for g, d in ticks) + 2 * outer * (further - 1.0)
    return SensorClock(
        period,
        ProfileEstimate(period, period - error, period + error, total),
        ProfileEstimate(min(max(uniform, inner), outer), inner, outer * further, n),
        ProfileEstimate(max(lengths), max(g - d for g, d in ticks), high, n),
    )


def find_trigger(signal: SensorSignal, others: Sequence[tuple[str, SensorSignal]], read_ms: float) -> ProfileEstimate:
    """What makes a signal change: every read, another signal's tick if they change together, or a clock of its own.

    A tick at steady power changes nothing, so the signal with fewer changes is looked for in the other.
    """
    changes = len(signal.times) - 1
    if not signal.moves:
        return absent(signal.clock.reason)
    if signal.clock.fresh:
        return ProfileEstimate("read", n=changes)
    for name, other in others:
        if other.clock.period_ms is None:
            continue
        few, many = sorted((signal.times[1:], other.times[1:]), key=len)
        together = sum(_distance(many, t) <= 1.25 * read_ms for t in few) / len(few)
        if together >= 0.8:
            return ProfileEstimate(name, n=len(few))
        if together > 0.6:
            return absent(f"{together:.0%} of its changes are at those of {name}: too few for one clock, too many for two")
    return ProfileEstimate("own", n=changes)


def _distance(times: Sequence[float], ms: float) -> float:
    place = bisect_left(times, ms)
    return min(abs(ms - t) for t in times[max(0, place - 1) : place + 1])


def own_clock(name: str, trigger: ProfileEstimate, signal: SensorSignal, energy: SensorSignal) -> dict[str, ProfileEstimate]:
    """Period, jitter and phase of a clock of its own, by the simulator's names for the clock `name`."""
    names = (f"{name}_tick_ms", f"{name}_jitter_ms", f"{name}_phase_ms")
    if trigger.value != "own":
        reason = trigger.reason or "it has no clock of its own"
        return dict.fromkeys(names, absent(reason))
    return dict(zip(names, (signal.clock.tick, signal.clock.jitter, _phase(signal, energy)), strict=True))


def _phase(signal: SensorSignal, energy: SensorSignal) -> ProfileEstimate:
    """Time from a tick of the counter to the next one of the signal: circular mean, if it is the same all the time."""
    period = signal.clock.period_ms
    if period is None or energy.clock.period_ms is None:
        return absent(energy.clock.reason or signal.clock.reason)
    places = [(t, bisect_right(energy.times, t) - 1) for t in signal.times[1:]]
    angles = [2 * math.pi * ((t - energy.times[k]) % period) / period for t, k in places if k >= 1]
    batches = [_circular(angles[len(angles) * b // BATCHES : len(angles) * (b + 1) // BATCHES]) for b in range(BATCHES)]
    mean, length = _circular(angles)
    if len(angles) < MIN_TICKS or length < 0.8 or min(n for _, n in batches) < 0.8:
        return absent("it drifts against the counter's clock")
    shifts = [math.remainder(angle - mean, 2 * math.pi) for angle, _ in batches]
    ms = period / (2 * math.pi)
    error = STUDENT * stdev(shifts) / math.sqrt(BATCHES) * ms + fmean(signal.doubts[1:])
    value = mean % (2 * math.pi) * ms
    return ProfileEstimate(value, value - error, value + error, len(angles))


def _circular(angles: Sequence[float]) -> tuple[float, float]:
    """Mean direction and mean resultant length (Fisher, Statistical Analysis of Circular Data, 1993, section 2.3)."""
    if not angles:
        return 0.0, 0.0
    x, y = fmean(map(math.cos, angles)), fmean(map(math.sin, angles))
    return math.atan2(y, x), math.hypot(x, y)
