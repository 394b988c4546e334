"""The six numbers that a reader takes away."""

from reports import wording
from reports.facts import Facts
from reports.sections._section import Section, Tile, Tiles
from reports.sections.dvfs import claimable


def build(facts: Facts) -> tuple[Tiles]:
    """The numbers side by side."""
    return (Tiles(tiles(facts)),)


def tiles(facts: Facts) -> tuple[Tile, ...]:
    """Energy, its active share, J per token, CO2e, saving, coverage; what is absent says so."""
    total = facts.figures["energy.total"]
    assert total.value is not None  # a sum of integers is never absent
    coverage = facts.figures["quality.coverage"]
    return (
        Tile("GPU energy", wording.energy(total.value), f"bounds: {wording.plus_minus(total)}", total.id),
        _active_share(facts),
        _tokens(facts),
        _carbon(facts),
        _saving(facts),
        Tile("Coverage", wording.percent(coverage.value or "0"), "of the period's device time", coverage.id),
    )


def _active_share(facts: Facts) -> Tile:
    share = facts.figures["share.active"]
    if share.value is None:
        return Tile("Active share", wording.ABSENT, share.reason or "", share.id)
    return Tile("Active share", wording.percent(share.value), "of the energy went to running kernels", share.id)


def _tokens(facts: Facts) -> Tile:
    """The model that cost the most energy, by name, where there are several."""
    per_model = [f for f in facts.by_prefix("joules_per_token.active+idle/model/") if f.value]
    if not per_model:
        return Tile("Energy per token", wording.ABSENT, "no tokens in the ledger", "")
    first = max(per_model, key=lambda f: int(generated(facts, f.dims["model"])))
    assert first.value is not None  # filtered above
    more = f", {len(per_model) - 1} more below" if len(per_model) > 1 else ""
    return Tile(
        "Energy per token", f"{wording.short(first.value)} J", f"{wording.span(first)}; {first.dims['model']}{more}", first.id
    )


def generated(facts: Facts, model: str) -> str:
    """Tokens that all workloads generated with `model`."""
    return str(
        sum(
            int(f.value or 0)
            for f in facts.by_prefix("tokens/")
            if f.dims["model"] == model and f.dims["phase"] == "generation"
        )
    )


def _carbon(facts: Facts) -> Tile:
    figure = facts.figures["co2e.location.total"]
    if figure.value is None:
        return Tile("CO2e, location-based", wording.ABSENT, figure.reason or "", figure.id)
    factor = facts.factors[0]
    return Tile("CO2e, location-based", wording.mass(figure.value), f"{factor.zone_name}, factor of {factor.year}", figure.id)


def _saving(facts: Facts) -> Tile:
    figure = facts.figures["dvfs.saved"]
    if figure.value is None or figure.low is None:
        return Tile("DVFS saving", wording.ABSENT, figure.reason or "", figure.id)
    return Tile("DVFS saving", wording.energy(figure.value), f"claimable: {claimable(figure.low)}", figure.id)


SPEC = Section("In short", 10, build, wide=True)
