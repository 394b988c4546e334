"""What both halves of `wattlens dvfs replay` share: the choice of a policy, bars of text, and an SVG chart."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError

if TYPE_CHECKING:
    from dvfs.types import DvfsPolicy

_BAR_CHARS = 40


def find_policy(name: str, source: str, fits: "Callable[[str, DvfsPolicy], bool]") -> "DvfsPolicy":
    """Return the policy with that name, which a replay of `source` (an option) can score.

    Raises:
        UsageError: no policy of that name fits; the message lists those that do.
    """
    import dvfs.policies as package
    from dvfs.types import DvfsPolicy
    from energy_agent.core import plugin

    found = plugin.discover(package).items()
    able = {each: spec for each, spec in found if isinstance(spec, DvfsPolicy) and fits(each, spec)}
    if name not in able:
        raise UsageError(f"dvfs replay: --policy: with {source} expected one of {', '.join(able)}, got {name!r}")
    return able[name]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its length, a mark on it (None: none), what stands behind it, and whether it broke a rule."""

    label: str
    value: float
    text: str
    mark: float | None = None
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over equal windows, drawn as steps."""

    label: str
    values: tuple[float, ...]
    dashed: bool = False


def bars(rows: Sequence[Bar]) -> list[str]:
    """Bars of `#`, or of `x` where a rule was broken; `|` is the mark."""
    longest = max((max(row.value, row.mark or 0.0) for row in rows), default=0.0) or 1.0
    width = max(len(row.label) for row in rows)
    lines = []
    for row in rows:
        cells = list((("x" if row.broken else "#") * round(_BAR_CHARS * max(0.0, row.value) / longest)).ljust(_BAR_CHARS + 1))
        if row.mark is not None:
            cells[round(_BAR_CHARS * max(0.0, row.mark) / longest)] = "|"
        lines.append(f"{row.label.ljust(width)}  {''.join(cells)} {row.text}".rstrip())
    return lines


def svg(title: str, rows: Sequence[Bar], broken: str, curves: Sequence[Curve] = (), axis: str = "", window: str = "") -> str:
    """A chart for a browser: bars, and below them steps over time.

    Args:
        title: what it shows.
        rows: the bars.
        broken: what a hatched bar means.
        curves: all over the same windows.
        axis: name and unit of the curves' values.
        window: how long a window is.
    """
    from matplotlib.figure import Figure

    from reports.render.charts.chart import as_svg, style
    from reports.render.charts.legible import legible
    from reports.render.charts.palette import ACCENT, LINES, RISE

    labels = [legible(row.label) for row in rows]
    texts = [row.text + (f", {broken}" if row.broken else "") for row in rows]
    spoken = "; ".join(f"{label}: {text}" for label, text in zip(labels, texts, strict=True))
    ends = [max(row.value, row.mark or 0.0, 0.0) for row in rows]
    with style("replay"):
        figure = Figure(figsize=(10, (24 * len(rows) + 60) / 72 + 3 * bool(curves)), layout="constrained")
        figure.suptitle(legible(title), fontsize=12)
        panels = figure.subplots(1 + bool(curves), squeeze=False, height_ratios=[24 * len(rows), 190][: 1 + bool(curves)])[:, 0]
        places = range(len(rows))
        for place, row in enumerate(rows):
            panels[0].barh(place, max(row.value, 0), 0.6, **(RISE._asdict() if row.broken else {"color": ACCENT}))
            if row.mark is not None:
                panels[0].plot(row.mark, place, "|", color=RISE.edgecolor, markersize=18, markeredgewidth=2)
            panels[0].annotate(texts[place], (ends[place], place), (7, -4), textcoords="offset points")
        panels[0].set_yticks(places, labels)
        panels[0].set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1.6 * max(ends, default=0.0) or 1))
        panels[0].xaxis.set_visible(False)
        for curve, (colour, _) in zip(curves, itertools.cycle(LINES)):
            panels[1].stairs(
                curve.values, label=legible(curve.label), color=colour, linestyle="--" if curve.dashed else "-", baseline=None
            )
        if curves:
            panels[1].set(xlabel=f"windows of {window}", ylabel=axis)
            panels[1].legend()
        return as_svg(figure, Title=f"{legible(title)}. {spoken}")
