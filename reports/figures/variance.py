"""Relative differences of two amounts with the bounds of both, and whether one is a finding. Pure."""

from dataclasses import replace
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import Quantity, no_quantity

FINDING: Final = "finding"
AGREES: Final = "agrees"
UNCERTAIN: Final = "uncertain"
"""The difference is above the threshold, and a part of its bounds is not."""
INCLUDES_ZERO: Final = "the energy that it is compared with is 0 within its bounds"


def relative_difference(one: Quantity, other: Quantity) -> Quantity:
    """Return `one` over `other`, minus 1; absent if one is absent or the bounds of `other` include 0.

    An end without a bound is taken as the value.
    """
    top, bottom = _with_ends(one), _with_ends(other)
    if (bottom.low or 0) <= 0 and (bottom.high or 0) >= 0:
        return no_quantity(one.reason or other.reason or INCLUDES_ZERO)
    return top / bottom - 1


def state_of(difference: Quantity, threshold: Fraction) -> str:
    """Return FINDING only if all of its bounds lie above the threshold, on one side."""
    value, low, high = (end or Fraction(0) for end in (difference.value, difference.low, difference.high))
    if low > threshold or high < -threshold:
        return FINDING
    return UNCERTAIN if abs(value) > threshold else AGREES


def _with_ends(amount: Quantity) -> Quantity:
    low, high = (amount.value if end is None else end for end in (amount.low, amount.high))
    return replace(amount, low=low, high=high)
