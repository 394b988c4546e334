"""Every chart is well-formed, stays in its frame, describes its data in words, and has the same bytes each time."""

import re
from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from reports.page.section import Bars, Chart, Heat, IntervalChart, IntervalMark, Lines, StackedBar, Waterfall, WaterfallStep
from reports.render.charts.chart import NARROW, WIDE, draw, reach, style, svg
from reports.render.charts.palette import ABSENT, ACCENT, HEAT, KINDS
from reports.render.charts.spoken import CUT, cut, heights, spoken
from tests.reports.render import sample
from tests.reports.render.charts.test_fitting import TEXTS, advances
from tests.support import examples

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
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
                    StackedBar,
                    names,
                    names,
                    st.lists(st.tuples(st.sampled_from([*KINDS, "?"]), st.integers(-5, 10**25)), max_size=4).map(tuple),
                ),
                max_size=6,
            ).map(tuple),
        ),
        st.builds(
            Waterfall,
            names,
            names,
            st.lists(st.builds(WaterfallStep, names, NUMBERS, names, st.booleans()), max_size=10).map(tuple),
        ),
        st.builds(
            IntervalChart,
            names,
            names,
            st.lists(st.builds(IntervalMark, names, VALUES, VALUES, VALUES, names), max_size=6).map(tuple),
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


def draw_figure(chart: Chart, size: int = WIDE) -> Figure:
    with style("t"):
        figure = draw(chart, sample.WORDS, size)
        figure.draw_without_rendering()
    return figure


def texts(chart: Chart, size: int = WIDE) -> list[str]:
    return [t.get_text() for t in draw_figure(chart, size).findobj(Text) if t.get_text() and t.get_visible()]


def beyond(chart: Chart, size: int) -> list[object]:
    """Texts that leave the sheet."""
    figure = draw_figure(chart, size)
    out: list[object] = []
    for text in figure.findobj(Text):
        x, y = text.get_transform().transform(text.get_unitless_position())
        long = width(text.get_text()) * text.get_size()
        left_edge = x - {"left": 0.0, "center": long / 2, "right": long}[text.get_ha()]
        if (
            text.get_text()
            and text.get_visible()
            and (min(left_edge, y) < -1.5 or left_edge + long > size + 1.5 or y > figure.bbox.height)
        ):
            out.append((text, left_edge, left_edge + long, y))
    return out


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("chart", CHARTS, ids=lambda c: c.title)
def test_nothing_leaves_the_sheet(chart: Chart, size: int) -> None:
    assert beyond(chart, size) == []


@pytest.mark.smoke
@given(charts(st.text(st.characters(codec="utf-8"), max_size=60)), st.sampled_from([WIDE, NARROW]))
@settings(max_examples=examples(60))
def test_any_chart_is_well_formed_xml_that_names_only_its_own_ids(chart: Chart, size: int) -> None:
    text = svg(chart, sample.WORDS, "c1", size)
    root = ElementTree.fromstring(text)
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert {e.attrib[LINK] for e in root.iter() if LINK in e.attrib} <= {f"#{one}" for one in ids}
    assert not [e for e in root.iter() if e.tag in (f"{SVG}script", f"{SVG}image", f"{SVG}a")]


@pytest.mark.smoke
@given(charts(TEXTS), st.sampled_from([WIDE, NARROW]))
@settings(max_examples=examples(60))
def test_nothing_leaves_the_sheet_whatever_is_drawn(chart: Chart, size: int) -> None:
    assert beyond(chart, size) == []


def test_charts_of_one_page_share_no_id() -> None:
    ids = [set(re.findall(r'\bid="([^"]*)"', svg(sample.bars(), sample.WORDS, name))) for name in ("a", "b")]
    assert not ids[0] & ids[1]


def test_a_share_of_the_best_has_no_shade_for_more_than_all() -> None:
    grid = Heat("t", "%", ("here",), ("a", "b"), ((Fraction(100), Fraction(100)),), Fraction(100))
    for values in (grid.values, ((Fraction(98), Fraction(99)),)):
        assert {"0", "100"} <= set(texts(replace(grid, values=values)))


def test_shades_and_lines_of_one_value_begin_at_0() -> None:
    days = (Fraction("14.4"), Fraction("14.4"))
    for chart in (
        Heat("t", "g/kWh", ("here",), ("a", "b"), (days,)),
        Lines("t", "kWh", ("a", "b"), {"x": days}),
        Lines("t", "kWh", ("a", "b"), {"x": (Fraction("14.2"), Fraction("14.4"))}),
    ):
        assert "0" in texts(chart)


def test_ticks_have_the_decimals_that_they_need() -> None:
    def ticks(*values: str) -> list[str]:
        return [t for t in texts(Lines("t", "", ("a", "b"), {"x": tuple(map(Fraction, values))})) if t not in "ab"]

    assert ticks("3", "97") == ["0", "25", "50", "75", "100"]
    assert ticks("0.31", "0.47") == ["0.0", "0.2", "0.4", "0.6"]
    assert ticks("-210", "190") == ["\u2212300", "\u2212200", "\u2212100", "0", "100", "200"]
    assert ticks("11000", "52000") == ["0", "20\u202f000", "40\u202f000", "60\u202f000"]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda c: c.title)
def test_chart_description_states_its_data(chart: Chart) -> None:
    description = spoken(chart, sample.WORDS)
    items = (
        [(b.label, b.text) for b in chart.bars] if isinstance(chart, Bars)
        else [(s.label, s.text) for s in chart.steps] if isinstance(chart, Waterfall)
        else [(r.label, r.text) for r in chart.ranges] if isinstance(chart, IntervalChart)
        else [(name, chart.unit) for name, values in chart.series.items() if any(values)] if isinstance(chart, Lines)
        else [(chart.unit, "")]
    )  # fmt: skip
    for label, text in items:
        assert label in description
        assert text in description


def test_words_of_a_grid_and_of_lines_worked_out_by_hand() -> None:
    grid = Heat("t", "g/kWh", ("Mon", "Tue"), ("00", "12"), ((Fraction(5), None), (Fraction(1, 3), Fraction(1234))))
    assert spoken(grid, sample.WORDS) == "g/kWh; lowest 0.333 (Tue, 00), highest 1230 (Tue, 12); 1 without a value."
    lines = Lines("t", "W", ("a", "b", "c"), {"x": (Fraction(2), Fraction(-1), Fraction(1)), "y": (None, None, None)})
    assert spoken(lines, sample.WORDS) == "x: from 2 to 1 W; lowest −1 (b), highest 2 (a); y: no value."


def test_the_renderers_words_are_those_of_the_document() -> None:
    assert "AXIS CUT" in svg(sample.BRIDGE, sample.WORDS | {CUT: "AXIS CUT"}, "a")
    assert "AXIS CUT" in spoken(sample.BRIDGE, sample.WORDS | {CUT: "AXIS CUT"})


def test_bars_are_in_proportion_and_a_nought_has_none() -> None:
    kinds = {"active": "active", "idle": "held idle", "host": "host"}
    bars = (
        StackedBar("a", "4", (("active", 300), ("idle", 100))),
        StackedBar("b", "1", (("active", 100),)),
        StackedBar("c", "0", (("active", 0),)),
    )
    chart = Bars("Energy", kinds, bars)
    boxes = [p for p in draw_figure(chart).axes[0].patches if isinstance(p, Rectangle)]
    assert [b.get_width() for b in boxes] == pytest.approx([0.75, 0.25, 0.25])
    assert boxes[1].get_x() == pytest.approx(0.75)
    assert [text for text in texts(chart) if text in kinds.values()] == ["active", "held idle"]  # what is there


def test_empty_chart_states_no_value() -> None:
    empty = (
        sample.NO_BARS, Waterfall("t", "u", ()), IntervalChart("t", "u", ()), Lines("t", "u", ("a",), {"x": (None,)}),
        Heat("t", "u", (), (), ()),
    )  # fmt: skip
    for chart in empty:
        root = ElementTree.fromstring(svg(chart, sample.WORDS | {"page.no_value": "NOTHING"}, "a"))
        assert [e.text for e in root.iter(f"{SVG}text")] == ["NOTHING"]


def test_names_of_points_stand_at_even_steps() -> None:
    def named(chart: Lines, size: int) -> list[str]:
        return [text for text in texts(chart, size) if text in chart.points]

    assert named(sample.PUE, WIDE) == ["2026-01", "2026-03", "2026-05", "2026-07", "2026-09"]
    assert named(sample.DAILY, NARROW)[0] == "2026-07-01"
    assert named(sample.FLAT, WIDE) == ["a", "b", "c"]


def test_one_kind_needs_no_legend() -> None:
    assert "running" not in texts(sample.ONE_BAR)


def test_waterfall_adds_up_and_marks_a_cut_axis() -> None:
    assert [end for _, end in heights(sample.BRIDGE)] == [7552, 8462, 7632, 6992, 6812, 6812]
    assert cut(sample.BRIDGE) == (6812, 8462)
    assert draw_figure(sample.BRIDGE).axes[0].get_xlim()[0] > 0
    assert sample.WORDS[CUT] in texts(sample.BRIDGE)
    assert heights(sample.LAYERS)[-2][1] == heights(sample.LAYERS)[-1][1] == 20400
    assert cut(sample.LAYERS) is None
    assert [end for _, end in heights(sample.BELOW)] == [-120, 190, -210, -210]
    assert cut(sample.BELOW) is None
    for chart in (sample.LAYERS, sample.BELOW):
        low, high = draw_figure(chart).axes[0].get_xlim()
        assert low <= 0 <= high
        assert sample.WORDS[CUT] not in texts(chart)


@given(
    st.lists(st.from_regex(r"-?[1-9][0-9]{0,2}(\.[0-9]{1,2})? ([mkMG]?Wh|[mk]?g|t)", fullmatch=True), min_size=1),
    st.sampled_from([WIDE, NARROW]),
)
@settings(max_examples=examples(100, quick=10))
def test_a_number_is_drawn_whole(numbers: list[str], size: int) -> None:
    """Shortened, 705 mWh reads as 705 Wh."""
    steps = tuple(WaterfallStep(f"step {number}", Fraction(1), text, False) for number, text in enumerate(numbers))
    assert set(numbers) <= set(texts(Waterfall("energy", "J", steps), size))


def arrows(chart: IntervalChart) -> list[object]:
    return [line.get_marker() for line in draw_figure(chart).axes[0].lines if line.get_marker() in ("<", ">")]


def test_an_interval_much_wider_than_the_axis_ends_in_an_arrow() -> None:
    assert Fraction("2.2") < max(reach(sample.RANGES)) < 10  # 900 is beyond
    assert arrows(sample.RANGES) == [">", ">"]  # 0.01 to 900, and "at least 1.2"
    assert arrows(IntervalChart("t", "J", (IntervalMark("a", Fraction(1), Fraction(-50), Fraction(90), "1"),))) == ["<", ">"]


@pytest.mark.parametrize("chart", [sample.BRIDGE, sample.LAYERS])
def test_the_watermark_of_the_page_shows_through_a_chart(chart: Chart) -> None:
    with style("t"):
        canvas = FigureCanvasAgg(draw(chart, sample.WORDS, WIDE))
        canvas.draw()
    opacity = bytes(canvas.buffer_rgba())[3::4]
    assert opacity.count(0) > len(opacity) / 2


def test_absent_values_break_a_line_and_hatch_a_cell() -> None:
    values = (None, Fraction(1), Fraction(2), None, None, Fraction(1))
    (line,) = [
        one for one in draw_figure(Lines("t", "", tuple("abcdef"), {"x": values})).axes[0].lines if one.get_color() == ACCENT
    ]
    assert [value if value == value else None for value in line.get_ydata()] == [None, 1, 2, None, None, 1]
    assert line.get_markevery() == [5]  # a point alone is no line
    axes = draw_figure(sample.HOURS).axes[0]
    assert axes.patch.get_hatch() == ABSENT.hatch
    assert {to_hex(patch.get_facecolor()) for patch in axes.patches} <= set(HEAT)
    assert sum(len(patch.get_path().vertices) // 5 for patch in axes.patches) == 13 * 24 - 3


def test_hostile_text_stays_text() -> None:
    hostile = "</text><script>x</script>$x^2$\x00]]>"
    root = ElementTree.fromstring(svg(replace(sample.EMBODIED, unit=hostile), sample.WORDS, "c1"))
    assert hostile.replace("\x00", "[U+0000]") in [e.text for e in root.iter(f"{SVG}text")]


def test_a_reader_s_own_settings_of_matplotlib_change_nothing() -> None:
    plain = svg(sample.RANGES, sample.WORDS, "a")
    with matplotlib.rc_context(
        {"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red", "savefig.bbox": "tight", "path.sketch": (3, 9, 9)}
    ):
        assert svg(sample.RANGES, sample.WORDS, "a") == plain
        assert matplotlib.rcParams["font.size"] == 30
