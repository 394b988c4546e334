"""What reporting frameworks ask, where this report answers it, and what is missing, named once."""

from reports.figures.facts import Facts
from reports.frameworks.datapoints import frameworks, group_missing, index
from reports.language import Translator
from reports.page.section import Block, Note, ReportSection, ReportTable

SHOWN = 3
STAND_IN = "stand_in"
"""What figures have among their dims in which something stands in for what their name says."""


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """One table a framework; then what is missing."""
    # An embodied figure or a gap is a span: it has bounds and no value, and answers all the same.
    reasons = {i: "" if f.value is not None or f.low is not None else say.translate(f.reason) for i, f in facts.figures.items()}
    rows = index(reasons, say.language, {i for i, f in facts.figures.items() if STAND_IN in f.dims})
    blocks: list[Block] = []
    states = {f.id: f.state_zh if say.language == "zh" else f.state for f in frameworks()}
    for framework, title in dict.fromkeys((row.framework, row.title) for row in rows):
        cells = []
        for row in (r for r in rows if r.framework == framework):
            where = ", ".join(row.answered_by[:SHOWN]) + (" \u2026" if len(row.answered_by) > SHOWN else "")
            named = row.datapoint if row.verified else f"{row.datapoint} *"
            cells.append((named, row.text, row.unit, say(row.state), where or "\u2013"))
        columns = (say("datapoint"), say("what_is_asked"), say("unit"), say("state"), say("figures_in_facts_json"))
        blocks.append(ReportTable(f"{title} ({states[framework]})", columns, tuple(cells)))
    if any(not row.verified for row in rows):
        blocks.append(Note(say("not_found_in_a_source")))
    missing = tuple((what, str(len(datapoints))) for what, datapoints in group_missing(rows).items())
    if missing:
        blocks.append(ReportTable(say("what_is_missing"), (say("input"), say("datapoints")), missing))
    return tuple(blocks)


SPEC = ReportSection("framework_index", 90, build)
