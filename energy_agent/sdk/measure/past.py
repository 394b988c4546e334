"""Energy of ticks from those of the second before, on a GPU whose counter samples and that has a 1 s average. Pure.

The average misses nothing: times the length of its ten ticks it is their energy, and two of them in a row differ by the newest
tick less the one that left. So the energy of one tick gives that of the tick a second later, and of all that follow at that
distance. The power readings of a tick in steady power give its energy; after some seconds most ticks have such an ancestor.

The lengths that this needs are exact if the counter samples: it advances by power times the time since the last tick.
"""

from collections.abc import Sequence
from dataclasses import replace

from energy_agent.sdk.measure.estimate import Tick

_USUAL = 0.2  # by how much of the period a tick may be off and still be one tick
_ROUNDING_S = 5e-4
_ROUNDING_J = 3e-3  # of two averages, given in mW
_STEP, _BLEND, _LEVEL = 1 / 12, 0.1, 0.002
_AGREES = 9.0  # squared deviations; beyond, two tales of one tick are both doubted


def told_length(before: Tick, tick: Tick, tick_s: float) -> float:
    """Length of `tick` in s, should the counter sample; 0 where the readings contradict that or it is not one tick."""
    if tick.power_w <= 0:
        return 0.0
    length_s = (tick.energy_j - before.energy_j) / tick.power_w
    shortest, longest = tick.lo_s - before.hi_s - _ROUNDING_S, tick.hi_s - before.lo_s + _ROUNDING_S
    return length_s if shortest <= length_s <= longest and abs(length_s - tick_s) < _USUAL * tick_s else 0.0


def with_past(earlier: Sequence[Tick], tick: Tick, window_s: float) -> Tick:
    """`tick` with its energy by what came before.

    Args:
        earlier: the ticks before it, as many as the average covers and one more.
        tick: the newest.
        window_s: how much of the end of a tick instant power is the mean of.
    """
    *_, last = earlier
    known = all(t.length_s for t in (*earlier[1:], tick)) and tick.index - earlier[0].index == len(earlier)
    if not known or tick.average_w is None or last.average_w is None:
        return tick
    left = earlier[1]
    span_s = sum(t.length_s for t in earlier[1:])
    more_j = tick.average_w * (span_s - left.length_s + tick.length_s) - last.average_w * span_s
    energy_j, variance = _by_power(earlier[0], left, earlier[2], window_s)
    if left.past_var:
        both, apart_j = variance + left.past_var, left.past_j - energy_j
        energy_j += variance / both * apart_j
        variance *= left.past_var / both * max(1.0, apart_j * apart_j / both / _AGREES)
    return replace(tick, past_j=energy_j + more_j, past_var=variance + _ROUNDING_J**2)


def _by_power(before: Tick, tick: Tick, after: Tick, window_s: float) -> tuple[float, float]:
    """Energy of a tick and its variance, by the power readings around it: what changed between two of them did so anywhere."""
    gap_s = tick.length_s - window_s
    step, next_step = tick.power_w - before.power_w, after.power_w - tick.power_w
    mean_w = (tick.power_w + before.power_w) / 2
    variance = _STEP * step * step + _BLEND * min(step * step, next_step * next_step) + (_LEVEL * mean_w) ** 2
    return mean_w * gap_s + tick.power_w * window_s, variance * gap_s * gap_s
