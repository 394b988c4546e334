"""The report to render: title, banners and sections of blocks. Every renderer draws exactly this. Pure."""

from dataclasses import dataclass

from reports.page.section import Block


@dataclass(frozen=True, slots=True)
class DocumentSection:
    """A section with content."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """The document to render, in the reader's language.

    Args:
        language: en | zh.
        title: such as "Energy and emissions, 2026Q3".
        organisation: whose report it is; "": not said.
        period: in words.
        watermark: SIMULATED or INTERIM, across every page; "": none.
        banners: sentences that stand at the head, such as what an interim report is, or a coverage that was accepted.
        sections: in order.
        hidden: titles of the sections that are not shown, and why.
        footer: who made it, of what: program version, hash of the facts.
        words: what the renderer says by itself, such as contents and what is left out: id -> text.
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
