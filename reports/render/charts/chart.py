"""Charts as SVG, drawn with matplotlib. The one file that knows it.

Texts stay texts: a reader can find and copy them, and they take the font of the page. The same chart gives the same bytes on
every machine: matplotlib measures with the font that it brings, and where room for a name is needed, `fitting` estimates it.
"""

import io
import itertools
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from reports.page.section import Bars, Chart, Heat, IntervalChart, Lines, Waterfall
from reports.render.charts.fitting import ems, shorten, wrap
from reports.render.charts.legible import legible, over_texts
from reports.render.charts.palette import ABSENT, ACCENT, FALL, HEAT, INK, KINDS, LEVEL, LINES, PAPER, RISE, RULE, SOFT
from reports.render.charts.spoken import CUT, NOTHING, cut, heights

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDE = 640
"""Width in px of a chart on a sheet of paper or a screen."""

NARROW = 358
"""Width in px of a chart on a phone of 390 px."""

SIZE = 12.0
"""Font size of names in px."""

SMALL = 11.0
"""Font size of axes and legends in px."""

LINE = 15
TALL = 180
WIDE_INTERVAL = 2
"""An axis of intervals ends at this many times the largest value; an interval that goes on ends in an arrow."""

Families = Callable[[str], Sequence[str]]
_STYLE: Any = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": SMALL, "text.color": INK,
    "axes.facecolor": "none", "axes.edgecolor": SOFT, "axes.linewidth": 0.75,
    "axes.spines.top": False, "axes.spines.right": False,
    "xtick.color": SOFT, "ytick.color": SOFT, "grid.color": RULE, "axes.axisbelow": True,
    "legend.frameon": False, "legend.labelcolor": SOFT, "legend.handlelength": 2.2,
    "hatch.linewidth": 0.8, "lines.linewidth": 1.8, "lines.scale_dashes": False,
    "svg.fonttype": "none", "text.parse_math": False,
}  # fmt: skip


def svg(chart: Chart, words: Mapping[str, str], name: str, width: int = WIDE, families: Families | None = None) -> str:
    """The chart as an `<svg>` element; what stands around it has the title, and `spoken` for a screen reader.

    Args:
        chart: what to draw.
        words: the renderer's own words in the reader's language.
        name: begins every id, so that charts of one page do not share any.
        width: of the sheet in px; the SVG scales to what is around it.
        families: fonts of a text, most wanted first.
    """
    from matplotlib.text import Text

    with style(name):
        figure = draw(chart, words, width)
        figure.draw_without_rendering()
        for number, artist in enumerate(figure.findobj()):
            artist.set_gid(f"{name}-{number}")
            if families and isinstance(artist, Text):
                artist.set_fontfamily(families(artist.get_text()))
        text = as_svg(figure)
    return text[text.index("<svg") :]  # inline, so without the head of a file


@contextmanager
def style(salt: str) -> Iterator[None]:
    """The look of every chart, whatever the reader's own settings are."""
    import matplotlib

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # the path of its font cache is of no interest
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its font lacks letters that the reader's has
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": salt})
        yield


def as_svg(figure: "Figure", **metadata: str) -> str:
    """A figure as a file of SVG, without a date."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", metadata={**nothing, **metadata})
    return out.getvalue()


def draw(chart: Chart, words: Mapping[str, str], width: int) -> "Figure":
    """The chart as a figure of matplotlib; one without anything in it says so."""
    clean_chart = over_texts(chart, legible)
    if isinstance(clean_chart, Bars) and clean_chart.bars:
        axes = _bars(clean_chart, width)
    elif isinstance(clean_chart, Waterfall) and clean_chart.steps:
        axes = _waterfall(clean_chart, words, width)
    elif isinstance(clean_chart, IntervalChart) and clean_chart.ranges:
        axes = _ranges(clean_chart, width)
    elif isinstance(clean_chart, Lines) and any(v is not None for values in clean_chart.series.values() for v in values):
        axes = _lines(clean_chart, width)
    elif isinstance(clean_chart, Heat) and any(v is not None for row in clean_chart.values for v in row):
        axes = _heat(clean_chart, words, width)
    else:
        axes = _frame(width, 22, (0, 0, 0, 0))
        axes.set_axis_off()
        axes.text(0, 0.3, words[NOTHING], size=SIZE, color=SOFT)
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _frame(
    width: float, inner: float, margins: tuple[float, float, float, float], legend: "Mapping[str, Artist] | None" = None
) -> "Axes":
    """Axes `inner` px high, with margins at the left, right, top and bottom, below a legend that is as high as it has to be."""
    from matplotlib.figure import Figure

    left_px, right, top, bottom = margins
    names = [shorten(name, SMALL, width - 50) for name in legend or {}]
    each = max((ems(name) for name in names), default=0) * SMALL + 44
    columns = max(int(width / each), 1)
    top += 18 * -(-len(names) // columns) + 6 * bool(names)
    height = top + inner + bottom
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, frameon=False)
    for number, (name, handle) in enumerate(zip(names, (legend or {}).values(), strict=True)):
        at = (number % columns * each / width, 1 - (number // columns * 18 - 4) / height)
        figure.legend([handle], [name], loc="upper left", bbox_to_anchor=at, borderpad=0, borderaxespad=0.5)
    return figure.add_axes((left_px / width, bottom / height, (width - left_px - right) / width, inner / height))


def _rows(
    rows: Sequence[tuple[str, str]], width: int, bottom: float = 2, legend: "Mapping[str, Artist] | None" = None
) -> "tuple[Axes, list[float]]":
    """Axes with a row for each name and its text: at the left and the right, above it on a phone. Returns the rows' heights."""
    phone = width <= NARROW
    room = min(max(ems(text) for _, text in rows) * SIZE, width * (0.53 if phone else 0.32))
    label_y = room + 14
    named = width - label_y if phone else min(max(ems(label) for label, _ in rows) * SIZE + 12, width * 0.34)
    lines = [wrap(label, SIZE, named - 10, 2) for label, _ in rows]
    ends = list(itertools.accumulate(LINE * len(some) + (26 if phone else 9) for some in lines))
    axes = _frame(width, ends[-1], (10, 10, 2, bottom) if phone else (named, label_y, 2, bottom), legend)
    axes.set_ylim(ends[-1], 0)
    axes.tick_params(left=False, labelleft=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    ys = [end - (15 if phone else (LINE * len(some) + 9) / 2) for end, some in zip(ends, lines, strict=True)]
    for y, some, (_, text) in zip(ys, lines, rows, strict=True):
        for number, line in enumerate(some):
            up = LINE * (len(some) - number) - 1 if phone else LINE * ((len(some) - 1) / 2 - number) - 4
            _note(axes, line, 0, y, (3, up) if phone else (-10, up), "left" if phone else "right")
        at = (-3, LINE * len(some) - 1) if phone else (10, -4)
        _note(axes, shorten(text, SIZE, room), 1, y, at, "right" if phone else "left")
    return axes, ys


def _note(axes: "Axes", text: str, x: float, y: float, offset: tuple[float, float], side: Any) -> None:
    axes.annotate(
        text, (x, y), xycoords=("axes fraction", "data"), xytext=offset, textcoords="offset points", ha=side, size=SIZE,
        annotation_clip=False,
    )  # fmt: skip


def _bars(chart: Bars, width: int) -> "Axes":
    from matplotlib.patches import Patch

    present = {kind for bar in chart.bars for kind, length in bar.parts if length > 0}
    kinds: dict[str, Artist] = {name: Patch(**_fill(kind)) for kind, name in chart.kinds.items() if kind in present}
    rows = [(bar.label, bar.text) for bar in chart.bars]
    axes, ys = _rows(rows, width, legend=kinds if len(kinds) > 1 else None)
    longest = max(sum(max(length, 0) for _, length in bar.parts) for bar in chart.bars) or 1
    axes.set_xlim(0, 1)
    axes.spines.left.set_visible(True)
    for y, bar in zip(ys, chart.bars, strict=True):
        end = 0.0
        for kind, length in bar.parts:
            if length > 0:  # a negative length cannot be stacked: only its text shows it
                part = max(length / longest, 0.003)  # what is there is seen
                axes.barh(y, part, LINE, end, linewidth=0.6, **_fill(kind))
                end += part
    return axes


def _fill(kind: str) -> dict[str, Any]:
    return KINDS.get(kind, KINDS["other"])._asdict()


def _waterfall(chart: Waterfall, words: Mapping[str, str], width: int) -> "Axes":
    """From top to bottom. Where the axis is cut, levels have a break and a line says so."""
    ends = cut(chart)
    axes, ys = _rows([(step.label, step.text) for step in chart.steps], width, 20 if ends else 2)
    pairs = [(float(start), float(end)) for start, end in heights(chart)]
    for y, step, (start, end) in zip(ys, chart.steps, pairs, strict=True):
        fill = LEVEL if step.level else RISE if end >= start else FALL
        axes.barh(y, end - start, LINE, start, linewidth=0.6, **fill._asdict())
    for number, step in enumerate(chart.steps[1:]):
        if not step.level and width > NARROW:
            axes.plot([pairs[number][1]] * 2, [ys[number] + 8, ys[number + 1] - 8], color=SOFT, linewidth=0.75)
    axes.axvline(0, color=RULE, linewidth=1, zorder=0)
    if ends:
        low, high = map(float, ends)
        axes.set_xlim(low - (high - low) / 2, high + (high - low) / 50)
        breaks = [y for y, step in zip(ys, chart.steps, strict=True) if step.level]
        zigzag: Any = [(-1, -2), (1, -1), (-1, 0), (1, 1), (-1, 2)]
        axes.plot(
            [low - (high - low) / 2.2] * len(breaks), breaks, linestyle="", marker=zigzag, markersize=18, fillstyle="none",
            color=PAPER, markeredgewidth=3,
        )  # fmt: skip
        axes.annotate(words[CUT], (0, 0), (0, 5), "figure pixels", textcoords="offset points", color=SOFT)
    return axes


def _ranges(chart: IntervalChart, width: int) -> "Axes":
    axes, ys = _rows([(one.label, one.text) for one in chart.ranges], width, 36)
    low, high = _scale(axes, "x", _ticks(reach(chart), 3 if width <= NARROW else 5))
    axes.tick_params(labelbottom=True)
    _inward(axes.xaxis)
    axes.set_xlabel(shorten(chart.unit, SMALL, width / 2), color=SOFT)
    for y, one in zip(ys, chart.ranges, strict=True):
        if one.value is one.low is one.high is None:
            continue  # nothing is known: its words say so
        ends = [one.value if bound is None else bound for bound in (one.low, one.high)]
        at = [edge if end is None else min(max(float(end), low), high) for end, edge in zip(ends, (low, high), strict=True)]
        axes.plot(at, [y, y], color=ACCENT, linewidth=2)
        for x, bound, arrow in zip(at, (one.low, one.high), "<>", strict=True):
            if bound is not None or one.value is None:
                marker = "|" if bound is not None and low <= bound <= high else arrow
                axes.plot(x, y, marker=marker, color=ACCENT, markersize=9, markeredgewidth=2 * (marker == "|"), clip_on=False)
        if one.value is not None:
            axes.plot(float(one.value), y, marker="D", color=INK, markersize=7)
    return axes


def reach(chart: IntervalChart) -> list[Fraction]:
    """What the axis covers: values, bounds as far as `WIDE_INTERVAL` times the largest value, and 0 where that is near."""
    values = [one.value for one in chart.ranges if one.value is not None]
    bounds = [bound for one in chart.ranges for bound in (one.low, one.high) if bound is not None]
    if most := WIDE_INTERVAL * max((abs(value) for value in values), default=Fraction(0)):
        bounds = [min(max(bound, -most), most) for bound in bounds]
    points = [*values, *bounds]
    low, high = min(points, default=Fraction(0)), max(points, default=Fraction(1))
    return [low, high] if low > 0 and low > high / 2 else [Fraction(0), low, high]


def _ticks(values: Sequence[Fraction], count: int) -> dict[float, str]:
    """Round numbers that cover the values, with the decimals that they need and a thin gap every three digits."""
    from matplotlib.ticker import MaxNLocator

    low, high = float(min(values)), float(max(values))
    ticks = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high if high > low else low + abs(low) + 1)
    short = [f"{tick:.6g}" for tick in ticks]
    places = max(len(text.partition(".")[2]) for text in short)
    exact = [text if "e" in text else f"{tick:,.{places}f}" for tick, text in zip(ticks, short, strict=True)]
    return {float(t): text.replace(",", "\u202f").replace("-", "\u2212") for t, text in zip(ticks, exact, strict=True)}


def _scale(axes: "Axes", which: Literal["x", "y"], ticks: Mapping[float, str]) -> tuple[float, float]:
    """Put ticks on an axis, which begins and ends with them, and lines of a grid."""
    (axes.xaxis if which == "x" else axes.yaxis).set_ticks(list(ticks), list(ticks.values()))
    axes.grid(axis=which)
    axes.tick_params(axis=which, length=0)
    low, high = min(ticks), max(ticks)
    axes.set(**{f"{which}lim": (low, high)})
    return low, high


def _lines(chart: Lines, width: int) -> "Axes":
    """With 0 on its axis: noise is no mountain. One series needs no name: the title says what it is."""
    from matplotlib.lines import Line2D

    styles: list[Any] = [
        {"color": colour, "linestyle": (0, dashes) if dashes else "-"}
        for colour, dashes in itertools.islice(itertools.cycle(LINES), len(chart.series))
    ]
    legend: dict[str, Artist] = {name: Line2D([], [], **look) for name, look in zip(chart.series, styles, strict=True)}
    ticks = _ticks([Fraction(0), *(v for values in chart.series.values() for v in values if v is not None)], 4)
    left_px = max(ems(text) for text in ticks.values()) * SMALL + 8
    axes = _frame(width, TALL, (left_px, 14, 22, 24), legend if len(legend) > 1 else None)
    _scale(axes, "y", ticks)
    axes.set_title(shorten(chart.unit, SMALL, width / 2), loc="left", fontsize=SMALL, color=SOFT)
    axes.set_xlim(0, max(len(chart.points) - 1, 1))
    for look, values in zip(styles, chart.series.values(), strict=True):
        padded = [None, *values, None]
        alone = [n for n in range(len(values)) if padded[n + 1] is not None and padded[n] is padded[n + 2] is None]
        heights = [float("nan") if value is None else float(value) for value in values]
        axes.plot(heights, **look, marker="D", markersize=5, markevery=alone, clip_on=False)
    _names(axes, chart.points, 0, width - left_px)
    return axes


def _names(axes: "Axes", names: Sequence[str], first: float, room: float) -> None:
    """Names of points at even steps, as far apart as they are long."""
    wide = max(ems(name) for name in names) * SMALL
    step = max(math.ceil(len(names) * (1.5 * wide + 8) / room), 1)
    last = len(names) - 1
    at = [n for n in range(0, last + 1, step) if n == last or (last - n) / len(names) * room > wide / 2]
    axes.set_xticks([n + first for n in at], [shorten(names[n], SMALL, room / 2) for n in at])
    _inward(axes.xaxis)


def _inward(axis: "Axis") -> None:
    """Names that would pass the end of an axis begin or end at their tick."""
    (low, high), length = axis.get_view_interval(), axis.axes.bbox.width
    for at, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True):
        room, wide = min(at - low, high - at) / (high - low) * length, ems(label.get_text()) * SMALL
        if wide > 1.5 * SMALL and room < max(wide / 2, 0.03 * length):
            label.set_horizontalalignment("left" if at < (low + high) / 2 else "right")


def _heat(chart: Heat, words: Mapping[str, str], width: int) -> "Axes":
    """A grid in shades of one colour; what is absent is hatched, not pale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.patches import Patch, PathPatch
    from matplotlib.path import Path

    left_px = min(max(max(ems(row) for row in chart.rows) * SMALL + 10, 16), width * (0.3 if width <= NARROW else 0.22))
    tall = min(max(360 / len(chart.rows), 3), 20)
    axes = _frame(width, tall * len(chart.rows), (left_px, 8, 38, 20))
    figure = axes.get_figure(root=True)
    assert figure is not None
    values = [v for row in chart.values for v in row if v is not None]
    if chart.most is not None:
        values = [Fraction(0), chart.most]
    elif min(values) == max(values) or 0 <= min(values) < max(values) / 8:
        values.append(Fraction(0))
    bar = figure.add_axes((4 / width, 1 - 12 / figure.bbox.height, 0.45, 10 / figure.bbox.height))
    ticks = _ticks(values, 8)
    low, high = min(ticks), max(ticks)
    shades = ScalarMappable(Normalize(low, high), ListedColormap(HEAT))
    legend = figure.colorbar(shades, cax=bar, orientation="horizontal")
    legend.set_ticks([low, high], labels=[ticks[low], ticks[high]], size=SMALL)
    bar.tick_params(length=0)
    _inward(bar.xaxis)
    bar.annotate(shorten(chart.unit, SMALL, width / 4), (1, 0), (8, 1), "axes fraction", textcoords="offset points", color=SOFT)
    cells: dict[str, list[Path]] = {}
    for y, row in enumerate(chart.values):
        for x, value in enumerate(row):
            if value is not None:
                shade = HEAT[min(int((float(value) - low) / (high - low) * len(HEAT)), len(HEAT) - 1)]
                corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)]
                cells.setdefault(shade, []).append(Path(corners, closed=True))
    for shade, paths in cells.items():
        axes.add_patch(PathPatch(Path.make_compound_path(*paths), facecolor=shade, linewidth=0))
    if any(value is None for row in chart.values for value in row):
        axes.patch.set(**ABSENT._asdict())
        handle = Patch(linewidth=0.6, **ABSENT._asdict())
        figure.legend([handle], [words[NOTHING]], loc="upper right", borderpad=0, borderaxespad=0.2)
    axes.set(xlim=(0, len(chart.columns)), ylim=(len(chart.rows), 0))
    some = range(0, len(chart.rows), max(int(14 // tall), 1))
    axes.set_yticks([y + 0.5 for y in some], [shorten(chart.rows[y], SMALL, left_px - 10) for y in some])
    axes.tick_params(length=0)
    _names(axes, chart.columns, 0.5, width - left_px)
    return axes
