"""Scope 3, category 3 of the electricity used (fuel supply and grid losses), and biogenic CO2, which no scope contains.

Biogenic CO2 is that of the grid, location-based, and apart from it that of each contract with biomass. The two are not added:
electricity of a contract is also in the figure of the grid.

Each is the energy of location-based Scope 2 times a yearly factor of its own: activity B (fuel supply) and activity C (losses
in transmission and distribution) of category 3 in the GHG Protocol's Scope 3 Standard. A part without a factor is absent with
the reason, and so is the sum. Nothing is derived from life-cycle factors, which also contain the building of power plants.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import Quantity, about, exactly, no_quantity
from energy_agent.factors.basis import EmissionBoundary
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import Figure, amount_figure
from reports.figures.measures._measure import ALL, FigureSubject, Measure, of_site
from reports.figures.measures.carbon import (
    base,
    boundary,
    common,
    energy_cause,
    estimated_share,
    factor_error,
    factor_ids,
    nothing_of,
    substitute,
    substitute_dims,
    sum_of_causes,
)
from reports.figures.uncertainty import times_factor
from reports.inputs.organisation import NO_GRID

_Term = tuple[str, EmissionBoundary]
"""(site, what is counted there)."""
METHOD: Final = "energy times a yearly factor of the grid"
CONTRACTS: Final = "contracts"
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
UNSTATED: Final = "the contract does not state its biogenic CO2 (biogenic_g_per_kwh)"
CONTAINED: Final = "the site uses life-cycle factors, which are not split into scopes"


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Grams, by site and in total."""
    every = sorted(evidence.sites)
    within = {name: boundary(evidence, name) for name in every}
    category = (EmissionBoundary.UPSTREAM, EmissionBoundary.LOSSES)
    wholes = [(prefix, (kind,)) for kind, prefix in PARTS.items()] + [("scope_3_3", category)]
    for prefix, kinds in wholes:
        for name in every:
            yield _figure(evidence, prefix, [(name, kind) for kind in kinds], within[name], of_site(name))
        terms = [(name, kind) for name in every for kind in kinds]
        yield _figure(evidence, prefix, terms, common(within.values()), ALL)
    for name in every:
        yield from _contracts(evidence, name, within[name])


def _contracts(evidence: PeriodEvidence, name: str, within: str) -> Iterator[Figure]:
    """Biogenic CO2 of each contract that covers energy with electricity that may be of biomass."""
    coverage = evidence.sites[name].grid.coverage
    for claim in () if coverage is None else coverage.claims:
        if claim.covered_uj and claim.technology.may_burn_biomass:
            grams = Quantity(claim.biogenic_grams, reason=UNSTATED if claim.biogenic_grams is None else "")
            dims = {"site": name, "contract": claim.contract, "technology": claim.technology.value}
            yield amount_figure(f"biogenic_co2.contract/{name}/{claim.contract}", grams, "g", CONTRACTS, within, dims=dims)


def _figure(evidence: PeriodEvidence, prefix: str, terms: list[_Term], within: str, of: FigureSubject) -> Figure:
    used = factor_ids(evidence.sites[name].grid.supply.get(kind) for name, kind in terms)
    amounts = [(name, _amount(evidence, name, kind).value or Fraction(0)) for name, kind in terms]
    parts = [((substitute(evidence, name),), estimated_share(evidence, name) * grams, grams) for name, grams in amounts]
    return of.figure(prefix, _sum(evidence, terms), "g", METHOD, within, substitute_dims(parts), factor_ids=used)


def _sum(evidence: PeriodEvidence, terms: list[_Term]) -> Quantity:
    """Grams of several sites and kinds. Energies err by their causes, and so do factors (figures/uncertainty).

    Both kinds of one site have the same energy, whose error therefore adds linearly; their factors are independent.
    """
    parts = []
    for name, kind in terms:
        amount, energy = _amount(evidence, name, kind), base(evidence, name)
        value, joined = amount.value or Fraction(0), evidence.sites[name].grid.supply.get(kind)
        by_energy = times_factor(energy, value / energy.value, Fraction(0)) if value and energy.value else exactly(value)
        factor = about(value, value * factor_error(evidence.sites[name], joined))
        cause = ", ".join(factor_ids([joined])) or f"{name} {kind}"
        parts.append((amount, (energy_cause(evidence, name), by_energy), (cause, factor)))
    return sum_of_causes(parts)


def _amount(evidence: PeriodEvidence, name: str, kind: EmissionBoundary) -> Quantity:
    """Grams of one kind at one site, without bounds."""
    site = evidence.sites[name]
    if site.inputs is None or not (site.inputs.grid_zone or site.inputs.country):
        return no_quantity(NO_GRID)
    joined = site.grid.supply.get(kind)
    if joined is None or joined.grams is None:
        located = site.grid.location
        if located is not None and located.basis.boundary is EmissionBoundary.LIFE_CYCLE:
            return no_quantity(CONTAINED)
        return no_quantity(LACKING[kind])
    energy = base(evidence, name)
    if energy.value is None or not site.grid.uj:
        nothing = nothing_of(evidence, name, energy)
        return Quantity(nothing.value, reason=nothing.reason)
    return Quantity(energy.value * joined.grams / site.grid.uj)


SPEC = Measure("Scope 3, category 3 of the electricity used, and biogenic CO2", figures)
