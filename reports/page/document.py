"""The report to render: title, banners and sections of blocks. Every renderer draws exactly this. Pure."""

from dataclasses import dataclass

from reports.page.section import Block


@dataclass(frozen=True, slots=True)
class DocumentSection:
    """A section with content."""

    title: str
    blocks: tuple[Block, ...]
    annex: bool = False


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """The document to render, in the reader's language.

    Args:
        language: en | zh.
        title: such as "Energy and emissions, 2026Q3".
        organisation: the reporting organisation; "" if not given.
        period: in words.
        watermark: SIMULATED or INTERIM, across every page; "": none.
        banners: notices at the top, such as the meaning of an interim report or an accepted coverage.
        sections: in order.
        hidden: titles of omitted sections, with reasons.
        footer: origin of the report: program version, hash of the facts.
        summary: number of sections of the summary: the first has page one, the others and the contents have page two.
        words: the renderer's own texts, such as "contents" and the list of omitted sections: ID -> text.
    """

    language: str
    title: str
    organisation: str
    period: str
    watermark: str
    banners: tuple[str, ...]
    sections: tuple[DocumentSection, ...]
    hidden: tuple[tuple[str, str], ...]
    footer: str
    words: dict[str, str]
    summary: int = 1
