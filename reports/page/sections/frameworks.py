"""What reporting frameworks ask, where this report answers it, and what is missing, named once."""

from reports.figures.facts import Facts
from reports.frameworks import answers
from reports.frameworks.answers import values_of
from reports.frameworks.datapoints import IndexRow, frameworks, group_missing
from reports.language import Translator
from reports.page.section import Block, Note, ReportSection
from reports.page.tables import table

MISSING_MOST = 25
"""Missing inputs that are listed; facts.json and the workbook have those of every datapoint."""


def rows_of(facts: Facts, say: Translator) -> tuple[IndexRow, ...]:
    """Each datapoint of each framework compared with the report, in the reader's language."""
    reasons = {identity: say.translate(reason) if reason else "" for identity, reason in answers.reasons_of(facts).items()}
    return answers.rows_of(facts, reasons, say.language)


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """A table per framework that applies, the others by name, and the missing inputs."""
    rows = rows_of(facts, say)
    blocks: list[Block] = []
    states = {f.id: f.state_zh if say.language == "zh" else f.state for f in frameworks()}
    outside: list[tuple[str, str]] = []
    printed: list[IndexRow] = []
    for framework, title in dict.fromkeys((row.framework, row.title) for row in rows):
        framework_rows = [row for row in rows if row.framework == framework]
        if not any(row.applicable for row in framework_rows):
            outside.append((title, states[framework]))
            continue
        printed += framework_rows
        cells = []
        for row in framework_rows:
            named = row.datapoint if row.verified else f"{row.datapoint} *"
            state = ": ".join(filter(None, (say(row.state), "; ".join(row.missing))))
            cells.append((named, row.text, values_of(facts, row) or None, row.unit, state))
        heads = ("datapoint", "what_is_asked", "value", "unit", "state")
        blocks.append(table(say, f"{title} ({states[framework]})", heads, cells))
    if any(not row.verified for row in printed):
        blocks.append(Note(say("not_found_in_a_source")))
    if outside:
        blocks.append(table(say, "frameworks_that_do_not_apply", ("framework", "state"), outside))
    missing = tuple((what, str(len(datapoints))) for what, datapoints in group_missing(rows).items())
    if others := missing[MISSING_MOST:]:
        missing = (*missing[:MISSING_MOST], (say("count_others", count=len(others)), say("at_most_each", count=others[0][1])))
    if missing:
        blocks.append(table(say, "what_is_missing", ("input", "datapoints"), missing))
    return tuple(blocks)


SPEC = ReportSection("framework_index", 90, build, annex=True)
