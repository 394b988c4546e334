"""Energy of one device over a window that is no longer than a few ticks of its sensor, from burst readings. Pure.

A GPU's counter and power readings change at ticks (20 or 100 ms apart, with jitter). At tick k the readings give

- P_k, the mean power over the last `window_s` before the tick (a quarter of the time on an H100, half of it on a V100);
- E_k, the counter: on a GPU that integrates, E_k - E_k-1 is the energy of the whole tick; on a GPU that samples it is P_k times
  the length of the tick, without new information;
- A_k, if the GPU has it, the mean power over the last second: the energy of the last `average_ticks` whole ticks; for the
  ticks before the first of these, the values that a tracker kept (energy_agent/sdk/measure/past.py).

Power between these windows is modelled as a random process that forgets its level the faster, the more the readings of a tick
differ from each other: if they agree, power was steady. Every reading is a linear observation of it, and the energy of the
window is the conditional mean given all of them (kriging of integrals), with its conditional variance. COVER turns the standard
deviation into the stated half-width; it and the scales are calibrated on simulated boards of both counter models under loads
whose levels hold 50 to 400 ms (tests/energy_agent/sdk/measure/test_coverage.py).

Windows longer than a few ticks take what lies inside from the counter, between two ticks, and only their two ends this way.

All this holds where counter and power tick together. On a board whose power changes while its counter stands still the two have
clocks of their own: there the energy at an instant is that of a straight line between the counter's own ticks, within what the
lowest and highest power of the board allow (`interpolated_energy`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, sqrt

from energy_agent.sdk.measure.linear import Pieces, krige

SHORTEST_S = 0.050
COVER = 3.1
_LOCAL, _GLOBAL, _FLOOR = 0.7, 0.3, 0.004
MOST_TICKS, _MARGIN = 26, 4
_BEFORE = 0.5
_BLIND_STEP = 0.02
_SHARP_S = 2e-5  # uncertainty of a length derived from the counter, from the rounding of its readings
_BLIND = 0.25  # spread of power, relative to its level, where one reading is all there is


@dataclass(frozen=True, slots=True)
class Tick:
    """Readings that appeared between two reads of a device, at `lo_s` and `hi_s`. Powers are as read, W; the counter in J."""

    lo_s: float
    hi_s: float
    energy_j: float
    power_w: float
    average_w: float | None = None
    index: int = 0  # of the tick, counted without those that were missed
    drawn_j: float = 0.0  # energy since the first tick, should the counter only sample; with the variance of that
    drawn_var: float = 0.0
    length_s: float = 0.0  # of the tick if the counter only samples: exact; 0 if unknown
    past_j: float = 0.0  # energy of the tick, by what came before, should the counter only sample; its variance, 0 for none
    past_var: float = 0.0
    counter_lo_s: float | None = None  # the read before, if this one shows another counter; else None


@dataclass(frozen=True, slots=True)
class TickModel:
    """What is known of a board's sensor.

    Args:
        tick_s: mean time between ticks.
        jitter_s: by how much a tick may be shorter or longer.
        window_s: how much of the end of a tick instant power is the mean of.
        average_ticks: how many ticks the average power covers; 0 where the board has none.
        integrates: whether the counter holds all energy; None while nothing has shown it.
        two_clocks: counter and power do not tick together.
        low_w: the lowest power that the board may draw.
        high_w: the highest.
    """

    tick_s: float
    jitter_s: float
    window_s: float
    average_ticks: int
    integrates: bool | None
    two_clocks: bool = False
    low_w: float = 0.0
    high_w: float = inf


@dataclass(frozen=True, slots=True)
class EnergyEstimate:
    """Energy by the GPU's own sensor, and the half-width of its interval, without gain error."""

    joules: float
    half_j: float


def window_energy(ticks: Sequence[Tick], start_s: float, end_s: float, sensor: TickModel) -> EnergyEstimate:
    """Energy from `start_s` to `end_s`, given the ticks around and inside; at least one.

    The first tick may be one that was there before the first read: its `lo_s` then lies a tick before its `hi_s`.
    """
    if sensor.two_clocks:
        return interpolated_energy(ticks, start_s, end_s, sensor)
    ticks = _needed(_narrow(ticks, sensor), start_s, sensor)
    if len(ticks) > MOST_TICKS:
        a = next((k for k, t in enumerate(ticks) if t.lo_s >= start_s), len(ticks)) + _MARGIN
        b = next((k for k in range(len(ticks) - 1, -1, -1) if ticks[k].hi_s <= end_s), 0) - _MARGIN
        step = 1 if sensor.integrates else max(1, sensor.average_ticks)
        while b > a and (ticks[b].index - ticks[a].index) % step:
            b -= 1
        if b > a:
            return _joined(ticks, a, b, start_s, end_s, sensor)
    return _short(ticks, start_s, end_s, sensor)


def interpolated_energy(ticks: Sequence[Tick], start_s: float, end_s: float, sensor: TickModel) -> EnergyEstimate:
    """Energy between two instants by straight lines between the counter's ticks; its interval is a bound, not a deviation.

    The counter at a tick is the energy up to then. Before and after it, energy grows at the lowest power at least and at the
    highest at most: each tick bounds the energy at each instant from both sides, and the narrowest bounds hold.
    """
    known = [tick for tick in ticks if tick.counter_lo_s is not None] or list(ticks[-1:])
    low_w, high_w = sensor.low_w, sensor.high_w

    def bounds(at_s: float) -> tuple[float, float]:
        lower = (t.energy_j + low_w * max(0.0, at_s - t.hi_s) - high_w * max(0.0, t.hi_s - at_s) for t in known)
        upper = (_upper(t, at_s, low_w, high_w) for t in known)
        return max(lower), min(upper)

    def line(at_s: float) -> float:
        k = min(max(1, sum(_middle(t) <= at_s for t in known)), len(known) - 1)
        if k < 1:
            return known[0].energy_j
        a, b = known[k - 1], known[k]
        slope_w = (b.energy_j - a.energy_j) / max(1e-3, _middle(b) - _middle(a))
        return a.energy_j + slope_w * (at_s - _middle(a))

    (start_low, start_high), (end_low, end_high) = bounds(start_s), bounds(end_s)
    lowest = max(end_low - start_high, low_w * (end_s - start_s))
    highest = min(end_high - start_low, high_w * (end_s - start_s))
    joules = min(max(line(end_s) - line(start_s), lowest), highest)
    return EnergyEstimate(joules, max(joules - lowest, highest - joules) + 2e-3)


def _upper(tick: Tick, at_s: float, low_w: float, high_w: float) -> float:
    lo_s = tick.counter_lo_s
    if lo_s is None or lo_s == -inf:
        return inf
    return tick.energy_j + high_w * max(0.0, at_s - lo_s) - low_w * max(0.0, lo_s - at_s)


def _joined(ticks: Sequence[Tick], a: int, b: int, start_s: float, end_s: float, sensor: TickModel) -> EnergyEstimate:
    """A window whose inside, from tick `a` to tick `b`, is known from the counter."""
    first, last = ticks[a], ticks[b]
    head = _short(ticks[max(0, a - 2 * _MARGIN) : a + _MARGIN], start_s, _middle(first), sensor)
    tail = _short(ticks[b - _MARGIN + 1 : b + MOST_TICKS], _middle(last), end_s, sensor)
    if sensor.integrates:
        inside, own_j = last.energy_j - first.energy_j, 2e-3
    else:
        inside, own_j = last.drawn_j - first.drawn_j, COVER * sqrt(max(0.0, last.drawn_var - first.drawn_var))
    cuts_j = [0.5 * COVER * t.power_w * (t.hi_s - t.lo_s) / sqrt(12) for t in (first, last)]
    half_j = sqrt(sum(part * part for part in (head.half_j, tail.half_j, own_j, *cuts_j)))
    return EnergyEstimate(head.joules + inside + tail.joules, half_j)


def _middle(tick: Tick) -> float:
    return (tick.lo_s + tick.hi_s) / 2


def _short(ticks: Sequence[Tick], start_s: float, end_s: float, sensor: TickModel) -> EnergyEstimate:
    at = [_middle(t) for t in ticks]
    slack = [(t.hi_s - t.lo_s) / sqrt(12) for t in ticks]
    power = [t.power_w for t in ticks]
    means = _tick_means(ticks, at, sensor)
    moved = _moved(power, means)
    level = sum(power) / len(power)
    overall = sqrt(sum(m * m for m in moved) / len(moved)) if moved else _BLIND * level
    history = _history(at, ticks, sensor)
    before = max((abs(t.average_w - t.power_w) for t in ticks if t.average_w is not None), default=0.0) if history else 0.0
    before = max(overall, _BEFORE * before)
    breaks = {start_s, end_s, *at, *(t - sensor.window_s for t in at), *history}
    variance = max(before, _BLIND_STEP * level, 0.5) ** 2
    cuts = sorted(breaks)
    pieces = Pieces(cuts, _rates(cuts, at, [before, *moved, overall], overall, level, variance, sensor.tick_s), variance)
    rows: list[tuple[float, float, float, float]] = []  # from, to, J, standard deviation of its own
    owed: list[dict[int, float]] = []  # what a tick's uncertain instant adds to the row, J per tick
    for k, t in enumerate(at):
        drift = max(abs(power[k] - power[j]) for j in (max(0, k - 1), min(len(at) - 1, k + 1)))
        rows.append((t - sensor.window_s, t, power[k] * sensor.window_s, drift * slack[k] + 1e-3 * sensor.window_s * level))
        owed.append({})
    if sensor.integrates:
        for k in range(1, len(at)):
            rows.append((at[k - 1], at[k], ticks[k].energy_j - ticks[k - 1].energy_j, 1e-3))
            owed.append({k - 1: -power[k - 1] * slack[k - 1], k: power[k] * slack[k]})
    elif history:
        for k, (t, tick) in enumerate(zip(at, ticks, strict=True)):
            first = k - sensor.average_ticks
            if first < 0 and tick.past_var:
                if k:
                    rows.append((at[k - 1], t, tick.past_j, sqrt(tick.past_var)))
                    owed.append({})
                continue
            if tick.average_w is None or (first >= 0 and tick.index - ticks[first].index != sensor.average_ticks):
                continue  # a tick was missed: it is not known where the average begins
            since = at[first] if first >= 0 else history[k]
            own = 2e-3 if first >= 0 else sqrt(-first) * sensor.jitter_s / sqrt(3) * max(before, 1.0) + 0.1
            rows.append((since, t, tick.average_w * (t - since), own))
            shift = {k: (power[k] - tick.average_w) * slack[k]}
            if first >= 0:
                shift[first] = (tick.average_w - power[first]) * slack[first]
            owed.append(shift)
    joules, left = krige(pieces, rows, owed, (start_s, end_s), level)
    return EnergyEstimate(joules, COVER * sqrt(left) + 2e-3)


def tells(before: Tick, tick: Tick) -> bool | None:
    """What two ticks in a row show: True, the counter integrates; False, it looks as if it sampled; None: nothing.

    A counter that samples goes on by P_k times the time since the last tick, exactly. True is a proof, False a hint: one that
    integrates can agree by chance.
    """
    if tick.power_w <= 0:
        return None
    shortest, longest = tick.lo_s - before.hi_s, tick.hi_s - before.lo_s
    implied_s = (tick.energy_j - before.energy_j) / tick.power_w
    if not shortest - 0.001 <= implied_s <= longest + 0.001:
        return True
    return False if abs(tick.power_w - before.power_w) > 0.1 * tick.power_w else None


def _needed(ticks: list[Tick], start_s: float, sensor: TickModel) -> list[Tick]:
    """The ticks without those long before the window, unless these add information to the later ones."""
    first = max(0, next((k for k, t in enumerate(ticks) if t.hi_s >= start_s), 0) - _MARGIN)
    averages = not sensor.integrates and sensor.average_ticks
    return ticks if averages and not all(t.past_var for t in ticks[first + 1 :]) else ticks[first:]


def _narrow(ticks: Sequence[Tick], sensor: TickModel) -> list[Tick]:
    """The ticks with their instants narrowed by those of their neighbours."""
    lo, hi = [t.lo_s for t in ticks], [t.hi_s for t in ticks]
    short, long = sensor.tick_s - sensor.jitter_s, sensor.tick_s + sensor.jitter_s
    lengths = [(short, long)] * len(ticks)
    if not sensor.integrates:
        lengths = [(t.length_s - _SHARP_S, t.length_s + _SHARP_S) if t.length_s else (short, long) for t in ticks]
    for k in range(len(ticks) - 2, -1, -1):
        least, most = lengths[k + 1]
        lo[k], hi[k] = _narrowed(lo[k], hi[k], lo[k + 1] - most, hi[k + 1] - least)
    for k in range(1, len(ticks)):
        least, most = lengths[k]
        lo[k], hi[k] = _narrowed(lo[k], hi[k], lo[k - 1] + least, hi[k - 1] + most)
    return [replace(t, lo_s=a, hi_s=b) for t, a, b in zip(ticks, lo, hi, strict=True)]


def _narrowed(lo: float, hi: float, other_lo: float, other_hi: float) -> tuple[float, float]:
    """The common part, where there is one: a tick that was missed makes none."""
    a, b = max(lo, other_lo), min(hi, other_hi)
    return (a, b) if a < b else (lo, hi)


def _tick_means(ticks: Sequence[Tick], at: list[float], sensor: TickModel) -> list[float] | None:
    """Mean power of each tick but the first; None if the counter does not give it."""
    if not sensor.integrates:
        return None
    return [(ticks[k].energy_j - ticks[k - 1].energy_j) / max(1e-3, at[k] - at[k - 1]) for k in range(1, len(at))]


def _moved(power: list[float], means: list[float] | None) -> list[float]:
    """The change of power in each tick but the first, as far as its readings show it."""
    steps = [abs(b - a) for a, b in pairwise(power)]
    if means is None:  # what a window blends of two levels makes its neighbours look moved, or steady
        return [max(s, 0.6 * a, 0.6 * b) for a, s, b in zip([0.0, *steps], steps, [*steps[1:], 0.0], strict=False)]
    return [max(step, abs(mean - a), abs(mean - b)) for step, mean, a, b in zip(steps, means, power, power[1:], strict=False)]


def _history(at: list[float], ticks: Sequence[Tick], sensor: TickModel) -> list[float]:
    """Where the average at each tick begins, for those that begin before the first tick; [] where averages are of no use."""
    if sensor.integrates or not sensor.average_ticks or all(t.average_w is None for t in ticks):
        return []
    return [at[0] - (sensor.average_ticks - k) * sensor.tick_s for k in range(min(len(at), sensor.average_ticks))]


def _rates(
    breaks: list[float], at: list[float], moved: list[float], overall: float, level: float, variance: float, tick_s: float
) -> list[float]:
    """How fast power forgets its level in each piece between two breaks, 1/s."""
    rates, k = [], 0
    for a, b in pairwise(breaks):
        middle = (a + b) / 2
        while k < len(at) and at[k] < middle:
            k += 1
        local = moved[k]
        step = (_LOCAL * local) ** 2 + (_GLOBAL * overall) ** 2 + (_FLOOR * level) ** 2
        rates.append(min(step / variance / tick_s / 2, 1.0 / SHORTEST_S))
    return rates
