"""What reporting frameworks ask, where this report answers it, and what is missing, named once."""

from fractions import Fraction
from typing import Final

from reports.figures import wording
from reports.figures.facts import Facts
from reports.frameworks.datapoints import IndexRow, frameworks, group_missing, index
from reports.frameworks.rules import ReportedSite, ReportScope
from reports.frameworks.units import in_unit
from reports.language import Translator
from reports.page.section import Block, Note, ReportSection, ReportTable

SHOWN = 3
_YEAR_NS: Final = 365 * 86_400 * 10**9
STAND_IN = "stand_in"
"""What figures have among their dims in which something stands in for what their name says."""


def scope_of(facts: Facts) -> ReportScope:
    """Period and sites of a report, as the rules of datapoints need them."""
    sites = {}
    for name, site in facts.sites.items():
        it_kw = site.declared.get("it_kw")
        sites[name] = ReportedSite(site.declared.get("country", ""), Fraction(it_kw) if it_kw else None)
    lengths = [int(site.end_ns) - int(site.start_ns) for site in facts.sites.values()]
    categories = {f.id: f.dims["category"] for f in facts.of("water", "site") if "category" in f.dims}
    return ReportScope(min(lengths, default=0) >= _YEAR_NS, sites, water_categories=categories)


def rows_of(facts: Facts, say: Translator) -> tuple[IndexRow, ...]:
    """Each datapoint of each framework compared with the report."""
    # An embodied figure or a gap is a span: it has bounds and no value, and answers all the same.
    reasons = {i: "" if f.value is not None or f.low is not None else say.translate(f.reason) for i, f in facts.figures.items()}
    return index(reasons, say.language, {i for i, f in facts.figures.items() if STAND_IN in f.dims}, scope_of(facts))


def values_of(facts: Facts, row: IndexRow) -> str:
    """The answer in the unit that the datapoint asks for: the total, else each site or group by name."""
    totals = [i for i in row.answered_by if "/" not in i]
    texts = []
    for identity in totals[:1] or row.answered_by[:SHOWN]:
        figure = facts.figures[identity]
        ends = [figure.value] if figure.value is not None else [figure.low, figure.high]
        scaled = [in_unit(end, figure.unit, row.asked) for end in ends if end is not None]
        if not scaled or None in scaled:
            continue
        text = " \u2013 ".join(wording.short(end, 4) for end in scaled if end is not None)
        name = identity.rpartition("/")[2] if "/" in identity else ""
        texts.append(f"{name} {text}".strip())
    more = " \u2026" if not totals and len(row.answered_by) > SHOWN and texts else ""
    return "; ".join(texts) + more


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """One table a framework; then what is missing."""
    rows = rows_of(facts, say)
    blocks: list[Block] = []
    states = {f.id: f.state_zh if say.language == "zh" else f.state for f in frameworks()}
    for framework, title in dict.fromkeys((row.framework, row.title) for row in rows):
        cells = []
        for row in (r for r in rows if r.framework == framework):
            named = row.datapoint if row.verified else f"{row.datapoint} *"
            cells.append((named, row.text, values_of(facts, row) or "\u2013", row.unit, say(row.state)))
        columns = (say("datapoint"), say("what_is_asked"), say("value"), say("unit"), say("state"))
        blocks.append(ReportTable(f"{title} ({states[framework]})", columns, tuple(cells)))
    if any(not row.verified for row in rows):
        blocks.append(Note(say("not_found_in_a_source")))
    missing = tuple((what, str(len(datapoints))) for what, datapoints in group_missing(rows).items())
    if missing:
        blocks.append(ReportTable(say("what_is_missing"), (say("input"), say("datapoints")), missing))
    return tuple(blocks)


SPEC = ReportSection("framework_index", 90, build)
