"""Scope 3, category 3 of the electricity used (fuel supply and grid losses), and biogenic CO2, which no scope contains.

Each is the energy of location-based Scope 2 times a yearly factor of its own: activity B (fuel supply) and activity C (losses
in transmission and distribution) of category 3 in the GHG Protocol's Scope 3 Standard. A part without a factor is absent with
the reason, and so is the sum. Nothing is derived from life-cycle factors, which also contain the building of power plants.
"""

from collections.abc import Iterator
from typing import Final

from energy_agent.factors.basis import EmissionBoundary
from energy_agent.site.building.ratio import Amount
from reports.figures.evidence import PeriodEvidence, plus
from reports.figures.figure import Figure, amount_figure
from reports.figures.measures._measure import Measure
from reports.figures.measures.carbon import base, boundary, common, nothing_of
from reports.inputs import NO_GRID

METHOD: Final = "energy times a yearly factor of the grid"
PARTS: Final = {
    EmissionBoundary.UPSTREAM: "scope_3_3.upstream",
    EmissionBoundary.LOSSES: "scope_3_3.losses",
    EmissionBoundary.BIOGENIC: "biogenic_co2",
}
"""Emissions -> how the names of their figures begin."""
LACKING: Final = {
    EmissionBoundary.UPSTREAM: "no table has a factor of this grid's fuel supply: add a factor file with boundary upstream",
    EmissionBoundary.LOSSES: "no table has a factor of this grid's losses: add a factor file with boundary losses",
    EmissionBoundary.BIOGENIC: "no table has a factor of this grid's biogenic CO2: add a factor file with boundary biogenic",
}
"""Why a part is absent where no table has a factor."""
CONTAINED: Final = "the site uses life-cycle factors, which are not split into scopes"


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Grams, by site and in total."""
    every = sorted(evidence.sites)
    within = {name: boundary(evidence, name) for name in every}
    together = common(within.values())
    amounts = {kind: {name: _amount(evidence, name, kind) for name in every} for kind in PARTS}
    ids = {kind: {name: _factor_ids(evidence, name, kind) for name in every} for kind in PARTS}
    for kind, prefix in PARTS.items():
        for name in every:
            amount, used = amounts[kind][name], ids[kind][name]
            yield amount_figure(
                f"{prefix}/site/{name}", amount, "g", METHOD, within[name], factor_ids=used, dims={"site": name}
            )
        used = tuple(sorted({i for each in ids[kind].values() for i in each}))
        yield amount_figure(prefix, plus(list(amounts[kind].values())), "g", METHOD, together, factor_ids=used)
    category = (EmissionBoundary.UPSTREAM, EmissionBoundary.LOSSES)
    sums = {name: plus([amounts[kind][name] for kind in category]) for name in every}
    for name in every:
        used = tuple(sorted({i for kind in category for i in ids[kind][name]}))
        yield amount_figure(
            f"scope_3_3/site/{name}", sums[name], "g", METHOD, within[name], factor_ids=used, dims={"site": name}
        )
    used = tuple(sorted({i for kind in category for each in ids[kind].values() for i in each}))
    yield amount_figure("scope_3_3", plus(list(sums.values())), "g", METHOD, together, factor_ids=used)


def _amount(evidence: PeriodEvidence, name: str, kind: EmissionBoundary) -> Amount:
    site = evidence.sites[name]
    if site.inputs is None or not (site.inputs.grid_zone or site.inputs.country):
        return Amount(None, reason=NO_GRID)
    joined = site.grid.supply.get(kind)
    if joined is None or joined.grams is None:
        located = site.grid.location
        if located is not None and located.basis.boundary is EmissionBoundary.LIFE_CYCLE:
            return Amount(None, reason=CONTAINED)
        return Amount(None, reason=LACKING[kind])
    energy = base(evidence, name)
    if energy.value is None or not site.grid.uj:
        nothing = nothing_of(evidence, name, energy)
        return Amount(nothing.value, reason=nothing.reason)
    return Amount(energy.value * joined.grams / site.grid.uj)


def _factor_ids(evidence: PeriodEvidence, name: str, kind: EmissionBoundary) -> tuple[str, ...]:
    joined = evidence.sites[name].grid.supply.get(kind)
    return () if joined is None else tuple(sorted({s.id for s in joined.statements if s.id and s.uj}))


SPEC = Measure("Scope 3, category 3 of the electricity used, and biogenic CO2", figures)
