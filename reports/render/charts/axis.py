"""Scales and their ticks, exact: round numbers as fractions, so that an axis says the same on every machine. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from energy_agent.core.units import decimal

_STEPS = (Fraction(1), Fraction(2), Fraction(5, 2), Fraction(5), Fraction(10))
_RAISED = str.maketrans("0123456789-", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b")


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from `low` to `high`, with ticks at multiples of one step; low < high."""

    low: Fraction
    high: Fraction
    step: Fraction

    def share(self, value: Fraction) -> float:
        """Where a value stands: 0 at `low`, 1 at `high`; beyond them it is held at the edge."""
        return float(min(max((value - self.low) / (self.high - self.low), Fraction(0)), Fraction(1)))

    def ticks(self) -> list[Fraction]:
        """Multiples of the step from `low` to `high`."""
        first = -(-self.low // self.step)
        return [self.step * n for n in range(first, self.high // self.step + 1)]

    def power(self) -> int:
        """Power of ten, a multiple of three, by which labels are shortened; 0 for numbers that are short as they are."""
        largest = max(abs(self.low), abs(self.high))
        if Fraction(1, 1000) < largest < 10**6:
            return 0
        return _exponent(largest) // 3 * 3

    def label(self, value: Fraction) -> str:
        """A tick in words, with the digits that the step needs and a thin gap every three of them."""
        scaled, step, places = (value / Fraction(10) ** self.power(), self.step / Fraction(10) ** self.power(), 0)
        while (step * 10**places).denominator != 1 and places < 9:
            places += 1
        sign, text = ("\u2212" if scaled < 0 else ""), decimal(abs(round(scaled * 10**places)), 10**places)
        whole, _, part = text.partition(".")
        part = part.ljust(places, "0") if places else ""
        return f"{sign}{int(whole):,}".replace(",", "\u202f") + (f".{part}" if part else "")

    def unit(self, unit: str) -> str:
        """The unit, with the power of ten by which labels are shortened."""
        power = self.power()
        return f"{unit} \u00d7 10{str(power).translate(_RAISED)}" if power else unit


def spanning(values: Sequence[Fraction], most: int, zero: bool = True) -> Axis:
    """An axis over the values with at most about `most` ticks; `zero`: it has to start or end at 0 or cross it."""
    low, high = min(values, default=Fraction(0)), max(values, default=Fraction(1))
    if zero:
        low, high = min(low, Fraction(0)), max(high, Fraction(0))
    if low == high:
        low, high = (low, high + 1) if not low else (low - abs(low) / 2, high + abs(high) / 2)
    raw = (high - low) / most
    magnitude = Fraction(10) ** _exponent(raw)
    step = next(s * magnitude for s in _STEPS if s * magnitude >= raw)
    return Axis(low // step * step, -(-high // step) * step, step)


def significant(value: Fraction, digits: int) -> str:
    """A number with at most so many significant digits, half to even, without zeros at its end."""
    if not value:
        return "0"
    places = digits - 1 - _exponent(abs(value))
    whole = round(abs(value) * Fraction(10) ** places)
    text = str(whole * 10**-places) if places <= 0 else decimal(whole, 10**places)
    return f"\u2212{text}" if value < 0 else text


def _exponent(value: Fraction) -> int:
    """The power of ten just at or below `value` > 0."""
    exponent = len(str(value.numerator)) - len(str(value.denominator))
    return exponent if value >= Fraction(10) ** exponent else exponent - 1
