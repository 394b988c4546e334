"""The chart is well-formed, proportional, and readable without colour."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.render.svg_bars import FILLS, LABEL, VALUE, WIDTH, svg_bars
from reports.sections._section import Bar, Bars

KINDS = {"active": "active", "idle": "held idle", "unheld": "not held", "unattributed": "not attributed"}
SVG = "{http://www.w3.org/2000/svg}"
BARS = st.lists(
    st.builds(
        Bar,
        st.text(max_size=60).filter(lambda t: t.isprintable()),
        st.just("1 Wh"),
        st.tuples(*(st.tuples(st.just(kind), st.integers(0, 10**25)) for kind in KINDS)),
    ),
    max_size=9,
)


@given(BARS)
def test_any_chart_is_well_formed_and_stays_in_its_frame(bars: list[Bar]) -> None:
    root = ElementTree.fromstring(svg_bars(Bars("Energy", KINDS, tuple(bars))))
    for rect in root.findall(f"{SVG}rect"):
        x, width = float(rect.attrib["x"]), float(rect.attrib["width"])
        assert width > 0
        assert x + width <= WIDTH - VALUE + 2  # a part too short to be seen is drawn half a pixel long


def test_lengths_are_in_proportion() -> None:
    chart = Bars("Energy", KINDS, (Bar("a", "", (("active", 300), ("idle", 100))), Bar("b", "", (("active", 100),))))
    rects = [r for r in ElementTree.fromstring(svg_bars(chart)).findall(f"{SVG}rect") if r.attrib["y"] != "3"]
    widths = [float(r.attrib["width"]) for r in rects]
    full = WIDTH - LABEL - VALUE
    assert widths == pytest.approx([full * 0.75, full * 0.25, full * 0.25], abs=0.01)


def test_kinds_differ_by_pattern_and_every_bar_is_spoken() -> None:
    assert sum(fill.startswith("url(#") for fill in FILLS.values()) == len(FILLS) - 1
    text = svg_bars(Bars("Energy", KINDS, (Bar("<train & co>", "12 Wh", (("idle", 5),)),)))
    root = ElementTree.fromstring(text)
    assert root.attrib["role"] == "img"
    assert "<train & co>: 12 Wh" in (root.findtext(f"{SVG}desc") or "")
    assert "held idle" in text
    assert "not held" not in text  # the legend has only what is there
