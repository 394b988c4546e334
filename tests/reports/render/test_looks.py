"""What a reader gets, as a browser and a PDF reader lay it out: nothing cut, nothing beyond the page, everything there."""

import itertools
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from reports.page.section import CheckedStatement, Note, ReportTable, Tiles
from reports.render.charts.legible import legible
from reports.render.fonts import DEBIAN
from reports.render.html import html
from reports.render.pdf import pdf
from tests.reports.render import sample
from tests.reports.render.browser import Pages, laid_out, pages, printed, squeezed
from tests.support import need_file, need_program

pytestmark = pytest.mark.peer
TITLES = [legible(s.title) for s in sample.SECTIONS]


@pytest.fixture(scope="module")
def page() -> str:
    return html(sample.DOCUMENT)


@pytest.fixture(scope="module", params=["a4", "letter"])
def paper(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def read(paper: str, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    need_file(DEBIAN / "NotoSerifCJK-Regular.ttc", "Debian's fonts-noto-cjk")
    pdf_bytes = pdf(sample.DOCUMENT, "a4" if paper == "a4" else "letter", facts_json=b"{}")
    return pages(pdf_bytes, tmp_path_factory.mktemp("pdf"))


@pytest.mark.parametrize("width", [1280, 900, 390])
def test_nothing_of_the_page_is_beyond_its_edge(page: str, width: int, tmp_path: Path) -> None:
    layout = laid_out(page, width, tmp_path)
    assert layout["out"] == []
    assert layout["texts"] > 150
    assert layout["smallest"] >= 10


def test_the_page_prints_with_its_mark_and_heads_on_every_sheet(page: str, tmp_path: Path) -> None:
    sheets = pages(printed(page, tmp_path), tmp_path)
    assert 6 <= len(sheets.texts) <= 16
    assert [n for n, text in enumerate(sheets.texts) if "SIMULATED" not in squeezed(text)] == []
    heads = [text for text in sheets.texts if "Idleshare" in squeezed(text)]
    assert len(heads) >= 2
    for title in TITLES:
        assert squeezed(title) in squeezed(sheets.text)
    for row in sample.BIG_TABLE.rows:
        for cell in row:
            assert squeezed(cell) in squeezed(sheets.text)


def test_the_size_is_that_of_the_paper(read: Pages, paper: str) -> None:
    assert read.size == pytest.approx({"a4": (595.276, 841.89), "letter": (612, 792)}[paper], abs=0.01)


def test_every_page_has_its_number_its_footer_and_its_mark(read: Pages) -> None:
    count = len(read.texts)
    assert 7 <= count <= 14
    for number, text in enumerate(read.texts, start=1):
        assert f"{number}/{count}" in squeezed(text)
        assert squeezed(sample.DOCUMENT.footer) in squeezed(text)


def test_every_title_sentence_and_cell_is_there(read: Pages) -> None:
    text = squeezed(read.text)
    wanted = [sample.DOCUMENT.title, sample.DOCUMENT.organisation, sample.DOCUMENT.period, *sample.DOCUMENT.banners, *TITLES]
    wanted += [part for pair in sample.DOCUMENT.hidden for part in pair]
    for section in sample.SECTIONS:
        for block in section.blocks:
            if isinstance(block, Tiles):
                wanted += [part for t in block.tiles for part in (t.label, t.value)]
            elif isinstance(block, Note | CheckedStatement):
                wanted.append(block.text)
            elif isinstance(block, ReportTable):
                wanted += [block.caption, *block.columns]
    assert [one for one in wanted if squeezed(legible(one)) not in text] == []


def test_every_cell_of_every_table_is_there(read: Pages) -> None:
    text = squeezed(read.text)
    for section in sample.SECTIONS:
        for table in (b for b in section.blocks if isinstance(b, ReportTable)):
            for row in table.rows:
                assert [cell for cell in row if squeezed(legible(cell)) not in text] == []


def test_the_contents_name_the_page_on_which_a_section_begins(read: Pages) -> None:
    first = squeezed(read.texts[0]).partition("Contents")[2]
    for title in [*TITLES[1:], "Not in this report"]:
        (page,) = [number for number, text in enumerate(read.texts[1:], start=2) if squeezed(title) in squeezed(text)]
        assert f"{squeezed(title)}{page}" in first


def test_a_long_mark_stays_on_one_line_across_the_page(tmp_path: Path) -> None:
    bare = replace(
        sample.PLAIN, organisation="", title="x", period="", sections=(), footer="", watermark="SIMULATED \u00b7 INTERIM"
    )
    pages(pdf(bare), tmp_path)
    bbox = subprocess.run(["pdftotext", "-bbox", tmp_path / "read.pdf", "-"], capture_output=True, check=True)
    letters = r'xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">([A-Z]+)<'
    boxes = sorted([*map(float, letter[:4]), letter[4]] for letter in re.findall(letters, bbox.stdout.decode()))
    assert "".join(str(box[4]) for box in boxes) == "SIMULATEDINTERIM"
    ends = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (boxes[0], *boxes[2:])]
    slopes = [(ends[0][1] - y) / (x - ends[0][0]) for x, y in ends[1:]]
    assert slopes == pytest.approx([841.89 / 595.276] * len(slopes), rel=0.1)  # up, along the diagonal
    assert all(-1 <= v <= 843 for box in boxes for v in box[:4])


def test_names_without_a_place_to_break_stay_in_their_columns(tmp_path: Path) -> None:
    """63 letters, as many as a name in Kubernetes may have, in each column of words: none over another, none off the page."""
    name, team = "workload" * 7 + "pattern", "Directory" * 7
    row = (name, team, "berlin-1", "541 kWh", "91.1 %")
    tables = (
        ReportTable("Used", ("Workload", "Team", "Site", "GPU energy", "active share"), (row,) * 3),
        ReportTable("", (), ((name, team),)),
    )
    pages(pdf(replace(sample.PLAIN, sections=(sample.section(*tables, title="t"),))), tmp_path)
    bbox = subprocess.run(["pdftotext", "-bbox", tmp_path / "read.pdf", "-"], capture_output=True, check=True)
    words = re.findall(r'xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">([^<]+)<', bbox.stdout.decode())
    assert sum(len(text) for *_, text in words if text in name or text in team) >= 4 * 126
    boxes = [tuple(map(float, corners)) for *corners, _ in words]
    edge = 595.28 - 19 * 72 / 25.4 + 0.5
    assert [box for box in boxes if box[2] > edge] == []
    over = [
        (a, b)
        for a, b in itertools.combinations(boxes, 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 4
    ]
    assert over == []


def test_heads_of_a_long_table_stand_on_every_page_of_it(read: Pages) -> None:
    having = [text for text in read.texts if "project-" in text]
    assert len(having) >= 2
    assert all("Idle share" in text for text in having)


def test_hostile_names_are_as_they_are_in_the_pdf(read: Pages) -> None:
    assert squeezed(legible(sample.HOSTILE)) in squeezed(read.text)
    assert "root:" not in read.text


def test_the_words_of_a_chart_can_be_found_in_the_pdf(read: Pages) -> None:
    assert "9.10 GWh" in read.text
    assert "0.62 (0.55 to 0.71)" in read.text


def test_chinese_is_set_with_debians_fonts(tmp_path: Path) -> None:
    need_file(DEBIAN / "NotoSerifCJK-Regular.ttc", "Debian's fonts-noto-cjk")
    chinese = replace(sample.PLAIN, language="zh", title="能源与排放，2026年第三季度", watermark="模拟数据")
    pdf_pages = pages(pdf(chinese), tmp_path)
    assert "能源与排放，2026年第三季度" in squeezed(pdf_pages.texts[0])
    fonts = subprocess.run(["pdffonts", tmp_path / "read.pdf"], capture_output=True, check=True).stdout.decode()
    assert "NotoSerifCJKsc" in fonts
    assert all(line.split()[-5] == "yes" for line in fonts.splitlines()[2:])  # embedded


def test_facts_can_be_taken_out_of_the_pdf(tmp_path: Path) -> None:
    need_program("pdfdetach")
    (tmp_path / "report.pdf").write_bytes(pdf(sample.PLAIN, facts_json=b'{"schema": "x"}\n'))
    subprocess.run(["pdfdetach", "-saveall", "-o", tmp_path, tmp_path / "report.pdf"], check=True, capture_output=True)
    assert (tmp_path / "facts.json").read_bytes() == b'{"schema": "x"}\n'
