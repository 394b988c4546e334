"""A number with its 95 % bounds, or the reason for its absence. Pure, exact: integers and fractions.

How the errors of two quantities are related is never assumed: each operation on two says it, or takes it as an argument.
Independent errors combine as the root of the summed squares (JCGM 100:2008, 5.1.2; relative ones of a product 5.1.6). Errors
with one cause add linearly (5.2.2, note 1), and so do errors of which nobody knows the relation: no other relation gives more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import isqrt
from typing import Final

_FINE: Final = 10**12


class Errors(StrEnum):
    """How the errors of two quantities are related."""

    INDEPENDENT = "independent"
    UNKNOWN = "unknown"  # and those that have one cause


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its 95 % bounds. `value` None: it is absent, because of `reason`. A bound None: it has no bound there.

    >>> Quantity(Fraction(10), Fraction(9), Fraction(12)) * 2
    Quantity(value=Fraction(20, 1), low=Fraction(18, 1), high=Fraction(24, 1), reason='')
    >>> (no_quantity("no meter") * 2).reason
    'no meter'
    """

    value: Fraction | None
    low: Fraction | None = None
    high: Fraction | None = None
    reason: str = ""

    def __mul__(self, factor: Fraction | int) -> "Quantity":
        """Times a number without an error. Raises TypeError for a float, which is not exact."""
        if not isinstance(factor, Fraction | int):
            raise TypeError(f"expected a Fraction or an int, got {factor!r}")
        low, high = (self.low, self.high) if factor >= 0 else (self.high, self.low)
        return Quantity(
            None if self.value is None else self.value * factor,
            None if low is None else low * factor,
            None if high is None else high * factor,
            self.reason,
        )

    def __truediv__(self, divisor: Fraction | int) -> "Quantity":
        """Divided by a number without an error. Raises ZeroDivisionError, and TypeError for a float."""
        return self * (1 / Fraction(divisor) if isinstance(divisor, int) else 1 / divisor)

    @property
    def errors(self) -> tuple[Fraction | None, Fraction | None]:
        """(value - low, high - value); None where it has no bound."""
        if self.value is None:
            return None, None
        low = None if self.low is None else max(Fraction(0), self.value - self.low)
        return low, None if self.high is None else max(Fraction(0), self.high - self.value)

    def times(self, other: "Quantity", errors: Errors) -> "Quantity":
        """The product of two quantities that are not negative; absent with the first reason."""
        if self.value is None or other.value is None:
            return no_quantity(self.reason or other.reason)
        value = self.value * other.value
        if errors is Errors.UNKNOWN:
            low = None if self.low is None or other.low is None else self.low * other.low
            return Quantity(value, low, None if self.high is None or other.high is None else self.high * other.high)
        (down, up), (less, more) = self.errors, other.errors
        return bounded(
            value,
            (_product(down, other.value), _product(less, self.value)),
            (_product(up, other.value), _product(more, self.value)),
        )

    def over(self, divisor: "Quantity") -> "Quantity":
        """Their ratio, whatever the relation of their errors, of what is not negative; absent where the divisor is 0."""
        if self.value is None or not divisor.value:
            return no_quantity(self.reason or divisor.reason or "nothing to divide by")
        low = None if self.low is None or not divisor.high else self.low / divisor.high
        return Quantity(
            self.value / divisor.value, low, None if self.high is None or not divisor.low else self.high / divisor.low
        )

    def rest(self, part: "Quantity") -> "Quantity":
        """What is left of it without a part of it, without bounds: their errors are partly the same ones."""
        if self.value is None or part.value is None:
            return no_quantity(self.reason or part.reason)
        return Quantity(self.value - part.value)


def no_quantity(reason: str) -> Quantity:
    """There is no number, and why."""
    return Quantity(None, reason=reason)


def exactly(value: Fraction | int) -> Quantity:
    """A number without an error."""
    return about(Fraction(value), Fraction(0))


def about(value: Fraction, error: Fraction) -> Quantity:
    """A number that errs by so much at most either way."""
    return Quantity(value, value - error, value + error)


def sum_of(parts: Iterable[Quantity]) -> Quantity:
    """The sum, whose errors add linearly; absent with the first reason where a part is, without a bound where one has none."""
    every = list(parts)
    for part in every:
        if part.value is None:
            return no_quantity(part.reason)
    return Quantity(_sum(part.value for part in every), _sum(part.low for part in every), _sum(part.high for part in every))


def sum_by_cause(parts: Iterable[tuple[str, Quantity]]) -> Quantity:
    """The sum of (cause, part). Errors of one cause add linearly, those of different causes are independent."""
    every = list(parts)
    missing = next((part for _, part in every if part.value is None), None)
    if missing is not None:
        return no_quantity(missing.reason)
    value = sum((part.value or Fraction(0) for _, part in every), Fraction(0))
    sides: list[dict[str, Fraction | None]] = [{}, {}]
    for cause, part in every:
        for side, error in zip(sides, part.errors, strict=True):
            before = side.get(cause, Fraction(0))
            side[cause] = None if before is None or error is None else before + error
    return bounded(value, *(side.values() for side in sides))


def bounded(value: Fraction, below: Iterable[Fraction | None], above: Iterable[Fraction | None]) -> Quantity:
    """A number that is not negative with independent errors below and above; one that is not known leaves no bound."""
    down, up = list(below), list(above)
    low = None if None in down else value - root_of_squares(each for each in down if each is not None)
    high = None if None in up else value + root_of_squares(each for each in up if each is not None)
    return Quantity(value, None if low is None else max(Fraction(0), low), high)


def combined(value: Fraction, *causes: Quantity) -> Quantity:
    """A number that errs as each of several quantities does, which are independent of each other."""
    return bounded(value, *zip(*(cause.errors for cause in causes), strict=True))


def root_of_squares(values: Iterable[Fraction]) -> Fraction:
    """The root of the summed squares, exact where it is a fraction, else rounded up."""
    square = sum((value * value for value in values), Fraction(0))
    above, below = isqrt(square.numerator), isqrt(square.denominator)
    if above * above == square.numerator and below * below == square.denominator:
        return Fraction(above, below)
    return Fraction(isqrt(int(square * _FINE * _FINE)) + 1, _FINE)


def _sum(values: Iterable[Fraction | None]) -> Fraction | None:
    total = Fraction(0)
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _product(error: Fraction | None, factor: Fraction) -> Fraction | None:
    return None if error is None else error * factor
