"""The numbers that a reader takes away, how they moved, and why."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import ESTIMATED_SHARE, Figure, quotient_text, rounded
from reports.figures.levels import AVERAGE, MIX, SUPPLIER_RATE
from reports.language import Translator
from reports.page.amounts import ENERGY, MASS, change_texts, numbers
from reports.page.partition import LIFE_CYCLE, co2e_prefix
from reports.page.section import Block, Note, ReportSection, ReportTable, Tile, Tiles
from reports.page.sections.cost import in_currencies, moneys
from reports.page.tables import Cell, cell, table


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """The boundary, tiles, one row per site, the changes in sentences, and who is responsible for the report."""
    blocks: list[Block] = [Note(_boundary(facts, say)), Tiles(tiles(facts, say)[:FIRST])]
    changes = _changes(facts, say) or _earlier_period(facts, say)
    blocks += [_sites(facts, say), *(Note(text) for text in (*changes, *_base_year(facts, say), *_not_compared(facts, say)))]
    return (*blocks, _responsibility(facts, say))


FIRST = 6
"""Tiles of page one."""


def tiles(facts: Facts, say: Translator) -> tuple[Tile, ...]:
    """Energy, CO2e both ways, cost, tokens, PUE; then active share, saving and coverage. An absent one has its reason."""
    return (
        _energy(facts, say),
        *_carbons(facts, say),
        _cost(facts, say),
        _tokens(facts, say),
        _pue(facts, say),
        _active_share(facts, say),
        _saving(facts, say),
        _coverage(facts, say),
    )


NO_FACTOR = ("no factor that is", "the newest factor is of")
"""In the reason of CO2e without a factor, which the section on carbon prints whole."""
_APPROACHES = {"operational control": "operational_control", "financial control": "financial_control"}


def _boundary(facts: Facts, say: Translator) -> str:
    """What the figures of this page cover: one boundary, or the one of each site."""
    total = widest(facts)
    approach = facts.statement.consolidation
    by = say("boundary_approach", approach=say(_APPROACHES[approach])) if approach else say("boundary_approach_not_stated")
    missing = facts.sites_without_energy
    if total.boundary == "mixed" or missing:
        stated_sites = (site for site in facts.sites if site not in missing)
        within = ", ".join(f"{site}: {say(_BOUNDARY_NAMES[facts.boundary_of(site)])}" for site in stated_sites)
        within += "".join(f"; {site}: {say.translate(reason)}" for site, reason in missing.items())
    else:
        within = f"{say(_BOUNDARY_TEXTS.get(total.boundary, 'gpus'))}: {', '.join(facts.sites)}"
    return say("boundary_of_this_page", boundary=within, approach=by)


def estimated_share(facts: Facts, site: str = "") -> Fraction | None:
    """The share of the energy at the report's boundary that no meter read: buildings by a stated PUE, imputed gaps, and what
    the supplier estimated in its invoices.

    None: the energy is not known. Gaps of devices are not in it: they raise the upper bound, and the coverage states them.
    """
    names = [site] if site else list(facts.sites)
    total, estimated = Fraction(0), Fraction(0)
    for name in names:
        figure = _widest_of(facts, name)
        if figure is None or figure.value is None:
            return None
        total += figure.value
        estimated += figure.estimated
    return estimated / total if total else None


def _widest_of(facts: Facts, site: str) -> Figure | None:
    figures = (facts.figures.get(f"energy.{name}/site/{site}") for name in ("facility", "node", "gpu"))
    return next((f for f in figures if f is not None and f.value is not None), None)


def _sites(facts: Facts, say: Translator) -> ReportTable:
    """One row per site: energy, its estimated share, PUE and its kind."""
    rows: list[tuple[Cell, ...]] = []
    for name in facts.sites:
        energy, pue = _widest_of(facts, name), facts.figures[f"pue/site/{name}"]
        share = cell(estimated_share(facts, name), wording.percent)
        rows.append((name, None if energy is None else energy.value, share, cell(pue.value), _pue_kind(pue, say)))
    if len(rows) > 1:
        rows.append((say("total"), widest(facts).value, cell(estimated_share(facts), wording.percent), None, ""))
    return table(say, "energy_and_pue_by_site", ("site", ("electricity_used", ENERGY), "estimated", "PUE", "pue_kind"), rows)


def _pue_kind(figure: Figure, say: Translator) -> str:
    if figure.value is None:
        return say.translate(figure.reason)
    return f"{_kind(figure)}{say.translate(figure.method)}"


def _cost(facts: Facts, say: Translator) -> Tile:
    figure = facts.figures["cost"]
    if parts := in_currencies(facts, ""):
        return Tile(say("electricity_cost"), "; ".join(moneys(parts, "")), say.translate(figure.reason), figure.id)
    bounds = say("bounds_are", bounds=wording.plus_minus(figure, say))
    return _tile(say("electricity_cost"), figure, say, lambda value: f"{numbers([value])[0]} {figure.unit}", bounds,
                 _trend(facts, figure, say))  # fmt: skip


def _base_year(facts: Facts, say: Translator) -> list[str]:
    """The change from the base year in a sentence; the reason for its absence, if a base year is stated."""
    year = facts.statement.base_year
    if year is None:
        return []
    label = base_label(facts)
    if not label:
        return [say("this_is_the_base_year", year=year)] if facts.label.removeprefix("FY").startswith(str(year)) else []
    return [_compared(facts, say, label, "compared_with_the_base_year", "base_year_is_not_compared")]


def _earlier_period(facts: Facts, say: Translator) -> list[str]:
    """The change from the period before in a sentence without causes, such as from totals as reported."""
    rows = (*facts.by_prefix("total.period/"), *facts.by_prefix("total.reported/"))
    label = max((f.dims["period"] for f in rows if f.dims.get("role") == "earlier"), default="")
    if not label or label == base_label(facts):
        return []
    return [_compared(facts, say, label, "compared_with_a_period", "period_is_not_compared")]


def _compared(facts: Facts, say: Translator, label: str, template: str, absent_template: str) -> str:
    """Changes of the totals of page one from those of an earlier period; the reason if it has none of them."""
    parts = []
    rows = (
        (widest(facts).id, "electricity_used"),
        ("co2e.location", "scope_2_location_based"),
        ("co2e.market", "scope_2_market_based"),
        ("cost", "electricity_cost"),
    )
    for identity, name in rows:
        now, then = facts.figures.get(identity), earlier_total(facts, label, identity)
        if now is None or now.value is None or then is None or not then.value or then.unit != now.unit:
            continue
        change = now.value - then.value
        moved = wording.signed(change, lambda value, unit=now.unit: wording.amount(value, unit, 3))  # type: ignore[misc]
        parts.append(say("change_of", name=say(name), change=moved, percent=percent_change(now.value, then.value)))
    if not parts:
        absent = facts.figures.get(f"total.period/{label}")
        reason = say.translate(absent.reason) if absent is not None and absent.reason else say("nothing_to_compare")
        return say(absent_template, period=label, reason=reason)
    return say(template, period=label, changes="; ".join(parts))


def _not_compared(facts: Facts, say: Translator) -> list[str]:
    """Why some totals of an earlier period are not compared, such as at another boundary; a sentence per period."""
    rows = (*facts.by_prefix("total.before/"), *facts.by_prefix("total.period/"))
    reasons = {f.dims["period"]: f.reason for f in rows if f.reason and "figure" in f.dims}
    return [say("some_totals_are_not_compared", period=period, reason=say.translate(why)) for period, why in reasons.items()]


def base_label(facts: Facts) -> str:
    """The period of the base year; "" without one."""
    rows = (*facts.by_prefix("total.period/"), *facts.by_prefix("total.reported/"))
    return next((f.dims["period"] for f in rows if f.dims.get("role") == "base"), "")


def earlier_total(facts: Facts, label: str, identity: str) -> Figure | None:
    """A total of an earlier period: recalculated where the ledger has it, else as reported; None: neither compares."""
    candidates = (facts.figures.get(f"{kind}/{label}/{identity}") for kind in ("total.period", "total.reported"))
    total = next((f for f in candidates if f is not None), None)
    return None if total is None or total.value is None else total


def percent_change(now: Fraction, then: Fraction) -> str:
    """A change in percent with its sign."""
    return f"{wording.signed((now / then - 1) * 100, lambda value: wording.exact(quotient_text(value, digits=2)))} %"


def _responsibility(facts: Facts, say: Translator) -> ReportTable:
    """Who is responsible for the report; a name that is not given is marked as not stated."""
    given = facts.statement
    rows = (
        (say("prepared_by"), given.prepared_by),
        (say("approved_by"), given.approved_by),
        (say("contact"), facts.contact),
        (say("issued"), given.issued),
        (say("edition"), str(facts.edition + 1)),
        (say("report_status"), say("status_interim" if facts.status == "interim" else "status_final")),
    )
    return ReportTable(say("responsibility"), (), tuple((name, text or say("not_stated")) for name, text in rows))


def widest(facts: Facts) -> Figure:
    """Energy at the widest boundary that is known, which is also that of the CO2e; it may differ by site."""
    names = ("energy.facility", "energy.inventory", "energy.node", "energy.gpu")
    return next((facts.figures[i] for i in names if facts.figures[i].value is not None), facts.figures[names[0]])


def _tile(label: str, figure: Figure, say: Translator, write: Callable[[Fraction], str], detail: str, trend: str = "") -> Tile:
    """A figure's tile; of one that is absent, why."""
    if figure.value is None:
        return Tile(label, say(wording.ABSENT), say.translate(figure.reason), figure.id)
    return Tile(label, write(figure.value), detail, figure.id, trend)


def _energy(facts: Facts, say: Translator) -> Tile:
    total = widest(facts)
    label = {"facility": say("facility_energy"), "node": say("energy_of_all_nodes"), "gpu": say("gpu_energy")}.get(
        total.boundary, say("energy_at_the_widest_boundary")
    )
    detail = say("bounds_are", bounds=wording.plus_minus(total, say))
    share = estimated_share(facts)
    if share is not None:
        detail = f"{say('share_is_estimated', share=wording.percent(share))}; {detail}"
    if total.boundary == "mixed":
        within = ", ".join(f"{site} {say(_BOUNDARY_NAMES[facts.boundary_of(site)])}" for site in facts.sites)
        detail = f"{detail}; {within}"
    return _tile(label, total, say, wording.energy, detail, _trend(facts, total, say))


_BOUNDARY_NAMES = {"facility": "building", "node": "nodes", "gpu": "gpus"}
_BOUNDARY_TEXTS = {"facility": "all_electricity_of_the_data_centres", "node": "nodes", "gpu": "gpus"}


def _active_share(facts: Facts, say: Translator) -> Tile:
    return _tile(say("active_share"), facts.figures["share.active"], say, wording.percent, say("share_of_running_kernels"))


def _tokens(facts: Facts, say: Translator) -> Tile:
    """Wh per 1,000 generated tokens of all models at the widest boundary that is known, and the number of tokens."""
    for row in ("facility", "node", "gpu"):
        figure = facts.figures[f"j_per_token.{row}"]
        if figure.value is not None:
            tokens = figure.dims.get("tokens", 0)
            low, high = (None if end is None else end * _WH_PER_1000 for end in (figure.low, figure.high))
            scaled = replace(figure, value=figure.value * _WH_PER_1000, low=low, high=high)
            detail = say(
                "generated_tokens_and_bounds", count=_tokens_text(Fraction(tokens), say), bounds=wording.span(scaled, say)
            )
            detail = f"{detail} ({say(BOUNDARIES[row])})"
            value = f"{wording.short(scaled.value or 0)} Wh"
            return Tile(say("energy_per_1000_tokens"), value, detail, figure.id, _trend(facts, figure, say))
    return Tile(say("energy_per_1000_tokens"), say(wording.ABSENT), why_no_tokens(facts, say), "")


def _tokens_text(tokens: Fraction, say: Translator) -> str:
    """A number of tokens, from a million on in millions."""
    return say("millions", count=numbers([tokens / 10**6])[0]) if tokens >= 10**6 else wording.count(tokens)


_WH_PER_1000 = Fraction(1000, 3600)


def why_no_tokens(facts: Facts, say: Translator) -> str:
    """Return why no model has energy per token: the reason of the models' figures, else the reason of the total's figure."""
    if not facts.by_prefix("tokens."):
        return say("no_tokens_in_the_ledger")
    reasons = {f.reason for f in facts.of("j_per_token.gpu", "model") if f.reason}
    reason = reasons.pop() if len(reasons) == 1 else facts.figures["j_per_token.gpu"].reason
    return say.translate(reason) if reason else say("its_energy_is_not_split")


BOUNDARIES = {"busy": "gpu_busy_head", "gpu": "gpu", "node": "with_the_host", "facility": "with_the_building"}


def _pue(facts: Facts, say: Translator) -> Tile:
    """Of all sites together where each is metered; else each site's own, from the least to the largest."""
    figure = facts.figures["pue"]
    if figure.value is not None:
        kind = figure.dims.get("kind", "iPUE")
        return Tile(
            kind, wording.short(figure.value), f"{wording.span(figure, say)}; {say.translate(figure.method)}", figure.id
        )
    ranked = sorted((f for f in facts.of("pue", "site") if f.value is not None), key=lambda f: f.value or 0)
    if not ranked:
        reasons = {f.reason for f in facts.of("pue", "site")}
        return Tile(
            "PUE",
            say(wording.ABSENT),
            say.translate(reasons.pop() or "" if len(reasons) == 1 else figure.reason or ""),
            figure.id,
        )
    values = [wording.short(f.value or 0) for f in ranked]
    each = "; ".join(f"{f.dims['site']} {_kind(f)}{say.translate(f.method)}" for f in ranked)
    if len(ranked) == 1 and len(facts.sites) == 1:
        each = f"{wording.span(ranked[0], say)}; {say.translate(ranked[0].method)}"
    kinds = {"PUE" if f.dims["kind"] in ("stated", "estimate") else f.dims["kind"] for f in ranked}
    value = values[0] if len(values) == 1 else "; ".join(f"{f.dims['site']} {v}" for f, v in zip(ranked, values, strict=True))
    return Tile(kinds.pop() if len(kinds) == 1 else "PUE", value, each, ranked[0].id)


def _kind(figure: Figure) -> str:
    """The kind of a measured PUE; the method of a stated one says that it is stated."""
    return "" if figure.dims["kind"] == "stated" else f"{figure.dims['kind']}, "


def _carbons(facts: Facts, say: Translator) -> tuple[Tile, Tile]:
    """Return CO2e by both methods: Scope 2, else life cycle, under its own name."""
    prefix = co2e_prefix(facts)
    if prefix == LIFE_CYCLE:
        labels = say("life_cycle_co2e_location_based"), say("life_cycle_co2e_market_based")
    else:
        labels = say("scope_2_location_based"), say("scope_2_market_based")
    return _carbon(facts, say, f"{prefix}location", labels[0]), _carbon(facts, say, f"{prefix}market", labels[1])


def _carbon(facts: Facts, say: Translator, identity: str, label: str) -> Tile:
    figure = facts.figures[identity]
    detail = "no_scope_2_figure" if identity.startswith(LIFE_CYCLE) else "scope_2_ghg_protocol"
    levels = "; ".join(text for key, text in figure.dims.items() if key.startswith("levels"))
    rest = [name for name in (SUPPLIER_RATE, MIX, AVERAGE) if f"{name}: " in levels]
    if detail == "scope_2_ghg_protocol" and rest and rest != [MIX]:
        detail = "scope_2_what_no_contract"
    gases = say("co2_alone") if facts.co2_alone else "CO2e"
    parts = [say(detail, gases=gases, levels=", ".join(map(say.translate, rest)))]
    if ESTIMATED_SHARE in figure.dims:
        parts.append(say("share_is_estimated", share=wording.percent(Fraction(figure.dims[ESTIMATED_SHARE]))))
    parts.append(say("bounds_are", bounds=wording.plus_minus(figure, say)))
    if len(sets := _gwp_sets(facts, figure)) > 1:
        parts.append(say("gwp_sets_are_mixed", sets=", ".join(sets)))
    if figure.value is None and any(text in (figure.reason or "") for text in NO_FACTOR):
        sites = [name for name in facts.sites if facts.figures[f"{identity}/site/{name}"].value is None]
        text = say("no_factor_for_the_grid", sites=", ".join(sites), section=say("carbon"))
        return Tile(label, say(wording.ABSENT), text, figure.id)
    return _tile(label, figure, say, wording.mass, "; ".join(parts), _trend(facts, figure, say))


def _gwp_sets(facts: Facts, figure: Figure) -> list[str]:
    """The sets of global warming potentials (AR5, AR6) in the factors of a figure."""
    used = {u.factor.id: u.factor.gwp_set for u in facts.factors} | {s.id: s.gwp_set for s in facts.grid_series}
    return sorted({name[:3] for identity in figure.factor_ids if (name := used.get(identity, "")).startswith("AR")})


def _saving(facts: Facts, say: Translator) -> Tile:
    claimed = wording.energy(facts.figures["dvfs.claimed"].value or 0)
    detail = say("claimable_energy", energy=claimed)
    return _tile(say("dvfs_saving"), facts.figures["dvfs.saved"], say, wording.energy, detail)


def _coverage(facts: Facts, say: Translator) -> Tile:
    figure = facts.figures["coverage"]
    of = say("of_the_inventory") if "inventory's" in figure.method else say("of_the_period")
    of = say("of_the_time_of_all_sites") if facts.invoices_alone else of
    return _tile(say("coverage"), figure, say, wording.percent, of)


def _trend(facts: Facts, figure: Figure, say: Translator) -> str:
    """The change of a figure from the period before, in percent; of figures that are not compared, nothing."""
    before = facts.figures.get(f"total.before/{figure.id}")
    if before is None:
        first = next((f.dims["period"] for f in facts.by_prefix("total.before/")), "")
        before = earlier_total(facts, first, figure.id) if first else None
    if before is None or not before.value or figure.value is None or before.unit != figure.unit:
        return ""
    return say("change_on_period", change=percent_change(figure.value, before.value), period=before.dims["period"])


EFFECTS_TOLD = 3
EFFECTS = {"volume": "tokens", "mix": "mix_of_models", "efficiency": "efficiency", "pue": "pue", "grid": "grid"}


def _changes(facts: Facts, say: Translator) -> list[str]:
    """Why energy and CO2e at the boundary of the tiles differ from the quarter before: what moved the workloads' part most, the
    smaller effects in one sum, and the part that no workload used. The effects in a sentence sum to its change.
    """
    total = widest(facts).id
    changes = []
    for quantity, identity, scale, template in (
        ("energy", total, ENERGY, "energy_changed"),
        ("co2e", "co2e.location", MASS, "co2e_changed"),
        ("lifecycle", "co2e.lifecycle.location", MASS, "life_cycle_co2e_changed"),
    ):
        rows = facts.by_prefix(f"bridge.{quantity}/before/")
        ends = {f.dims["effect"]: f for f in rows if f.value is not None}
        effects = sorted(
            (f for name, f in ends.items() if name in EFFECTS and (f.value or 0)),
            key=lambda f: (-abs(f.value or 0), f.id),
        )
        if not effects or "from" not in ends or "to" not in ends:
            continue
        now, before = facts.figures.get(identity), facts.figures.get(f"total.before/{identity}")
        if now is None or before is None or now.value is None or before.value is None or now.boundary != ends["to"].boundary:
            continue
        change = now.value - before.value
        parts = [
            (say(_caused_by(f.dims["effect"], f.value or Fraction(0), quantity)), f.value or Fraction(0))
            for f in effects[:EFFECTS_TOLD]
        ]
        if smaller := sum((f.value or Fraction(0) for f in effects[EFFECTS_TOLD:]), Fraction(0)):
            parts.append((say("other_effects"), smaller))
        parts.append((say("unallocated"), rounded(change - sum((value for _, value in parts), Fraction(0)))))
        _, whole, *effect_texts = change_texts([now.value, rounded(change), *(value for _, value in parts)], scale)
        named = ", ".join(f"{name} {text}" for (name, _), text in zip(parts, effect_texts, strict=True))
        text = f"{whole} ({percent_change(now.value, before.value)})"
        changes.append(say(template, total=text, period=ends["to"].dims["period"], effects=named))
    return changes


_CAUSES = {
    "volume": ("more_gpu_hours", "fewer_gpu_hours"),
    "efficiency": ("lower_efficiency", "higher_efficiency"),
    "pue": ("higher_pue", "lower_pue"),
    "grid": ("higher_grid_intensity", "lower_grid_intensity"),
}
"""What an effect is called where it adds, and where it takes off."""


def _caused_by(effect: str, value: Fraction, quantity: str) -> str:
    pair = _CAUSES.get(effect)
    return effect_name(effect, quantity) if pair is None else pair[0 if value > 0 else 1]


def effect_name(effect: str, quantity: str) -> str:
    """Return the name of an effect: all work is split by GPU-hours and kinds of work, generated tokens by model."""
    if quantity != "serving":
        return {"volume": "gpu_hours", "mix": "mix_of_kinds_of_work"}.get(effect, EFFECTS[effect])
    return EFFECTS[effect]


SPEC = ReportSection("in_short", 10, build)
