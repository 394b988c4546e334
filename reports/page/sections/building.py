"""PUE with its category and interval, over the period and twelve months; water, renewables, and where the energy goes."""

from typing import Final

from energy_agent.core.meters.facility import Position
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY, WATER
from reports.page.section import Block, IntervalChart, IntervalMark, Note, OmittedSection, ReportSection
from reports.page.tables import cell, table

_IT_AT: Final = {
    f"IT at {Position.UPS_OUTPUT}": "it_at_ups_output",
    f"IT at {Position.PDU_OUTPUT}": "it_at_pdu_output",
    f"IT at {Position.IT_INPUT}": "it_at_it_input",
}
"""Part of a building's energy -> its text."""


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """A table a site, and a chart of the PUEs."""
    pues = [f for f in facts.of("pue", "site") if f.value is not None]
    if not pues and not any(f.value for f in facts.of("water", "site")):
        reasons = sorted({say.translate(f.reason) for f in facts.of("pue", "site")})
        return OmittedSection("; ".join(reasons))
    rows = []
    for site in facts.sites:
        pue = facts.figures[f"pue/site/{site}"]
        value, year = (cell(facts.value(f"{name}/site/{site}")) or say(wording.ABSENT) for name in ("pue", "pue.trailing"))
        absent = pue.value is None
        category = None if absent else pue.dims.get("category", "none")
        if category == "none":
            category = say("estimate_its_bounds_assumed") if pue.method.endswith("assumed") else say("estimate")
        span, kind = (None, None) if absent else (wording.span(pue, say), _kind(pue, say))
        rows.append((site, value, span, kind, category, cell(pue.coverage, wording.percent), year))
    heads = ("site", "pue_of_the_period", "bounds", "pue_kind", "category", "metered", "twelve_months")
    blocks: list[Block] = [table(say, "pue_iso_iec_30134_2", heads, rows)]
    ranges = tuple(IntervalMark(f.dims["site"], f.value, f.low, f.high, wording.short(f.value or 0)) for f in pues)
    if len(ranges) > 1:
        blocks.append(IntervalChart(say("pue_of_the_period_with_its_interval"), "", ranges))
    names = ("wue", "cue", "ref", "ref.site", "erf.site")
    others = (
        (site, facts.value(f"water/site/{site}"), *(_short(facts, f"{name}/site/{site}", say) for name in names))
        for site in facts.sites
    )
    ratios = ("WUE (L/kWh)", "CUE (kg/kWh)", "ref_with_contracts", "ref_made_on_the_site", "ERF")
    blocks.append(table(say, "water_carbon_renewables_and_reused", ("site", ("water_used", WATER), *ratios), others))
    if any("interim" in f.dims for name in names for f in facts.of(name, "site")):
        blocks.append(Note(say("interim_key_figures")))
    for site in facts.sites:
        parts = facts.by_prefix(f"energy.part/{site}/")
        if parts:
            lost = [f for f in parts if f.dims["part"].startswith("between ")]  # of what the parts are of already
            labelled = [(_part(f, say), f) for f in parts if f not in lost]
            labelled.append((say("total"), facts.figures[f"energy.facility/site/{site}"]))
            labelled += [(say("of_it_lost", where=say.translate(f.dims["part"])), f) for f in lost]
            ends = ((head, ENERGY) for head in ("energy", "at_least", "at_most"))
            named = ((name, f.value, f.low, f.high) for name, f in labelled)
            blocks.append(table(say, say("where_the_energy_of_goes", site=site), ("part", *ends), named))
    blocks.append(Note(say("ipue_and_category")))
    return tuple(blocks)


def _part(figure: Figure, say: Translator) -> str:
    """The name of a part; where IT energy is metered, in words."""
    part = figure.dims["part"]
    return say(_IT_AT[part]) if part in _IT_AT else say.translate(part)


def _kind(figure: Figure, say: Translator) -> str:
    """The kind of a PUE, and the measured ratio where that is below 1."""
    kind = say("stated") if figure.dims["kind"] == "stated" else figure.dims["kind"]
    raised = figure.dims.get("raised_from")
    return f"{kind}, {say('measured_below_one', measured=raised)}" if raised else kind


def _short(facts: Facts, identity: str, say: Translator) -> str | None:
    figure = facts.figures.get(identity)
    if figure is None or figure.value is None or figure.low is None:
        return cell(facts.value(identity))
    return f"{wording.short(figure.value)} ({wording.span(figure, say)})"


SPEC = ReportSection("the_building", 40, build)
