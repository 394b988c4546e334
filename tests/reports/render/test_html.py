"""The page: self-contained, labelled, complete, and safe against hostile names."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reports.page.section import Bars, CheckedStatement, Heat, IntervalChart, Lines, Note, ReportTable, Tiles, Waterfall
from reports.render.charts.legible import legible
from reports.render.html import html
from tests.reports.render import sample

VOID = {"meta", "br"}


class Outline(HTMLParser):
    """Tags with their attributes, and text, with a check that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> is closed by itself outside of a picture"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return html(sample.DOCUMENT)


@pytest.fixture(scope="module")
def outline(text: str) -> Outline:
    return Outline(text)


def test_the_page_is_whole_and_fetches_nothing(text: str, outline: Outline) -> None:
    names = {name for name, _ in outline.tags}
    assert (
        not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "audio", "video", "source"} & names
    )
    for _, attributes in outline.tags:
        assert not [
            k for k in attributes if k.startswith("on") or k in ("src", "srcset", "action", "data", "background", "ping")
        ]
        for key in ("href", "xlink:href"):
            assert (attributes.get(key) or "#").startswith("#")
        assert "url(" not in (attributes.get("style") or "").replace("url(#", "")
    assert not re.findall("http(?!-equiv|://www.w3.org/(?:2000/svg|1999/xlink))", text)
    assert "@import" not in text
    assert not [style for style in re.findall("<style.*?</style>", text, re.DOTALL) if "url(" in style]


def test_no_browser_will_fetch_anything_either(outline: Outline) -> None:
    (policy,) = [m["content"] for m in outline.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert (policy or "").startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "script-src" not in (policy or "")


def test_language_landmarks_headings_and_anchors(outline: Outline) -> None:
    names = [name for name, _ in outline.tags]
    assert outline.all("html") == [{"lang": "en"}]
    assert all(names.count(one) == 1 for one in ("header", "nav", "main", "footer", "h1"))
    assert names.count("h2") == len(sample.SECTIONS) + 2  # contents, and what is left out
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    targets = [(a["href"] or "").removeprefix("#") for a in outline.all("a")]
    assert targets == ["report", *(f"s{n}" for n in range(1, len(sample.SECTIONS) + 1)), "hidden"]
    assert set(targets) <= set(ids)
    for _, attributes in outline.tags:
        for named in (attributes.get("aria-labelledby") or "").split():
            assert named in ids


def test_tables_have_captions_and_heads_of_columns_and_rows(outline: Outline) -> None:
    tables = [b for s in sample.SECTIONS for b in s.blocks if isinstance(b, ReportTable)]
    assert len(outline.all("caption")) == len(tables)
    assert len(outline.all("table")) == len(tables) + 1
    scopes = [a.get("scope") for a in outline.all("th")]
    assert scopes.count("row") == sum(len(t.rows) for t in tables) + len(sample.DOCUMENT.hidden)
    assert scopes.count("col") == sum(len(t.columns) for t in tables) + 2
    regions = [a for a in outline.all("div") if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in regions)
    assert len(regions) == len(outline.all("table"))


def test_html_has_every_text_of_the_document(outline: Outline) -> None:
    texts = {piece.strip() for piece in outline.text}
    document = sample.DOCUMENT
    wanted = [document.title, document.organisation, document.watermark, document.footer, *document.banners]
    wanted += [part for pair in document.hidden for part in pair]
    for section in document.sections:
        wanted.append(section.title)
        for block in section.blocks:
            if isinstance(block, Tiles):
                wanted += [part for t in block.tiles for part in (t.label, t.value, t.detail, t.trend) if part]
            elif isinstance(block, ReportTable):
                wanted += [block.caption, *block.columns, *(cell for row in block.rows for cell in row)]
            elif isinstance(block, Bars | Waterfall | IntervalChart | Lines | Heat):
                wanted.append(block.title)
            else:
                assert isinstance(block, Note | CheckedStatement)
                wanted.append(block.text)
    assert [one for one in wanted if legible(one) not in texts] == []


def test_failed_check_is_marked_as_failed(outline: Outline) -> None:
    full_text = "".join(outline.text)
    assert "Check passed. The parts of every device" in full_text
    assert "Check failed. Every chain is whole" in full_text


def test_every_tile_leads_to_a_fact(outline: Outline) -> None:
    assert [a["data-figure"] for _, a in outline.tags if "data-figure" in a] == [t.figure_id for t in sample.TILES.tiles]


def test_every_chart_is_there_for_a_screen_and_for_a_phone(outline: Outline) -> None:
    charts = sum(isinstance(b, Bars | Waterfall | IntervalChart | Lines | Heat) for s in sample.SECTIONS for b in s.blocks)
    assert len(outline.all("svg")) == 2 * charts
    assert len([a for a in outline.all("div") if a.get("class") == "wide-chart"]) == charts
    assert len([a for a in outline.all("div") if a.get("class") == "narrow-chart"]) == charts
    labels = [a["aria-label"] or "" for a in outline.all("div") if a.get("role") == "img"]
    assert len(labels) == 2 * charts
    assert f"{sample.BRIDGE.title}. 2026Q2: 7 552 t; more tokens: +910 t" in "".join(labels)


def test_hostile_names_stay_text(text: str, outline: Outline) -> None:
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;{{ 7*7 }}") >= 4
    assert "\u202e" not in text
    assert "[U+202E]evil" in text
    assert legible(sample.HOSTILE) in {piece.strip() for piece in outline.text}
    chart = replace(sample.EMBODIED, title='"><script>alert(1)</script>')
    attacked = Outline(html(replace(sample.PLAIN, sections=(sample.section(chart, title="t"),))))
    assert not attacked.all("script")
    assert [a for a in attacked.all("div") if (a.get("aria-label") or "").startswith(chart.title)]


def test_nothing_to_say_is_still_a_page() -> None:
    bare = replace(sample.DOCUMENT, organisation="", watermark="", banners=(), sections=(), hidden=())
    outline = Outline(html(bare))
    assert not outline.all("nav")
    assert not [a for a in outline.all("div") if a.get("class") == "mark"]
    assert bare.title in outline.text


@pytest.mark.smoke
def test_the_renderer_speaks_the_language_of_the_document() -> None:
    loud = {name: re.sub(r"(?<![{\w])\w+(?![\w}])", lambda word: word[0].upper(), text) for name, text in sample.WORDS.items()}
    text = html(replace(sample.DOCUMENT, words=loud, language="zh"))
    assert '<html lang="zh-Hans">' in text
    for word in (
        "CONTENTS",
        "CHECK PASSED.",
        "CHECK FAILED.",
        "NOT IN THIS REPORT",
        "SKIP TO THE REPORT",
        "THE AXIS DOES NOT START AT 0.",
    ):
        assert word in text
