"""From facts to the document that every renderer draws: sections in their order, banners, watermark. Pure."""

import hashlib
from datetime import datetime, timedelta
from fractions import Fraction

import reports.page.sections
from energy_agent.core import plugin
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.facts_json import facts_json
from reports.language import Say
from reports.page.document import Document, Shown
from reports.page.section import Hidden, Section
from reports.render.words import words_in


def compose(facts: Facts, say: Say, *, accepted: bool = False) -> Document:
    """The document.

    Args:
        facts: what is told.
        say: the reader's language.
        accepted: coverage is below what was asked for, and somebody accepted that.
    """
    shown, hidden = [], []
    for section in sections():
        blocks = section.build(facts, say)
        if isinstance(blocks, Hidden):
            hidden.append((say(section.title), blocks.reason))
        else:
            shown.append(Shown(say(section.title), blocks, section.wide))
    digest = hashlib.sha256(facts_json(facts)).hexdigest()
    period = _period(facts)
    return Document(
        language=say.language,
        title=say("Energy and emissions, {period}", period=facts.label or period),
        organisation=facts.organisation,
        period=period if facts.label else "",
        watermark=_watermark(facts, say),
        banners=tuple(_banners(facts, say, accepted=accepted)),
        sections=tuple(shown),
        hidden=tuple(hidden),
        footer=say("Wattlens {version}; facts.json has the SHA-256 {digest}", version=facts.version, digest=digest),
        words=words_in(say),
    )


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


def sections() -> list[Section]:
    """Every section, in order."""
    found: dict[str, Section] = plugin.discover(reports.page.sections)
    return sorted(found.values(), key=lambda section: (section.order, section.title))


def too_little(facts: Facts) -> bool:
    """Coverage is below what was asked for, or there is none."""
    share = facts.figures["coverage"].value
    return share is None or share < Fraction(facts.least_coverage)


def _watermark(facts: Facts, say: Say) -> str:
    words = [say("SIMULATED")] if facts.simulated else []
    return " \u00b7 ".join([*words, *([say("INTERIM")] if facts.status == "interim" else [])])


def _banners(facts: Facts, say: Say, *, accepted: bool) -> list[str]:
    found = []
    if facts.simulated:
        found.append(say("Simulated: this ledger, or a part of it, comes from simulated hardware, which nobody measured."))
    if facts.status == "interim":
        found.append(say("Interim: the ledger does not reach the end of the period. Figures are those up to its last reading."))
    if facts.edition:
        found.append(say("Edition {edition}: it restates an earlier report of this period.", edition=facts.edition + 1))
    if accepted:
        share = facts.figures["coverage"].value
        text = "Coverage is {share}, below the {least} that was asked for; this was accepted when the report was made."
        least = wording.percent(facts.least_coverage)
        found.append(say(text, share=wording.percent(share) if share is not None else say("not known"), least=least))
    return found
