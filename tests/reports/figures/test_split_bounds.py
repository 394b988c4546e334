"""Bounds of Scope 3, category 3, and of the CO2e of teams, projects and models over several sites (JCGM 100:2008).

The site and its energy are those of test_carbon_findings: 2.4 kWh.
"""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.factors.basis import Basis, EmissionBoundary
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import Figure
from reports.figures.measures import carbon, supply
from reports.figures.uncertainty import FACTOR_ERROR
from reports.site.grid import grid, times
from tests.reports.figures import test_totals
from tests.reports.figures.test_carbon_findings import WIND, days, evidence, figures
from tests.reports.golden import DIRECT, constant

__all__ = ["days"]
UPSTREAM, LOSSES = EmissionBoundary.UPSTREAM, EmissionBoundary.LOSSES
SUPPLY = {
    UPSTREAM: (constant("up", Basis(UPSTREAM), 36),),
    LOSSES: (constant("lost", Basis(LOSSES), 16),),
}


def with_supply(
    period_evidence: PeriodEvidence, sources: Mapping[EmissionBoundary, object], **change: object
) -> PeriodEvidence:
    site = period_evidence.sites["here"]
    assert site.inputs is not None
    assert site.inputs.stated is not None
    inputs = replace(site.inputs, supply=sources, **change)  # type: ignore[arg-type]
    drawn = times({t: gpu + rest for t, (gpu, rest) in period_evidence.sums.cells["here"].items()}, site.inputs.stated[0])
    return replace(period_evidence, sites={"here": replace(site, inputs=inputs, grid=grid(inputs, drawn, site.window))})


def half(figure: Figure) -> Fraction:
    assert figure.value is not None
    assert figure.high is not None
    return figure.high - figure.value


def near(value: Fraction, wanted: Fraction) -> bool:
    return abs(value - wanted) <= wanted / 10**4


@pytest.mark.parametrize("declared", [None, Fraction(3, 10)])
def test_category_3_has_the_errors_of_its_energy_and_of_both_factors(days: Path, declared: Fraction | None) -> None:
    """half^2 = (both values x the energy's error)^2 + (fuel supply x its factor's)^2 + (losses x theirs)^2."""
    period_evidence = with_supply(evidence(days), SUPPLY, factor_error=declared)
    energy = carbon.base(period_evidence, "here")
    assert energy.value
    assert energy.high is not None
    of_energy = (energy.high - energy.value) / energy.value
    error = FACTOR_ERROR[SUPPLY[UPSTREAM][0].quality] if declared is None else declared
    by_id = {f.id: f for f in supply.figures(period_evidence)}
    up, lost = (Fraction("2.4") * grams for grams in (36, 16))
    for name in ("scope_3_3", "scope_3_3/site/here"):
        assert near(half(by_id[name]) ** 2, ((up + lost) * of_energy) ** 2 + (up * error) ** 2 + (lost * error) ** 2)
    assert near(half(by_id["scope_3_3.upstream/site/here"]) ** 2, (up * of_energy) ** 2 + (up * error) ** 2)
    assert by_id["biogenic_co2"].high is None


def test_factors_with_one_origin_err_together(days: Path) -> None:
    """The same factor for both kinds: its error adds linearly, so that the bound is wider."""
    together = {kind: (replace(SUPPLY[kind][0], id="one"),) for kind in SUPPLY}
    apart, joined = (
        {f.id: f for f in supply.figures(with_supply(evidence(days), s, factor_error=Fraction(3, 10)))}["scope_3_3"]
        for s in (SUPPLY, together)
    )
    assert apart.value == joined.value
    assert half(joined) > half(apart)
    assert half(joined) >= Fraction("2.4") * 52 * Fraction(3, 10)


def test_a_team_has_market_based_bounds_of_contracts_and_of_the_rest(days: Path) -> None:
    """The one team took all energy: the relative error of its factors is that of the site."""
    for lots in ((), (WIND,)):
        period_evidence = evidence(days, *lots)
        by_id = figures(period_evidence)
        team, located = by_id["co2e.held.market/team/red"], by_id["co2e.held.location/team/red"]
        assert located.value
        energy = carbon.base(period_evidence, "here")
        assert energy.value
        assert energy.high is not None
        assert team.value
        relative, of_energy = half(team) / team.value, (energy.high - energy.value) / energy.value
        least = min(FACTOR_ERROR.values())
        assert relative**2 >= of_energy**2 + least**2 - Fraction(1, 10**9)
        assert team.low is not None
        assert team.low < team.value


def test_a_team_of_two_sites_has_less_error_than_the_sum_and_no_less_than_its_parts(tmp_path: Path) -> None:
    sites = [test_totals.site("one", DIRECT), test_totals.site("two", DIRECT, 300)]
    by_id = test_totals.make_facts(tmp_path, {"one": "0.5", "two": "0.25"}, sites).figures
    for quantity in ("co2e.held.location", "co2e.held.market"):
        parts = [half(by_id[f"{quantity}/site/{name}"]) for name in ("one", "two")]
        whole = half(by_id[quantity])
        # Factors of two grids are independent, sensors of one model are not.
        assert sum(part**2 for part in parts) <= whole**2 * (1 + Fraction(1, 10**6))
        assert whole < sum(parts)
