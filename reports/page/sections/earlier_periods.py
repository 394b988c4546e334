"""Earlier periods next to this one, the base year first; and earlier totals that were restated, with the reason."""

from fractions import Fraction
from typing import Final

from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.figures.measures.history import restated
from reports.language import Translator
from reports.page.amounts import ENERGY, MASS, AmountColumn, Scale, amounts, numbers
from reports.page.labels import label_id
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable
from reports.page.sections.headline import base_label, earlier_total, percent_change, widest
from reports.page.tables import Head, table

_MILLIONS: Final[Scale] = ((Fraction(10**6), ""),)
_WH_PER_1000: Final[Scale] = ((Fraction(3600, 1000), ""),)
"""Of joules per token."""


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """One row per period, the newest last."""
    labels = list(dict.fromkeys(f.dims["period"] for kind in ("period", "reported") for f in facts.by_prefix(f"total.{kind}/")))
    if not labels:
        return OmittedSection(say("no_quarter_was_asked" if not facts.label else "no_period_is_compared"))
    base = base_label(facts)
    ordered = [*([base] if base else []), *sorted(each for each in labels if each != base)]
    blocks: list[Block] = [_table(facts, say, ordered, base)]
    for name in ordered:
        absent = facts.figures.get(f"total.period/{name}")
        if absent is not None and absent.reason and not facts.by_prefix(f"total.reported/{name}/"):
            blocks.append(Note(say("period_without_values", period=name, reason=say.translate(absent.reason))))
    rows = [_restated(reported, today, say) for reported, today in restated(facts.figures)]
    if rows:
        heads = ("reporting_period", "figure", "unit", "as_reported", "recalculated", "change", "why")
        blocks.append(table(say, "restated_earlier_periods", heads, rows))
    blocks.append(Note(say("earlier_periods_explained")))
    return tuple(blocks)


def _table(facts: Facts, say: Translator, labels: list[str], base: str) -> ReportTable:
    energy = widest(facts).id
    columns = (energy, "co2e.location", "co2e.market", "cost", "tokens.generation", _per_token(facts))
    figures = [[earlier_total(facts, name, identity) for identity in columns] for name in labels]
    figures.append([facts.figures.get(identity) for identity in columns])
    currency = next((f.unit for row in figures if (f := row[3]) is not None and f.value is not None), "")
    names = [say("base_year_period", period=name) if name == base else name for name in labels] + [facts.label]
    bases = [_basis(facts, name, energy, say) for name in labels] + [say("this_report")]
    rows = (
        (name, *(None if f is None else f.value for f in row), basis)
        for name, row, basis in zip(names, figures, bases, strict=True)
    )
    heads: tuple[Head, ...] = (
        "reporting_period",
        ("electricity_used", ENERGY),
        (label_id("co2e.location"), MASS),
        (label_id("co2e.market"), MASS),
        ("cost", ((Fraction(1), currency),)),
        ("generated_tokens_in_millions", _MILLIONS),
        ("wh_per_1000_tokens", _WH_PER_1000),
        "basis",
    )
    return table(say, "totals_by_period", heads, rows, apart=True)


def _per_token(facts: Facts) -> str:
    rows = (f"j_per_token.{row}" for row in ("facility", "node", "gpu"))
    return next((i for i in rows if facts.figures[i].value is not None), "j_per_token.gpu")


def _basis(facts: Facts, name: str, identity: str, say: Translator) -> str:
    total = earlier_total(facts, name, identity)
    if total is None:
        return "\u2013"
    return say("as_reported") if total.id.startswith("total.reported/") else say("recalculated")


def _restated(reported: Figure, today: Figure, say: Translator) -> tuple[str, ...]:
    scale = {"J": ENERGY, "g": MASS}.get(reported.unit)
    values = [reported.value, today.value]
    block = amounts(values, scale) if scale is not None else AmountColumn(reported.unit, numbers(values))
    change = percent_change(today.value or Fraction(0), reported.value) if reported.value else "\u2013"
    figure = reported.dims["figure"]
    named = {"energy": "electricity_used", "cost": "cost"}.get(figure.partition(".")[0]) or label_id(figure)
    return reported.dims["period"], say(named), block.unit, *block.cells, change, reported.dims["reason"]


SPEC = ReportSection("earlier_periods", 12, build)
