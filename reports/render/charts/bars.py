"""Stacked horizontal bars: one row a bar, its name at the left (above it on a phone), its total in words at its end. Pure."""

from fractions import Fraction

from reports.page.section import Bar, Bars
from reports.render.charts.fitting import ems, shorten, wrap
from reports.render.charts.marks import NARROW, SIZE, SMALL, Box, Sheet, Words
from reports.render.charts.palette import KINDS, RULE, SOFT, Fill

THICK = 15
LINE = 15
GAP = 8
SWATCH = 20


def draw(chart: Bars, width: int) -> Sheet:
    """The chart; kinds are explained above it where there are several of them."""
    sheet = Sheet(width)
    phone = width <= NARROW
    present = {kind for bar in chart.bars for kind, length in bar.parts if length > 0}
    kinds = {kind: name for kind, name in chart.kinds.items() if kind in present}
    top = legend(sheet, kinds) if len(kinds) > 1 else 0.0
    labels = max((ems(bar.label) for bar in chart.bars), default=0) * SIZE
    left = 1.0 if phone else min(labels + GAP, width * 0.34)
    told = max((ems(bar.text) for bar in chart.bars), default=0) * SIZE + GAP
    room = width - left - min(told, width * 0.45)
    longest = max((_total(bar) for bar in chart.bars), default=0) or 1
    y = top
    for bar in chart.bars:
        y = _row(sheet, bar, longest, (left, room, y), phone)
    sheet.height = y
    sheet.marks.insert(0, _baseline(left, top, y))
    return sheet


def legend(sheet: Sheet, kinds: dict[str, str]) -> float:
    """Swatches with names, in as many lines as it takes; returns where the chart may begin."""
    x, y = 0.0, 4.0
    for kind, name in kinds.items():
        text = shorten(name, SMALL, sheet.width - SWATCH - 8)
        length = SWATCH + 6 + ems(text) * SMALL + 14
        if x and x + length - 14 > sheet.width:
            x, y = 0.0, y + 18
        sheet.add(
            Box(x + 0.5, y, SWATCH, 11, KINDS.get(kind, KINDS["other"])),
            Words(x + SWATCH + 6, y + 9.5, text, SMALL, colour=SOFT),
        )
        x += length
    return y + 22


def _row(sheet: Sheet, bar: Bar, longest: int, place: tuple[float, float, float], phone: bool) -> float:
    left, room, y = place
    lines = wrap(bar.label, SIZE, sheet.width if phone else left - GAP, 2)
    if phone:
        for line in lines:
            y += LINE
            sheet.add(Words(0, y - 3, line))
        middle, end = y + 9, y + 24
    else:
        height = max(THICK, LINE * len(lines)) + 9
        middle, end = y + height / 2, y + height
        for number, line in enumerate(lines):
            sheet.add(Words(left - GAP, middle + 4 + (number - (len(lines) - 1) / 2) * LINE, line, anchor="end"))
    x = left
    for kind, length in bar.parts:
        if length > 0:  # a length below 0 cannot be stacked: its text alone tells it
            wide = max(1.0, float(Fraction(length, longest)) * room)  # what is there is seen
            sheet.add(Box(x, middle - THICK / 2, wide, THICK, KINDS.get(kind, KINDS["other"])))
            x += wide
    text = wrap(bar.text, SIZE, sheet.width - x - GAP + 2, 1)[0]
    sheet.add(Words(x + GAP - 2, middle + 4, text))
    return end


def _baseline(left: float, top: float, bottom: float) -> Box:
    return Box(left - 0.5, top, 0.5, max(bottom - top, 1.0), Fill(RULE, RULE))


def _total(bar: Bar) -> int:
    return sum(max(length, 0) for _, length in bar.parts)
