"""Levels of the market-based method at a site: what each covers, and why the levels above it do not cover it all. Pure.

The order is that of the Scope 2 Guidance (2015, table 6.3): certificates, contracts, supplier-specific rate, residual mix, and
the grid's average where no residual mix is given.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

from reports.figures.figure import quotient_text
from reports.inputs.matching import CERTIFICATES, ContractUse
from reports.inputs.organisation import NO_RESIDUAL, SiteInputs
from reports.site.grid import Grid, kwh

CERTIFICATE, CONTRACT, SUPPLIER_RATE = "certificates", "contracts", "supplier-specific rate"
MIX, AVERAGE = "residual mix", "grid average"
NONE_GIVEN: Final = {
    CERTIFICATE: "no certificate was given",
    CONTRACT: "no contract was given",
    SUPPLIER_RATE: "no rate was given",
}
ALL_COVERED: Final = "higher levels cover all of the energy"
OTHER_TIME: Final = "no rate of the period"
PART_OF_TIME: Final = "no rate of a part of the period"


class MarketSite(Protocol):
    """A site as far as its levels need it."""

    @property
    def inputs(self) -> SiteInputs | None:
        """Data from its files."""

    @property
    def grid(self) -> Grid:
        """Its grid over the period."""


@dataclass(frozen=True, slots=True)
class MarketLevel:
    """One level.

    Args:
        uj: energy that it covers, metered or imputed. All levels sum to the energy from the grid, with on-site generation whose
            certificates were sold.
        grams: of that energy.
        why: why it does not cover all that the levels above it leave; "": it does.
    """

    name: str
    uj: int
    grams: Fraction
    why: str = ""


def levels(site: MarketSite) -> tuple[MarketLevel, ...]:
    """The levels of a site, the highest first; empty without a market-based total."""
    grid = site.grid
    if grid.coverage is None or grid.residual is None:
        return ()
    claims = grid.coverage.claims
    certificates = [claim for claim in claims if claim.kind in CERTIFICATES]
    contracts = [claim for claim in claims if claim.kind not in CERTIFICATES]
    rest_uj = grid.coverage.consumed_uj
    rows = []
    for name, level_claims in ((CERTIFICATE, certificates), (CONTRACT, contracts)):
        covered = sum(claim.covered_uj for claim in level_claims)
        why = "" if covered >= rest_uj else _unused(level_claims) or ("" if covered else NONE_GIVEN[name])
        rows.append(
            MarketLevel(
                name, covered, sum((claim.grams for claim in level_claims), Fraction(0)), why if rest_uj else ALL_COVERED
            )
        )
        rest_uj -= covered
    rest_uj, uses = grid.residual.uj, grid.residual.statements
    own_uj, whole_g = grid.supplier_uj, grid.residual.grams_known
    mix_g = sum((use.grams or Fraction(0) for use in uses if use.id not in _rates(site)), Fraction(0))
    why = ALL_COVERED if not rest_uj else supplier_reason(site) if own_uj < rest_uj else ""
    rows.append(MarketLevel(SUPPLIER_RATE, own_uj, whole_g - mix_g, why))
    rest_uj -= own_uj
    if grid.residual_is_average:
        rows.append(MarketLevel(MIX, 0, Fraction(0), NO_RESIDUAL if rest_uj else ALL_COVERED))
    rows.append(MarketLevel(AVERAGE if grid.residual_is_average else MIX, rest_uj, mix_g, "" if rest_uj else ALL_COVERED))
    return tuple(rows)


def level_dims(site: MarketSite) -> dict[str, str]:
    """The levels used and why higher ones do not cover it all, as dims of a market-based figure."""
    rows = levels(site)
    used = [row for row in rows if row.uj]
    if not used:
        return {}
    lowest = rows.index(used[-1])
    dims = {"levels": "; ".join(f"{row.name}: {quotient_text(kwh(row.uj))} kWh" for row in used)}
    reasons = [f"{row.name}: {row.why}" for row in rows[:lowest] if row.why]
    return dims | ({"higher_levels": "; ".join(reasons)} if reasons else {})


def supplier_reason(site: MarketSite) -> str:
    """Why supplier-specific rates do not cover what contracts leave."""
    rates = () if site.inputs is None else site.inputs.supplier_rates
    if not rates:
        return NONE_GIVEN[SUPPLIER_RATE]
    objections = tuple(dict.fromkeys(rate.objection for rate in rates if rate.objection))
    return ", ".join(objections) or (PART_OF_TIME if site.grid.supplier_uj else OTHER_TIME)


def _rates(site: MarketSite) -> Mapping[str, str]:
    return {} if site.inputs is None else {rate.id: rate.supplier for rate in site.inputs.supplier_rates}


def _unused(claims: Iterable[ContractUse]) -> str:
    return ", ".join(dict.fromkeys(reason for claim in claims for reason in claim.unused))
