"""A chart in words, for who cannot see it: every value of a short one, the outline of a long one. Pure."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from reports.page.section import Bars, Chart, Heat, Lines, Ranges, Waterfall
from reports.render.charts.axis import significant
from reports.render.charts.heat import NOTHING
from reports.render.charts.waterfall import CUT, pieces_of

FROM_TO = "{name}: from {first} to {last} {unit}; lowest {low} ({low_at}), highest {high} ({high_at})"
ABSENT = "{count} without a value"
GRID = "{unit}; lowest {low} ({low_at}), highest {high} ({high_at})"
MESSAGES = (FROM_TO, ABSENT, GRID, NOTHING, CUT)


def spoken(chart: Chart, words: Mapping[str, str]) -> str:
    """What the chart says; sentences end with a full stop, items with a semicolon."""
    if isinstance(chart, Bars):
        return "; ".join(_bar(b.label, b.text, {chart.kinds.get(k, k): n for k, n in b.parts}) for b in chart.bars) + "."
    if isinstance(chart, Waterfall):
        cut = f" {words.get(CUT, CUT)}" if pieces_of(chart)[2] else ""
        return "; ".join(f"{s.label}: {s.text}" for s in chart.steps) + f".{cut}"
    if isinstance(chart, Ranges):
        return "; ".join(f"{r.label}: {r.text}" for r in chart.ranges) + "."
    if isinstance(chart, Lines):
        return "; ".join(_series(name, values, chart, words) for name, values in chart.series.items()) + "."
    return _grid(chart, words)


def _bar(label: str, text: str, parts: Mapping[str, int]) -> str:
    """A bar of several kinds tells each kind's share, in percent."""
    total = sum(n for n in parts.values() if n > 0)
    shares = [f"{kind} {_rounded(Fraction(100 * n, total))} %" for kind, n in parts.items() if n > 0] if total else []
    return f"{label}: {text} ({', '.join(shares)})" if len(shares) > 1 else f"{label}: {text}"


def _series(name: str, values: Sequence[Fraction | None], chart: Lines, words: Mapping[str, str]) -> str:
    known = [(value, chart.points[n]) for n, value in enumerate(values) if value is not None]
    if not known:
        return f"{name}: {words.get(NOTHING, NOTHING)}"
    text = words.get(FROM_TO, FROM_TO).format(
        name=name, first=_rounded(known[0][0]), last=_rounded(known[-1][0]), unit=chart.unit, **_extremes(known)
    )
    return text + _without(len(values) - len(known), words)


def _grid(chart: Heat, words: Mapping[str, str]) -> str:
    known = [
        (value, f"{chart.rows[y]}, {chart.columns[x]}")
        for y, row in enumerate(chart.values)
        for x, value in enumerate(row)
        if value is not None
    ]
    if not known:
        return f"{words.get(NOTHING, NOTHING)}."
    cells = sum(len(row) for row in chart.values)
    return words.get(GRID, GRID).format(unit=chart.unit, **_extremes(known)) + _without(cells - len(known), words) + "."


def _extremes(known: Sequence[tuple[Fraction, str]]) -> dict[str, str]:
    low, high = min(known, key=lambda pair: pair[0]), max(known, key=lambda pair: pair[0])
    return {"low": _rounded(low[0]), "low_at": low[1], "high": _rounded(high[0]), "high_at": high[1]}


def _without(count: int, words: Mapping[str, str]) -> str:
    return "; " + words.get(ABSENT, ABSENT).format(count=count) if count else ""


def _rounded(value: Fraction) -> str:
    return significant(value, 3)
