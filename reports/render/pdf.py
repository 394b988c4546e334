"""The report as a PDF: A4 or letter, tagged for screen readers (PDF/UA-1), fit for an archive (PDF/A-3a). Alone knows typst.

The document reaches the template as data, never as markup, and the template reads no file; so a name cannot become a command.
The same document gives the same bytes: nothing asks for the time, the machine's own fonts or its settings.
"""

import datetime
import functools
import heapq
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from energy_agent.core.errors import WattlensError
from reports.page.document import ReportDocument
from reports.page.section import Block, Chart, ReportTable
from reports.render.charts.chart import svg
from reports.render.charts.fitting import ems, pieces
from reports.render.charts.legible import legible, over_texts, spelled
from reports.render.charts.spoken import spoken
from reports.render.columns import numbers
from reports.render.fonts import BASE, FontChoice, choose, folders
from reports.render.html import kind_of

Paper = Literal["a4", "letter"]
_PROBE = b"""
#set document(date: datetime(year: 2000, month: 1, day: 1))
#set page(height: auto)
#set text(font: json(bytes(sys.inputs.families)), fallback: false)
#for one in json(bytes(sys.inputs.letters)) { par(text(one)) }
"""
_LACKS = re.compile(r"the text `\"(.*?)\"` could not be displayed")


def pdf(
    document: ReportDocument,
    paper: Paper = "a4",
    font_dirs: Sequence[Path] = (),
    facts_json: bytes | None = None,
    dated: datetime.date = datetime.date(1970, 1, 1),
) -> bytes:
    """The PDF.

    Args:
        document: what is printed.
        paper: its size.
        font_dirs: folders of fonts for scripts that the wheel has no glyphs for; none: Debian's Noto CJK, where it is.
        facts_json: is attached as facts.json, so that the figures travel with the page.
        dated: the date in the PDF's metadata, such as the last day of the period.

    Raises:
        UsageError: a letter that no font has, or a folder that is not there.
        WattlensError: typst refuses the document.
    """
    import typst

    clean_document = over_texts(document, legible)
    chosen, fonts = _fonts(_letters(clean_document), folders(font_dirs))
    if chosen.undrawn:
        gone = {ord(letter): spelled(letter) for letter in chosen.undrawn}
        clean_document = over_texts(clean_document, lambda text: text.translate(gone))
    data = _data(clean_document, paper, chosen) | {
        "dated": [dated.year, dated.month, dated.day],
        "attached": facts_json is not None,
    }
    try:
        pdf_bytes: Any = typst.compile(
            files("reports").joinpath("templates/report.typ").read_bytes(),
            sys_inputs={"data": json.dumps(data, ensure_ascii=False), "facts": (facts_json or b"").decode()},
            font_paths=fonts,
            ignore_system_fonts=True,
            pdf_standards=["a-3a", "ua-1"],
        )
    except typst.TypstError as error:
        raise WattlensError(f"the PDF cannot be created: {error.message}") from None
    return bytes(pdf_bytes)


def _fonts(letters: str, searched: Sequence[Path]) -> tuple[FontChoice, Any]:
    """Families that have every letter, and typst's fonts; folders are opened only where the wheel's own do not do."""
    import typst

    fonts = typst.Fonts(include_system_fonts=False)
    if searched and _missing(fonts, BASE, letters):
        fonts = typst.Fonts(include_system_fonts=False, font_paths=[str(folder) for folder in searched])
    return choose(letters, fonts.families(), functools.partial(_missing, fonts)), fonts


def _missing(fonts: Any, families: Sequence[str], letters: str) -> str:
    """Letters that none of the families has, as typst finds when it sets each of them on a line of its own."""
    import typst

    remaining, missing = letters, set[str]()
    while remaining:
        inputs = {"families": json.dumps(list(families)), "letters": json.dumps(list(remaining))}
        try:
            typst.compile(_PROBE, sys_inputs=inputs, font_paths=fonts, ignore_system_fonts=True, pdf_standards=["a-3b"])
        except typst.TypstError as error:
            undrawn = {letter for text in _LACKS.findall(error.diagnostic) for letter in text} & set(remaining)
            if not undrawn:
                raise WattlensError(f"the fonts of the PDF cannot be read: {error.message}") from None
            missing |= undrawn
            remaining = "".join(letter for letter in remaining if letter not in undrawn)
        else:
            break
    return "".join(letter for letter in letters if letter in missing)


def _data(document: ReportDocument, paper: Paper, chosen: FontChoice) -> dict[str, Any]:
    """What the template gets."""
    return {
        "title": _named(document.title),
        "organisation": document.organisation,
        "period": document.period,
        "watermark": document.watermark,
        "banners": document.banners,
        "footer": document.footer,
        "language": document.language,
        "hidden": _sheet(ReportTable("", (document.words["page.left_out"], document.words["page.why"]), document.hidden)),
        "said": document.words,
        "paper": {"a4": "a4", "letter": "us-letter"}[paper],
        "fonts": chosen.families,
        "summary": document.summary,
        "sections": [
            {
                "title": _named(section.title),
                "annex": section.annex,
                "blocks": [_block(block, document, f"s{n}b{m}", chosen) for m, block in enumerate(section.blocks)],
            }
            for n, section in enumerate(document.sections)
        ],
    }


def _named(title: str) -> str:
    """A title, or a dash: PDF/UA knows no title without a name."""
    return title.strip() or "\u2013"


def _block(block: Block, document: ReportDocument, name: str, chosen: FontChoice) -> dict[str, Any]:
    kind = kind_of(block)
    if isinstance(block, Chart):
        alternative = f"{block.title}. {spoken(block, document.words)}"
        return {
            "kind": kind,
            "title": block.title,
            "svg": svg(block, document.words, name, families=chosen.order),
            "alt": alternative,
        }
    return {"kind": kind} | (_sheet(block) if isinstance(block, ReportTable) else asdict(block))


def _sheet(table: ReportTable) -> dict[str, Any]:
    """A table, each cell in pieces between which a line may break, and rows of the longest cells of each column."""
    columns = [[row[n] for row in table.rows if n < len(row)] for n in range(len(numbers(table)))]
    longest = [heapq.nlargest(3, column, key=ems) for column in columns]
    probe = [[column[n] if n < len(column) else "" for column in longest] for n in range(3)]
    return {
        "caption": table.caption,
        "columns": table.columns,
        "rows": [[pieces(cell) for cell in row] for row in table.rows],
        "longest": [[pieces(cell) for cell in row] for row in probe],
        "numbers": numbers(table),
    }


def _letters(document: ReportDocument) -> str:
    """Every letter and sign beyond ASCII of the document and of the axes of charts."""
    letters = {"\u2212\u202f\u00d7\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u2026"}

    def keep(text: str) -> str:
        letters.add(text)
        return text

    over_texts(document, keep)
    return "".join(sorted({letter for text in letters for letter in text if not letter.isascii()}))
