"""Columns of amounts: one unit and one number of decimals per column, so that its cells can be compared. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from energy_agent.core.units import J_PER_KWH
from reports.figures import wording

ABSENT: Final = "\u2013"
_DECIMALS_MAX: Final = 3
_DIGITS: Final = 4
"""Significant digits of the largest amount of a column, at least."""
_DIGITS_OF_SMALLEST: Final = 2
Scale = Sequence[tuple[Fraction, str]]
"""Units of a quantity, the largest first, each with its size."""

ENERGY: Final[Scale] = (
    (Fraction(J_PER_KWH * 10**6), "GWh"),
    (Fraction(J_PER_KWH * 1000), "MWh"),
    (Fraction(J_PER_KWH), "kWh"),
    (Fraction(J_PER_KWH, 1000), "Wh"),
)
"""Of joules. GWh is used from 10 GWh on, as MWh is the unit of the reader's invoices."""
MASS: Final[Scale] = ((Fraction(10**6), "t"), (Fraction(1000), "kg"), (Fraction(1), "g"))
"""Of grams."""
WATER: Final[Scale] = ((Fraction(1000), "m\u00b3"), (Fraction(1), "L"))
"""Of litres."""
_LEAST: Final = {"GWh": 10}


@dataclass(frozen=True, slots=True)
class AmountColumn:
    """A column: its unit, and the text of each cell without it."""

    unit: str
    cells: tuple[str, ...]


def amounts(values: Iterable[Fraction | None], scale: Scale) -> AmountColumn:
    """Return values as a column in the largest unit of which its largest value has at least one; None is a dash."""
    items = list(values)
    largest = max((abs(value) for value in items if value is not None), default=Fraction(0))
    size, unit = next(((s, u) for s, u in scale if largest >= s * _LEAST.get(u, 1)), scale[-1])
    return AmountColumn(unit, numbers([None if value is None else value / size for value in items]))


def amount_texts(values: Iterable[Fraction | None], scale: Scale) -> tuple[str, ...]:
    """Return values with their unit, the same for all of them, so that a reader can compare and add them."""
    column = amounts(values, scale)
    return tuple(cell if cell == ABSENT else f"{cell} {column.unit}" for cell in column.cells)


def change_texts(values: Iterable[Fraction], scale: Scale) -> tuple[str, ...]:
    """Return changes with their sign and their unit, the same for all of them."""
    items = list(values)
    pairs = zip(items, amount_texts(items, scale), strict=True)
    return tuple(f"+{text}" if value > 0 and not text.startswith("<") else text for value, text in pairs)


def numbers(values: Iterable[Fraction | None]) -> tuple[str, ...]:
    """Return numbers with the same number of decimals; None is a dash, and what rounds to 0 is "< 0.001"."""
    items = list(values)
    write = _writer([abs(value) for value in items if value])
    return tuple(ABSENT if value is None else write(value) for value in items)


def _writer(sizes: Sequence[Fraction]) -> Callable[[Fraction], str]:
    if not sizes:
        return lambda _: "0"
    largest = _DIGITS - _digits(max(sizes))
    decimals = max(0, min(_DECIMALS_MAX, max(largest, _DIGITS_OF_SMALLEST - _digits(min(sizes)))))
    least = Fraction(1, 10**decimals)

    def write(value: Fraction) -> str:
        if value and not round(value / least):
            return f"< {wording.fixed(least, decimals)}" if value > 0 else f"> {wording.fixed(-least, decimals)}"
        return wording.fixed(value, decimals)

    return write


def _digits(value: Fraction) -> int:
    """Digits before the decimal point; 0 or less for numbers below 1."""
    digits = 0
    while value >= 1:
        value, digits = value / 10, digits + 1
    while value < Fraction(1, 10):
        value, digits = value * 10, digits - 1
    return digits
