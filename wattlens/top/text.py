"""Text on a terminal: how wide it is, how it is cut and wrapped, and quantities in a few characters. Pure."""

import unicodedata
from collections.abc import Iterable, Sequence

Span = tuple[str, str]
"""Style (bold, title, warn, bad or "") and text."""
Line = list[Span]


def quantity(value: float | None, unit: str) -> str:
    """A value with three or four digits and a prefix: 12.3 kJ."""
    if value is None:
        return "-"
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor * (10 if factor == 1e3 and unit == "W" else 0.99995):
            return f"{_digits(value / factor)} {prefix}{unit}"
    return f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.95 or not value else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def cells(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fit(text: str, width: int) -> str:
    """At most `width` columns; what is cut ends with ~."""
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[:-1]
    return text + "~" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """Blanks up to `width` columns."""
    return text + " " * (width - cells(text))


def cut(spans: Line, width: int) -> Line:
    """The line, at most `width` columns wide."""
    found: Line = []
    for style, text in spans:
        fitted = fit(text, width)
        found.append((style, fitted))
        width -= cells(fitted)
        if fitted != text:
            break
    return found


def wrapped(parts: Iterable[str], width: int, most: int) -> list[str]:
    """The parts on at most `most` lines, none broken where a line has room for it; what is left over is cut."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}; {part}" if lines else part
        if not lines or (cells(joined) > width and len(lines) < most):
            lines.append(part if not lines else f"  {part}")
        else:
            lines[-1] = joined
    return [fit(line, width) for line in lines]


def duration(seconds: float) -> str:
    """The two largest units of a time."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole // 60 % 60} min"


def ranges(numbers: Sequence[str]) -> str:
    """0,1,2,5 -> 0-2,5"""
    runs: list[list[int]] = []
    for n in sorted(int(n) for n in numbers if n.isdecimal()):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
