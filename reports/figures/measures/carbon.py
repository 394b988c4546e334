"""CO2e of electricity, location- and market-based (GHG Protocol, Scope 2), CUE, REF, and how contracts match the hours.

A site is calculated at its widest known boundary: the building if meters measure it (energy from the grid only), the building
as an estimate if a PUE is stated, else its nodes, else its GPUs. A figure's boundary shows which one applies. Contracts are
matched with the energy at that boundary. Contracts and the remaining residual mix sum to the total, exactly.

Parts of the fleet use the grams of their own cells. At the building boundary these are multiplied by the site's PUE and by the
share of its energy that comes from the grid. The remainder of the site's total is a figure too (`.unattributed`).

Bounds combine the error of the energy with that of the factor (figures/uncertainty). Errors of factors that sites share add
linearly over the sites; so do errors of energy that no building meter measured, since sensors of one model err together.
Scope 2 covers direct emissions. Life-cycle figures have names of their own (`LIFE_CYCLE`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from energy_agent.core.meters.facility import Position
from energy_agent.core.quantity import ZERO, Quantity, combined, exactly, no_quantity, sum_by_cause
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.factors.basis import EmissionBoundary
from energy_agent.factors.join import CarbonTotal
from energy_agent.site.building.pue import per_it_kwh
from reports.figures.energy import by_site, held_energy
from reports.figures.evidence import PeriodEvidence, SiteEvidence, reach
from reports.figures.figure import ESTIMATED_SHARE, STAND_IN, Figure, amount_figure, quotient_text
from reports.figures.levels import level_dims
from reports.figures.measures._measure import ALL, Measure, covered, groups, held_rows, of_site
from reports.figures.measures.building import interim, pue_substitute
from reports.figures.uncertainty import FACTOR_ERROR, times_factor
from reports.ledger.sums import PartEnergy
from reports.site.grid import kwh
from reports.site.invoices import BY_SUPPLIER

_Split = Callable[[PeriodEvidence, str, Quantity], tuple[Quantity, Quantity]]
"""A site's grams -> (with the error of its energy alone, with that of its factors alone)."""
_FactorError = Callable[[PeriodEvidence, str], Fraction]
"""A site -> the relative error of its factors."""
LOCATION, MARKET = "location-based", "market-based"
SHARED: Final = f"{MARKET}, in proportion to location-based"
"""How market-based grams of workloads are calculated."""
CO2E: Final = "co2e."
"""How figures of Scope 2 begin."""
LIFE_CYCLE: Final = "co2e.lifecycle."
"""How figures of CO2e over the life cycle begin, which answer nothing that Scope 2 asks."""
NOT_SCOPE_2: Final = "its factors are life-cycle factors, and Scope 2 counts direct emissions only (grid.boundary)"
AVERAGE: Final = "the grid's average, in place of the residual mix"
UNTIMED: Final = {
    "as_bought": "no contract has a volume in the period",
    "hourly": "no contract has deliveries of clean electricity with time stamps",
    "quarter_hourly": "no contract has deliveries of clean electricity by the quarter of an hour",
}
REVISION: Final = "draft_revision.market"
"""How figures by the draft revision of the Scope 2 Guidance begin; no datapoint names them."""
DRAFT: Final = "GHG Protocol, draft revision of Scope 2, consultation of 20 October to 19 December 2025; answers no datapoint"
DRAFT_METHOD: Final = "deliveries by the hour in the same zone, the rest at the residual mix"
NO_RESIDUAL_IN_DRAFT: Final = "the draft revision allows no grid average: add the residual mix as a factor file"
REST: Final = "the total minus the workloads' share"


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Grams."""
    named = (each for figure, sites in _figures(evidence) for each in by_basis(evidence, sites, figure))
    yield from covered(evidence, named)


def counts_life_cycle(evidence: PeriodEvidence, sites: Iterable[str]) -> bool:
    """Whether all factors of some sites are of the life cycle."""
    joined = (evidence.sites[name].grid.location for name in sites)
    return {j.basis.boundary for j in joined if j is not None} == {EmissionBoundary.LIFE_CYCLE}


def by_basis(evidence: PeriodEvidence, sites: Iterable[str], figure: Figure) -> Iterator[Figure]:
    """A figure of CO2e of some sites under the name of what it counts.

    Where all of them take factors of the life cycle it has a name of its own, and under the name of Scope 2 it is absent.
    """
    if not figure.id.startswith(CO2E) or not counts_life_cycle(evidence, sites):
        yield figure
        return
    yield replace(figure, id=LIFE_CYCLE + figure.id.removeprefix(CO2E))
    yield Figure(figure.id, None, figure.unit, figure.method, figure.boundary, dims=figure.dims, reason=NOT_SCOPE_2)


def _figures(evidence: PeriodEvidence) -> Iterator[tuple[Figure, Iterable[str]]]:
    """(figure, sites that it is of)."""
    for name in sorted(evidence.sites):
        yield from ((figure, (name,)) for figure in _of_site(evidence, name))
    every = sorted(evidence.sites)
    yield from ((figure, every) for figure in _of_all(evidence))
    yield from _by_group(evidence)


def _of_site(evidence: PeriodEvidence, name: str) -> Iterator[Figure]:
    site, here = evidence.sites[name], of_site(name)
    within, grid = boundary(evidence, name), site.grid
    of_grid, of_rest = factor_ids([grid.location]), factor_ids([grid.residual])
    basis, rows = _basis(site), held_rows(evidence, name)
    located, marketed = located_of(evidence, name), marketed_of(evidence, name)
    of_location = basis | _estimated(evidence, {name: located}, market=False)
    yield here.figure("co2e.location", located, "g", LOCATION, within, of_location, factor_ids=of_grid)
    of_market = _estimated(evidence, {name: marketed}, market=True) | level_dims(site)
    yield here.figure("co2e.market", marketed, "g", _method(evidence, [name]), within, of_market, factor_ids=of_rest)
    yield from _revision(evidence, name)
    for quantity, rest, ids in (
        ("location", located.rest(group_grams(evidence, name, rows)), of_grid),
        ("market", marketed.rest(group_market_grams(evidence, name, rows)), shared_ids(evidence, [name])),
    ):
        yield here.figure(f"co2e.{quantity}.unattributed", rest, "g", REST, within, factor_ids=ids)
    yield here.figure("grid_intensity", _mean(site), "g/kWh", LOCATION, "grid", basis, factor_ids=of_grid)
    yield here.figure("cue", _cue(site) / 1000, "kg/kWh", LOCATION, "facility", basis | interim(site), factor_ids=of_grid)
    yield from _contracts(evidence, site)


def _of_all(evidence: PeriodEvidence) -> Iterator[Figure]:
    every = sorted(evidence.sites)
    within, grids = boundary_of(evidence, every), [evidence.sites[name].grid for name in every]
    for quantity, method, of_each, of_group, split, ids in (
        ("location", LOCATION, located_of, group_grams, _split_located, location_ids(evidence, every)),
        ("market", _method(evidence, every), marketed_of, group_market_grams, _split_marketed,
         factor_ids(g.residual for g in grids)),
    ):  # fmt: skip
        market = quantity == "market"
        totals = {name: of_each(evidence, name) for name in every}
        dims = _estimated(evidence, totals, market=market)
        dims |= _levels_of(evidence, every) if market else {}
        total = _sum_of_sites(evidence, totals, split, market=market)
        yield ALL.figure(f"co2e.{quantity}", total, "g", method, within, dims, factor_ids=ids)
        groups_total = sum((of_group(evidence, name, held_rows(evidence, name)) for name in every), ZERO)
        of = shared_ids(evidence, every) if market else ids
        yield ALL.figure(f"co2e.{quantity}.unattributed", total.rest(groups_total), "g", REST, within, factor_ids=of)


def _method(evidence: PeriodEvidence, sites: Iterable[str]) -> str:
    """How market-based grams of some sites are calculated."""
    if any(takes_average(evidence, name) for name in sites):
        return f"{MARKET}, rest at the grid's average"
    return f"{MARKET}, the rest at the residual mix"


def _estimated(evidence: PeriodEvidence, grams: Mapping[str, Quantity], *, market: bool) -> dict[str, str]:
    """Dims of the grams of sites: what replaces meters or the residual mix, and the share of these and of imputed energy."""
    parts: list[tuple[Sequence[str], Fraction, Fraction]] = []
    for name, amount in grams.items():
        share, text, value = estimated_share(evidence, name), substitute(evidence, name), amount.value or Fraction(0)
        if not market:
            parts.append(((text,), share * value, value))
            continue
        average = takes_average(evidence, name)
        of_mix, of_supplier = mix_of(evidence, name).value or Fraction(0), supplier_of(evidence, name).value or Fraction(0)
        estimated = (1 if average else share) * of_mix + share * of_supplier
        parts.append(((text, AVERAGE if average else ""), estimated, value))
    return substitute_dims(parts)


def substitute_dims(parts: Iterable[tuple[Sequence[str], Fraction, Fraction]]) -> dict[str, str]:
    """Dims of a sum, from the substitutes, the estimated part and the whole of each of its parts."""
    rows = list(parts)
    used = [text for text in dict.fromkeys(text for texts, *_ in rows for text in texts) if text]
    estimated, whole = sum((each for _, each, _ in rows), Fraction(0)), sum((each for *_, each in rows), Fraction(0))
    dims = {STAND_IN: "; ".join(used)} if used else {}
    return dims | ({ESTIMATED_SHARE: quotient_text(estimated / whole)} if estimated and whole else {})


def estimated_share(evidence: PeriodEvidence, name: str) -> Fraction:
    """The share of a site's energy at its widest boundary that a substitute replaces, the supplier estimated, or is imputed."""
    site = evidence.sites[name]
    building, invoiced = site.building, site.invoices.counted
    if not building.measured:
        return Fraction(1 if substitute(evidence, name) else 0)
    by_supplier = invoiced.estimated_uj if building.invoiced and invoiced is not None else 0
    bought, imputed_uj = building.bought.value, sum(building.imputed(building.terms["bought"]).values())
    return (imputed_uj + by_supplier) / bought if bought else Fraction(0)


def substitute(evidence: PeriodEvidence, name: str, *, of_workloads: bool = False) -> str:
    """What replaces meters in a site's energy at its widest boundary; "": nothing does.

    Energy of its workloads follows from the PUE even where meters read the building.
    """
    site = evidence.sites[name]
    if boundary(evidence, name) != "facility":
        return ""
    if of_workloads or not site.building.measured:
        return pue_substitute(site.building.pue)
    estimated = site.building.invoiced and site.invoices.counted is not None and site.invoices.counted.estimated_uj
    return BY_SUPPLIER if estimated else ""


def workload_dims(evidence: PeriodEvidence, sites: Iterable[str]) -> dict[str, str]:
    """Dims of a figure at the facility boundary of workloads of some sites: the substitutes of their PUE."""
    nothing = Fraction(0)
    return substitute_dims(((substitute(evidence, name, of_workloads=True),), nothing, nothing) for name in sorted(sites))


def _levels_of(evidence: PeriodEvidence, sites: Sequence[str]) -> dict[str, str]:
    """The levels of some sites' total."""
    return level_dims(evidence.sites[sites[0]]) if len(sites) == 1 else _levels_by_site(evidence, sites)


def _levels_by_site(evidence: PeriodEvidence, sites: Iterable[str]) -> dict[str, str]:
    """The levels of whole sites, under their names."""
    return {f"{key}/{name}": text for name in sites for key, text in level_dims(evidence.sites[name]).items()}


def takes_average(evidence: PeriodEvidence, name: str) -> bool:
    """Whether a part of a site's market-based grams is of the grid's average, for want of a residual mix."""
    return evidence.sites[name].grid.residual_is_average and mix_of(evidence, name).value != 0


def boundary(evidence: PeriodEvidence, site: str) -> str:
    """The widest boundary at which a site's energy is known."""
    building = evidence.sites[site].building
    if building.measured or (not evidence.node_gap(site) and evidence.pue(site).value is not None):
        return "facility"
    return "gpu" if evidence.node_gap(site) else "node"


def located_of(evidence: PeriodEvidence, name: str) -> Quantity:
    """A site's grams, location-based: each cell at its intensity."""
    site = evidence.sites[name]
    grams, metered_uj = site.grid.location_g, site.grid.uj
    if grams is None:
        return no_quantity(site.grid.missing or _unknown(site))
    energy = base(evidence, name)
    if energy.value is None or not metered_uj:
        return nothing_of(evidence, name, energy)
    return times_factor(energy, grams / metered_uj, factor_error(site, site.grid.location))


def factor_error(site: SiteEvidence, joined: CarbonTotal | None) -> Fraction:
    """Relative 95 % error of a site's factors: declared, or assumed by quality class, with the grams of each as its weight.

    The errors of several classes add linearly, since their values may have one cause.
    """
    declared = None if site.inputs is None else site.inputs.factor_error
    if declared is not None:
        return declared
    grams_by_quality = [] if joined is None else [(s.quality or 5, s.grams) for s in joined.statements if s.grams]
    weight = sum((grams for _, grams in grams_by_quality), Fraction(0))
    if not weight:
        return FACTOR_ERROR[5]
    return sum((FACTOR_ERROR[quality] * grams for quality, grams in grams_by_quality), Fraction(0)) / weight


def energy_cause(evidence: PeriodEvidence, name: str) -> str:
    """What errs in the energy of a site: sites with one name err together."""
    return f"meters of {name}" if evidence.sites[name].building.measured else "sensors"


def sum_of_causes(parts: Iterable[tuple[Quantity, tuple[str, Quantity], tuple[str, Quantity]]]) -> Quantity:
    """The sum of grams whose energies and factors err together or not.

    Args:
        parts: (grams, (cause, them with the error of their energy alone), (cause, them with that of their factors alone)).
    """
    every = list(parts)
    total = sum((amount for amount, _, _ in every), ZERO)
    return combined(total, sum_by_cause(energy for _, energy, _ in every), sum_by_cause(factor for *_, factor in every))


def _sum_of_sites(evidence: PeriodEvidence, amounts: Mapping[str, Quantity], split: _Split, *, market: bool) -> Quantity:
    """The sum of sites' grams of one basis. Sites of the same factors err together."""
    parts = []
    for name, amount in amounts.items():
        grid = evidence.sites[name].grid
        by_energy, by_factor = split(evidence, name, amount)
        factors = ", ".join(factor_ids([grid.residual if market else grid.location])) or name
        parts.append((amount, (energy_cause(evidence, name), by_energy), (factors, by_factor)))
    return _one_basis(evidence, amounts, sum_of_causes(parts))


def _split_located(evidence: PeriodEvidence, name: str, amount: Quantity) -> tuple[Quantity, Quantity]:
    """(grams with the error of the energy alone, with that of the factor alone), location-based."""
    return _split(base(evidence, name), amount, _location_error(evidence, name))


def _split(energy: Quantity, amount: Quantity, relative: Fraction) -> tuple[Quantity, Quantity]:
    value = amount.value or Fraction(0)
    by_energy = times_factor(energy, value / energy.value if energy.value else Fraction(0), Fraction(0))
    return by_energy, _with_error(value, value * relative)


def _with_error(value: Fraction, off: Fraction) -> Quantity:
    return Quantity(value, max(Fraction(0), value - off), value + off)


def _split_marketed(evidence: PeriodEvidence, name: str, amount: Quantity) -> tuple[Quantity, Quantity]:
    """As `_split_located`, market-based: contracts cover what they cover, so that the rest has the error of the energy."""
    value, site = amount.value or Fraction(0), evidence.sites[name]
    by_energy = combined(exactly(value), base(evidence, name) * exactly(site.grid.rest_per_uj or 0))
    bought = Fraction(0) if site.grid.coverage is None else site.grid.coverage.grams
    off = FACTOR_ERROR[1] * bought + factor_error(site, site.grid.rest) * max(Fraction(0), value - bought)
    return by_energy, _with_error(value, off)


def nothing_of(evidence: PeriodEvidence, name: str, energy: Quantity) -> Quantity:
    """What a site without energy from the grid emitted or paid: nothing, where it was metered; else it is not known."""
    metered = evidence.sites[name].building.measured or any(w.site == name and w.metered_ns for w in evidence.sums.wholes)
    if energy.value != 0 or not metered:
        return no_quantity(energy.reason or "no energy was metered")
    return Quantity(Fraction(0), Fraction(0), None if energy.high is None or energy.high else Fraction(0))


def _one_basis(evidence: PeriodEvidence, sites: Iterable[str], total: Quantity) -> Quantity:
    """A total, unless its sites count different emissions, which no total may hold (factors/join.py)."""
    joined = {name: evidence.sites[name].grid.location for name in sites}
    site_of_basis = {str(j.basis): name for name, j in sorted(joined.items()) if j is not None}
    if total.value is None or len(site_of_basis) < 2:
        return total
    bases = " and ".join(f"{name} {basis}" for basis, name in sorted(site_of_basis.items(), key=lambda each: each[1]))
    return no_quantity(f"the sites use different bases for the emissions of the grid: {bases}")


def base(evidence: PeriodEvidence, name: str) -> Quantity:
    """The energy in uJ that a site's grams are of, with its bounds."""
    site = evidence.sites[name]
    within = boundary(evidence, name)
    if site.building.measured:
        return site.building.bought
    classes = ("gpu", "host") if within != "gpu" else ("gpu",)
    site_energy = evidence.recorded(name, *classes)
    if within != "facility":
        return site_energy
    return site_energy * evidence.pue(name)


def factor_ids(totals: Iterable[CarbonTotal | None]) -> tuple[str, ...]:
    """The factors that some grams were calculated with."""
    return tuple(sorted({s.id for total in totals if total is not None for s in total.statements if s.id and s.uj}))


def location_ids(evidence: PeriodEvidence, sites: Iterable[str]) -> tuple[str, ...]:
    """The factors of location-based grams of some sites."""
    return factor_ids(evidence.sites[name].grid.location for name in sites)


def shared_ids(evidence: PeriodEvidence, sites: Iterable[str]) -> tuple[str, ...]:
    """The factors of market-based grams of workloads, which are in proportion to location-based ones."""
    grids = [evidence.sites[name].grid for name in sites]
    return factor_ids(total for grid in grids for total in (grid.location, grid.residual))


def _unknown(site: SiteEvidence) -> str:
    joined = site.grid.location
    hours = Fraction(0) if joined is None else sum((s.hours for s in joined.statements if s.grams is None), Fraction(0))
    return f"the carbon intensity of the grid is unknown for {float(hours):.1f} h of the period"


def _basis(site: SiteEvidence) -> dict[str, str]:
    joined = site.grid.location
    if joined is None:
        return {}
    quality = sum((Fraction(s.quality or 5) * s.uj for s in joined.statements), Fraction(0)) / joined.uj if joined.uj else None
    return {"basis": str(joined.basis)} | ({"quality": quotient_text(quality, digits=2)} if quality is not None else {})


def _mean(site: SiteEvidence) -> Quantity:
    grams = site.grid.location_g
    if grams is None or not site.grid.uj:
        return no_quantity(site.grid.missing or _unknown(site))
    return times_factor(exactly(1), grams * UJ_PER_KWH / site.grid.uj, factor_error(site, site.grid.location))


def marketed_of(evidence: PeriodEvidence, name: str) -> Quantity:
    """A site's grams, market-based."""
    site, grid = evidence.sites[name], evidence.sites[name].grid
    if grid.market_g is None or grid.coverage is None:
        return no_quantity(grid.residual_lacking or grid.missing or _unknown(site))
    energy = base(evidence, name)
    if energy.value is None or not (grid.uj or grid.market_g):
        return nothing_of(evidence, name, energy)
    # Cells are whole uJ: less than one of a product with a PUE is in none of them.
    rest_g = (energy.value - grid.uj) * (grid.rest_per_uj or 0)
    grams = Quantity(max(grid.coverage.grams, grid.market_g + rest_g))
    return _sum_of_sites(evidence, {name: grams}, _split_marketed, market=True)


def residual_of(evidence: PeriodEvidence, name: str) -> Quantity:
    """Of a site's market-based grams what contracts do not bring: with theirs it is the total, exactly."""
    marketed, coverage = marketed_of(evidence, name), evidence.sites[name].grid.coverage
    if marketed.value is None or coverage is None:
        return no_quantity(marketed.reason)
    return Quantity(marketed.value - coverage.grams)


def supplier_of(evidence: PeriodEvidence, name: str) -> Quantity:
    """Of a site's market-based grams those of supplier-specific rates."""
    return residual_of(evidence, name) * evidence.sites[name].grid.supplier_share


def mix_of(evidence: PeriodEvidence, name: str) -> Quantity:
    """Of a site's market-based grams those of the residual mix, or of the grid's average in its place."""
    return residual_of(evidence, name) * (1 - evidence.sites[name].grid.supplier_share)


def _revision(evidence: PeriodEvidence, name: str) -> Iterator[Figure]:
    """Market-based grams by the draft revision of the Scope 2 Guidance, if requested."""
    site = evidence.sites[name]
    if site.inputs is None or not site.inputs.with_revision:
        return
    grams = site.grid.revision
    amount = Quantity(grams) if grams is not None else no_quantity(NO_RESIDUAL_IN_DRAFT)
    yield of_site(name).figure(REVISION, amount, "g", DRAFT_METHOD, boundary(evidence, name), {"draft": DRAFT})


def _cue(site: SiteEvidence) -> Quantity:
    pue = site.building.pue
    at = None if pue is None else Position.of(pue.category)
    grams, bought = site.grid.location_g, site.building.bought
    if at is None or grams is None or not site.grid.uj or bought.value is None:
        return no_quantity(site.grid.missing or "IT energy was not metered at a PUE category")
    per_it = per_it_kwh(grams * bought.value / site.grid.uj, None, site.building.meters, at)
    ratio = pue.amount if pue is not None else Quantity(None)
    if per_it.value is None or not ratio.value:
        return per_it
    # Its energies are those of the PUE, so that the energy errs as the PUE does.
    return times_factor(ratio, per_it.value / ratio.value, factor_error(site, site.grid.location))


def _contracts(evidence: PeriodEvidence, site: SiteEvidence) -> Iterator[Figure]:
    """How contracts match: as bought, by the hour, by the quarter of an hour; and each contract by itself."""
    grid, here, within = site.grid, of_site(site.name), boundary(evidence, site.name)
    has_lots = bool(site.inputs and site.inputs.lots)
    for name, matching in (("as_bought", grid.coverage), ("hourly", grid.hourly), ("quarter_hourly", grid.quarterly)):
        if matching is None or (name == "as_bought" and not has_lots):
            why = UNTIMED[name] if has_lots else "no contracts or certificates were given"
            yield here.figure(f"matched.{name}", no_quantity(why), "ratio", MARKET, "facility", sources=())
        elif matching.consumed_uj:
            share = Quantity(Fraction(matching.covered_uj, matching.consumed_uj))
            yield here.figure(f"matched.{name}", share, "ratio", MARKET, within, sources=("ledger", "contracts"))
    if not has_lots or grid.coverage is None:
        return
    bought = base(evidence, site.name).value
    if grid.coverage.renewable_share is not None and bought:
        on_site_uj = site.building.made_uj
        counted = 0 if site.on_site_objection else on_site_uj
        ref = Quantity((counted + grid.coverage.renewable_uj) / (on_site_uj + bought))
        yield here.figure("ref", ref, "ratio", "produced on the site and contracts", within, interim(site))
    for claim in grid.coverage.claims:
        of = {"site": site.name, "contract": claim.contract, "kind": claim.kind.value, "technology": claim.technology.value}
        of |= {f"unused: {why}": quotient_text(kwh(uj)) for why, uj in claim.unused.items()}
        of["available_kwh"] = quotient_text(kwh(claim.available_uj))
        of |= {"proof": claim.proof} if claim.proof else {}
        of |= {"g_per_kwh": quotient_text(claim.grams / kwh(claim.covered_uj))} if claim.covered_uj else {}
        covered = Quantity(kwh(claim.covered_uj))
        yield amount_figure(f"contract/{site.name}/{claim.contract}", covered, "kWh", MARKET, within, dims=of)


def boundary_of(evidence: PeriodEvidence, sites: Iterable[str]) -> str:
    """The boundary of a figure that covers several sites."""
    return common(boundary(evidence, name) for name in sites)


def common(boundaries: Iterable[str]) -> str:
    """Return the boundary of a figure that covers several sites: mixed if theirs differ."""
    names = set(boundaries)
    return names.pop() if len(names) == 1 else "mixed"


def _by_group(evidence: PeriodEvidence) -> Iterator[tuple[Figure, Iterable[str]]]:
    for group, rows in groups(evidence):
        parts = by_site(rows)
        sites = list(parts)
        within = boundary_of(evidence, sites)
        ids = location_ids(evidence, sites)
        by_location = {site: group_grams(evidence, site, site_rows) for site, site_rows in parts.items()}
        by_market = {site: group_market_grams(evidence, site, site_rows) for site, site_rows in parts.items()}
        located = _sum_of_sites(evidence, by_location, _split_of_group(parts, _location_error), market=False)
        marketed = _sum_of_sites(evidence, by_market, _split_of_group(parts, _market_error), market=True)
        yield group.figure("co2e.held.location", located, "g", LOCATION, within, factor_ids=ids), sites
        ids, of = shared_ids(evidence, sites), _levels_by_site(evidence, sites)
        yield group.figure("co2e.held.market", marketed, "g", SHARED, within, of, factor_ids=ids), sites


def group_grams(evidence: PeriodEvidence, site: str, rows: list[PartEnergy]) -> Quantity:
    """Grams of the cells of some workloads of a site."""
    mine = {r.part for r in rows}
    of = [p for p in evidence.priced if p.site == site and p.part in mine]
    if evidence.sites[site].grid.location_g is None:
        return no_quantity(evidence.sites[site].grid.missing or _unknown(evidence.sites[site]))
    if any(p.ungrammed_uj for p in of):
        return no_quantity(_unknown(evidence.sites[site]))
    within = boundary(evidence, site)
    grams = sum((p.grams for p in of), Fraction(0)) / UJ_PER_KWH
    if not sum(p.gpu_uj + p.host_uj for p in of):
        classes = ("gpu", "host") if within != "gpu" else ("gpu",)
        held_uj = held_energy(r for r in rows if r.device_class in classes).energy_uj
        return no_quantity("its energy is not known by the hour") if held_uj else Quantity(Fraction(0))
    if within != "facility":
        return _group_bounds(evidence, site, rows, grams, _location_error)
    whole = Quantity(grams) * evidence.pue(site)
    if whole.value is None:
        return whole
    return _group_bounds(evidence, site, rows, whole.value * from_grid(evidence.sites[site]), _location_error)


def _group_bounds(
    evidence: PeriodEvidence, site: str, rows: list[PartEnergy], grams: Fraction, error: _FactorError
) -> Quantity:
    """Grams of some workloads of a site with bounds: their energy at the site's boundary, and the site's factors."""
    energy = _group_energy(evidence, site, rows)
    return times_factor(energy, grams / energy.value, error(evidence, site)) if energy.value else Quantity(grams)


def _group_energy(evidence: PeriodEvidence, site: str, rows: list[PartEnergy]) -> Quantity:
    """Energy of some workloads at the site's boundary."""
    return reach(evidence, rows).at(boundary(evidence, site))


def _location_error(evidence: PeriodEvidence, name: str) -> Fraction:
    """Relative error of a site's factors, location-based."""
    site = evidence.sites[name]
    return factor_error(site, site.grid.location)


def _market_error(evidence: PeriodEvidence, name: str) -> Fraction:
    """Relative error of a site's factors, market-based: of contracts and of what they leave."""
    marketed = marketed_of(evidence, name)
    _, by_factor = _split_marketed(evidence, name, marketed)
    if not marketed.value or by_factor.high is None:
        return Fraction(0)
    return (by_factor.high - marketed.value) / marketed.value


def _split_of_group(rows: Mapping[str, list[PartEnergy]], error: _FactorError) -> _Split:
    """As `_split_located`, for the workloads of `rows`, by site."""

    def split(evidence: PeriodEvidence, name: str, amount: Quantity) -> tuple[Quantity, Quantity]:
        energy = _group_energy(evidence, name, rows[name])
        if energy.value:
            return _split(energy, amount, error(evidence, name))
        return (Quantity(amount.value or Fraction(0)),) * 2

    return split


def from_grid(site: SiteEvidence) -> Fraction:
    """The share of its building's energy that the site did not make itself: what its workloads' grams and money are of."""
    total, bought = site.building.total.value, site.building.bought.value
    return bought / total if site.building.measured and total and bought is not None else Fraction(1)


def group_market_grams(evidence: PeriodEvidence, site: str, rows: list[PartEnergy]) -> Quantity:
    """Market-based grams of some workloads: contracts are the site's, so each takes its part in proportion."""
    located, whole, market = group_grams(evidence, site, rows), located_of(evidence, site), marketed_of(evidence, site)
    if located.value == 0 and market.value is not None:
        return located
    if market.value is None or not whole.value:
        return no_quantity(market.reason or whole.reason or "the grid's emissions are zero")
    if located.value is None:
        return located
    return _group_bounds(evidence, site, rows, located.value * market.value / whole.value, _market_error)


SPEC = Measure("CO2e of electricity, location- and market-based, and matching of contracts", figures)
