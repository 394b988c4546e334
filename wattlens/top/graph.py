"""Bars, sparklines and areas of block characters, or of ASCII where the terminal has no others. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from wattlens.top.text import Line

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " ._-=+*%#"
MID, HIGH = 0.6, 0.9
"""Shares of a limit from which a value has the style mid or high."""


def level(ratio: float | None, mid: float = MID, high: float = HIGH) -> str:
    """The style of a share of a limit."""
    return "" if ratio is None else "high" if ratio >= high else "mid" if ratio >= mid else "low"


def draw_bar(ratio: float | None, width: int, *, unicode: bool) -> Line:
    """A horizontal bar of `width` columns."""
    if ratio is None or width < 3:
        return [("", " " * width)]
    ratio = min(1.0, max(0.0, ratio))
    if not unicode:
        full = round((width - 2) * ratio)
        return [("", "["), (level(ratio), "#" * full), ("", "." * (width - 2 - full) + "]")]
    halves = round(width * 2 * ratio)
    text = "━" * (halves // 2) + "╸" * (halves % 2)
    return [(level(ratio), text), ("dim", "─" * (width - len(text)))]


def draw_sparkline(values: Sequence[float | None], width: int, top: float | None, *, unicode: bool) -> Line:
    """One line, a column per reading, the latest one on the right."""
    return draw_area(values, width, 1, top, unicode=unicode)[0] if width > 0 else []


def draw_area(values: Sequence[float | None], width: int, height: int, top: float | None, *, unicode: bool) -> list[Line]:
    """An area of `height` lines under the values; `top` is the value at its upper edge, None for the highest value."""
    latest = list(values)[-width:]
    top = top or max((v for v in latest if v is not None), default=1.0) or 1.0
    full = 8 * height if height > 1 else 7  # of one line, so that those of neighbouring rows do not touch
    eighths = [0 if v is None else max(1, min(full, round(full * v / top))) for v in latest]
    rows = ["".join(row).rjust(width) for row in zip(*(_column(e, height, unicode) for e in eighths), strict=True)]
    if height == 1:
        return [_by_level(rows[0], eighths)] if rows else [[("", " " * width)]]
    blank = [" " * width] * (height - len(rows))
    return [[(level((height - n) / height), row)] for n, row in enumerate([*blank, *rows])]


@lru_cache(maxsize=4096)
def _column(eighths: int, height: int, unicode: bool) -> str:
    """A column's characters from the top; as many eighths of a line are full from the bottom."""
    blocks = BLOCKS if unicode else ASCII_BLOCKS
    return "".join(blocks[min(8, max(0, eighths - 8 * line))] for line in reversed(range(height)))


def _by_level(text: str, eighths: Sequence[int]) -> Line:
    """Spans of equal style of a sparkline."""
    styles = [""] * (len(text) - len(eighths)) + [_LEVELS[e] for e in eighths]
    spans: Line = []
    place = 0
    for style, group in groupby(styles):
        length = sum(1 for _ in group)
        spans.append((style, text[place : place + length]))
        place += length
    return spans


_LEVELS = ["", *(level(e / 7) for e in range(1, 8))]
