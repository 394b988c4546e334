"""A chart in words, for who cannot see it: every value of a short one, the outline of a long one. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from reports.page.section import Bars, Chart, Heat, IntervalChart, Lines, Waterfall

NOTHING = "page.no_value"
CUT = "page.cut"


def spoken(chart: Chart, words: Mapping[str, str]) -> str:
    """What the chart says; sentences end with a full stop, items with a semicolon."""
    if isinstance(chart, Bars):
        return "; ".join(_bar(b.label, b.text, {chart.kinds.get(k, k): n for k, n in b.parts}) for b in chart.bars) + "."
    if isinstance(chart, Waterfall):
        note = f" {words[CUT]}" if cut(chart) else ""
        return "; ".join(f"{s.label}: {s.text}" for s in chart.steps) + f".{note}"
    if isinstance(chart, IntervalChart):
        return "; ".join(f"{r.label}: {r.text}" for r in chart.ranges) + "."
    if isinstance(chart, Lines):
        return "; ".join(_series(name, values, chart, words) for name, values in chart.series.items()) + "."
    return _grid(chart, words)


def heights(chart: Waterfall) -> list[tuple[Fraction, Fraction]]:
    """Start and end of each step."""
    bars, end = [], Fraction(0)
    for step in chart.steps:
        start, end = (Fraction(0), step.amount) if step.level else (end, end + step.amount)
        bars.append((start, end))
    return bars


def cut(chart: Waterfall) -> tuple[Fraction, Fraction] | None:
    """The ends of what is drawn, where its axis starts above 0: levels are so large that the steps could not be seen."""
    pairs = zip(chart.steps, heights(chart), strict=True)
    points = [point for step, (start, end) in pairs for point in ((end,) if step.level else (start, end))]
    low, high = min(points, default=Fraction(0)), max(points, default=Fraction(0))
    is_cut = 0 < low < high and high - low < high * Fraction(3, 10) and not all(step.level for step in chart.steps)
    return (low, high) if is_cut else None


def _bar(label: str, text: str, parts: Mapping[str, int]) -> str:
    """Describe a bar of several kinds by each kind's share, in percent."""
    total = sum(n for n in parts.values() if n > 0)
    shares = [f"{kind} {_rounded(Fraction(100 * n, total))} %" for kind, n in parts.items() if n > 0] if total else []
    return f"{label}: {text} ({', '.join(shares)})" if len(shares) > 1 else f"{label}: {text}"


def _series(name: str, values: Sequence[Fraction | None], chart: Lines, words: Mapping[str, str]) -> str:
    pairs = [(value, chart.points[n]) for n, value in enumerate(values) if value is not None]
    if not pairs:
        return f"{name}: {words[NOTHING]}"
    text = words["page.from_to"].format(
        name=name, first=_rounded(pairs[0][0]), last=_rounded(pairs[-1][0]), unit=chart.unit, **_extremes(pairs)
    )
    return text + _without(len(values) - len(pairs), words)


def _grid(chart: Heat, words: Mapping[str, str]) -> str:
    pairs = [
        (value, f"{chart.rows[y]}, {chart.columns[x]}")
        for y, row in enumerate(chart.values)
        for x, value in enumerate(row)
        if value is not None
    ]
    if not pairs:
        return f"{words[NOTHING]}."
    cells = sum(len(row) for row in chart.values)
    return words["page.grid"].format(unit=chart.unit, **_extremes(pairs)) + _without(cells - len(pairs), words) + "."


def _extremes(pairs: Sequence[tuple[Fraction, str]]) -> dict[str, str]:
    low, high = min(pairs, key=lambda pair: pair[0]), max(pairs, key=lambda pair: pair[0])
    return {"low": _rounded(low[0]), "low_at": low[1], "high": _rounded(high[0]), "high_at": high[1]}


def _without(count: int, words: Mapping[str, str]) -> str:
    return "; " + words["page.without_value"].format(count=count) if count else ""


def _rounded(value: Fraction) -> str:
    """Three significant digits."""
    return f"{Decimal(f'{float(value):.3g}'):f}".replace("-", "\u2212")
