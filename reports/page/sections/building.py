"""PUE with its category and interval, over the period and twelve months; water, renewables, and where the energy goes."""

from typing import Final

from energy_agent.core.meters.facility import Position
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY, WATER, amounts
from reports.page.section import Block, IntervalChart, IntervalMark, Note, OmittedSection, ReportSection, ReportTable

_IT_AT: Final = {
    f"IT at {Position.UPS_OUTPUT}": "it_at_ups_output",
    f"IT at {Position.PDU_OUTPUT}": "it_at_pdu_output",
    f"IT at {Position.IT_INPUT}": "it_at_it_input",
}
"""Part of a building's energy -> its text."""


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """A table a site, and a chart of the PUEs."""
    known = [f for f in facts.of("pue", "site") if f.value is not None]
    liters = [facts.figures[f"water/site/{site}"].value for site in facts.sites]
    if not known and not any(liters):
        reasons = sorted({say.translate(f.reason) for f in facts.of("pue", "site")})
        return OmittedSection("; ".join(reasons))
    rows = []
    for site in facts.sites:
        pue, year = facts.figures[f"pue/site/{site}"], facts.figures[f"pue.trailing/site/{site}"]
        cells = [wording.short(f.value) if f.value is not None else say(wording.ABSENT) for f in (pue, year)]
        bounds, kind = (wording.span(pue, say), _kind(pue, say)) if pue.value is not None else ("\u2013", "\u2013")
        category = "\u2013" if pue.value is None else pue.dims.get("category", "none")
        covered = wording.percent(pue.coverage) if pue.coverage is not None else "\u2013"
        if category == "none":
            category = say("estimate_its_bounds_assumed") if pue.method.endswith("assumed") else say("estimate")
        rows.append((site, cells[0], bounds, kind, category, covered, cells[1]))
    heads = ("site", "pue_of_the_period", "bounds", "pue_kind", "category", "metered", "twelve_months")
    columns = tuple(say(head) for head in heads)
    blocks: list[Block] = [ReportTable(say("pue_iso_iec_30134_2"), columns, tuple(rows))]
    ranges = tuple(IntervalMark(f.dims["site"], f.value, f.low, f.high, wording.short(f.value or 0)) for f in known)
    if len(ranges) > 1:
        blocks.append(IntervalChart(say("pue_of_the_period_with_its_interval"), "", ranges))
    water = amounts(liters, WATER)
    others = [
        (site, used, *(_short(facts, f"{name}/site/{site}", say) for name in ("wue", "cue", "ref", "ref.site", "erf.site")))
        for site, used in zip(facts.sites, water.cells, strict=True)
    ]
    used = say("with_unit", name=say("water_used"), unit=water.unit)
    titles = (say("site"), used, "WUE (L/kWh)", "CUE (kg/kWh)", say("ref_with_contracts"), say("ref_made_on_the_site"), "ERF")
    blocks.append(ReportTable(say("water_carbon_renewables_and_reused"), titles, tuple(others)))
    if any("interim" in f.dims for name in ("wue", "cue", "ref", "ref.site", "erf.site") for f in facts.of(name, "site")):
        blocks.append(Note(say("interim_key_figures")))
    for site in facts.sites:
        parts = facts.by_prefix(f"energy.part/{site}/")
        if parts:
            lost = [f for f in parts if f.dims["part"].startswith("between ")]  # of what the parts are of already
            total = facts.figures[f"energy.facility/site/{site}"]
            of_total = [f for f in parts if f not in lost]
            names = [_part(f, say) for f in of_total] + [say("total")]
            names += [say("of_it_lost", where=say.translate(f.dims["part"])) for f in lost]
            figures = [*of_total, total, *lost]
            block = amounts([end for f in figures for end in (f.value, f.low, f.high)], ENERGY)
            ends_of = (block.cells[n : n + 3] for n in range(0, len(block.cells), 3))
            named = tuple((name, *row) for name, row in zip(names, ends_of, strict=True))
            ends = (say("with_unit", name=say(head), unit=block.unit) for head in ("energy", "at_least", "at_most"))
            blocks.append(ReportTable(say("where_the_energy_of_goes", site=site), (say("part"), *ends), named))
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


def _short(facts: Facts, identity: str, say: Translator) -> str:
    figure = facts.figures.get(identity)
    if figure is None or figure.value is None:
        return "\u2013"
    return (
        f"{wording.short(figure.value)} ({wording.span(figure, say)})"
        if figure.low is not None
        else wording.short(figure.value)
    )


SPEC = ReportSection("the_building", 40, build)
