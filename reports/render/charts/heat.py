"""A grid of values in eight shades of one colour; what is absent is hatched, not pale. Pure."""

from collections.abc import Mapping
from fractions import Fraction

from reports.page.section import Heat
from reports.render.charts.axis import Axis, spanning
from reports.render.charts.fitting import ems, shorten
from reports.render.charts.marks import NARROW, SMALL, Box, Sheet, Words
from reports.render.charts.palette import ABSENT, HEAT, SOFT, Fill

NOTHING = "no value"


def draw(chart: Heat, width: int, words: Mapping[str, str]) -> Sheet:
    """The grid, with its shades explained above it."""
    sheet = Sheet(width)
    known = [v for row in chart.values for v in row if v is not None]
    axis = _axis(known, chart.most)
    absent = any(v is None for row in chart.values for v in row)
    top = _legend(sheet, axis, chart.unit, words.get(NOTHING, NOTHING) if absent else "")
    left = min(max((ems(r) for r in chart.rows), default=0) * SMALL + 8, width * (0.3 if width <= NARROW else 0.22))
    each = (width - left) / max(len(chart.columns), 1)
    tall = min(max(360.0 / max(len(chart.rows), 1), 3.0), 20.0)
    shades: dict[str, list[Box]] = {}
    for y, row in enumerate(chart.values):
        for x, value in enumerate(row):
            fill = ABSENT if value is None else Fill(shade(axis, value), "")
            shades.setdefault(fill.face, []).append(Box(left + each * x, top + tall * y, each, tall, fill))
    for face in sorted(shades):
        sheet.add(*shades[face])
    every = max(1, -(-14 // int(max(tall, 1))))
    for y in range(0, len(chart.rows), every):
        text = shorten(chart.rows[y], SMALL, left - 8)
        sheet.add(Words(left - 6, top + tall * y + min(tall, 14) / 2 + 4, text, SMALL, "end", SOFT))
    wide = max((ems(c) for c in chart.columns), default=0) * SMALL + 8
    skip = max(1, -(-int(wide) // max(int(each), 1)))
    foot = top + tall * len(chart.rows)
    for x in range(0, len(chart.columns), skip):
        middle = left + each * (x + 0.5)
        if middle - wide / 2 + 4 >= 0 and middle + wide / 2 - 4 <= width:
            sheet.add(Words(middle, foot + 14, chart.columns[x], SMALL, "middle", SOFT))
    sheet.height = foot + 20
    return sheet


def _axis(known: list[Fraction], most: Fraction | None) -> Axis:
    """From 0 where all values are one, or some are near it; else over what there is."""
    if most is not None:
        return spanning([Fraction(0), most], 8)
    return spanning(known, 8, zero=not known or min(known) == max(known) or 0 <= min(known) < max(known) / 8)


def shade(axis: Axis, value: Fraction) -> str:
    """The colour of a value."""
    return HEAT[min(int(axis.share(value) * len(HEAT)), len(HEAT) - 1)]


def _legend(sheet: Sheet, axis: Axis, unit: str, absent: str) -> float:
    low, high = (
        axis.label(axis.low),
        shorten(f"{axis.label(axis.high)} {axis.unit(unit)}", SMALL, sheet.width - 16 * len(HEAT) - 90),
    )
    x = ems(low) * SMALL + 6
    sheet.add(Words(0, 13, low, SMALL, colour=SOFT))
    for number, face in enumerate(HEAT):
        sheet.add(Box(x + 16 * number, 4, 16, 11, Fill(face, "")))
    x += 16 * len(HEAT) + 6
    sheet.add(Words(x, 13, high, SMALL, colour=SOFT))
    if not absent:
        return 26
    x, y = x + ems(high) * SMALL + 16, 4.0
    if x + 30 + ems(absent) * SMALL > sheet.width:
        x, y = 0.0, 22.0
    sheet.add(Box(x + 0.5, y, 20, 11, ABSENT), Words(x + 27, y + 9, absent, SMALL, colour=SOFT))
    return y + 22
