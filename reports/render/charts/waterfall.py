"""A waterfall: from left to right on a sheet, from top to bottom on a phone or where there are many steps. Pure.

Columns stand on 0, unless the levels are so much larger than the steps between them that the steps could not be seen; then
the axis is cut, the columns show a break, and a line says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from reports.page.section import Waterfall
from reports.render.charts.axis import Axis
from reports.render.charts.fitting import BOLD, ems, shorten, wrap
from reports.render.charts.marks import NARROW, SIZE, SMALL, Box, Path, Sheet, Words
from reports.render.charts.palette import FALL, INK, LEVEL, PAPER, RISE, RULE, SOFT, Fill

MOST_COLUMNS = 8
TALL = 190
LINE = 14
CUT = "The axis does not start at 0."


@dataclass(frozen=True, slots=True)
class Piece:
    """A step as it is drawn: from one height to another."""

    label: str
    text: str
    start: Fraction
    end: Fraction
    level: bool

    @property
    def fill(self) -> Fill:
        """Levels, rises and falls differ by hatching as well."""
        return LEVEL if self.level else RISE if self.end >= self.start else FALL


def draw(chart: Waterfall, width: int, words: Mapping[str, str]) -> Sheet:
    """The chart; every step tells its amount, so no axis is labelled."""
    pieces, axis, cut = pieces_of(chart)
    sheet = Sheet(width)
    lying = width <= NARROW or len(pieces) > MOST_COLUMNS
    bottom = _rows(sheet, pieces, axis, cut) if lying else _columns(sheet, pieces, axis, cut)
    if cut:
        sheet.add(Words(0, bottom + 12, words.get(CUT, CUT), SMALL, colour=SOFT))
        bottom += 18
    sheet.height = bottom
    return sheet


def pieces_of(chart: Waterfall) -> tuple[list[Piece], Axis, bool]:
    """What is drawn, on which axis, and whether that axis is cut above 0."""
    pieces, run = [], Fraction(0)
    for step in chart.steps:
        start, run = (Fraction(0), step.amount) if step.level else (run, run + step.amount)
        pieces.append(Piece(step.label, step.text, start, run, step.level))
    heights = [p.end for p in pieces] + [p.start for p in pieces if not p.level]
    low, high = min(heights, default=Fraction(0)), max(heights, default=Fraction(0))
    cut = low > 0 and high > low and high - low < high * Fraction(3, 10) and any(not p.level for p in pieces)
    if not cut:
        low, high = min(low, Fraction(0)), max(high, Fraction(0))
        return pieces, Axis(low, high if high > low else low + 1, Fraction(1)), False
    return pieces, Axis(low - (high - low) / 2, high, Fraction(1)), True


def _columns(sheet: Sheet, pieces: list[Piece], axis: Axis, cut: bool) -> float:
    each = sheet.width / max(len(pieces), 1)
    wide, top = min(each * 0.6, 84.0), 22.0

    def y(value: Fraction) -> float:
        return top + TALL * (1 - axis.share(value))

    labels = [wrap(p.label, SIZE, each - 8, 4) for p in pieces]
    negative = axis.low < 0
    foot = top + TALL + (18 if negative else 4)
    base = y(Fraction(0))
    sheet.line(0, base, sheet.width, base, RULE if not negative else SOFT)
    for number, piece in enumerate(pieces):
        x = each * number + (each - wide) / 2
        upper, lower = sorted((y(piece.start), y(piece.end)))
        sheet.add(Box(x, upper, wide, max(lower - upper, 1.0), piece.fill))
        if cut and piece.level:
            sheet.add(_break(x, base - 12, wide, upright=True))
        if number + 1 < len(pieces) and not pieces[number + 1].level:
            sheet.line(x + wide, y(piece.end), x + each, y(piece.end), SOFT, 0.75)
        below = piece.level and piece.end < 0
        at = lower + 15 if below else upper - 6
        text = shorten(piece.text, SIZE, (each - 2) / (BOLD if piece.level else 1))
        sheet.add(Words(each * (number + 0.5), at, text, anchor="middle", bold=piece.level))
        for line, words in enumerate(labels[number]):
            sheet.add(Words(each * (number + 0.5), foot + 12 + LINE * line, words, anchor="middle", colour=INK))
    return foot + 6 + LINE * max((len(lines) for lines in labels), default=0)


def _rows(sheet: Sheet, pieces: list[Piece], axis: Axis, cut: bool) -> float:
    phone = sheet.width <= NARROW
    left = 1.0 if phone else min(max((ems(p.label) for p in pieces), default=0) * SIZE + 8, sheet.width * 0.34)
    widest = max((ems(p.text) * (BOLD if p.level else 1) for p in pieces), default=0)
    told = min(widest * SIZE + 10, sheet.width * 0.4)
    room, y = sheet.width - left - told, 0.0

    def x(value: Fraction) -> float:
        return left + room * axis.share(value)

    top = y
    for number, piece in enumerate(pieces):
        lines = wrap(piece.label, SIZE, sheet.width if phone else left - 8, 2)
        if phone:
            for line, words in enumerate(lines):
                sheet.add(Words(0, y + 12 + LINE * line, words))
            y += LINE * len(lines) + 1
        height = 26 if phone else max(16, LINE * len(lines)) + 8
        middle = y + (10 if phone else height / 2)
        if not phone:
            for line, words in enumerate(lines):
                sheet.add(Words(left - 8, middle + 4 + (line - (len(lines) - 1) / 2) * LINE, words, anchor="end"))
        first, last = sorted((x(piece.start), x(piece.end)))
        sheet.add(Box(first, middle - 7, max(last - first, 1.0), 14, piece.fill))
        if cut and piece.level:
            sheet.add(_break(left + 12, middle - 7, 14, upright=False))
        text = shorten(piece.text, SIZE, (sheet.width - last - 6) / (BOLD if piece.level else 1))
        sheet.add(Words(last + 6, middle + 4, text, bold=piece.level))
        if number + 1 < len(pieces) and not pieces[number + 1].level and not phone:
            sheet.line(x(piece.end), middle + 7, x(piece.end), middle + height - 4, SOFT, 0.75)
        y += height
    zero = x(Fraction(0))
    sheet.marks.insert(0, Path(((zero, top), (zero, y)), RULE))
    return y


def _break(x: float, y: float, length: float, upright: bool) -> Path:
    """A white zigzag through a column: part of it is not there."""
    points = [(n * length / 6, 3.0 if n % 2 else -3.0) for n in range(7)]
    at = tuple((x + a, y + b) if upright else (x + b, y + a) for a, b in points)
    return Path(at, PAPER, 3.0)
