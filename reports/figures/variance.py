"""Relative differences of two amounts with the bounds of both, and whether one is a finding. Pure."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import Quantity

FINDING: Final = "finding"
AGREES: Final = "agrees"
UNCERTAIN: Final = "uncertain"
"""The difference is above the threshold, and a part of its bounds is not."""


@dataclass(frozen=True, slots=True)
class RelativeDifference:
    """One amount over another, minus 1, with its bounds."""

    value: Fraction
    low: Fraction
    high: Fraction

    def state(self, threshold: Fraction) -> str:
        """Return FINDING only if all of its bounds lie above the threshold, on one side."""
        if self.low > threshold or self.high < -threshold:
            return FINDING
        return UNCERTAIN if abs(self.value) > threshold else AGREES


def relative_difference(one: Quantity, other: Quantity) -> RelativeDifference | None:
    """Return `one` over `other`, minus 1; None if one is absent or the bounds of `other` include 0.

    An end without a bound is taken as the value.
    """
    if one.value is None or other.value is None:
        return None
    tops = (one.value, one.value if one.low is None else one.low, one.value if one.high is None else one.high)
    below = (other.value, other.value if other.low is None else other.low, other.value if other.high is None else other.high)
    if min(below) <= 0 <= max(below):
        return None
    ratios = [top / bottom - 1 for top in tops for bottom in below]
    return RelativeDifference(one.value / other.value - 1, min(ratios), max(ratios))
