"""Restatements: this edition's changes to earlier statements, and the restated days of the ledger."""

from collections.abc import Iterator, Sequence

from reports.figures import wording
from reports.figures.facts import Facts, RestatedTotal
from reports.language import Translator
from reports.page.section import Block, Note, OmittedSection, ReportSection
from reports.page.tables import table

SHOWN = 30


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Days by site, with why."""
    blocks: list[Block] = []
    if facts.restates is not None:
        blocks.append(Note(say("this_edition_restates", edition=facts.edition + 1, digest=facts.restates)))
    if facts.restatement_reason:
        blocks.append(Note(say("reason_for_the_restatement", reason=facts.restatement_reason)))
    if facts.restatement:
        heads = ("figure", "before", "now", "comparatives_to_be_restated")
        blocks.append(table(say, "from_the_earlier_edition", heads, (_row(row, say) for row in facts.restatement)))
    kinds = {"day": say("day_utc"), "program": say("program"), "factor": say("factors"), "site": say("site")}
    kinds |= {"file": say("file"), "argument": say("argument")}
    inputs = [(kinds[each.kind], each.name, say.translate(each.change)) for each in facts.restated_inputs]
    blocks += _table("changed_inputs", ("", "input", "change"), inputs, say)
    days = [d for d in facts.days if d.statement or d.faults]
    named = [(d.site, d.day, str(d.statement), "; ".join(x for x in (d.reason, *d.faults) if x)) for d in days]
    blocks += _table("days_of_the_ledger_that_were", ("site", "day_utc", "statement", "why"), named, say)
    return tuple(blocks) or OmittedSection(say("nothing_was_restated"))


def _table(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], say: Translator) -> Iterator[Block]:
    """The first rows, and how many more there are."""
    if rows:
        yield table(say, title, heads, rows[:SHOWN])
    if len(rows) > SHOWN:
        yield Note(say("more_are_in_facts_json", count=len(rows) - SHOWN))


def _row(row: RestatedTotal, say: Translator) -> tuple[str, ...]:
    due = say("yes") if row.due else say("no")
    return (row.figure, _amount(row.before, row.unit), _amount(row.after, row.unit), due)


def _amount(value: str, unit: str) -> str:
    written = {"J": wording.energy, "g": wording.mass}.get(unit)
    return written(value) if written is not None else f"{wording.short(value, 4)} {unit}"


SPEC = ReportSection("restatements", 75, build)
