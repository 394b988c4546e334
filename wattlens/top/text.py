"""Text on a terminal: its width, how it is cut and wrapped, and quantities in a few characters. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

Span = tuple[str, str]
"""Style ("" or a key of `screen.STYLES`) and text."""
Line = list[Span]


_GAP = "  "
_NARROW = re.compile("[ -~\u00a0-\u02ff\u2500-\u259f]*")
"""Text of which every character takes one column: Latin letters, lines and blocks."""


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


def gibibytes(value: float | None) -> str:
    """Bytes in GiB, with a decimal below 10."""
    return "-" if value is None else f"{value / 2**30:.1f}" if 0 < value < 9.95 * 2**30 else f"{value / 2**30:.0f}"


def bytes_text(value: float | None) -> str:
    """Bytes with their unit, MiB below 1 GiB."""
    return f"{value / 2**20:.0f} MiB" if value is not None and value < 2**30 else f"{gibibytes(value)} GiB" if value else "-"


def percent(ratio: float | None) -> str:
    """A ratio in per cent."""
    return "-" if ratio is None else f"{ratio:.0%}"


def cell_width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii() or _NARROW.fullmatch(text):
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def line_width(line: Line) -> int:
    """Columns of a terminal that a line takes."""
    return sum(cell_width(text) for _, text in line)


def fit(text: str, width: int) -> str:
    """At most `width` columns; a text that is cut ends with ~."""
    if len(text) <= width and text.isascii():
        return text
    text = text[: max(0, 4 * width + 16)]  # a hostile name may be long, and nearly all of it of no width
    if cell_width(text) <= width:
        return text
    while text and cell_width(text) > width - 1:
        text = text[:-1]
    return text + "~" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """Blanks up to `width` columns."""
    return text + " " * (width - cell_width(text))


def fit_line(spans: Line, width: int) -> Line:
    """The line, at most `width` columns wide."""
    fitted: Line = []
    for style, text in spans:
        short = fit(text, width)
        fitted.append((style, short))
        width -= cell_width(short)
        if short != text:
            break
    return fitted


def wrap_parts(parts: Iterable[Span], width: int) -> list[Line]:
    """The parts on as many lines as they need, none broken; one that is wider than a line is cut."""
    lines: list[Line] = []
    for style, text in parts:
        if lines and line_width(lines[-1]) + len(_GAP) + cell_width(text) <= width:
            lines[-1] += [("", _GAP), (style, text)]
        else:
            lines.append([(style, fit(text, width))])
    return lines


def duration(seconds: float) -> str:
    """The two largest units of a time."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole // 60 % 60} min"


def clock(seconds: float | None) -> str:
    """A time in at most seven characters: 0:12, 1:02:03 or 12 d."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole >= 4 * 86_400:
        return f"{whole // 86_400} d"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def ranges(numbers: Sequence[str]) -> str:
    """0,1,2,5 -> 0-2,5"""
    runs: list[list[int]] = []
    for n in sorted(int(n) for n in numbers if n.isdecimal()):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
