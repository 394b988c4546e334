"""CO2e of electricity by both methods, its factors, hourly matching of contracts; embodied emissions and SCI."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import MASS, amount_texts
from reports.page.market import market_blocks
from reports.page.partition import CO2E, LIFE_CYCLE, co2e_prefix
from reports.page.section import Bars, Block, Heat, Note, OmittedSection, ReportSection, ReportTable, StackedBar
from reports.page.tables import Cell, Head, bounds, cell, names_by_reason, table, with_unit

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
    rows: list[tuple[Cell, ...]] = []
    for name, suffix in facts.suffixes(say("all_sites")):
        located, marketed = (facts.figures.get(f"{prefix}{how}{suffix}") for how in ("location", "market"))
        if located is None or marketed is None:
            continue  # of a site whose factors count other emissions
        mean = cell(facts.value(f"grid_intensity{suffix}"), lambda value: wording.short(value, 4))
        sides = (of for figure in (located, marketed) for of in (figure.value, bounds(figure, say) or _absence(figure, say)))
        basis = say.translate(located.dims.get("basis", ""))
        rows.append((name, *sides, mean, located.dims.get("quality"), basis))
    intensity = with_unit(say, "mean_of_the_grid", "g/kWh")
    heads: tuple[Head, ...] = (
        "site", ("location_based", MASS), "bounds", ("market_based", MASS), "bounds", intensity, "quality_1_to_5", "basis",
    )  # fmt: skip
    return table(say, caption, heads, rows)


def _supply(facts: Facts, say: Translator) -> list[Block]:
    """Scope 3, category 3 by site; what is missing with its reason."""
    prefixes = ("scope_3_3.upstream", "scope_3_3.losses", "scope_3_3")
    rows = [
        (name, [facts.figures[f"{prefix}{suffix}"] for prefix in prefixes]) for name, suffix in facts.suffixes(say("all_sites"))
    ]
    absent = ((f.dims["site"], f) for _, figures in rows for f in figures if "site" in f.dims)
    missing = ((", ".join(dict.fromkeys(sites)), reason) for reason, sites in names_by_reason(absent).items())
    notes = [Note(say("missing_at_sites", sites=sites, reason=say.translate(reason))) for sites, reason in missing]
    if all(figure.value is None for _, figures in rows for figure in figures):
        return [Note(say("no_scope_3_of_electricity")), *notes]
    heads = ((head, MASS) for head in ("fuel_supply", "grid_losses", "scope_3_category_3"))
    cells = ((name, *(figure.value for figure in figures)) for name, figures in rows)
    return [table(say, "scope_3_of_electricity", ("site", *heads), cells), Note(say("scope_3_explained")), *notes]


def _biogenic(facts: Facts, say: Translator) -> list[Block]:
    """Biogenic CO2 of the grid and of contracts with biomass, apart from the scopes; what is missing with its reason."""
    figures = [*facts.of("biogenic_co2", "site"), *facts.by_prefix("biogenic_co2.contract/")]
    missing = names_by_reason((f.dims.get("contract", f.dims["site"]), f) for f in figures)
    notes = [
        Note(say("biogenic_co2_missing_for", names=", ".join(names), reason=say.translate(reason)))
        for reason, names in missing.items()
    ]
    rows = [
        (f.dims["site"], f.dims.get("contract") or say("mean_of_the_grid"), f.value) for f in figures if f.value is not None
    ]
    if not rows:
        return [*notes]
    heads = ("site", "supply", ("biogenic_co2", MASS))
    return [table(say, "biogenic_co2_apart", heads, rows), Note(say("biogenic_co2_explained")), *notes]


def _absence(figure: Figure, say: Translator) -> str:
    """The reason for the absence of a value."""
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
    ways = ("as_bought", "hourly", "quarter_hourly")
    rows = [(name, *(cell(facts.value(f"matched.{how}/site/{name}"), wording.percent) for how in ways)) for name in facts.sites]
    if not (rows_with_values := [row for row in rows if any(row[1:])]):
        return []
    heads = ("site", "in_its_own_period", "by_the_hour", "by_the_quarter")
    return [table(say, "how_much_of_the_consumption", heads, rows_with_values), Note(say("contract_matching"))]


def _contracts(facts: Facts, say: Translator) -> list[Block]:
    rows = []
    for figure in facts.by_prefix("contract/"):
        dims = figure.dims
        unused = "; ".join(
            f"{wording.kwh(kwh)}: {say.translate(why.removeprefix('unused: '))}"
            for why, kwh in dims.items()
            if why.startswith("unused: ")
        )
        what = f"{say.translate(dims['kind'])}, {say.translate(dims['technology'])}"
        energies = (wording.fixed(kwh, 2) for kwh in (dims["available_kwh"], figure.value or 0))
        rows.append((dims["contract"], dims["site"], what, *energies, unused or None, dims.get("proof")))
    heads = ("contract", "site", "what", "available_kwh", "covered_kwh", "not_used", "retirement")
    return [table(say, "contracts_and_certificates", heads, rows)] if rows else []


def _embodied(facts: Facts, say: Translator) -> list[Block]:
    rows: list[tuple[Cell, ...]] = []
    for figure in facts.of("embodied", "sku"):
        dims = figure.dims
        sku = dims["sku"] or say(wording.ABSENT)
        if figure.low is None or figure.high is None:
            rows.append((sku, say.translate(figure.reason), None, None, ""))
            continue
        life = say.translate(dims["life"])
        lifetime = life if dims["life_declared"] == "yes" else say("life_nobody_declared", life=life)
        covers = dims["covers"]
        made_of = say(COVERS.get(covers, covers))
        if covers == "as told":
            made_of = f"{made_of}: {dims['boundary']}"
        rows.append((sku, made_of, figure.low, figure.high, lifetime))
    if not rows:
        return []
    heads = ("board", "made", ("at_least", MASS), ("at_most", MASS), "life_span")
    blocks: list[Block] = [table(say, "embodied_emissions_a_span_over", heads, rows)]
    coverage = facts.value("coverage")
    if coverage is not None and coverage < 1:
        blocks.append(Note(say("it", share=wording.percent(coverage))))
    sci = facts.figures.get("sci_per_token")
    if sci is None:
        return blocks
    if sci.low is None or sci.high is None:
        return [*blocks, Note(say("sci_per_token_is_absent", reason=say.translate(sci.reason)))]
    for figure, text_id, absent in (
        (sci, "sci_iso_iec_21031", ""),
        (facts.figures["sci_per_processed_token"], "sci_per_processed", "sci_per_processed_is_absent"),
    ):
        if figure.low is not None and figure.high is not None:
            low, high = (wording.mass(end * 1_000_000) for end in (figure.low, figure.high))
            blocks.append(Note(say(text_id, low=low, high=high)))
        else:
            blocks.append(Note(say(absent, reason=say.translate(figure.reason))))
    blocks.append(Note(say("sci_span")))
    if sci.dims.get("note"):
        blocks.append(Note(say.translate(sci.dims["note"])))
    return blocks


SPEC = ReportSection("carbon", 50, build)
