"""From facts to the document that every renderer draws: sections in their order, banners, watermark. Pure."""

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

import reports.page.sections
from energy_agent.core import plugin
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.facts_json import facts_json
from reports.language import Translator
from reports.page.document import DocumentSection, ReportDocument
from reports.page.section import OmittedSection, ReportSection, ReportTable
from reports.page.sections import glossary, stated_inputs
from reports.site.invoices import INVOICED_OR_READ

SUMMARY_ENDS = 16
"""Sections of a smaller order make the summary of two pages."""


def compose(facts: Facts, say: Translator, *, accepted: bool = False) -> ReportDocument:
    """Compose the document.

    Args:
        facts: the facts to present.
        say: the translator for the reader's language.
        accepted: whether an operator accepted a coverage below the required minimum.
    """
    visible, hidden = [], []
    for section in sections():
        blocks = section.build(facts, say)
        if isinstance(blocks, OmittedSection):
            hidden += [(say(section.title), blocks.reason)] if blocks.reason else []
        else:
            visible.append(DocumentSection(say(section.title), blocks, section.annex))
    visible = _with_used_terms(visible, say(glossary.SPEC.title), say(stated_inputs.SPEC.title))
    digest = hashlib.sha256(facts_json(facts)).hexdigest()
    period = _period(facts)
    return ReportDocument(
        language=say.language,
        title=say("energy_and_emissions", period=facts.label or period),
        organisation=facts.organisation,
        period=period if facts.label else "",
        watermark=_watermark(facts, say),
        banners=tuple(_banners(facts, say, accepted=accepted)),
        sections=tuple(visible),
        hidden=tuple(hidden),
        footer=say("wattlens_facts_json_has", version=facts.version, digest=digest),
        words=say.renderer,
        summary=sum(
            1 for section in sections() if section.order < SUMMARY_ENDS and say(section.title) in {s.title for s in visible}
        ),
    )


def _with_used_terms(visible: list[DocumentSection], title: str, of_user: str) -> list[DocumentSection]:
    """The sections, with the glossary's terms that occur in one of the others, except in the user's own words."""
    text = " ".join(word for section in visible if section.title not in (title, of_user) for word in _texts(section))
    return [
        replace(section, blocks=tuple(replace(b, rows=glossary.used_in(text, b.rows)) for b in section.blocks
                                      if isinstance(b, ReportTable)))
        if section.title == title else section
        for section in visible
    ]  # fmt: skip


def _texts(value: object) -> Iterator[str]:
    """Every text of a section."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | list):
        yield from (text for each in value for text in _texts(each))
    elif is_dataclass(value):
        yield from (text for each in fields(value) for text in _texts(getattr(value, each.name)))


def _period(facts: Facts) -> str:
    """The sites' own days; where they differ, from the first of any site to the last, and each site's stand in a table."""
    sites = facts.sites.values()
    spans = {_span(site.start, site.end) for site in sites}
    if len(spans) == 1:
        return spans.pop()
    first, last = min(site.start[:10] for site in sites), max(_last_day(site.end) for site in sites)
    return first if first == last else f"{first} \u2013 {last}"


def _span(start: str, end: str) -> str:
    """First and last day; within one day, with the time."""
    if start[:10] == end[:10]:
        return f"{start[:10]}, {start[11:19]} \u2013 {end[11:19]}"
    return f"{start[:10]} \u2013 {_last_day(end)}"


def _last_day(end: str) -> str:
    """The end is not in it."""
    return f"{datetime.fromisoformat(end) - timedelta(seconds=1):%Y-%m-%d}"


def sections() -> list[ReportSection]:
    """Every section, in order."""
    specs: dict[str, ReportSection] = plugin.discover(reports.page.sections)
    return sorted(specs.values(), key=lambda section: (section.annex, section.order, section.title))


def too_little(facts: Facts) -> bool:
    """Return whether coverage is missing or below the required minimum."""
    share = facts.figures["coverage"].value
    return share is None or share < Fraction(facts.least_coverage)


def _watermark(facts: Facts, say: Translator) -> str:
    words = [say("simulated")] if facts.simulated else []
    return " \u00b7 ".join([*words, *([say("interim")] if facts.status == "interim" else [])])


def period_marks(facts: Facts, say: Translator) -> list[str]:
    """Sentences that state why the figures cover less than the named period; empty if they cover all of it."""
    marks = [say("interim_the_ledger_does_not")] if facts.status == "interim" else []
    if first := [f"{name} ({site.start[:16].replace('T', ' ')})" for name, site in facts.sites.items() if site.first]:
        marks.append(say("first_period_begins_with", sites=", ".join(first)))
    if invoiced := [name for name, site in facts.sites.items() if site.invoiced]:
        marks.append(say("energy_is_of_invoices", sites=", ".join(invoiced)))
    if read := [name for name in invoiced if facts.figures[f"energy.facility/site/{name}"].method == INVOICED_OR_READ]:
        marks.append(say("readings_take_the_place_of_invoices", sites=", ".join(read)))
    return marks


def _banners(facts: Facts, say: Translator, *, accepted: bool) -> list[str]:
    banners = []
    if facts.simulated:
        banners.append(say("simulated_this_ledger"))
    banners += period_marks(facts, say)
    if facts.edition:
        banners.append(say("edition_it_restates_an_earlier", edition=facts.edition + 1))
    if accepted:
        share = facts.figures["coverage"].value
        least = wording.percent(facts.least_coverage)
        banners.append(
            say("coverage_is_below", share=wording.percent(share) if share is not None else say("not_known"), least=least)
        )
    return banners
