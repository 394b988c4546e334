"""Facts in words for people: a few significant digits and a prefix; the exact values stay in the facts document."""

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

from reports.figures.figure import Figure, quotient_text, rounded
from reports.language import Translator

Number = Fraction | int | str
MINUS = "\u2212"
ABSENT = "not_known"
_WATT_HOURS = ((10**12, "TWh"), (10**9, "GWh"), (10**6, "MWh"), (10**3, "kWh"), (1, "Wh"), (Fraction(1, 1000), "mWh"))
_GRAMS = ((10**6, "t"), (10**3, "kg"), (1, "g"), (Fraction(1, 1000), "mg"))


def energy(joules: Number) -> str:
    """Energy with a prefix, such as 66.7 Wh."""
    return _scaled(Fraction(joules) / 3600, _WATT_HOURS)


def mass(grams: Number) -> str:
    """Mass with a prefix, such as 12.3 kg."""
    return _scaled(Fraction(grams), _GRAMS)


def amount(value: Number, unit: str, digits: int = 4) -> str:
    """A value in J or g with a prefix, any other in its own unit."""
    steps = {"J": _WATT_HOURS, "g": _GRAMS}.get(unit)
    if steps is None:
        return f"{short(value, digits)} {unit}"
    return _scaled(Fraction(value) / (3600 if unit == "J" else 1), steps, digits=digits)


def signed(value: Fraction, write: Callable[[Fraction], str]) -> str:
    """A change with its sign, such as +2.06 MWh."""
    sign = "+" if value > 0 else MINUS if value < 0 else ""
    return f"{sign}{write(abs(value))}"


def percent(ratio: Number, digits: int = 3) -> str:
    """A ratio in percent; only what is exactly whole is written 100 %, and only what is exactly nothing 0 %.

    >>> percent(Fraction(1, 3)), percent(Fraction(1999, 2000))
    ('33.3 %', '> 99.9 %')
    """
    value = Fraction(ratio) * 100
    if value in (0, 100):
        return f"{value} %"
    if rounded(value, digits=digits) == 100:
        return "> 99.9 %" if value < 100 else "> 100 %"
    return f"{short(value, digits)} %"


def short(value: Number, digits: int = 3, mode: Literal["nearest", "down", "up"] = "nearest") -> str:
    """A number with `digits` significant digits, the last of them even where it is 0; bounds are rounded outwards by `mode`."""
    text = quotient_text(Fraction(value), mode, digits)
    missing = digits - len(text.lstrip("-").replace(".", "").lstrip("0"))
    if missing > 0 and Fraction(value):
        text = f"{text}{'' if '.' in text else '.'}{'0' * missing}"
    return exact(text)


def exact(value: str) -> str:
    """A plain decimal as every number is printed: with a minus sign, and a thin gap every three digits before the point."""
    whole, point, part = value.removeprefix("-").partition(".")
    return f"{MINUS if value.startswith('-') else ''}{int(whole):,}".replace(",", "\u202f") + point + part


def count(value: Number) -> str:
    """A whole number with a thin gap every three digits."""
    return exact(str(int(value)))


def fixed(value: Number, decimals: int) -> str:
    """A number with so many decimals."""
    scaled = str(abs(round(Fraction(value) * 10**decimals))).rjust(decimals + 1, "0")
    whole, part = (scaled[:-decimals], scaled[-decimals:]) if decimals else (scaled, "")
    sign = "-" if Fraction(value) < 0 and scaled.strip("0") else ""
    return exact(f"{sign}{whole}{'.' if part else ''}{part}")


def kwh(value: Number) -> str:
    """An energy in kWh, to the hundredth in every table: parts can be added, and found again in another table."""
    return f"{fixed(value, 2)} kWh"


def plus_minus(figure: Figure, say: Translator) -> str:
    """Half of the interval's width relative to the value, such as +-5.1 %."""
    if figure.low is None or figure.value is None or not figure.value:
        return say("error_not_stated")
    if figure.high is None:
        return say("no_upper_bound")
    half = max(figure.high - figure.value, figure.value - figure.low)
    return f"\u00b1{exact(quotient_text(half / abs(figure.value) * 100, 'up', 2))} %"


def duration(seconds: Number) -> str:
    """A time with a fitting unit, such as 3.25 h."""
    value = Fraction(seconds)
    scale, unit = next(((s, u) for s, u in ((86_400, "d"), (3_600, "h"), (60, "min")) if value >= s), (1, "s"))
    return f"{short(value / scale)} {unit}"


def span(figure: Figure, say: Translator) -> str:
    """The interval, such as 0.41 to 0.46, rounded outwards; where nothing bounds it above, "at least 0.41"."""
    if figure.low is None:
        return say("error_not_stated")
    if figure.high is None:
        return say("at_least_bound", bound=short(figure.low, mode="down"))
    return say("low_to_high", low=short(figure.low, mode="down"), high=short(figure.high, mode="up"))


def _scaled(value: Fraction, steps: tuple[tuple[int | Fraction, str], ...], digits: int = 3) -> str:
    scale, unit = next((s for s in steps if abs(value) >= s[0]), steps[-1] if value else steps[-2])
    return f"{short(value / scale, digits)} {unit}"
