"""How errors combine (JCGM 100:2008): of a product of energy and factor, of sums over sites, and what a factor may err. Pure.

Relative errors of a product that are independent combine as the root of the summed squares (5.1.6). In a sum, errors with one
cause are correlated and add linearly (5.2.2, note 1): sensors of one board model, sites with one factor. Independent ones, such
as the building meters of different sites, combine as the root of the summed squares (5.1.2). All are 95 % bounds.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import isqrt
from typing import Final

from energy_agent.site.building.ratio import Amount

FACTOR_ERROR: Final[Mapping[int, Fraction]] = {
    1: Fraction(2, 100),
    2: Fraction(5, 100),
    3: Fraction(7, 100),
    4: Fraction(10, 100),
    5: Fraction(15, 100),
}
"""Assumed relative 95 % error of a factor by its quality class: metered supplier (1) to annual country average (5).

No publisher of the factors states one. Published direct factors of one country and year differ by 10 to 26 % with vintage and
method, so that an annual country average is class 5 with 15 %. `grid.factor_uncertainty_percent` replaces the assumption.
"""
_FINE: Final = 10**12


def root_of_squares(values: Iterable[Fraction]) -> Fraction:
    """Return the root of the summed squares, exact where it is a fraction, else rounded up."""
    square = sum((value * value for value in values), Fraction(0))
    above, below = isqrt(square.numerator), isqrt(square.denominator)
    if above * above == square.numerator and below * below == square.denominator:
        return Fraction(above, below)
    return Fraction(isqrt(int(square * _FINE * _FINE)) + 1, _FINE)


def halves(amount: Amount) -> tuple[Fraction | None, Fraction | None]:
    """Return (value - low, high - value); None where it has no bound."""
    if amount.value is None:
        return None, None
    low = None if amount.low is None else max(Fraction(0), amount.value - amount.low)
    return low, None if amount.high is None else max(Fraction(0), amount.high - amount.value)


def bounded(value: Fraction, below: Iterable[Fraction | None], above: Iterable[Fraction | None]) -> Amount:
    """Return a value with the root of the squares of its errors below and above; an unknown error leaves no bound."""
    down, up = list(below), list(above)
    low = None if None in down else value - root_of_squares(each for each in down if each is not None)
    high = None if None in up else value + root_of_squares(each for each in up if each is not None)
    return Amount(value, None if low is None else max(Fraction(0), low), high)


def product_of(energy: Amount, per_unit: Fraction, relative: Fraction) -> Amount:
    """Return energy times a factor with a relative error."""
    if energy.value is None:
        return Amount(None, reason=energy.reason)
    value = energy.value * per_unit
    down, up = (None if half is None else half * per_unit for half in halves(energy))
    return bounded(value, (down, value * relative), (up, value * relative))


def total_of(parts: Iterable[tuple[str, Amount]]) -> Amount:
    """Return the sum of (cause, amount): errors of one cause add linearly, those of different causes as the root of squares."""
    every = list(parts)
    absent = next((amount for _, amount in every if amount.value is None), None)
    if absent is not None:
        return Amount(None, reason=absent.reason)
    value = sum((amount.value or Fraction(0) for _, amount in every), Fraction(0))
    sides: list[dict[str, Fraction | None]] = [{}, {}]
    for cause, amount in every:
        for side, half in zip(sides, halves(amount), strict=True):
            known = side.get(cause, Fraction(0))
            side[cause] = None if known is None or half is None else known + half
    return bounded(value, *(side.values() for side in sides))
