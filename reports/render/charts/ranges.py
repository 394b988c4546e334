"""Values with their intervals on one axis: a dot on a line with ends; an arrow where the interval goes beyond the axis. Pure.

An interval that is many times wider than all others would press them into a point, so the axis ends before it; words tell it.
"""

from fractions import Fraction

from reports.page.section import Range, Ranges
from reports.render.charts.axis import Axis, spanning
from reports.render.charts.fitting import BOLD, ems, shorten, wrap
from reports.render.charts.marks import NARROW, SIZE, SMALL, Path, Sheet, Words
from reports.render.charts.palette import ACCENT, INK, RULE, SOFT

LINE = 15
WIDE_INTERVAL = 2
"""An axis ends at this many times the largest value."""


def draw(chart: Ranges, width: int) -> Sheet:
    """The chart, with its axis below."""
    sheet = Sheet(width)
    phone = width <= NARROW
    axis = axis_of(chart, 3 if phone else 5)
    edge = max(
        8.0, *(ems(axis.label(tick)) * SMALL / 2 + 1 for tick in axis.ticks())
    )  # what stands beyond: arrows, halves of labels
    labels = 0.0 if phone else min(max((ems(r.label) for r in chart.ranges), default=0) * SIZE + 12, width * 0.34)
    left = max(labels, edge)
    told = 0.0 if phone else min(max((ems(r.text) for r in chart.ranges), default=0) * SIZE + 16, width * 0.34)
    room = width - left - max(told, edge)
    y = 2.0
    for one in chart.ranges:
        if phone:
            text = shorten(one.text, SIZE * BOLD, width * 0.55)
            lines = wrap(one.label, SIZE, width - ems(text) * SIZE * BOLD - 12, 2)
            sheet.add(Words(width, y + 12, text, anchor="end", bold=True))
            sheet.add(*(Words(0, y + 12 + LINE * n, line) for n, line in enumerate(lines)))
            middle, end = y + LINE * len(lines) + 9, y + LINE * len(lines) + 24
        else:
            lines = wrap(one.label, SIZE, left - 12, 2)
            middle, end = y + (LINE * len(lines) + 10) / 2, y + LINE * len(lines) + 10
            for n, line in enumerate(lines):
                sheet.add(Words(left - 12, middle + 4 + (n - (len(lines) - 1) / 2) * LINE, line, anchor="end"))
            sheet.add(Words(width - told + 16, middle + 4, wrap(one.text, SIZE, told - 16, 1)[0]))
        _interval(sheet, one, axis, left, room, middle)
        y = end
    _scale(sheet, axis, chart.unit, left, room, y)
    sheet.height = y + 38
    return sheet


def axis_of(chart: Ranges, most: int) -> Axis:
    """An axis over values, and over bounds as far as `WIDE_INTERVAL` times the largest value; it has 0 where that is near."""
    values = [r.value for r in chart.ranges if r.value is not None]
    bounds = [b for r in chart.ranges for b in (r.low, r.high) if b is not None]
    reach = max((abs(v) for v in values), default=None)
    if reach:
        bounds = [min(max(b, -WIDE_INTERVAL * reach), WIDE_INTERVAL * reach) for b in bounds]
    points = [*values, *bounds]
    low, high = min(points, default=Fraction(0)), max(points, default=Fraction(1))
    return spanning(points, most, zero=not (low > 0 and low > high / 2))


def _interval(sheet: Sheet, one: Range, axis: Axis, left: float, room: float, y: float) -> None:
    def x(value: Fraction) -> float:
        return left + room * axis.share(value)

    if one.value is None and (one.low is None or one.high is None):
        known = one.low if one.low is not None else one.high
        if known is None:
            return  # nothing is known: its words say so
        start, end = (x(known), left + room) if one.low is not None else (left, x(known))
        sheet.line(start, y, end, y, ACCENT, 2)
        sheet.add(_arrow(end, y, 1) if one.low is not None else _arrow(start, y, -1))
        return
    if one.low is not None or one.high is not None:
        low, high = (one.value if b is None else b for b in (one.low, one.high))
        assert low is not None
        assert high is not None
        sheet.line(x(low), y, x(high), y, ACCENT, 2)
        for bound, known, side in ((low, one.low, -1), (high, one.high, 1)):
            if known is None:
                continue
            if (bound < axis.low) if side < 0 else (bound > axis.high):
                sheet.add(_arrow(x(bound), y, side))
            else:
                sheet.line(x(bound), y - 5, x(bound), y + 5, ACCENT, 2)
    if one.value is not None:
        middle = x(one.value)
        sheet.add(Path(((middle, y - 5.5), (middle + 5.5, y), (middle, y + 5.5), (middle - 5.5, y)), INK, 1.0, fill=INK))


def _arrow(x: float, y: float, side: int) -> Path:
    return Path(((x + 7 * side, y), (x - 2 * side, y - 5), (x - 2 * side, y + 5)), ACCENT, 1.0, fill=ACCENT)


def _scale(sheet: Sheet, axis: Axis, unit: str, left: float, room: float, y: float) -> None:
    ticks = axis.ticks()
    lines = []
    for tick in ticks:
        x = left + room * axis.share(tick)
        lines.append(Path(((x, 0), (x, y + 3)), SOFT if not tick else RULE, 0.75))
        sheet.add(Words(x, y + 16, axis.label(tick), SMALL, "middle", SOFT))
    sheet.marks[:0] = lines
    sheet.add(Words(left + room / 2, y + 31, shorten(axis.unit(unit), SMALL, room), SMALL, "middle", SOFT))
