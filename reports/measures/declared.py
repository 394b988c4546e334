"""What frameworks ask beside energy: renewable energy by kind, reused heat, grams of the residual mix, what is declared."""

from collections.abc import Iterator
from fractions import Fraction

from energy_agent.core.facility import Role
from energy_agent.core.units import UJ_PER_J
from energy_agent.metering.contracts import CERTIFICATES, Kind
from energy_agent.metering.facility_ratio import Amount, energy
from energy_agent.metering.facility_tree import counted
from reports.evidence import Evidence, Site
from reports.figures import Figure, amount_figure
from reports.measures._measure import Measure
from reports.measures.carbon import boundary, factor_ids, residual_of

_J = Fraction(1, UJ_PER_J)
SOURCES = ("ledger", "meters", "contracts")


def figures(evidence: Evidence) -> Iterator[Figure]:
    """By site."""
    for name, site in sorted(evidence.sites.items()):
        dims, within = {"site": name}, boundary(evidence, name)
        made = _metered(site, Role.RENEWABLE)
        by_kind = {
            "certificates": _claimed(site, CERTIFICATES),
            "ppa": _claimed(site, frozenset({Kind.PPA})),
            "other": _claimed(site, frozenset({Kind.OTHER})),
            "on_site": made,
        }
        for kind, amount in by_kind.items():
            identity = f"energy.total_renewable.{kind}/site/{name}"
            yield amount_figure(identity, amount, "J", "matched or metered", within, sources=SOURCES, dims=dims, scale=_J)
        known = [a.value for a in by_kind.values() if a.value is not None]
        total = (
            Amount(sum(known, Fraction(0))) if known else Amount(None, reason="no contracts, and no meter of role renewable")
        )
        yield amount_figure(
            f"energy.total_renewable/site/{name}", total, "J", "matched or metered", within, sources=SOURCES,
            dims=dims, scale=_J,
        )  # fmt: skip
        heat = _metered(site, Role.REUSED_HEAT)
        yield amount_figure(
            f"energy.reused_heat/site/{name}", heat, "J", "metered", "facility", sources=SOURCES, dims=dims, scale=_J
        )
        how = "the grid's average" if site.grid.residual_is_average else "the residual mix"
        ids = factor_ids(site)
        grams = residual_of(evidence, name)
        yield amount_figure(f"co2e.market.residual/site/{name}", grams, "g", how, within, factor_ids=ids, dims=dims)
        if site.grid.coverage is not None:
            instruments = Amount(site.grid.coverage.grams)
            yield amount_figure(f"co2e.market.instruments/site/{name}", instruments, "g", "contracts", within, dims=dims)
        for key, unit, value in (
            ("it_kw", "kW", site.inputs and site.inputs.it_kw),
            ("floor_m2", "m2", site.inputs and site.inputs.floor_m2),
        ):
            amount = Amount(Fraction(value)) if value else Amount(None, reason="nobody declared it")
            yield amount_figure(
                f"declared.{key}/site/{name}", amount, unit, "declared", "facility", sources=("declared",), dims=dims
            )


def _metered(site: Site, role: Role) -> Amount:
    meters = site.building.meters
    terms = {m.id: 1 for m in counted([e.facts for e in meters.values()], role)}
    return energy(meters, terms) if terms else Amount(None, reason=f"no meter of role {role}")


def _claimed(site: Site, kinds: frozenset[Kind]) -> Amount:
    """Energy that renewable contracts of some kinds cover."""
    if site.grid.coverage is None or site.inputs is None or not site.inputs.lots:
        return Amount(None, reason="no contracts or certificates were given")
    return Amount(Fraction(sum(c.covered_uj for c in site.grid.coverage.claims if c.kind in kinds and c.technology.renewable)))


SPEC = Measure("renewable energy, reused heat, the residual mix, and what is declared", figures)
