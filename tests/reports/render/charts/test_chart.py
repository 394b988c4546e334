"""Every chart is well-formed, stays in its frame, tells its data in words, and has the same bytes each time."""

import itertools
import re
from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.page.section import Bar, Bars, Chart, Heat, Lines, Range, Ranges, Step, Waterfall
from reports.render.charts.chart import sheet, svg
from reports.render.charts.legible import legible, over_texts
from reports.render.charts.lines import apart, runs
from reports.render.charts.marks import NARROW, WIDE, Box, Path, Words
from reports.render.charts.palette import ABSENT, HEAT, KINDS
from reports.render.charts.ranges import axis_of
from reports.render.charts.waterfall import CUT, pieces_of
from reports.render.words import WORDS
from tests.reports.render import sample
from tests.reports.render.charts.test_fitting import TEXTS, advances

SVG = "{http://www.w3.org/2000/svg}"
CHARTS = (
    sample.bars(), sample.ONE_BAR, sample.NO_BARS, sample.BRIDGE, sample.BELOW, sample.LAYERS, sample.MANY_STEPS, sample.RANGES,
    sample.EMBODIED, sample.DAILY, sample.PUE, sample.FLAT, sample.HOURS, sample.CALENDAR,
)  # fmt: skip
NUMBERS = st.builds(Fraction, st.integers(-(10**9), 10**9), st.integers(1, 1000))
VALUES = st.none() | NUMBERS


def charts(names: st.SearchStrategy[str]) -> st.SearchStrategy[Chart]:
    """Charts of every kind, with such names."""
    return st.one_of(
        st.builds(
            Bars,
            names,
            st.just(sample.KINDS),
            st.lists(
                st.builds(
                    Bar,
                    names,
                    names,
                    st.lists(st.tuples(st.sampled_from([*KINDS, "?"]), st.integers(-5, 10**25)), max_size=4).map(tuple),
                ),
                max_size=6,
            ).map(tuple),
        ),
        st.builds(
            Waterfall, names, names, st.lists(st.builds(Step, names, NUMBERS, names, st.booleans()), max_size=10).map(tuple)
        ),
        st.builds(
            Ranges, names, names, st.lists(st.builds(Range, names, VALUES, VALUES, VALUES, names), max_size=6).map(tuple)
        ),
        st.integers(0, 12).flatmap(
            lambda n: st.builds(
                Lines,
                names,
                names,
                st.lists(names, min_size=n, max_size=n).map(tuple),
                st.dictionaries(names, st.lists(VALUES, min_size=n, max_size=n).map(tuple), max_size=8),
            )
        ),
        st.tuples(st.integers(0, 5), st.integers(0, 30)).flatmap(
            lambda size: st.builds(
                Heat,
                names,
                names,
                st.lists(names, min_size=size[0], max_size=size[0]).map(tuple),
                st.lists(names, min_size=size[1], max_size=size[1]).map(tuple),
                st.lists(
                    st.lists(VALUES, min_size=size[1], max_size=size[1]).map(tuple), min_size=size[0], max_size=size[0]
                ).map(tuple),
            )
        ),
    )


def width(text: str) -> float:
    """True width in DejaVu Sans; letters that it lacks are one unit wide."""
    return sum(advances().get(ord(c), 1.0) for c in text)


def beyond(chart: Chart, size: int) -> list[object]:
    """Marks that leave the sheet, by more than a line is thick."""
    drawn = sheet(chart, {}, size)
    out: list[object] = []
    for mark in drawn.marks:
        if isinstance(mark, Words):
            long = width(mark.text) * mark.size * (1.1 if mark.bold else 1.0)
            left = mark.x - {"start": 0.0, "middle": long / 2, "end": long}[mark.anchor]
            place = (left, mark.y - mark.size, left + long, mark.y)
        elif isinstance(mark, Box):
            place = (mark.x, mark.y, mark.x + mark.width, mark.y + mark.height)
        else:
            points = [p for p in mark.points if p]
            place = (min(x for x, _ in points), min(y for _, y in points), max(x for x, _ in points), max(y for _, y in points))
        if place[0] < -1.5 or place[1] < -1.5 or place[2] > size + 1.5 or place[3] > drawn.height + 1.5:
            out.append((mark, place))
    return out


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("chart", CHARTS, ids=lambda c: c.title)
def test_nothing_leaves_the_sheet(chart: Chart, size: int) -> None:
    assert beyond(chart, size) == []


@pytest.mark.smoke
@given(charts(st.text(st.characters(codec="utf-8"), max_size=60)), st.sampled_from([WIDE, NARROW]))
@settings(max_examples=60)
def test_any_chart_is_well_formed_xml_that_names_only_its_own_ids(chart: Chart, size: int) -> None:
    text = svg(chart, {}, "c1", size)
    root = ElementTree.fromstring(text)
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith("c1-") for one in ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert {e.attrib["href"] for e in root.iter() if "href" in e.attrib} <= {f"#{one}" for one in ids}
    assert not [e for e in root.iter() if e.tag in (f"{SVG}style", f"{SVG}script", f"{SVG}image", f"{SVG}a")]


@given(charts(TEXTS), st.sampled_from([WIDE, NARROW]))
@settings(max_examples=150)
def test_nothing_leaves_the_sheet_whatever_is_drawn(chart: Chart, size: int) -> None:
    assert beyond(over_texts(chart, legible), size) == []


def labels(chart: Chart) -> list[str]:
    return [mark.text for mark in sheet(chart, {}, WIDE).marks if isinstance(mark, Words)]


def test_a_share_of_the_best_has_no_shade_for_more_than_all() -> None:
    """The same on every day, which once had shades from 40 to 160 %."""
    grid = Heat("t", "%", ("here",), ("a", "b"), ((Fraction(100), Fraction(100)),), Fraction(100))
    assert labels(grid)[:2] == ["0", "100 %"]
    assert labels(replace(grid, values=((Fraction(98), Fraction(99)),)))[:2] == ["0", "100 %"]


def test_shades_and_lines_of_one_value_begin_at_0() -> None:
    """14.4 kWh on each day, which once had an axis from 5 to 25."""
    days = (Fraction("14.4"), Fraction("14.4"))
    assert labels(Heat("t", "g/kWh", ("here",), ("a", "b"), (days,)))[0] == "0"
    assert labels(Lines("t", "kWh", ("a", "b"), {"x": days}))[1] == "0"
    assert labels(Lines("t", "kWh", ("a", "b"), {"x": (Fraction("14.2"), Fraction("14.4"))}))[1] == "0"


@pytest.mark.parametrize("chart", CHARTS, ids=lambda c: c.title)
def test_a_chart_is_an_image_with_a_title_and_its_data_in_words(chart: Chart) -> None:
    root = ElementTree.fromstring(svg(chart, {}, "c1"))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "c1-t c1-d"
    assert root.findtext(f"{SVG}title") == chart.title
    told = root.findtext(f"{SVG}desc") or ""
    items = (
        [(b.label, b.text) for b in chart.bars] if isinstance(chart, Bars)
        else [(s.label, s.text) for s in chart.steps] if isinstance(chart, Waterfall)
        else [(r.label, r.text) for r in chart.ranges] if isinstance(chart, Ranges)
        else [(name, chart.unit) for name, values in chart.series.items() if any(values)] if isinstance(chart, Lines)
        else [(chart.unit, "")]
    )  # fmt: skip
    for label, text in items:
        assert label in told
        assert text in told


def test_words_of_a_grid_and_of_lines_worked_out_by_hand() -> None:
    grid = Heat("t", "g/kWh", ("Mon", "Tue"), ("00", "12"), ((Fraction(5), None), (Fraction(1, 3), Fraction(1234))))
    told = ElementTree.fromstring(svg(grid, {}, "a")).findtext(f"{SVG}desc")
    assert told == "g/kWh; lowest 0.333 (Tue, 00), highest 1230 (Tue, 12); 1 without a value."
    lines = Lines("t", "W", ("a", "b", "c"), {"x": (Fraction(2), Fraction(-1), Fraction(1)), "y": (None, None, None)})
    told = ElementTree.fromstring(svg(lines, {}, "a")).findtext(f"{SVG}desc")
    assert told == "x: from 2 to 1 W; lowest −1 (b), highest 2 (a); y: no value."


def test_the_renderers_words_are_those_of_the_document() -> None:
    told = svg(sample.BRIDGE, {CUT: "AXIS CUT"}, "a")
    assert told.count("AXIS CUT") == 2  # drawn and spoken
    assert CUT in WORDS


def test_bars_are_in_proportion_and_a_nought_has_none() -> None:
    kinds = {"active": "active", "idle": "held idle", "host": "host"}
    bars = (Bar("a", "4", (("active", 300), ("idle", 100))), Bar("b", "1", (("active", 100),)), Bar("c", "0", (("active", 0),)))
    marks = sheet(Bars("Energy", kinds, bars), {}, WIDE).marks
    boxes = [m for m in marks if isinstance(m, Box) and m.height == 15]
    full = boxes[0].width + boxes[1].width
    assert [b.width / full for b in boxes] == pytest.approx([0.75, 0.25, 0.25])
    assert boxes[1].x == pytest.approx(boxes[0].x + boxes[0].width)
    assert [m.text for m in marks if isinstance(m, Words) and m.text in kinds.values()] == [
        "active",
        "held idle",
    ]  # what is there


def test_a_chart_of_nothing_says_so() -> None:
    empty = (
        sample.NO_BARS, Waterfall("t", "u", ()), Ranges("t", "u", ()), Lines("t", "u", ("a",), {"x": (None,)}),
        Heat("t", "u", (), (), ()),
    )  # fmt: skip
    for chart in empty:
        assert [m.text for m in sheet(chart, {"no value": "NOTHING"}, WIDE).marks if isinstance(m, Words)] == ["NOTHING"]


def test_names_of_points_stand_at_even_steps() -> None:
    def named(chart: Lines, size: int) -> list[str]:
        return [m.text for m in sheet(chart, {}, size).marks if isinstance(m, Words) and m.text in chart.points]

    assert named(sample.PUE, WIDE) == ["2026-01", "2026-03", "2026-05", "2026-07", "2026-09"]
    assert named(sample.DAILY, NARROW)[0] == "2026-07-01"
    assert named(sample.FLAT, WIDE) == ["a", "b", "c"]


def test_one_kind_needs_no_legend() -> None:
    assert "running" not in svg(sample.ONE_BAR, {}, "a").partition("</desc>")[2]


def test_a_waterfall_adds_up_and_says_when_its_axis_is_cut() -> None:
    pieces, axis, cut = pieces_of(sample.BRIDGE)
    assert [p.end for p in pieces] == [7552, 8462, 7632, 6992, 6812, 6812]
    assert cut
    assert axis.low > 0
    pieces, axis, cut = pieces_of(sample.LAYERS)
    assert pieces[-2].end == pieces[-1].end == 20400
    assert not cut
    assert axis.low == 0
    pieces, axis, cut = pieces_of(sample.BELOW)
    assert [p.end for p in pieces] == [-120, 190, -210, -210]
    assert (axis.low, axis.high) == (-210, 190)


def test_an_interval_much_wider_than_the_axis_ends_in_an_arrow() -> None:
    axis = axis_of(sample.RANGES, 5)
    assert Fraction("2.2") < axis.high < 10  # 900 is beyond
    arrows = [m for m in sheet(sample.RANGES, {}, WIDE).marks if isinstance(m, Path) and m.fill and len(m.points) == 3]
    assert len(arrows) == 2  # 0.01 to 900, and "at least 1.2"
    far = Ranges("t", "J", (Range("a", Fraction(1), Fraction(-50), Fraction(90), "1"),))
    assert len([m for m in sheet(far, {}, WIDE).marks if isinstance(m, Path) and m.fill and len(m.points) == 3]) == 2


def test_absent_values_break_a_line_and_hatch_a_cell() -> None:
    one, two = Fraction(1), Fraction(2)
    assert runs((None, one, two, None, None, one)) == [[(1, one), (2, two)], [(5, one)]]
    assert runs((None, None)) == []
    marks = sheet(sample.HOURS, {}, WIDE).marks
    assert sum(isinstance(m, Box) and m.fill == ABSENT for m in marks) == 3 + 1  # and one in the legend
    assert sum(isinstance(m, Box) and m.fill.face in HEAT for m in marks) == 13 * 24 - 3 + len(HEAT)


@given(st.lists(st.floats(22, 202), min_size=1, max_size=12))
def test_names_at_the_ends_of_lines_do_not_stand_on_each_other(ends: list[float]) -> None:
    placed = apart([(y, str(n), "#000000") for n, y in enumerate(ends)], 22, 202)
    heights = [y for y, _, _ in placed]
    assert len(placed) == len(ends)
    assert all(b - a >= 14 - 1e-9 for a, b in itertools.pairwise(heights))
    assert max(heights) <= 202 + 1e-9


def test_hostile_text_stays_text() -> None:
    hostile = "</text><script>x</script>&amp;$x^2$ url(#c1-0) \x00 ]]>"
    root = ElementTree.fromstring(svg(replace(sample.EMBODIED, unit=hostile, title=hostile), {}, "c1"))
    assert root.findtext(f"{SVG}title") == hostile.replace("\x00", "[U+0000]")
    assert hostile.replace("\x00", "[U+0000]") in [e.text for e in root.iter(f"{SVG}text")]


def test_a_reader_s_own_settings_of_matplotlib_change_nothing() -> None:
    import matplotlib

    plain = svg(sample.RANGES, {}, "a")
    with matplotlib.rc_context(
        {"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red", "savefig.bbox": "tight", "path.sketch": (3, 9, 9)}
    ):
        assert svg(sample.RANGES, {}, "a") == plain
        assert matplotlib.rcParams["font.size"] == 30
