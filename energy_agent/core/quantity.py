"""A number with its 95 % bounds and its unit, or the reason for its absence. Pure, exact: integers and fractions.

The operators `+ - * /` assume nothing about how the errors of their operands are related: their bounds hold whatever the
relation is, so that no other operation gives wider ones (JCGM 100:2008, 5.2.2, note 1). Narrower bounds need a function whose
name or argument states the relation. Independent errors combine as the root of the summed squares (5.1.2; relative ones of a
product 5.1.6). A total and its part have partly the same errors: `rest`; the share of some meters in others is in
`energy_agent.site.building.ratio`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from math import isqrt
from typing import Final

from energy_agent.core.units import UJ_PER_J

_FINE: Final = 10**12


class Unit(StrEnum):
    """The units in which quantities are added, multiplied and divided."""

    UNSTATED = ""
    UJ = "uJ"
    J = "J"
    G = "g"
    G_PER_UJ = "g/uJ"
    L = "L"
    RATIO = "ratio"


_PRODUCTS: Final = {(unit, Unit.RATIO): unit for unit in Unit} | {(Unit.UJ, Unit.G_PER_UJ): Unit.G}
"""Units of two factors, in either order, and that of their product."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its 95 % bounds. `value` None: it is absent, because of `reason`. A bound None: it has no bound there.

    Operators take quantities and exact numbers. They raise TypeError for a float, and ValueError for units that do not go
    together. The result is absent with the first reason. Where a bound is missing, factors and divisors are not negative.

    >>> Quantity(Fraction(10), Fraction(9), Fraction(12), unit=Unit.UJ) * 2
    Quantity(value=Fraction(20, 1), low=Fraction(18, 1), high=Fraction(24, 1), reason='', unit=<Unit.UJ: 'uJ'>)
    >>> (no_quantity("no meter") * 2).reason
    'no meter'
    """

    value: Fraction | None
    low: Fraction | None = None
    high: Fraction | None = None
    reason: str = ""
    unit: Unit = Unit.UNSTATED

    def __add__(self, other: "Quantity | Fraction | int") -> "Quantity":
        """The sum; its errors add linearly."""
        by = _operand(other)
        if self.unit and by.unit and self.unit is not by.unit:
            raise ValueError(f"expected a quantity in {self.unit}, got one in {by.unit}")
        if self.value is None or by.value is None:
            return no_quantity(self.reason or by.reason)
        low = None if self.low is None or by.low is None else self.low + by.low
        high = None if self.high is None or by.high is None else self.high + by.high
        return Quantity(self.value + by.value, low, high, unit=self.unit or by.unit)

    def __sub__(self, other: "Quantity | Fraction | int") -> "Quantity":
        """The difference; its errors add linearly."""
        return self + _operand(other) * -1

    def __mul__(self, other: "Quantity | Fraction | int") -> "Quantity":
        """The product, from the least to the largest that its factors can give."""
        by = _operand(other)
        value = None if self.value is None or by.value is None else self.value * by.value
        first, last = (self.low, self.high) if by.value is None or by.value >= 0 else (self.high, self.low)
        low, high = _product(first, by.low), _product(last, by.high)
        ends = [end for one in (self.low, self.high) for each in (by.low, by.high) if (end := _product(one, each)) is not None]
        if len(ends) == 4:
            low, high = min(ends), max(ends)
        return Quantity(value, low, high, self.reason or by.reason, _unit_of_product(self.unit, by.unit))

    def __truediv__(self, divisor: "Quantity | Fraction | int") -> "Quantity":
        """The ratio; absent where a quantity to divide by is 0. Raises ZeroDivisionError for the number 0."""
        if not isinstance(divisor, Quantity):
            return self * (1 / Fraction(_operand(divisor).value or 0))
        if self.value is None or not divisor.value:
            return no_quantity(self.reason or divisor.reason or "nothing to divide by")
        low, high = (1 / end if end and end * divisor.value > 0 else None for end in (divisor.high, divisor.low))
        return replace(self * Quantity(1 / divisor.value, low, high), unit=_unit_of_ratio(self.unit, divisor.unit))

    @property
    def errors(self) -> tuple[Fraction | None, Fraction | None]:
        """(value - low, high - value); None where it has no bound."""
        if self.value is None:
            return None, None
        low = None if self.low is None else max(Fraction(0), self.value - self.low)
        return low, None if self.high is None else max(Fraction(0), self.high - self.value)

    def rest(self, part: "Quantity") -> "Quantity":
        """What is left of it without a part of it, without bounds: their errors are partly the same ones."""
        return replace(self - part, low=None, high=None)

    def to(self, unit: str) -> "Quantity":
        """The same in a unit; the unit of one that states none is assumed to be that.

        Raises:
            ValueError: it does not convert to that unit.
        """
        if self.unit in ("", unit):
            return self
        if (self.unit, unit) != (Unit.UJ, Unit.J):
            raise ValueError(f"expected a quantity in {unit}, got one in {self.unit}")
        return replace(self / UJ_PER_J, unit=Unit.J)


ZERO: Final = Quantity(Fraction(0), Fraction(0), Fraction(0))
"""Nothing, without an error: where sums start."""


def no_quantity(reason: str) -> Quantity:
    """There is no number, and why."""
    return Quantity(None, reason=reason)


def exactly(value: Fraction | int) -> Quantity:
    """A number without an error."""
    return about(Fraction(value), Fraction(0))


def about(value: Fraction, error: Fraction, unit: Unit = Unit.UNSTATED) -> Quantity:
    """A number that errs by so much at most either way."""
    return Quantity(value, value - error, value + error, unit=unit)


def independent_product(one: Quantity, other: Quantity) -> Quantity:
    """The product of two quantities that are not negative and whose errors are independent; absent with the first reason."""
    if one.value is None or other.value is None:
        return no_quantity(one.reason or other.reason)
    pairs = zip(one.errors, other.errors, strict=True)
    sides = ((_product(mine, other.value), _product(theirs, one.value)) for mine, theirs in pairs)
    return bounded(one.value * other.value, *sides, unit=_unit_of_product(one.unit, other.unit))


def sum_by_cause(parts: Iterable[tuple[str, Quantity]]) -> Quantity:
    """The sum of (cause, part). Errors of one cause add linearly, those of different causes are independent."""
    every = list(parts)
    by_cause: dict[str, Quantity] = {}
    for cause, part in every:
        by_cause[cause] = by_cause.get(cause, ZERO) + part
    return combined(sum((part for _, part in every), ZERO), ZERO, *by_cause.values())


def combined(number: Quantity, *causes: Quantity) -> Quantity:
    """A number that errs as each of several quantities does, which are independent of each other; itself if it is absent."""
    if number.value is None:
        return number
    return bounded(number.value, *zip(*(cause.errors for cause in causes), strict=True), unit=number.unit)


def bounded(
    value: Fraction, below: Iterable[Fraction | None], above: Iterable[Fraction | None], *, unit: Unit = Unit.UNSTATED
) -> Quantity:
    """A number that is not negative with independent errors below and above; one that is not known leaves no bound."""
    down, up = list(below), list(above)
    low = None if None in down else value - root_of_squares(each for each in down if each is not None)
    high = None if None in up else value + root_of_squares(each for each in up if each is not None)
    return Quantity(value, None if low is None else max(Fraction(0), low), high, unit=unit)


def root_of_squares(values: Iterable[Fraction]) -> Fraction:
    """The root of the summed squares, exact where it is a fraction, else rounded up."""
    square = sum((value * value for value in values), Fraction(0))
    above, below = isqrt(square.numerator), isqrt(square.denominator)
    if above * above == square.numerator and below * below == square.denominator:
        return Fraction(above, below)
    return Fraction(isqrt(int(square * _FINE * _FINE)) + 1, _FINE)


def _operand(operand: Quantity | Fraction | int) -> Quantity:
    """A quantity, or a number as one without an error."""
    if isinstance(operand, Quantity):
        return operand
    if not isinstance(operand, Fraction | int):
        raise TypeError(f"expected a quantity, a Fraction or an int, got {operand!r}")
    return about(Fraction(operand), Fraction(0), Unit.RATIO)


def _product(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    return None if one is None or other is None else one * other


def _unit_of_product(one: Unit, other: Unit) -> Unit:
    if not one or not other:
        return Unit.UNSTATED
    unit = _PRODUCTS.get((one, other)) or _PRODUCTS.get((other, one))
    if unit is None:
        raise ValueError(f"{one} times {other} is not supported")
    return unit


def _unit_of_ratio(one: Unit, divisor: Unit) -> Unit:
    if not one or not divisor:
        return Unit.UNSTATED
    for factors, unit in _PRODUCTS.items():
        if unit is one and divisor in factors:
            return factors[factors[0] is divisor]
    raise ValueError(f"{one} divided by {divisor} is not supported")
