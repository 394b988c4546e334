"""Series over the same points: a line each, told apart by dashes as well as by colour and named at its end. Pure."""

from fractions import Fraction

from reports.page.section import Lines
from reports.render.charts.axis import Axis, spanning
from reports.render.charts.fitting import ems, shorten, wrap
from reports.render.charts.marks import NARROW, SMALL, Anchor, Path, Sheet, Words
from reports.render.charts.palette import LINES, RULE, SOFT

TALL = 180
LINE = 14
Values = tuple[Fraction | None, ...]


def draw(chart: Lines, width: int) -> Sheet:
    """The chart, with 0 on its axis: noise is no mountain. One series needs no name: the title says what it is."""
    sheet = Sheet(width)
    phone = width <= NARROW
    known = [v for values in chart.series.values() for v in values if v is not None]
    axis = spanning(known, 4)
    names = list(chart.series) if len(chart.series) > 1 else []
    above = _legend(sheet, names) if phone or len(names) > len(LINES) else 0.0
    named = 0.0 if above or not names else min(max((ems(n) for n in names), default=0) * SMALL + 12, width * 0.27)
    left = max(ems(axis.label(t)) for t in axis.ticks()) * SMALL + 8
    top, right = above + 22, width - max(named, 10.0)
    sheet.add(Words(0, above + 10, shorten(axis.unit(chart.unit), SMALL, width), SMALL, colour=SOFT))

    def place(number: int, value: Fraction) -> tuple[float, float]:
        share = number / (len(chart.points) - 1) if len(chart.points) > 1 else 0.5
        return left + (right - left) * share, top + TALL * (1 - axis.share(value))

    _grid(sheet, axis, left, right, top)
    _points(sheet, chart.points, left, right, top + TALL, 3 if phone else 6)
    ends: list[tuple[float, str, str]] = []
    for number, (name, values) in enumerate(chart.series.items()):
        colour, dash = LINES[number % len(LINES)]
        last = None
        for run in runs(values):
            points = tuple(place(at, value) for at, value in run)
            sheet.add(Path(points, colour, 1.8, dash) if len(points) > 1 else _dot(points[0], colour))
            last = points[-1]
        if last:
            ends.append((last[1], name, colour))
    if named:
        for y, name, colour in apart(ends, top, top + TALL):
            sheet.add(Words(right + 8, y + 4, wrap(name, SMALL, named - 8, 1)[0], SMALL, colour=colour))
    sheet.height = top + TALL + 24
    return sheet


def runs(values: Values) -> list[list[tuple[int, Fraction]]]:
    """Stretches of values without a gap; what is absent is no point of a line."""
    found: list[list[tuple[int, Fraction]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            found.append([])
        else:
            found[-1].append((number, value))
    return [run for run in found if run]


def apart(ends: list[tuple[float, str, str]], top: float, bottom: float) -> list[tuple[float, str, str]]:
    """Names moved up and down until none stands on another, in the order of their lines' ends."""
    placed: list[tuple[float, str, str]] = []
    y = top - LINE
    for at, name, colour in sorted(ends):
        y = max(at, y + LINE)
        placed.append((y, name, colour))
    limit = bottom + LINE
    for number in reversed(range(len(placed))):
        at, name, colour = placed[number]
        limit = min(at, limit - LINE)
        placed[number] = (limit, name, colour)
    return placed


def _legend(sheet: Sheet, names: list[str]) -> float:
    x, y = 0.0, 8.0
    for number, name in enumerate(names):
        colour, dash = LINES[number % len(LINES)]
        text = wrap(name, SMALL, sheet.width - 40, 1)[0]
        length = 30 + ems(text) * SMALL + 14
        if x and x + length - 14 > sheet.width:
            x, y = 0.0, y + 18
        sheet.add(Path(((x, y), (x + 24, y)), colour, 1.8, dash), Words(x + 30, y + 4, text, SMALL, colour=SOFT))
        x += length
    return y + 14 if names else 0.0


def _grid(sheet: Sheet, axis: Axis, left: float, right: float, top: float) -> None:
    for tick in axis.ticks():
        y = top + TALL * (1 - axis.share(tick))
        sheet.line(left, y, right, y, SOFT if not tick else RULE, 0.75)
        sheet.add(Words(left - 6, y + 4, axis.label(tick), SMALL, "end", SOFT))


def _points(sheet: Sheet, points: tuple[str, ...], left: float, right: float, y: float, most: int) -> None:
    """Names of points at even steps, as far apart as their names are long; the last one too, where there is room."""
    if not points:
        return
    last = len(points) - 1
    longest = max(ems(p) for p in points) * SMALL + 12
    shown = max(2, min(most, int((right - left) / longest)))
    step = max(1, -(-last // (shown - 1)))
    numbers = list(range(0, last + 1, step))
    if last and numbers[-1] != last and (right - left) * (last - numbers[-1]) / last > 1.5 * longest:
        numbers.append(last)
    for number in numbers:
        x = left + (right - left) * (number / last if last else 0.5)
        sheet.line(x, y, x, y + 4, SOFT, 0.75)
        anchor: Anchor = "middle" if not last else "start" if number == 0 else "end" if number == last else "middle"
        sheet.add(Words(x, y + 17, shorten(points[number], SMALL, (right - left) / 2 - 6), SMALL, anchor, SOFT))


def _dot(at: tuple[float, float], colour: str) -> Path:
    x, y = at
    return Path(((x - 3, y), (x, y - 3), (x + 3, y), (x, y + 3)), colour, 1.0, fill=colour)
