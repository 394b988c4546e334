"""Combination of several wishes for a device into one requested setting. Pure.

A wish is, for each knob, a range in which the knob should be; the highest value of a knob means its original setting. Wishes
are ordered by priority: thermal > budget > SLO > efficiency. The law: a wish narrows the range that is left by those before it
and never leaves that range; if its own range lies outside, the nearest end counts. So the result lies in the range of every
wish that does not contradict a higher one.

A thermal wish requests the original clocks, so that the GPU's own protection is not measured as an effect of steering. It does
not limit power, so a budget's cap stays. An SLO requests an exact clock: a higher one costs energy, a lower one misses limits.
Efficiency only sets upper bounds.
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
    """Requested ranges of a device's knobs. A knob without a range is FREE."""

    priority: Priority
    clock_mhz: KnobRange = FREE
    power_mw: KnobRange = FREE


def exactly(priority: Priority, setting: Setting | None) -> Wish:
    """A policy's wish for exactly this setting; None: the original setting."""
    wanted = setting or Setting()
    return Wish(priority, _at(wanted.sm_clock_max_mhz), _at(wanted.power_limit_mw))


def at_most(priority: Priority, setting: Setting) -> Wish:
    """A wish with `setting` as upper bound; None leaves a knob FREE."""
    clock, power = setting.sm_clock_max_mhz, setting.power_limit_mw
    return Wish(priority, FREE if clock is None else KnobRange(0, clock), FREE if power is None else KnobRange(0, power))


def _at(value: int | None) -> KnobRange:
    return AS_FOUND if value is None else KnobRange(value, value)


def settle(wishes: Sequence[Wish]) -> Setting:
    """Return one setting: the highest value of the remaining range, since no wish requests less.

    A device without wishes, or with wishes for the original setting only, gets `Setting()`.
    """
    clock = power = FREE
    for wish in sorted(wishes, key=lambda w: w.priority):
        clock, power = _narrowed(clock, wish.clock_mhz), _narrowed(power, wish.power_mw)
    return Setting(_value(clock), _value(power))


def _narrowed(left: KnobRange, wish: KnobRange) -> KnobRange:
    low, high = max(left.low, wish.low), min(left.high, wish.high)
    return KnobRange(min(low, left.high), max(high, left.low))


def _value(left: KnobRange) -> int | None:
    return None if math.isinf(left.high) else int(left.high)
