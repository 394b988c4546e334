"""Charts as inline SVG: marks become shapes and texts. The one file that knows matplotlib.

Texts stay texts: a reader can find and copy them, they take the font of the page, and no font is needed to draw them.
The same marks give the same bytes on every machine: no ids but those in use, no date, coordinates to a hundredth of a pixel.
"""

import io
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from reports.page.section import Bars, Chart, Lines, Ranges, Waterfall
from reports.render.charts import bars, heat, lines, ranges, waterfall
from reports.render.charts.heat import NOTHING
from reports.render.charts.legible import legible, over_texts
from reports.render.charts.marks import WIDE, Box, Mark, Path, Sheet, Words
from reports.render.charts.palette import SOFT, Fill
from reports.render.charts.spoken import spoken

if TYPE_CHECKING:
    from matplotlib.artist import Artist

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
Family = Callable[[str], str]
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "wattlens", "text.parse_math": False, "hatch.linewidth": 0.8}


def _inherited(text: str) -> str:
    return "inherit"


def svg(chart: Chart, words: Mapping[str, str], name: str, width: int = WIDE, family: Family = _inherited) -> str:
    """The chart as an `<svg>` element, with its title and all it says in words for a screen reader.

    Args:
        chart: what to draw.
        words: the renderer's own words in the reader's language.
        name: begins every id, so that charts of one page do not share any.
        width: of the sheet in px; the SVG scales to what is around it.
        family: the font of a text, as in CSS; by default that of the page.
    """
    cleaned = over_texts(chart, legible)
    root = _rendered(sheet(cleaned, words, width))
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-t {name}-d", "font-family": family("")}
    title, told = ElementTree.Element("title", id=f"{name}-t"), ElementTree.Element("desc", id=f"{name}-d")
    title.text, told.text = cleaned.title, spoken(cleaned, words)
    _tidy(root, name, family)
    root[:0] = [title, told]
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def sheet(chart: Chart, words: Mapping[str, str], width: int) -> Sheet:
    """The marks of a chart; one without anything in it says so."""
    if not _anything(chart):
        return Sheet(width, 22, [Words(0, 15, words.get(NOTHING, NOTHING), colour=SOFT)])
    if isinstance(chart, Bars):
        return bars.draw(chart, width)
    if isinstance(chart, Waterfall):
        return waterfall.draw(chart, width, words)
    if isinstance(chart, Ranges):
        return ranges.draw(chart, width)
    if isinstance(chart, Lines):
        return lines.draw(chart, width)
    return heat.draw(chart, width, words)


def _anything(chart: Chart) -> bool:
    """Whether there is something to draw."""
    if isinstance(chart, Bars):
        return bool(chart.bars)
    if isinstance(chart, Waterfall):
        return bool(chart.steps)
    if isinstance(chart, Ranges):
        return bool(chart.ranges)
    rows = chart.series.values() if isinstance(chart, Lines) else chart.values
    return any(value is not None for row in rows for value in row)


def _rendered(drawn: Sheet) -> ElementTree.Element:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its cache of fonts is nothing to tell
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    height = max(round(drawn.height), 1)
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib measures texts with its own font, and nothing here hangs on it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(drawn.width / 72, height / 72), dpi=72, frameon=False)
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, drawn.width), ylim=(height, 0))
        for order, artist in enumerate(_artists(drawn.marks)):
            artist.set(clip_on=False, zorder=order)
            axes.add_artist(artist)
        written = io.BytesIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return ElementTree.fromstring(written.getvalue())  # noqa: S314 - matplotlib wrote it a line above


def _artists(marks: Sequence[Mark]) -> "Iterator[Artist]":
    """One artist a mark; boxes of one fill that follow each other are one shape, which keeps a grid of thousands small."""
    for fill, group in itertools.groupby(marks, lambda mark: mark.fill if isinstance(mark, Box) else None):
        if isinstance(fill, Fill):
            yield _boxes([mark for mark in group if isinstance(mark, Box)], fill)
        else:
            yield from (_artist(mark) for mark in group if not isinstance(mark, Box))


def _boxes(boxes: Sequence[Box], fill: Fill) -> "Artist":
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    corners = [
        (x, y)
        for b in boxes
        for x, y in zip(
            (b.x, b.x + b.width, b.x + b.width, b.x, b.x), (b.y, b.y, b.y + b.height, b.y + b.height, b.y), strict=True
        )
    ]
    codes = [Outline.MOVETO, Outline.LINETO, Outline.LINETO, Outline.LINETO, Outline.CLOSEPOLY] * len(boxes)
    outline = Outline([(_at(x), _at(y)) for x, y in corners], codes)
    edge: Any = fill.edge or "none"
    width = 0.6 if fill.edge else 0
    return PathPatch(outline, facecolor=fill.face, edgecolor=edge, linewidth=width, hatch=fill.hatch or None)


def _artist(mark: Path | Words) -> "Artist":
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon
    from matplotlib.text import Text

    if isinstance(mark, Words):
        where: Any = {"start": "left", "middle": "center", "end": "right"}[mark.anchor]
        weight = "bold" if mark.bold else "normal"
        return Text(
            _at(mark.x), _at(mark.y), mark.text, color=mark.colour, size=mark.size, weight=weight,
            horizontalalignment=where, verticalalignment="baseline",
        )  # fmt: skip
    points = [(_at(p[0]), _at(p[1])) if p else (float("nan"),) * 2 for p in mark.points]
    if mark.fill:
        return Polygon(points, closed=True, facecolor=mark.fill, edgecolor=mark.colour, linewidth=mark.width)
    x, y = zip(*points, strict=True)
    style: Any = (0, tuple(d / mark.width for d in mark.dash)) if mark.dash else "-"
    return Line2D(x, y, color=mark.colour, linewidth=mark.width, linestyle=style, solid_capstyle="butt", dash_capstyle="butt")


def _at(value: float) -> float:
    return round(value, 2)


def _tidy(root: ElementTree.Element, name: str, family: Family) -> None:
    """Leave what is drawn: no size but the view box, no metadata, no style for the whole page, no id that nothing names."""
    for unwanted in ("width", "height", "version"):
        root.attrib.pop(unwanted, None)
    root.attrib |= {"xmlns": _SVG[1:-1], "stroke-linejoin": "round", "stroke-linecap": "butt"}
    _without_extras(root)
    used = {ref for element in root.iter() for ref in _references(element)}
    numbers = {old: f"{name}-{n}" for n, old in enumerate(sorted(used))}
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.text, element.tail = (element.text if element.tag == "text" else None), None
        if element.text and family(element.text) != family(""):
            element.attrib["font-family"] = family(element.text)
        identity = element.attrib.pop("id", None)
        if identity in numbers:
            element.attrib["id"] = numbers[identity]
        if _LINK in element.attrib:
            element.attrib["href"] = element.attrib.pop(_LINK)
        for key, value in element.attrib.items():
            for old, new in numbers.items():
                value = value.replace(f"url(#{old})", f"url(#{new})").replace(f"#{old}", f"#{new}")
            element.attrib[key] = _style(value) if key == "style" else value


def _without_extras(element: ElementTree.Element) -> None:
    kept: list[ElementTree.Element] = []
    for child in element:
        tag = child.tag.removeprefix(_SVG)
        if tag in ("metadata", "style"):
            continue
        _without_extras(child)
        bare = tag == "g" and not set(child.attrib) - {"id"}
        if bare or (tag == "defs" and not len(child)):
            kept += child
        else:
            kept.append(child)
    element[:] = kept


def _references(element: ElementTree.Element) -> list[str]:
    found = [element.attrib[_LINK].removeprefix("#")] if _LINK in element.attrib else []
    for value in element.attrib.values():
        _, mark, rest = value.partition("url(#")
        if mark:
            found.append(rest.partition(")")[0])
    return found


def _style(value: str) -> str:
    """Without the font's name: a text takes the font of the page."""
    return "; ".join(part.strip() for part in value.split(";") if part.strip() and "font-family" not in part)
