"""CO2e of electricity both ways, its factors, how contracts match the hours; embodied emissions and SCI beside it."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Say
from reports.page.partition import CO2E, LIFE_CYCLE, co2e_prefix
from reports.page.section import Bar, Bars, Block, Heat, Hidden, Note, Section, Table

_MILLI = 1000
COVERS = {"gpu": "GPU alone", "gpu+server": "GPU and its share of the server", "as told": "as the inputs tell it"}


def build(facts: Facts, say: Say) -> tuple[Block, ...] | Hidden:
    """CO2e by site under the name of what it counts, matching, contracts, embodied."""
    blocks: list[Block] = []
    for prefix, caption in (
        (CO2E, say("CO2e of electricity (GHG Protocol, Scope 2)")),
        (LIFE_CYCLE, say("Life-cycle CO2e of electricity (no Scope 2 figure)")),
    ):
        if any(f.value is not None for f in facts.by_prefix(f"{prefix}location/site/")):
            blocks.append(_by_site(facts, say, prefix, caption))
    if blocks:
        blocks.append(Note(say("No figure has bounds: the publishers state no error of their factors.")))
        blocks += [*_charts(facts, say), *_matching(facts, say)]
    blocks += [*_contracts(facts, say), *_embodied(facts, say)]
    if not blocks:
        return Hidden(say(facts.figures["co2e.location"].reason or ""))
    return tuple(blocks)


def _by_site(facts: Facts, say: Say, prefix: str, caption: str) -> Table:
    rows = []
    names = [*facts.sites, ""] if len(facts.sites) > 1 else list(facts.sites)
    for name in names:
        suffix = f"/site/{name}" if name else ""
        located, marketed = (facts.figures.get(f"{prefix}{how}{suffix}") for how in ("location", "market"))
        if located is None or marketed is None:
            continue  # of a site whose factors count other emissions
        mean = facts.figures.get(f"grid_intensity{suffix}")
        intensity = f"{wording.short(mean.value)} g/kWh" if mean is not None and mean.value is not None else "\u2013"
        quality = located.dims.get("quality", "\u2013")
        rows.append(
            (
                name or say("all sites"),
                _mass(located, say),
                _mass(marketed, say),
                intensity,
                quality,
                say(located.dims.get("basis", "")),
            )
        )
    columns = (
        say("Site"),
        say("location-based"),
        say("market-based"),
        say("mean of the grid"),
        say("quality (1 to 5)"),
        say("basis"),
    )
    return Table(caption, columns, tuple(rows))


def _mass(figure: Figure, say: Say) -> str:
    return wording.mass(figure.value) if figure.value is not None else say(figure.reason or wording.ABSENT)


def _charts(facts: Facts, say: Say) -> list[Block]:
    teams = [f for f in facts.of(f"{co2e_prefix(facts)}held.location", "team") if f.value]
    grids = [_hours(facts, say, site) for site in facts.sites if f"intensity.hours/site/{site}" in facts.series]
    if len(teams) < 2:
        return [*grids]
    ranked = sorted(teams, key=lambda f: (-(f.value or 0), f.id))[:12]
    bars = tuple(
        Bar(
            f.dims["team"] or say("unassigned"),
            wording.mass(f.value or 0),
            (("active", round((f.value or 0) * _MILLI)),),
        )
        for f in ranked
    )
    life_cycle = co2e_prefix(facts) == LIFE_CYCLE
    title = say("Life-cycle CO2e by team, location-based") if life_cycle else say("CO2e by team, location-based")
    return [*grids, Bars(title, {"active": say("CO2e of what their workloads held")}, bars)]


def _hours(facts: Facts, say: Say, site: str) -> Heat:
    """The grid's intensity by week and hour of the site's day."""
    series = facts.series[f"intensity.hours/site/{site}"]
    found = dict(zip(series.points, series.values, strict=True))
    weeks = tuple(dict.fromkeys(point.partition(" ")[0] for point in series.points))
    hours = tuple(f"{hour:02d}" for hour in range(24))
    values = tuple(tuple(found.get(f"{week} {hour}") for hour in hours) for week in weeks)
    named = tuple(week.partition("-")[2] for week in weeks)  # a quarter has no week twice
    return Heat(say("Intensity of the grid of {site} by week and hour", site=site), "g/kWh", named, hours, values)


def _matching(facts: Facts, say: Say) -> list[Block]:
    rows = []
    for name in facts.sites:
        cells = [facts.figures.get(f"matched.{how}/site/{name}") for how in ("as_bought", "hourly", "quarter_hourly")]
        if any(c is not None and c.value is not None for c in cells):
            rows.append(
                (name, *(wording.percent(c.value) if c is not None and c.value is not None else "\u2013" for c in cells))
            )
    if not rows:
        return []
    columns = (say("Site"), say("in its own period"), say("by the hour"), say("by the quarter of an hour"))
    text = (
        "A contract of a longer period is taken to deliver evenly where it is matched by the hour. Only "
        "what was made in the site's own zone and was retired, and has an emission factor of what the total counts, covers any."
    )
    return [Table(say("How much of the consumption contracts cover"), columns, tuple(rows)), Note(say(text))]


def _contracts(facts: Facts, say: Say) -> list[Block]:
    rows = []
    for figure in facts.by_prefix("contract/"):
        unused = "; ".join(
            f"{wording.short(v)} kWh: {say(k.removeprefix('unused: '))}"
            for k, v in figure.dims.items()
            if k.startswith("unused: ")
        )
        what = f"{say(figure.dims['kind'])}, {say(figure.dims['technology'])}"
        available = wording.short(figure.dims["available_kwh"])
        rows.append(
            (
                figure.dims["contract"],
                figure.dims["site"],
                what,
                available,
                wording.short(figure.value or 0),
                unused or "\u2013",
            )
        )
    if not rows:
        return []
    columns = (say("Contract"), say("Site"), say("what"), say("available, kWh"), say("covered, kWh"), say("not used"))
    return [Table(say("Contracts and certificates"), columns, tuple(rows))]


def _embodied(facts: Facts, say: Say) -> list[Block]:
    rows = []
    for figure in facts.of("embodied", "sku"):
        board = figure.dims["sku"] or say(wording.ABSENT)
        if figure.low is None or figure.high is None:
            rows.append((board, "\u2013", say(figure.reason or ""), ""))
            continue
        life = say(figure.dims["life"])
        told = life if figure.dims["life_declared"] == "yes" else say("{life}, nobody declared it", life=life)
        span = f"{wording.mass(figure.low)} \u2013 {wording.mass(figure.high)}"
        covers = figure.dims["covers"]
        made_of = say(COVERS.get(covers, covers))
        if covers == "as told":
            made_of = f"{made_of}: {figure.dims['boundary']}"
        rows.append((board, made_of, span, told))
    if not rows:
        return []
    columns = (say("Board"), say("made of"), say("share of the period"), say("life span"))
    blocks: list[Block] = [Table(say("Embodied emissions (a span over published figures)"), columns, tuple(rows))]
    seen = facts.figures["coverage"]
    if seen.value is not None and seen.value < 1:
        text = "It is that of the device time in the ledger, {share} of what was expected; what nobody metered is not in it."
        blocks.append(Note(say(text, share=wording.percent(seen.value))))
    sci = facts.figures.get("sci_per_token")
    if sci is None:
        return blocks
    if sci.low is not None and sci.high is not None:
        million = [wording.mass(b * 1_000_000) for b in (sci.low, sci.high)]
        text = "SCI (ISO/IEC 21031): {low} to {high} a million tokens, location-based, with all hardware that was reserved."
        blocks.append(Note(say(text, low=million[0], high=million[1])))
        blocks.append(Note(say("Its span is that of published embodied figures; no error of energy or factor is in it.")))
        if sci.dims.get("note"):
            blocks.append(Note(say(sci.dims["note"])))
    else:
        blocks.append(Note(say("SCI per token is absent: {reason}.", reason=say(sci.reason or ""))))
    return blocks


SPEC = Section("Carbon", 50, build, wide=True)
