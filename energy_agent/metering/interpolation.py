"""Energy between two instants from the ticks of a GPU's energy counter, and its variance. Pure.

A counter changes every 20 to 100 ms. Its change at a tick is the energy since the tick before: it shows the mean power of the
tick, but not the course of power within it. Two levels are assumed: power keeps the mean of the tick before up to some instant,
and has the mean of the tick after from then on. The tick's energy gives that instant. This is subcell resolution (A. Harten,
"ENO schemes with subcell resolution", J. Comput. Phys. 83, 1989, p. 148). Where the mean of a tick is not between those of its
neighbours, energy grows along a straight line.

The variance is that of a Brownian bridge over the tick whose scale is the step of mean power at its ends. How well that fits is
learned from ticks that are left out and predicted (energy_agent/sdk/measure/ticks.py).

No power reading takes part: its clock, window and shape differ by GPU, and with them as observations of a Bayesian change point
the error was the same (docs/decisions/0020-windows-by-the-counter.md).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

_SHORTEST_S = 1e-4


@dataclass(frozen=True, slots=True)
class Tick:
    """A change of the counter, at `at_s` give or take `half_s`, to `energy_j`.

    Args:
        at_s: middle of the interval in which it happened.
        half_s: half of that interval.
        energy_j: the counter from then on.
        power_w: instant power as last read before it; None where the GPU does not report it.
        steps_j2: cumulative variance, should the counter add up samples of power (`TickTracker`).
    """

    at_s: float
    half_s: float
    energy_j: float
    power_w: float | None = None
    steps_j2: float = 0.0


@dataclass(frozen=True, slots=True)
class PowerRange:
    """The lowest and the highest power that the GPU may draw, W."""

    lowest_w: float
    highest_w: float


@dataclass(frozen=True, slots=True)
class EnergyAt:
    """Counter energy at an instant.

    Args:
        joules: by two levels, or by a straight line.
        line_j: by a straight line.
        bound_j: largest error of `line_j` if power stays within its range.
        course_j2: variance by the course of power within the tick.
        timing_j2: variance by the instants of the ticks, J^2.
        two_sided: both neighbours of the tick are known, and none of the three is several ticks.
    """

    joules: float
    line_j: float
    bound_j: float
    course_j2: float
    timing_j2: float
    two_sided: bool


@dataclass(frozen=True, slots=True)
class EnergyBetween:
    """Energy between two instants.

    Args:
        joules: by two levels, or by a straight line.
        line_j: by straight lines alone.
        bound_j: largest error of `line_j` if power stays within its range.
        learned_j2: variance by the course of power within ticks whose neighbours are known, before the scale that was learned.
        course_j2: that within other ticks, whose scale is not learned.
        timing_j2: variance by the instants of ticks.
        steps_j2: variance, should the counter add up samples of power.
    """

    joules: float
    line_j: float
    bound_j: float
    learned_j2: float
    course_j2: float
    timing_j2: float
    steps_j2: float


@dataclass(frozen=True, slots=True)
class CoursePoint:
    """The counter's energy at an instant.

    Args:
        joules: by two levels of power within the tick.
        ramp_j: by power that changes evenly within the tick.
        variance_j2: its variance, by the course of power within the tick and by the tick's instants.
        tick: number of the tick.
        length_s: length of the tick.
        rate_w2: variance of the energy of a part of the tick, divided by the part's length and that of the rest.
    """

    joules: float
    ramp_j: float
    variance_j2: float
    tick: int
    length_s: float
    rate_w2: float


def mean_w(before: Tick, tick: Tick) -> float:
    """Mean power between two ticks."""
    return (tick.energy_j - before.energy_j) / max(_SHORTEST_S, tick.at_s - before.at_s)


def energy_within(before_w: float, tick_w: float, after_w: float, length_s: float, at_s: float) -> float:
    """Energy of the first `at_s` of a tick of mean power `tick_w` between ticks of mean power `before_w` and `after_w`."""
    if before_w == after_w or not 0 <= (after_w - tick_w) / (after_w - before_w) <= 1:
        return tick_w * at_s
    change_s = length_s * (after_w - tick_w) / (after_w - before_w)
    return before_w * min(at_s, change_s) + after_w * max(0.0, at_s - change_s)


def bridge_j2(step_w: float, length_s: float, at_s: float) -> float:
    """Variance of the energy up to `at_s` of a tick, given that of all of it."""
    return step_w * step_w * at_s * (length_s - at_s) / 2.0


def energy_between(ticks: Sequence[Tick], start_s: float, end_s: float, power: PowerRange, longest_s: float) -> EnergyBetween:
    """Energy between two instants, given two ticks or more.

    Between two of them that are further apart than `longest_s`, some were not seen: their mean power is that of no single tick.
    """
    a, b = _tick_after(ticks, start_s), _tick_after(ticks, end_s)
    first, last = (_energy_at(ticks, k, at_s, power, longest_s) for k, at_s in ((a, start_s), (b, end_s)))
    ends: tuple[EnergyAt, ...] = (first, last)
    if a == b:  # one bridge: its variance between two instants is that between its start and an instant as far from it
        ends = (_energy_at(ticks, a, ticks[a - 1].at_s + end_s - start_s, power, longest_s),)
    inside_s = end_s - start_s
    line_j = last.line_j - first.line_j
    bound_j = min(first.bound_j + last.bound_j, max(power.highest_w * inside_s - line_j, line_j - power.lowest_w * inside_s))
    return EnergyBetween(
        joules=min(max(last.joules - first.joules, power.lowest_w * inside_s), power.highest_w * inside_s),
        line_j=line_j,
        bound_j=max(0.0, bound_j),
        learned_j2=sum(end.course_j2 for end in ends if end.two_sided),
        course_j2=sum(end.course_j2 for end in ends if not end.two_sided),
        timing_j2=sum(end.timing_j2 for end in ends),
        steps_j2=max(0.0, ticks[b].steps_j2 - ticks[a - 1].steps_j2),
    )


def sample_course(ticks: Sequence[Tick], start_s: float, step_s: float, count: int, scale: float) -> list[CoursePoint]:
    """The counter's course at `count` instants, with the variance of a bridge times `scale`.

    The first and the last of `ticks` have to be two ticks away from these instants.
    """
    points, k = [], 2
    for number in range(count):
        at_s = start_s + number * step_s
        while k < len(ticks) - 2 and ticks[k].at_s <= at_s:
            k += 1
        start, end = ticks[k - 1], ticks[k]
        length_s = max(_SHORTEST_S, end.at_s - start.at_s)
        x = min(max(0.0, at_s - start.at_s), length_s)
        before_w, tick_w, after_w = mean_w(ticks[k - 2], start), mean_w(start, end), mean_w(end, ticks[k + 1])
        joules = start.energy_j + energy_within(before_w, tick_w, after_w, length_s, x)
        rate_w2 = scale * max(abs(tick_w - before_w), abs(after_w - tick_w)) ** 2 / 2.0
        timing_j2 = (tick_w * max(start.half_s, end.half_s)) ** 2 / 3.0
        ramp_j = start.energy_j + x * (tick_w + (after_w - before_w) * (x - length_s) / (4.0 * length_s))
        points.append(CoursePoint(joules, ramp_j, rate_w2 * x * (length_s - x) + timing_j2, k, length_s, rate_w2))
    return points


def _energy_at(ticks: Sequence[Tick], k: int, at_s: float, power: PowerRange, longest_s: float) -> EnergyAt:
    """Energy at an instant between ticks k - 1 and k."""
    start, end = ticks[k - 1], ticks[k]
    length_s, tick_w = max(_SHORTEST_S, end.at_s - start.at_s), mean_w(start, end)
    x = min(max(at_s - start.at_s, 0.0), length_s)
    whole = length_s <= longest_s
    before_w = mean_w(ticks[k - 2], start) if k > 1 and start.at_s - ticks[k - 2].at_s <= longest_s else None
    after_w = mean_w(end, ticks[k + 1]) if k + 1 < len(ticks) and ticks[k + 1].at_s - end.at_s <= longest_s else None
    line_j = start.energy_j + tick_w * x
    highest_j = min(power.highest_w * x, tick_w * length_s - power.lowest_w * (length_s - x))
    lowest_j = max(power.lowest_w * x, tick_w * length_s - power.highest_w * (length_s - x))
    share = x / length_s
    timing_j2 = tick_w**2 * (((1.0 - share) * start.half_s) ** 2 + (share * end.half_s) ** 2) / 3.0
    bound_j = max(0.0, highest_j - tick_w * x, tick_w * x - lowest_j) + tick_w * (
        (1.0 - share) * start.half_s + share * end.half_s
    )
    if not whole or before_w is None or after_w is None:
        # The power that was read within the tick stands in for a neighbour that is not known.
        others = [end.power_w if w is None else w for w in (before_w, after_w)]
        if not whole or None in others:
            return EnergyAt(line_j, line_j, bound_j, bound_j * bound_j / 3.0, timing_j2, two_sided=False)
        step_w = max(abs(tick_w - w) for w in others if w is not None)
        return EnergyAt(line_j, line_j, bound_j, bridge_j2(step_w, length_s, x), timing_j2, two_sided=False)
    joules = start.energy_j + energy_within(before_w, tick_w, after_w, length_s, x)
    course_j2 = bridge_j2(max(abs(tick_w - before_w), abs(after_w - tick_w)), length_s, x)
    return EnergyAt(joules, line_j, bound_j, course_j2, timing_j2, two_sided=True)


def _tick_after(ticks: Sequence[Tick], at_s: float) -> int:
    """Index of the first tick after an instant; from 1, as an interval ends there."""
    return min(max(1, bisect_right(ticks, at_s, key=lambda tick: tick.at_s)), len(ticks) - 1)
