"""Levels of the market-based method by site, and the figure by the draft revision of the Scope 2 Guidance."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, Note
from reports.page.tables import cell, table

_DRAFT = "draft_revision.market/site/"


def market_blocks(facts: Facts, say: Translator) -> list[Block]:
    """A line per site: the levels used, and why higher levels do not cover all; then the draft's figures, marked as such."""
    rows = []
    for name in facts.sites:
        figure = facts.figures.get(f"co2e.market/site/{name}")
        if figure is not None and "levels" in figure.dims:
            used, higher = (figure.dims.get(key, "") for key in ("levels", "higher_levels"))
            rows.append((name, kwh_by_name(used, say), _reasons(higher, say) or None))
    blocks: list[Block] = []
    if rows:
        heads = ("site", "levels_used", "higher_levels")
        blocks += [table(say, "levels_of_the_market_based_method", heads, rows), Note(say("order_of_levels"))]
    drafts = facts.by_prefix(_DRAFT)
    if drafts:
        lines = ((f.dims["site"], cell(f.value, wording.mass) or say.translate(f.reason)) for f in drafts)
        blocks.append(table(say, "draft_revision_of_scope_2", ("site", "CO2e"), lines))
        blocks.append(Note(say("draft_answers_no_datapoint")))
    return blocks


def kwh_by_name(text: str, say: Translator) -> str:
    """Energies of a dimension in kWh, such as "contracts: 12.5 kWh; grid average: 3 kWh", as they are printed."""
    pairs = (part.partition(": ") for part in text.split("; "))
    return "; ".join(f"{say.translate(name)}: {wording.kwh(kwh.removesuffix(' kWh'))}" for name, _, kwh in pairs)


def _reasons(text: str, say: Translator) -> str:
    pairs = (part.partition(": ") for part in text.split("; ") if part)
    return "; ".join(f"{say.translate(name)}: {_translated(why, say)}" for name, _, why in pairs)


def _translated(text: str, say: Translator) -> str:
    """One reason, or several that commas separate."""
    whole = say.translate(text)
    return whole if whole != text else ", ".join(say.translate(part) for part in text.split(", "))
