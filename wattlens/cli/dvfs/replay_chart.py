"""Bars of `wattlens dvfs replay`, as text and as an SVG chart."""

from collections.abc import Sequence
from dataclasses import dataclass

_BAR_CHARS = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its length in per cent, a mark on it, and whether it broke a rule."""

    label: str
    value: float
    mark: float
    broken: bool

    @property
    def text(self) -> str:
        """What stands behind it."""
        return f"{self.value:.1f} %"


def bars(rows: Sequence[Bar]) -> list[str]:
    """Bars of `#`, or of `x` where a rule was broken; `|` is the mark."""
    longest = max((max(row.value, row.mark) for row in rows), default=0.0) or 1.0
    width = max(len(row.label) for row in rows)
    lines = []
    for row in rows:
        cells = list((("x" if row.broken else "#") * round(_BAR_CHARS * max(0.0, row.value) / longest)).ljust(_BAR_CHARS + 1))
        cells[round(_BAR_CHARS * max(0.0, row.mark) / longest)] = "|"
        lines.append(f"{row.label.ljust(width)}  {''.join(cells)} {row.text}".rstrip())
    return lines


def svg(title: str, rows: Sequence[Bar], broken: str) -> str:
    """A chart for a browser.

    Args:
        title: what it shows.
        rows: the bars.
        broken: what a hatched bar means.
    """
    from matplotlib.figure import Figure

    from reports.render.charts.chart import as_svg, style
    from reports.render.charts.legible import legible
    from reports.render.charts.palette import ACCENT, RISE

    labels = [legible(row.label) for row in rows]
    texts = [row.text + (f", {broken}" if row.broken else "") for row in rows]
    spoken = "; ".join(f"{label}: {text}" for label, text in zip(labels, texts, strict=True))
    ends = [max(row.value, row.mark, 0.0) for row in rows]
    with style("replay"):
        figure = Figure(figsize=(10, (24 * len(rows) + 60) / 72), layout="constrained")
        figure.suptitle(legible(title), fontsize=12)
        panel = figure.subplots()
        places = range(len(rows))
        for place, row in enumerate(rows):
            panel.barh(place, max(row.value, 0), 0.6, **(RISE._asdict() if row.broken else {"color": ACCENT}))
            panel.plot(row.mark, place, "|", color=RISE.edgecolor, markersize=18, markeredgewidth=2)
            panel.annotate(texts[place], (ends[place], place), (7, -4), textcoords="offset points")
        panel.set_yticks(places, labels)
        panel.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1.6 * max(ends, default=0.0) or 1))
        panel.xaxis.set_visible(False)
        return as_svg(figure, Title=f"{legible(title)}. {spoken}")
