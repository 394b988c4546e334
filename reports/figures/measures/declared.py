"""Figures that frameworks require in addition to energy: renewable energy by kind, reused heat, residual mix, declarations."""

from collections.abc import Iterator
from fractions import Fraction

from energy_agent.core.meters.facility import Role
from energy_agent.core.quantity import ZERO, Quantity, Unit, no_quantity
from energy_agent.site.building.ratio import energy
from energy_agent.site.building.tree import meters_of_role
from reports.figures.evidence import PeriodEvidence, SiteEvidence
from reports.figures.figure import STAND_IN, Figure
from reports.figures.levels import supplier_reason
from reports.figures.measures._measure import Measure, of_site
from reports.figures.measures.carbon import (
    AVERAGE,
    boundary,
    by_basis,
    factor_ids,
    mix_of,
    substitute,
    supplier_of,
    takes_average,
)
from reports.inputs.matching import CERTIFICATES, InstrumentKind
from reports.inputs.organisation import NO_RESIDUAL
from reports.inputs.supplier import SUPPLIER

SOURCES = ("ledger", "meters", "contracts")
NO_CONTRACTS = "no contracts or certificates were given"
NOTHING_COVERED = "no contract or certificate covers any of it"


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """By site."""
    for name, site in sorted(evidence.sites.items()):
        here, within = of_site(name), boundary(evidence, name)
        on_site = _metered(site, Role.RENEWABLE)
        if on_site.value is not None and site.on_site_objection:
            on_site = no_quantity(site.on_site_objection)
        by_kind = {
            "certificates": _claimed(site, CERTIFICATES),
            "ppa": _claimed(site, frozenset({InstrumentKind.PPA})),
            "other": _claimed(site, frozenset({InstrumentKind.OTHER})),
            "on_site": on_site,
        }
        for kind, amount in by_kind.items():
            yield here.figure(f"energy.total_renewable.{kind}", amount, "J", "matched or metered", within, sources=SOURCES)
        values = [a for a in by_kind.values() if a.value is not None]
        total = sum(values, ZERO).rest(ZERO) if values else no_quantity("no contracts, and no meter of role renewable")
        yield here.figure("energy.total_renewable", total, "J", "matched or metered", within, sources=SOURCES)
        yield here.figure("grid_share", _grid_share(site), "ratio", "metered", "facility", sources=SOURCES)
        heat = _metered(site, Role.REUSED_HEAT)
        yield here.figure("energy.reused_heat", heat, "J", "metered", "facility", sources=SOURCES)
        for figure in _market(evidence, name):
            yield from by_basis(evidence, [name], figure)
        for key, unit, value in (
            ("it_kw", "kW", site.inputs and site.inputs.it_kw),
            ("floor_m2", "m2", site.inputs and site.inputs.floor_m2),
        ):
            amount = Quantity(Fraction(value)) if value else no_quantity("not declared")
            yield here.figure(f"declared.{key}", amount, unit, "declared", "facility", sources=("declared",))


def _grid_share(site: SiteEvidence) -> Quantity:
    """Share of a metered building's energy that came from the grid."""
    building = site.building
    if not building.measured or not building.total.value or building.bought.value is None:
        return no_quantity(building.total.reason or "no meter of role total")
    return Quantity(building.bought.value / building.total.value)


def _market(evidence: PeriodEvidence, name: str) -> Iterator[Figure]:
    """What contracts bring to a site's market-based grams, and what is of the residual mix, or of what stands in for it."""
    site, here, within = evidence.sites[name], of_site(name), boundary(evidence, name)
    rest, coverage, used = mix_of(evidence, name), site.grid.coverage, factor_ids([site.grid.residual])
    of_supplier = tuple(each for each in used if each.startswith(SUPPLIER))
    ids = tuple(each for each in used if each not in of_supplier)
    if takes_average(evidence, name):
        yield here.figure("co2e.market.average", rest, "g", AVERAGE, within, factor_ids=ids)
        rest = no_quantity(NO_RESIDUAL)
    replaced = substitute(evidence, name)
    of = {STAND_IN: replaced} if replaced else {}
    yield here.figure("co2e.market.residual", rest, "g", "the residual mix", within, of, factor_ids=ids)
    supplier = supplier_of(evidence, name) if site.grid.supplier_uj else no_quantity(supplier_reason(site))
    yield here.figure("co2e.market.supplier", supplier, "g", "the supplier's rate", within, factor_ids=of_supplier)
    if coverage is not None and coverage.covered_uj:
        instruments = Quantity(coverage.grams)
    else:
        instruments = no_quantity(NOTHING_COVERED if _bought(site) else NO_CONTRACTS)
    yield here.figure("co2e.market.instruments", instruments, "g", "contracts", within)


def _bought(site: SiteEvidence) -> bool:
    return site.inputs is not None and bool(site.inputs.lots)


def _metered(site: SiteEvidence, role: Role) -> Quantity:
    meters = site.building.meters
    terms = {m.id: 1 for m in meters_of_role([e.facts for e in meters.values()], role)}
    return energy(meters, terms) if terms else no_quantity(f"no meter of role {role}")


def _claimed(site: SiteEvidence, kinds: frozenset[InstrumentKind]) -> Quantity:
    """Energy that renewable contracts of some kinds cover."""
    if site.grid.coverage is None or not _bought(site):
        return no_quantity(NO_CONTRACTS)
    covered_uj = sum(c.covered_uj for c in site.grid.coverage.claims if c.kind in kinds and c.technology.renewable)
    return Quantity(Fraction(covered_uj), unit=Unit.UJ)


SPEC = Measure("renewable energy, reused heat, the residual mix, and declared figures", figures)
