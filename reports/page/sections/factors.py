"""Every factor that figures use: value, zone, year, basis, publisher, licence, origin, the request and the reason for it."""

from collections.abc import Iterator

from reports.figures.facts import Facts, UsedFactor
from reports.language import Translator
from reports.page.section import Block, Note, OmittedSection, ReportSection
from reports.page.tables import table


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """A table, and who is to be named."""
    if not facts.factors and not facts.grid_series:
        return OmittedSection(say("no_factor_was_used"))
    blocks: list[Block] = []
    if rows := [
        (
            f.zone_name,
            f"{f.value} {f.unit}",
            str(f.year),
            say.translate(f"{f.boundary}, {f.accounting}"),
            f.gwp_set,
            str(f.quality),
        )
        for f in (used.factor for used in facts.factors)
    ]:
        heads = ("zone", "value", "year", "basis", "gwp_set", "quality_1_to_5")
        blocks.append(table(say, "yearly_factors", heads, rows))
        blocks += [Note(text) for used in facts.factors for text in _describe(used, say)]
    if facts.grid_series:
        named = ((s.zone, say.translate(s.basis), s.publisher, s.licence, str(s.quality)) for s in facts.grid_series)
        blocks.append(table(say, "series_of_hours", ("zone", "basis", "publisher", "licence", "quality_1_to_5"), named))
    blocks += [Note(text) for text in sorted({used.factor.attribution for used in facts.factors})]
    return tuple(blocks)


def _describe(used: UsedFactor, say: Translator) -> Iterator[str]:
    """Notes on one factor: the requests, why it was chosen, and its origin."""
    f = used.factor
    name = f"{f.zone_name} {f.year}"
    yield say("factor_publisher", factor=name, publisher=f.publisher, edition=f.edition, licence=f.licence)
    for request in used.requests:
        zone = " / ".join(filter(None, (request.zone, request.country)))
        yield say(
            "factor_request", factor=name, site=request.site, zone=zone, years=request.years, basis=say.translate(request.basis)
        )
    yield say("why_factor", factor=name, reason=say.translate(used.why))
    yield say(
        "factor_origin", factor=name, evidence=say.translate(f.evidence), fetched=f.fetched, source=f.source,
        sha256=f.source_sha256, id=f.id,
    )  # fmt: skip


SPEC = ReportSection("factors", 85, build, annex=True)
