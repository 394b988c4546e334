"""Every factor that a figure was made with: value, zone, year, basis, publisher, licence."""

from reports.figures.facts import Facts
from reports.language import Say
from reports.page.section import Block, Hidden, Note, Section, Table


def build(facts: Facts, say: Say) -> tuple[Block, ...] | Hidden:
    """A table, and who is to be named."""
    if not facts.factors and not facts.grid_series:
        return Hidden(say("no factor was used"))
    rows = []
    for used in facts.factors:
        f = used.factor
        rows.append(
            (
                f.zone_name,
                f"{f.value} {f.unit}",
                str(f.year),
                say(f"{f.boundary}, {f.accounting}"),
                f"{f.publisher}, {f.edition}",
                f.licence,
            )
        )
    columns = (say("Zone"), say("Value"), say("Year"), say("Basis"), say("Publisher"), say("Licence"))
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(say("Yearly factors"), columns, tuple(rows)))
        why = ((f"{u.factor.zone_name} {u.factor.year}", u.why) for u in facts.factors if u.why)
        blocks += [Note(say("Why {factor}: {reason}.", factor=factor, reason=say(text))) for factor, text in why]
    if facts.grid_series:
        named = tuple((s.zone, say(s.basis), s.publisher, s.licence, str(s.quality)) for s in facts.grid_series)
        heads = (say("Zone"), say("Basis"), say("Publisher"), say("Licence"), say("quality (1 to 5)"))
        blocks.append(Table(say("Series of hours"), heads, named))
    blocks += [Note(text) for text in sorted({used.factor.attribution for used in facts.factors})]
    return tuple(blocks)


SPEC = Section("Factors", 85, build, wide=True)
