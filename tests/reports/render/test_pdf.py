"""The PDF: the same bytes each time, hostile names as they are, and a clear refusal where letters have no font."""

import datetime
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from reports.page.section import Bars, Note, ReportTable, StackedBar, Tile, Tiles
from reports.render.pdf import pdf
from reports.reproduce import PAPERS
from tests.reports.render import sample

pytest.importorskip("typst")
DATED = datetime.date(2026, 9, 30)


def test_facts_travel_with_the_page_and_the_date_is_that_of_the_period() -> None:
    facts = b'{"figures": ["\xe4\xb8\xad"]}'
    pdf_bytes = pdf(sample.PLAIN, facts_json=facts, dated=DATED)
    assert facts in b"".join(streams(pdf_bytes))
    assert b"/AFRelationship/Source" in pdf_bytes.replace(b" ", b"")
    assert b"D:20260930" in pdf_bytes
    assert b"facts.json" not in pdf(sample.PLAIN, dated=DATED)


def test_it_claims_the_archive_and_the_screen_reader() -> None:
    meta = b"".join(streams(pdf(sample.PLAIN)))
    assert b"<pdfaid:part>3<" in meta
    assert b"<pdfaid:conformance>A<" in meta
    assert b"<pdfuaid:part>1<" in meta


def test_a_letter_without_a_font_is_refused_in_one_line(tmp_path: Path) -> None:
    chinese = replace(sample.PLAIN, language="zh", title="能源与排放")
    for document in (
        chinese,
        replace(sample.PLAIN, words=sample.WORDS | {"page.contents": "目录"}),
        replace(sample.PLAIN, organisation=sample.CHINESE),
    ):
        with pytest.raises(UsageError, match=r"needs a font for \d+ letters.*fonts-noto-cjk.*--font-dir") as refused:
            pdf(document, font_dirs=[tmp_path])
        assert "\n" not in str(refused.value)


def test_a_picture_sign_is_spelled_out_and_control_characters_too(tmp_path: Path) -> None:
    document = replace(sample.PLAIN, sections=(sample.section(Note("lift-off 🚀 \x00 \u202e"), title="t"),))
    spelled = replace(sample.PLAIN, sections=(sample.section(Note("lift-off [U+1F680] [U+0000] [U+202E]"), title="t"),))
    assert pdf(document, font_dirs=[tmp_path]) == pdf(spelled, font_dirs=[tmp_path])


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_to_say_is_still_a_page(paper: Literal["a4", "letter"]) -> None:
    bare = replace(sample.PLAIN, organisation="", title="x", period="", sections=(), footer="", language="en")
    assert pdf(bare, paper).startswith(b"%PDF-")


@pytest.mark.smoke
@given(st.text(max_size=60), st.text(max_size=20))
@settings(max_examples=12)
def test_any_text_is_set_or_refused_in_one_line(text: str, name: str) -> None:
    bars = Bars(name, sample.KINDS, (StackedBar(text, name, (("active", 3),)),))
    section = sample.section(
        Note(text), ReportTable(name, (text, name), ((name, text),)), bars, Tiles((Tile(name, text, name, ""),)), title=name
    )
    document = replace(
        sample.PLAIN, title=name, period=text, watermark=name[:5], sections=(section,), banners=(text,), footer=name
    )
    try:
        pdf_bytes, error = pdf(document), ""
    except UsageError as refused:
        pdf_bytes, error = b"", str(refused)
    assert pdf_bytes.startswith(b"%PDF-") or ("--font-dir" in error and "\n" not in error)


def test_names_without_a_place_to_break_are_broken() -> None:
    """Thirty rows and thirty sentences fit on a page: they take more only where lines end within their names."""
    table, note = ReportTable("t", ("x", "y"), (("x" * 500, "1"),) * 30), Note("x" * 300)
    for blocks in ((table,), (note,) * 30):
        pdf_bytes = pdf(replace(sample.PLAIN, sections=(sample.section(*blocks, title="t"),)))
        count = re.search(rb"/Type/Pages/Count (\d+)", b"".join([pdf_bytes, *streams(pdf_bytes)]))
        assert count
        assert int(count[1]) > 1


def test_crooked_tables_are_set() -> None:
    rows = (("a", "1"), ("b",), ("c", "3", "4"))
    rows = (*rows, ("d", "5", "6", "7"))
    tables = (
        ReportTable("heads", ("a", "b", "c"), (("x",),)),
        ReportTable("none", ("x", "y"), ()),
        ReportTable("crooked", (), rows),
        ReportTable("one", ("only",), (("cell",),)),
    )
    assert pdf(replace(sample.PLAIN, sections=(sample.section(*tables, title="t"),))).startswith(b"%PDF-")


def streams(pdf_bytes: bytes) -> list[bytes]:
    """Every stream of a PDF, unpacked where it is packed."""
    contents = []
    for part in pdf_bytes.split(b"stream\n")[1:]:
        raw = part.partition(b"endstream")[0].rstrip(b"\n")
        try:
            contents.append(zlib.decompress(raw))
        except zlib.error:
            contents.append(raw)
    return contents
