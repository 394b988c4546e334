"""CO2e of electricity, location- and market-based (GHG Protocol, Scope 2), CUE, REF, and how contracts match the hours.

A site is reckoned at the widest boundary that is known of it: the building where meters tell it (energy from the grid alone),
the building as an estimate where a PUE is stated, else its nodes, else its GPUs; a figure's boundary says which, and contracts
are matched with the energy there. What contracts bring and what they leave to the residual mix are the total, exactly.

Parts of the fleet take the grams of their own cells; where the boundary is the building, times the site's PUE, and times the
share of its energy that comes from the grid. No publisher states a factor's error, so bounds are those of the energy.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from energy_agent.core.facility import Position
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.metering.facility_ratio import Amount
from energy_agent.metering.pue import per_it_kwh
from reports.bounded import held_energy, whole_energy
from reports.evidence import Evidence, Site, amount_of, plus, product, scaled
from reports.figures import Figure, amount_figure, quotient_text
from reports.grid import kwh
from reports.measures._measure import Measure, covered, groups
from reports.sums import Held

LOCATION, MARKET = "location-based", "market-based"


def figures(evidence: Evidence) -> Iterator[Figure]:
    """Grams."""
    yield from covered(evidence, _figures(evidence))


def _figures(evidence: Evidence) -> Iterator[Figure]:
    located, marketed = [], []
    for name, site in sorted(evidence.sites.items()):
        dims = {"site": name}
        within = boundary(evidence, name)
        ids = factor_ids(site)
        located.append(located_of(evidence, name))
        marketed.append(marketed_of(evidence, name))
        yield amount_figure(
            f"co2e.location/site/{name}", located[-1], "g", LOCATION, within, factor_ids=ids, dims=dims | _basis(site)
        )
        method = (
            f"{MARKET}, rest at the grid's average" if site.grid.residual_is_average else f"{MARKET}, rest at the residual mix"
        )
        yield amount_figure(f"co2e.market/site/{name}", marketed[-1], "g", method, within, factor_ids=ids, dims=dims)
        yield amount_figure(
            f"grid_intensity/site/{name}", _mean(site), "g/kWh", LOCATION, "grid", factor_ids=ids, dims=dims | _basis(site)
        )
        yield amount_figure(f"cue/site/{name}", _cue(site), "g/kWh", LOCATION, "facility", factor_ids=ids, dims=dims)
        yield from _contracts(evidence, site)
    within, every = _together(evidence, evidence.sites)
    total = _one_basis(evidence, evidence.sites, plus(located))
    yield amount_figure("co2e.location", total, "g", LOCATION, within, factor_ids=every)
    average = any(site.grid.residual_is_average for site in evidence.sites.values())
    how = f"{MARKET}, rest at the grid's average" if average else f"{MARKET}, rest at the residual mix"
    total = _one_basis(evidence, evidence.sites, plus(marketed))
    yield amount_figure("co2e.market", total, "g", how, within, factor_ids=every)
    yield from _by_group(evidence)


def boundary(evidence: Evidence, site: str) -> str:
    """The widest boundary at which a site's energy is known."""
    building = evidence.sites[site].building
    if building.measured or (not evidence.node_gap(site) and evidence.pue(site).value is not None):
        return "facility"
    return "gpu" if evidence.node_gap(site) else "node"


def located_of(evidence: Evidence, name: str) -> Amount:
    """A site's grams, location-based: what was metered at its cells, the rest and the bounds at the mean of these."""
    site = evidence.sites[name]
    grams, metered_uj = site.grid.location_g, site.grid.uj
    if grams is None:
        return Amount(None, reason=site.grid.lacking or _unknown(site))
    energy = base(evidence, name)
    if energy.value is None or not metered_uj:
        return nothing_of(evidence, name, energy)
    return scaled(energy, grams / metered_uj)


def nothing_of(evidence: Evidence, name: str, energy: Amount) -> Amount:
    """What a site without energy from the grid emitted or paid: nothing, where it was metered; else it is not known."""
    metered = evidence.sites[name].building.measured or any(w.site == name and w.metered_ns for w in evidence.sums.wholes)
    if energy.value != 0 or not metered:
        return Amount(None, reason=energy.reason or "no energy was metered")
    return Amount(Fraction(0), Fraction(0), None if energy.high is None or energy.high else Fraction(0))


def _one_basis(evidence: Evidence, sites: Iterable[str], total: Amount) -> Amount:
    """A total, unless its sites count different emissions, which no total may hold (factors/join.py)."""
    joined = {name: evidence.sites[name].grid.location for name in sites}
    found = {str(j.basis): name for name, j in sorted(joined.items()) if j is not None}
    if total.value is None or len(found) < 2:
        return total
    told = " and ".join(f"{name} {basis}" for basis, name in sorted(found.items(), key=lambda each: each[1]))
    return Amount(None, reason=f"the sites count different emissions of the grid: {told}")


def base(evidence: Evidence, name: str) -> Amount:
    """The energy in uJ that a site's grams are of, with its bounds."""
    site = evidence.sites[name]
    within = boundary(evidence, name)
    if site.building.measured:
        return site.building.bought
    classes = ("gpu", "host") if within != "gpu" else ("gpu",)
    own = amount_of(whole_energy(w for w in evidence.sums.wholes if w.site == name and w.device_class in classes))
    if within != "facility":
        return own
    return product(own, evidence.pue(name))


def factor_ids(site: Site) -> tuple[str, ...]:
    """What was used for a site's grams."""
    joined = [j for j in (site.grid.location, site.grid.rest) if j is not None]
    return tuple(sorted({s.id for j in joined for s in j.statements if s.id and s.uj}))


def _unknown(site: Site) -> str:
    joined = site.grid.location
    hours = Fraction(0) if joined is None else sum((s.hours for s in joined.statements if s.grams is None), Fraction(0))
    return f"no intensity of the grid is known for {float(hours):.1f} h of the period"


def _basis(site: Site) -> dict[str, str]:
    joined = site.grid.location
    if joined is None:
        return {}
    quality = sum((Fraction(s.quality or 5) * s.uj for s in joined.statements), Fraction(0)) / joined.uj if joined.uj else None
    return {"basis": str(joined.basis)} | ({"quality": quotient_text(quality, digits=2)} if quality is not None else {})


def _mean(site: Site) -> Amount:
    grams = site.grid.location_g
    if grams is None or not site.grid.uj:
        return Amount(None, reason=site.grid.lacking or _unknown(site))
    return Amount(grams * UJ_PER_KWH / site.grid.uj)


def marketed_of(evidence: Evidence, name: str) -> Amount:
    """A site's grams, market-based."""
    site, grid = evidence.sites[name], evidence.sites[name].grid
    if grid.market_g is None or grid.coverage is None:
        return Amount(None, reason=grid.residual_lacking or grid.lacking or _unknown(site))
    energy = base(evidence, name)
    if energy.value is None or not grid.uj:
        return nothing_of(evidence, name, energy)
    # Contracts cover what they cover: what is imputed, and the bounds, are of the rest, which is of the residual mix.
    market_g, covered_g, per_uj = grid.market_g, grid.coverage.grams, grid.rest_per_uj
    if per_uj is None:
        known = energy.value < grid.uj + 1  # cells are whole uJ
        return Amount(market_g) if known else Amount(None, reason=grid.residual_lacking or grid.lacking or _unknown(site))

    def at(energy_uj: Fraction, least: Fraction) -> Fraction:
        return max(least, market_g + (energy_uj - grid.uj) * per_uj)

    low = None if energy.low is None else at(energy.low, Fraction(0))
    return Amount(at(energy.value, covered_g), low, None if energy.high is None else at(energy.high, covered_g))


def residual_of(evidence: Evidence, name: str) -> Amount:
    """Of a site's market-based grams what contracts do not bring: with theirs (`Coverage.grams`) it is the total, exactly."""
    found, coverage = marketed_of(evidence, name), evidence.sites[name].grid.coverage
    if found.value is None or coverage is None:
        return Amount(None, reason=found.reason)
    low, high = (None if g is None else max(Fraction(0), g - coverage.grams) for g in (found.low, found.high))
    return Amount(found.value - coverage.grams, low, high)


def _cue(site: Site) -> Amount:
    pue = site.building.pue
    at = None if pue is None else Position.of(pue.category)
    grams, bought = site.grid.location_g, site.building.bought
    if at is None or grams is None or not site.grid.uj or bought.value is None:
        return Amount(None, reason=site.grid.lacking or "IT energy was not metered by a PUE's category")
    return per_it_kwh(grams * bought.value / site.grid.uj, Fraction(0), site.building.meters, at)


def _contracts(evidence: Evidence, site: Site) -> Iterator[Figure]:
    """How contracts match: as bought, by the hour, by the quarter of an hour; and each contract by itself."""
    grid, dims, within = site.grid, {"site": site.name}, boundary(evidence, site.name)
    for name, found in (("as_bought", grid.coverage), ("hourly", grid.hourly), ("quarter_hourly", grid.quarterly)):
        identity = f"matched.{name}/site/{site.name}"
        if found is None or (name == "as_bought" and not (site.inputs and site.inputs.lots)):
            yield Figure(
                identity, None, "ratio", MARKET, "facility", dims=dims, reason="no contracts or certificates were given"
            )
        elif found.consumed_uj:
            share = Amount(Fraction(found.covered_uj, found.consumed_uj))
            yield amount_figure(identity, share, "ratio", MARKET, within, sources=("ledger", "contracts"), dims=dims)
    if site.inputs is None or not site.inputs.lots or grid.coverage is None:
        return
    bought = base(evidence, site.name).value
    if grid.coverage.renewable_share is not None and bought:
        made = site.building.made_uj
        ref = Amount((made + grid.coverage.renewable_uj) / (made + bought))
        yield amount_figure(f"ref/site/{site.name}", ref, "ratio", "made on the site and contracts", within, dims=dims)
    for claim in grid.coverage.claims:
        of = dims | {"contract": claim.contract, "kind": claim.kind.value, "technology": claim.technology.value}
        of |= {f"unused: {why}": quotient_text(kwh(uj)) for why, uj in claim.unused.items()}
        of["available_kwh"] = quotient_text(kwh(claim.available_uj))
        covered = Amount(kwh(claim.covered_uj))
        yield amount_figure(f"contract/{site.name}/{claim.contract}", covered, "kWh", MARKET, within, dims=of)


def _together(evidence: Evidence, sites: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """(boundary, ids of factors) of what is told of some sites together."""
    found = sorted(sites)
    boundaries = {boundary(evidence, name) for name in found}
    ids = tuple(sorted({i for name in found for i in factor_ids(evidence.sites[name])}))
    return (boundaries.pop() if len(boundaries) == 1 else "mixed"), ids


def _by_group(evidence: Evidence) -> Iterator[Figure]:
    for suffix, dims, rows in groups(evidence):
        parts = _by_site(rows)
        within, ids = _together(evidence, dict(parts))
        located = _one_basis(evidence, dict(parts), plus([group_grams(evidence, site, own) for site, own in parts]))
        marketed = _one_basis(evidence, dict(parts), plus([_shared(evidence, site, own) for site, own in parts]))
        yield amount_figure(f"co2e.held.location{suffix}", located, "g", LOCATION, within, factor_ids=ids, dims=dims)
        method = f"{MARKET}, in proportion to location-based"
        yield amount_figure(f"co2e.held.market{suffix}", marketed, "g", method, within, factor_ids=ids, dims=dims)


def _by_site(rows: list[Held]) -> list[tuple[str, list[Held]]]:
    return [(site, [r for r in rows if r.site == site]) for site in sorted({r.site for r in rows})]


def group_grams(evidence: Evidence, site: str, rows: list[Held]) -> Amount:
    """Grams of the cells of some workloads, with the relative bounds of their energy."""
    mine = {r.part for r in rows}
    of = [p for p in evidence.priced if p.site == site and p.part in mine]
    if evidence.sites[site].grid.location_g is None:
        return Amount(None, reason=evidence.sites[site].grid.lacking or _unknown(evidence.sites[site]))
    if any(p.ungrammed_uj for p in of):
        return Amount(None, reason=_unknown(evidence.sites[site]))
    within = boundary(evidence, site)
    grams = sum((p.grams for p in of), Fraction(0)) / UJ_PER_KWH
    uj = sum(p.gpu_uj + p.host_uj for p in of)
    classes = ("gpu", "host") if within != "gpu" else ("gpu",)
    energy = amount_of(held_energy(r for r in rows if r.device_class in classes))
    if not uj:
        return energy if not energy.value else Amount(None, reason="its energy is not known by the hour")
    found = scaled(energy, grams / uj)
    return scaled(product(found, evidence.pue(site)), from_grid(evidence.sites[site])) if within == "facility" else found


def from_grid(site: Site) -> Fraction:
    """The share of its building's energy that the site did not make itself: what its workloads' grams and money are of."""
    total, bought = site.building.total.value, site.building.bought.value
    return bought / total if site.building.measured and total and bought is not None else Fraction(1)


def _shared(evidence: Evidence, site: str, rows: list[Held]) -> Amount:
    """Market-based grams of some workloads: contracts are the site's, so each takes its part in proportion."""
    located, whole, market = (
        group_grams(evidence, site, rows),
        located_of(evidence, site),
        marketed_of(evidence, site),
    )
    if market.value is None or not whole.value:
        return Amount(None, reason=market.reason or whole.reason or "the grid's grams are nothing")
    return scaled(located, market.value / whole.value)


SPEC = Measure("CO2e of electricity, location- and market-based, and how contracts match", figures)
