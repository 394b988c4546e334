"""PUE with its category and interval, over the period and twelve months; water, renewables, and where the energy goes."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.section import Block, IntervalChart, IntervalMark, Note, OmittedSection, ReportSection, ReportTable


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """A table a site, and a chart of the PUEs."""
    known = [f for f in facts.of("pue", "site") if f.value is not None]
    if not known:
        reasons = sorted({say.translate(f.reason) for f in facts.of("pue", "site")})
        return OmittedSection("; ".join(reasons))
    rows = []
    for site in facts.sites:
        pue, year = facts.figures[f"pue/site/{site}"], facts.figures[f"pue.trailing/site/{site}"]
        cells = [_kind(f, say) if f.value is not None else say(wording.ABSENT) for f in (pue, year)]
        category = "\u2013" if pue.value is None else pue.dims.get("category", "none")
        covered = wording.percent(pue.coverage) if pue.coverage is not None else "\u2013"
        if category == "none":
            category = say("estimate_its_bounds_assumed") if pue.method.endswith("assumed") else say("estimate")
        rows.append((site, cells[0], category, covered, cells[1]))
    columns = (say("site"), say("pue_of_the_period"), say("category"), say("metered"), say("twelve_months"))
    blocks: list[Block] = [ReportTable(say("pue_iso_iec_30134_2"), columns, tuple(rows))]
    ranges = tuple(IntervalMark(f.dims["site"], f.value, f.low, f.high, wording.short(f.value or 0)) for f in known)
    if len(ranges) > 1:
        blocks.append(IntervalChart(say("pue_of_the_period_with_its_interval"), "", ranges))
    others = [
        (site, *(_short(facts, f"{name}/site/{site}", say) for name in ("wue", "cue", "ref", "ref.site", "erf.site")))
        for site in facts.sites
    ]
    titles = (say("site"), "WUE (L/kWh)", "CUE (kg/kWh)", say("ref_with_contracts"), say("ref_made_on_the_site"), "ERF")
    blocks.append(ReportTable(say("water_carbon_renewables_and_reused"), titles, tuple(others)))
    if any("interim" in f.dims for name in ("wue", "cue", "ref", "ref.site", "erf.site") for f in facts.of(name, "site")):
        blocks.append(Note(say("interim_key_figures")))
    for site in facts.sites:
        parts = facts.by_prefix(f"energy.part/{site}/")
        if parts:
            lost = [f for f in parts if f.dims["part"].startswith("between ")]  # of what the parts are of already
            total = facts.figures[f"energy.facility/site/{site}"]
            named = [_part(f, say.translate(f.dims["part"]), say) for f in parts if f not in lost]
            named.append(_part(total, say("total"), say))
            named += [_part(f, say("of_it_lost", where=say.translate(f.dims["part"])), say) for f in lost]
            heads = (say("part"), say("energy"), say("bounds"))
            blocks.append(ReportTable(say("where_the_energy_of_goes", site=site), heads, tuple(named)))
    blocks.append(Note(say("ipue_and_category")))
    return tuple(blocks)


def _kind(figure: Figure, say: Translator) -> str:
    """A PUE with its interval and kind, and with the measured ratio where that is below 1."""
    kind = say("stated") if figure.dims["kind"] == "stated" else figure.dims["kind"]
    text = f"{wording.short(figure.value or 0)} ({wording.span(figure, say)}), {kind}"
    raised = figure.dims.get("raised_from")
    return f"{text}, {say('measured_below_one', measured=raised)}" if raised else text


def _part(figure: Figure, name: str, say: Translator) -> tuple[str, str, str]:
    value = wording.energy(figure.value) if figure.value is not None else say(wording.ABSENT)
    return name, value, wording.span_energy(figure, say)


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
