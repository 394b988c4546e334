"""CO2e of electricity by both methods, its factors, hourly matching of contracts; embodied emissions and SCI."""

from fractions import Fraction

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ABSENT, MASS, amount_texts, amounts
from reports.page.market import market_blocks
from reports.page.partition import CO2E, LIFE_CYCLE, co2e_prefix
from reports.page.section import Bars, Block, Heat, Note, OmittedSection, ReportSection, ReportTable, StackedBar

_MILLI = 1000
COVERS = {"gpu": "gpu_alone", "gpu+server": "gpu_and_its_share", "as told": "as_the_inputs_tell"}


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """CO2e by site under the name of what it counts, matching, contracts, embodied."""
    blocks: list[Block] = []
    for prefix, caption in (
        (CO2E, say("co2e_of_electricity_ghg_protocol")),
        (LIFE_CYCLE, say("life_cycle_co2e_of_electricity")),
    ):
        if any(f.value is not None for f in facts.by_prefix(f"{prefix}location/site/")):
            blocks.append(_by_site(facts, say, prefix, caption))
    if blocks:
        blocks.append(Note(say("bounds_of_co2e")))
        blocks += [*market_blocks(facts, say), *_supply(facts, say), *_biogenic(facts, say)]
        blocks += [*_charts(facts, say), *_matching(facts, say)]
    blocks += [*_contracts(facts, say), *_embodied(facts, say)]
    if not blocks:
        return OmittedSection(say.translate(facts.figures["co2e.location"].reason))
    return tuple(blocks)


def _by_site(facts: Facts, say: Translator, prefix: str, caption: str) -> ReportTable:
    rows: list[tuple[str, ...]] = []
    grams: list[Fraction | None] = []
    names = [*facts.sites, ""] if len(facts.sites) > 1 else list(facts.sites)
    for name in names:
        suffix = f"/site/{name}" if name else ""
        located, marketed = (facts.figures.get(f"{prefix}{how}{suffix}") for how in ("location", "market"))
        if located is None or marketed is None:
            continue  # of a site whose factors count other emissions
        mean = facts.figures.get(f"grid_intensity{suffix}")
        intensity = wording.short(mean.value, 4) if mean is not None and mean.value is not None else ABSENT
        grams += [located.value, marketed.value]
        quality = located.dims.get("quality", "\u2013")
        rows.append(
            (
                name or say("all_sites"),
                _bounds(located, say),
                _bounds(marketed, say),
                intensity,
                quality,
                say.translate(located.dims.get("basis", "")),
            )
        )
    block = amounts(grams, MASS)
    pairs = zip(block.cells[::2], block.cells[1::2], strict=True)
    rows = [(row[0], pair[0], row[1], pair[1], *row[2:]) for row, pair in zip(rows, pairs, strict=True)]
    columns = (
        say("site"),
        say("with_unit", name=say("location_based"), unit=block.unit),
        say("bounds"),
        say("with_unit", name=say("market_based"), unit=block.unit),
        say("bounds"),
        say("with_unit", name=say("mean_of_the_grid"), unit="g/kWh"),
        say("quality_1_to_5"),
        say("basis"),
    )
    return ReportTable(caption, columns, tuple(rows))


def _supply(facts: Facts, say: Translator) -> list[Block]:
    """Scope 3, category 3 by site; what is missing with its reason."""
    prefixes = ("scope_3_3.upstream", "scope_3_3.losses", "scope_3_3")
    names: list[str] = []
    values: list[Fraction | None] = []
    reasons: dict[str, list[str]] = {}
    for name in [*facts.sites, ""] if len(facts.sites) > 1 else list(facts.sites):
        figures = [facts.figures[f"{prefix}/site/{name}" if name else prefix] for prefix in prefixes]
        names.append(name or say("all_sites"))
        values += [f.value for f in figures]
        for figure in figures if name else ():
            if figure.value is None and figure.reason:
                reasons.setdefault(figure.reason, []).append(name)
    missing = ((", ".join(dict.fromkeys(sites)), reason) for reason, sites in reasons.items())
    notes = [Note(say("missing_at_sites", sites=sites, reason=say.translate(reason))) for sites, reason in missing]
    if all(value is None for value in values):
        return [Note(say("no_scope_3_of_electricity")), *notes]
    block = amounts(values, MASS)
    cells = (block.cells[n : n + len(prefixes)] for n in range(0, len(values), len(prefixes)))
    heads = (say("with_unit", name=say(head), unit=block.unit) for head in ("fuel_supply", "grid_losses", "scope_3_category_3"))
    rows = tuple((name, *row) for name, row in zip(names, cells, strict=True))
    table = ReportTable(say("scope_3_of_electricity"), (say("site"), *heads), rows)
    return [table, Note(say("scope_3_explained")), *notes]


def _biogenic(facts: Facts, say: Translator) -> list[Block]:
    """Biogenic CO2 of the grid and of contracts with biomass, apart from the scopes; what is missing with its reason."""
    grids = [facts.figures[f"biogenic_co2/site/{name}"] for name in facts.sites]
    contracts = facts.by_prefix("biogenic_co2.contract/")
    missing: dict[str, list[str]] = {}
    for figure in (*grids, *contracts):
        if figure.value is None and figure.reason:
            missing.setdefault(figure.reason, []).append(figure.dims.get("contract", figure.dims["site"]))
    notes = [
        Note(say("biogenic_co2_missing_for", names=", ".join(names), reason=say.translate(reason)))
        for reason, names in missing.items()
    ]
    shown = [figure for figure in (*grids, *contracts) if figure.value is not None]
    if not shown:
        return [*notes]
    block = amounts([figure.value for figure in shown], MASS)
    rows = tuple(
        (figure.dims["site"], figure.dims.get("contract") or say("mean_of_the_grid"), cell)
        for figure, cell in zip(shown, block.cells, strict=True)
    )
    heads = (say("site"), say("supply"), say("with_unit", name=say("biogenic_co2"), unit=block.unit))
    return [ReportTable(say("biogenic_co2_apart"), heads, rows), Note(say("biogenic_co2_explained")), *notes]


def _bounds(figure: Figure, say: Translator) -> str:
    """The bounds of a value, or the reason for its absence."""
    if figure.value is not None:
        return wording.plus_minus(figure, say)
    return say.translate(figure.reason) if figure.reason else say(wording.ABSENT)


def _charts(facts: Facts, say: Translator) -> list[Block]:
    teams = [f for f in facts.of(f"{co2e_prefix(facts)}held.location", "team") if f.value]
    grids = [_hours(facts, say, site) for site in facts.sites if f"intensity.hours/site/{site}" in facts.series]
    if len(teams) < 2:
        return [*grids]
    ranked = sorted(teams, key=lambda f: (-(f.value or 0), f.id))[:12]
    bars = tuple(
        StackedBar(
            f.dims["team"] or say("unassigned"),
            text,
            (("active", round((f.value or 0) * _MILLI)),),
        )
        for f, text in zip(ranked, amount_texts([f.value for f in ranked], MASS), strict=True)
    )
    life_cycle = co2e_prefix(facts) == LIFE_CYCLE
    title = say("life_cycle_co2e_by_team") if life_cycle else say("co2e_by_team_location_based")
    return [*grids, Bars(title, {"active": say("co2e_of_what_their_workloads")}, bars)]


def _hours(facts: Facts, say: Translator, site: str) -> Heat:
    """The grid's intensity by week and hour of the site's day."""
    series = facts.series[f"intensity.hours/site/{site}"]
    by_point = dict(zip(series.points, series.values, strict=True))
    weeks = tuple(dict.fromkeys(point.partition(" ")[0] for point in series.points))
    hours = tuple(f"{hour:02d}" for hour in range(24))
    values = tuple(tuple(by_point.get(f"{week} {hour}") for hour in hours) for week in weeks)
    named = tuple(week.partition("-")[2] for week in weeks)  # a quarter has no week twice
    return Heat(say("intensity_of_the_grid", site=site), "g/kWh", named, hours, values)


def _matching(facts: Facts, say: Translator) -> list[Block]:
    rows = []
    for name in facts.sites:
        cells = [facts.figures.get(f"matched.{how}/site/{name}") for how in ("as_bought", "hourly", "quarter_hourly")]
        if any(c is not None and c.value is not None for c in cells):
            rows.append(
                (name, *(wording.percent(c.value) if c is not None and c.value is not None else "\u2013" for c in cells))
            )
    if not rows:
        return []
    columns = (say("site"), say("in_its_own_period"), say("by_the_hour"), say("by_the_quarter"))
    return [ReportTable(say("how_much_of_the_consumption"), columns, tuple(rows)), Note(say("contract_matching"))]


def _contracts(facts: Facts, say: Translator) -> list[Block]:
    rows = []
    for figure in facts.by_prefix("contract/"):
        unused = "; ".join(
            f"{wording.kwh(v)}: {say.translate(k.removeprefix('unused: '))}"
            for k, v in figure.dims.items()
            if k.startswith("unused: ")
        )
        what = f"{say.translate(figure.dims['kind'])}, {say.translate(figure.dims['technology'])}"
        available = wording.fixed(figure.dims["available_kwh"], 2)
        rows.append(
            (
                figure.dims["contract"],
                figure.dims["site"],
                what,
                available,
                wording.fixed(figure.value or 0, 2),
                unused or "\u2013",
                figure.dims.get("proof", "\u2013"),
            )
        )
    if not rows:
        return []
    columns = (
        say("contract"),
        say("site"),
        say("what"),
        say("available_kwh"),
        say("covered_kwh"),
        say("not_used"),
        say("retirement"),
    )
    return [ReportTable(say("contracts_and_certificates"), columns, tuple(rows))]


def _embodied(facts: Facts, say: Translator) -> list[Block]:
    rows = []
    figures = facts.of("embodied", "sku")
    block = amounts([end for figure in figures for end in (figure.low, figure.high)], MASS)
    for figure, low, high in zip(figures, block.cells[::2], block.cells[1::2], strict=True):
        sku = figure.dims["sku"] or say(wording.ABSENT)
        if figure.low is None or figure.high is None:
            rows.append((sku, say.translate(figure.reason), ABSENT, ABSENT, ""))
            continue
        life = say.translate(figure.dims["life"])
        lifetime = life if figure.dims["life_declared"] == "yes" else say("life_nobody_declared", life=life)
        covers = figure.dims["covers"]
        made_of = say(COVERS.get(covers, covers))
        if covers == "as told":
            made_of = f"{made_of}: {figure.dims['boundary']}"
        rows.append((sku, made_of, low, high, lifetime))
    if not rows:
        return []
    ends = (say("with_unit", name=say(end), unit=block.unit) for end in ("at_least", "at_most"))
    columns = (say("board"), say("made"), *ends, say("life_span"))
    blocks: list[Block] = [ReportTable(say("embodied_emissions_a_span_over"), columns, tuple(rows))]
    seen = facts.figures["coverage"]
    if seen.value is not None and seen.value < 1:
        blocks.append(Note(say("it", share=wording.percent(seen.value))))
    sci = facts.figures.get("sci_per_token")
    if sci is None:
        return blocks
    if sci.low is not None and sci.high is not None:
        million = [wording.mass(b * 1_000_000) for b in (sci.low, sci.high)]
        blocks.append(Note(say("sci_iso_iec_21031", low=million[0], high=million[1])))
        per_processed = facts.figures["sci_per_processed_token"]
        if per_processed.low is not None and per_processed.high is not None:
            million = [wording.mass(b * 1_000_000) for b in (per_processed.low, per_processed.high)]
            blocks.append(Note(say("sci_per_processed", low=million[0], high=million[1])))
        else:
            blocks.append(Note(say("sci_per_processed_is_absent", reason=say.translate(per_processed.reason))))
        blocks.append(Note(say("sci_span")))
        if sci.dims.get("note"):
            blocks.append(Note(say.translate(sci.dims["note"])))
    else:
        blocks.append(Note(say("sci_per_token_is_absent", reason=say.translate(sci.reason))))
    return blocks


SPEC = ReportSection("carbon", 50, build)
