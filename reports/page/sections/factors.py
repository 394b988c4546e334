"""Every factor that a figure was made with: value, zone, year, basis, publisher, licence."""

from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """A table, and who is to be named."""
    if not facts.factors and not facts.grid_series:
        return OmittedSection(say("no_factor_was_used"))
    rows = []
    for used in facts.factors:
        f = used.factor
        rows.append(
            (
                f.zone_name,
                f"{f.value} {f.unit}",
                str(f.year),
                say.translate(f"{f.boundary}, {f.accounting}"),
                f"{f.publisher}, {f.edition}",
                f.licence,
            )
        )
    columns = (
        say("zone"),
        say("value"),
        say("year"),
        say("basis"),
        say("publisher"),
        say("licence"),
    )
    blocks: list[Block] = []
    if rows:
        blocks.append(ReportTable(say("yearly_factors"), columns, tuple(rows)))
        why = ((f"{u.factor.zone_name} {u.factor.year}", u.why) for u in facts.factors if u.why)
        blocks += [Note(say("why_factor", factor=factor, reason=say.translate(text))) for factor, text in why]
    if facts.grid_series:
        named = tuple((s.zone, say.translate(s.basis), s.publisher, s.licence, str(s.quality)) for s in facts.grid_series)
        heads = (say("zone"), say("basis"), say("publisher"), say("licence"), say("quality_1_to_5"))
        blocks.append(ReportTable(say("series_of_hours"), heads, named))
    blocks += [Note(text) for text in sorted({used.factor.attribution for used in facts.factors})]
    return tuple(blocks)


SPEC = ReportSection("factors", 85, build)
