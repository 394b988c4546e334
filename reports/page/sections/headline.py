"""The numbers that a reader takes away, how they moved, and why."""

from collections.abc import Callable
from fractions import Fraction

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure, quotient_text, rounded
from reports.language import Translator
from reports.page.partition import LIFE_CYCLE, co2e_prefix
from reports.page.section import Block, Note, ReportSection, Tile, Tiles


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """Tiles, then what changed in sentences."""
    return (Tiles(tiles(facts, say)), *(Note(text) for text in _changes(facts, say)))


def tiles(facts: Facts, say: Translator) -> tuple[Tile, ...]:
    """Energy, its active share, J per token, PUE, CO2e both ways, saving, coverage; what is absent says so."""
    return (
        _energy(facts, say),
        _active_share(facts, say),
        _tokens(facts, say),
        _pue(facts, say),
        *_carbons(facts, say),
        _saving(facts, say),
        _coverage(facts, say),
    )


def widest(facts: Facts) -> Figure:
    """Energy at the widest boundary that is known, which is also that of the CO2e; it may differ by site."""
    names = ("energy.facility", "energy.inventory", "energy.node", "energy.gpu")
    return next(facts.figures[i] for i in names if facts.figures[i].value is not None)


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
    if total.boundary == "mixed":
        within = ", ".join(f"{site} {say(_BOUNDARY_NAMES[_boundary_of(facts, site)])}" for site in facts.sites)
        detail = f"{detail}; {within}"
    return _tile(label, total, say, wording.energy, detail, _trend(facts, total, say))


_BOUNDARY_NAMES = {"facility": "building", "node": "nodes", "gpu": "gpus"}


def _boundary_of(facts: Facts, site: str) -> str:
    return facts.figures[f"co2e.location/site/{site}"].boundary


def _active_share(facts: Facts, say: Translator) -> Tile:
    return _tile(say("active_share"), facts.figures["share.active"], say, wording.percent, say("share_of_running_kernels"))


def _tokens(facts: Facts, say: Translator) -> Tile:
    """The model that generated most, by name, where there are several; at the widest boundary that is known."""
    for row in ("facility", "node", "gpu"):
        rows = [f for f in facts.of(f"j_per_token.{row}", "model") if f.value is not None]
        if rows:
            first = max(rows, key=lambda f: (int(f.dims["tokens"]), f.id))
            assert first.value is not None
            more = say("model_and_more_below", model=first.dims["model"], count=len(rows) - 1)
            named = first.dims["model"] if len(rows) == 1 else more
            detail = f"{wording.span(first, say)}; {named} ({say(BOUNDARIES[row])})"
            return Tile(say("energy_per_token"), f"{wording.short(first.value)} J", detail, first.id)
    return Tile(say("energy_per_token"), say(wording.ABSENT), why_no_tokens(facts, say), "")


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
    kinds = {"PUE" if f.dims["kind"] == "stated" else f.dims["kind"] for f in ranked}
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
        labels = say("co2e_location_based"), say("co2e_market_based")
    return _carbon(facts, say, f"{prefix}location", labels[0]), _carbon(facts, say, f"{prefix}market", labels[1])


def _carbon(facts: Facts, say: Translator, identity: str, label: str) -> Tile:
    figure = facts.figures[identity]
    detail = "no_scope_2_figure" if identity.startswith(LIFE_CYCLE) else "scope_2_ghg_protocol"
    if detail == "scope_2_ghg_protocol" and "average" in figure.method:
        detail = "scope_2_what_no_contract"
    bounds = say("bounds_are", bounds=wording.plus_minus(figure, say))
    return _tile(label, figure, say, wording.mass, f"{say(detail)}; {bounds}", _trend(facts, figure, say))


def _saving(facts: Facts, say: Translator) -> Tile:
    claimed = wording.energy(facts.figures["dvfs.claimed"].value or 0)
    detail = say("claimable_energy", energy=claimed)
    return _tile(say("dvfs_saving"), facts.figures["dvfs.saved"], say, wording.energy, detail)


def _coverage(facts: Facts, say: Translator) -> Tile:
    figure = facts.figures["coverage"]
    of = say("of_the_inventory") if "inventory's" in figure.method else say("of_the_period")
    return _tile(say("coverage"), figure, say, wording.percent, of)


def _trend(facts: Facts, figure: Figure, say: Translator) -> str:
    """The change of a figure on the quarter before, in percent."""
    before = facts.figures.get(f"total.before/{figure.id}")
    if before is None or not before.value or figure.value is None:
        return ""
    change = (figure.value / before.value - 1) * 100
    text = wording.signed(change, lambda value: quotient_text(value, digits=2))
    return say("change_on_period", change=text, period=before.dims["period"])


EFFECTS_TOLD = 3
EFFECTS = {"volume": "tokens", "mix": "mix_of_models", "efficiency": "efficiency", "pue": "pue", "grid": "grid"}


def _changes(facts: Facts, say: Translator) -> list[str]:
    """Why energy and CO2e at the boundary of the tiles differ from the quarter before: what moved the workloads' part most, the
    smaller effects in one sum, and the part that no workload used. The effects in a sentence sum to its change.
    """
    total = widest(facts).id
    changes = []
    for quantity, identity, write, template in (
        ("energy", total, wording.energy, "energy_changed"),
        ("co2e", "co2e.location", wording.mass, "co2e_changed"),
        ("lifecycle", "co2e.lifecycle.location", wording.mass, "life_cycle_co2e_changed"),
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
        parts = [(say(effect_name(f.dims["effect"], quantity)), f.value or Fraction(0)) for f in effects[:EFFECTS_TOLD]]
        if smaller := sum((f.value or Fraction(0) for f in effects[EFFECTS_TOLD:]), Fraction(0)):
            parts.append((say("other_effects"), smaller))
        parts.append((say("unallocated"), rounded(change - sum((value for _, value in parts), Fraction(0)))))
        texts = [f"{name} {wording.signed(value, write)}" for name, value in parts]
        text = wording.signed(rounded(change), write)
        changes.append(say(template, total=text, period=ends["to"].dims["period"], effects=", ".join(texts)))
    return changes


def effect_name(effect: str, quantity: str) -> str:
    """Return the name of an effect: all work is split by GPU-hours and kinds of work, generated tokens by model."""
    if quantity != "serving":
        return {"volume": "gpu_hours", "mix": "mix_of_kinds_of_work"}.get(effect, EFFECTS[effect])
    return EFFECTS[effect]


SPEC = ReportSection("in_short", 10, build)
