"""Values of figures in the units that datapoints require. Pure."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

_SCALES: Final[Mapping[tuple[str, str], Fraction]] = {
    ("J", "kWh"): Fraction(1, 3_600_000),
    ("J", "MWh"): Fraction(1, 3_600_000_000),
    ("J", "GJ"): Fraction(1, 1_000_000_000),
    ("kWh", "MWh"): Fraction(1, 1000),
    ("g", "t CO2e"): Fraction(1, 1_000_000),
    ("g", "t CO2"): Fraction(1, 1_000_000),
    ("g", "g CO2e"): Fraction(1),
    ("g/kWh", "g CO2e/kWh"): Fraction(1),
    ("g/token", "g CO2e/token"): Fraction(1),
    ("L", "m3"): Fraction(1, 1000),
    ("L", "ML"): Fraction(1, 1_000_000),
    ("L", "1000 m3"): Fraction(1, 1_000_000),
    ("L/kWh", "m3/MWh"): Fraction(1),
    ("ratio", "%"): Fraction(100),
    ("ratio", ""): Fraction(1),
}


def in_unit(value: Fraction, unit: str, asked: str) -> Fraction | None:
    """Return the value in the unit that a datapoint requires; of `J, Wh` in the first. None: the units do not convert."""
    wanted = asked.partition(", ")[0]
    if unit == wanted:
        return value
    scale = _SCALES.get((unit, wanted))
    return None if scale is None else value * scale
