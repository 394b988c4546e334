"""Restatements: this edition's changes to earlier statements, and the restated days of the ledger."""

from reports.figures import wording
from reports.figures.facts import Facts, RestatedTotal
from reports.language import Translator
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable

SHOWN = 30


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Days by site, with why."""
    blocks: list[Block] = []
    if facts.restates is not None:
        blocks.append(Note(say("this_edition_restates", edition=facts.edition + 1, digest=facts.restates)))
    if facts.restatement_reason:
        blocks.append(Note(say("reason_for_the_restatement", reason=facts.restatement_reason)))
    if facts.restatement:
        columns = (say("figure"), say("before"), say("why"), say("now"), say("comparatives_to_be_restated"))
        bridge = tuple(_row(row, say) for row in facts.restatement)
        blocks.append(ReportTable(say("from_the_earlier_edition"), columns, bridge))
    days = [d for d in facts.days if d.statement or d.faults]
    named = tuple((d.site, d.day, str(d.statement), "; ".join(x for x in (d.reason, *d.faults) if x)) for d in days[:SHOWN])
    if named:
        heads = (say("site"), say("day_utc"), say("statement"), say("why"))
        blocks.append(ReportTable(say("days_of_the_ledger_that_were"), heads, named))
        if len(days) > SHOWN:
            blocks.append(Note(say("more_are_in_facts_json", count=len(days) - SHOWN)))
    return tuple(blocks) or OmittedSection(say("nothing_was_restated"))


def _row(row: RestatedTotal, say: Translator) -> tuple[str, ...]:
    due = say("yes") if row.due else say("no")
    return (row.figure, _amount(row.before, row.unit), _steps(row, say), _amount(row.after, row.unit), due)


def _amount(value: str, unit: str) -> str:
    written = {"J": wording.energy, "g": wording.mass}.get(unit)
    return written(value) if written is not None else f"{wording.short(value, 4)} {unit}"


def _steps(row: RestatedTotal, say: Translator) -> str:
    """Each step with its sign."""
    steps = []
    for kinds, amount in row.steps:
        kind = ", ".join(say.translate(name) for name in kinds.split(", "))
        steps.append(f"{kind} {'' if amount.startswith('-') else '+'}{_amount(amount, row.unit)}")
    return "; ".join(steps)


SPEC = ReportSection("restatements", 75, build)
