"""The report as one self-contained, printable HTML page: no script, no font and no address is fetched."""

from typing import Any

from reports.language import RENDERER
from reports.page.document import ReportDocument
from reports.page.section import Block, Chart, CheckedStatement, Note, ReportTable, Tiles
from reports.render.charts.chart import NARROW, WIDE, svg
from reports.render.charts.legible import legible, over_texts
from reports.render.charts.spoken import spoken
from reports.render.columns import numbers

TEMPLATE = "report.html.j2"


def html(document: ReportDocument) -> str:
    """The page. A chart stands in it twice, once for a sheet or a screen and once for a phone; one of them is shown."""
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    clean_document = over_texts(document, legible)

    def draw_block(block: Any, name: str) -> list[tuple[str, str]]:
        pictures = [
            (kind, svg(block, clean_document.words, f"{name}{kind}", width))
            for kind, width in (("wide", WIDE), ("narrow", NARROW))
        ]
        return [(kind, markupsafe.Markup(text)) for kind, text in pictures]  # noqa: S704 - matplotlib wrote it

    return environment.get_template(TEMPLATE).render(
        document=clean_document,
        said={name.removeprefix(RENDERER): text for name, text in clean_document.words.items()},
        kind=kind_of,
        drawn=draw_block,
        spoken=spoken,
        numbers=numbers,
        lang={"zh": "zh-Hans"}.get(clean_document.language, clean_document.language),
    )


def kind_of(block: Block) -> str:
    """What the templates call a block: tiles | chart | table | note | check."""
    if isinstance(block, Chart):
        return "chart"
    names: dict[type, str] = {Tiles: "tiles", ReportTable: "table", Note: "note", CheckedStatement: "check"}
    return names[type(block)]
