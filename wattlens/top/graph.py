"""Bars, sparklines and areas of block characters, or of ASCII where the terminal has no others. Pure."""

from collections.abc import Sequence

from wattlens.top.text import Line

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " ._-=+*%#"
PARTS = " ▏▎▍▌▋▊▉█"
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
    eighths = round(width * 8 * ratio)
    text = "█" * (eighths // 8) + (PARTS[eighths % 8] if eighths % 8 else "")
    return [(level(ratio), text), ("dim", "·" * (width - len(text)))]


def draw_sparkline(values: Sequence[float | None], width: int, top: float | None, *, unicode: bool) -> Line:
    """One line, a column per reading, the latest one on the right."""
    return draw_area(values, width, 1, top, unicode=unicode)[0] if width > 0 else []


def draw_area(values: Sequence[float | None], width: int, height: int, top: float | None, *, unicode: bool) -> list[Line]:
    """An area of `height` lines under the values; `top` is the value at its upper edge, None for the highest value."""
    latest = list(values)[-width:]
    top = top or max((v for v in latest if v is not None), default=1.0) or 1.0
    blocks = BLOCKS if unicode else ASCII_BLOCKS
    eighths = [None if v is None else max(1, min(8 * height, round(8 * height * v / top))) for v in latest]
    lines: list[Line] = []
    for row in range(height):
        base = 8 * (height - 1 - row)
        text = "".join(blocks[0 if e is None else min(8, max(0, e - base))] for e in eighths).rjust(width)
        if height > 1:
            lines.append([(level((base + 8) / (8 * height)), text)])
        else:
            lines.append(_by_level(text, eighths))
    return lines


def _by_level(text: str, eighths: Sequence[int | None]) -> Line:
    """Spans of equal style of a sparkline."""
    styles = [""] * (len(text) - len(eighths)) + ["" if e is None else level(e / 8) for e in eighths]
    spans: Line = []
    for style, char in zip(styles, text, strict=True):
        if spans and spans[-1][0] == style:
            spans[-1] = (style, spans[-1][1] + char)
        else:
            spans.append((style, char))
    return spans
