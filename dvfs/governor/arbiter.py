"""Combines several wishes for a device into one requested setting. Pure.

A wish is, for each knob, a range in which the knob should be; the highest value of a knob is "as found". Wishes come in the
order of their priority: thermal > budget > SLO > efficiency. The law: a wish narrows the range that those before it left, and
never leaves it; where its own range lies outside, the nearest end counts. So the result lies in the range of every wish that
does not contradict a higher one.

Heat wants clocks as found, so that the board's own protection is not measured as if it were ours; it says nothing of power, so
a budget's cap stays. An SLO wants its very clock: faster would be dear, slower late. Efficiency only ever wants no more than.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from dvfs.types import Setting


class Priority(IntEnum):
    """Whose wish it is, the first one first."""

    THERMAL = 0
    BUDGET = 1
    SLO = 2
    EFFICIENCY = 3


@dataclass(frozen=True, slots=True)
class KnobRange:
    """Allowed values of a knob, `low` to `high`, in its raw unit; infinite means the original setting."""

    low: float = 0.0
    high: float = math.inf


FREE = KnobRange()
AS_FOUND = KnobRange(math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Wish:
    """What one wants of a device. A knob of which it says nothing is FREE."""

    priority: Priority
    clock_mhz: KnobRange = FREE
    power_mw: KnobRange = FREE


def exactly(priority: Priority, setting: Setting | None) -> Wish:
    """A policy's wish for this very setting; None there: as found."""
    wanted = setting or Setting()
    return Wish(priority, _at(wanted.sm_clock_max_mhz), _at(wanted.power_limit_mw))


def at_most(priority: Priority, setting: Setting) -> Wish:
    """A wish for no more than this; a knob that is None there is FREE."""
    clock, power = setting.sm_clock_max_mhz, setting.power_limit_mw
    return Wish(priority, FREE if clock is None else KnobRange(0, clock), FREE if power is None else KnobRange(0, power))


def _at(value: int | None) -> KnobRange:
    return AS_FOUND if value is None else KnobRange(value, value)


def settle(wishes: Sequence[Wish]) -> Setting:
    """The one setting: of what range is left the highest value, since nobody asked for less.

    A device of which nobody wants anything, or everybody as found, gets `Setting()`.
    """
    clock = power = FREE
    for wish in sorted(wishes, key=lambda w: w.priority):
        clock, power = _narrowed(clock, wish.clock_mhz), _narrowed(power, wish.power_mw)
    return Setting(_value(clock), _value(power))


def _narrowed(left: KnobRange, wish: KnobRange) -> KnobRange:
    if wish.low > left.high:
        return KnobRange(left.high, left.high)
    if wish.high < left.low:
        return KnobRange(left.low, left.low)
    return KnobRange(max(left.low, wish.low), min(left.high, wish.high))


def _value(left: KnobRange) -> int | None:
    return None if math.isinf(left.high) else int(left.high)
