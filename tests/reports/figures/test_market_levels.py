"""Levels of the market-based method: supplier-specific rates between contracts and the residual mix, markets, and the draft.

The site and its energy are those of test_carbon_findings: 2.4 kWh in the first hour of the quarter, residual mix 600 g/kWh.
"""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energy_agent.factors.basis import EmissionBoundary
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import Figure
from reports.figures.levels import levels
from reports.figures.measures import all_figures
from reports.frameworks.datapoints import frameworks
from reports.inputs.market import MarketBoundary, market_of
from reports.inputs.matching import InstrumentKind, Lot, Technology, certified
from reports.inputs.organisation import SiteInputs
from reports.inputs.supplier import CRITERIA, SupplierRate, SupplierRateConfig, refuse_overlap
from reports.language import LANGUAGES, say_in
from reports.ledger.sums import SiteWindow
from reports.page.market import market_blocks
from reports.site.grid import Grid, grid, times
from tests.reports import chains
from tests.reports.chains import CELL, HOUR, KWH
from tests.reports.figures.test_carbon_findings import JULY, WIND, days, evidence, lot
from tests.reports.golden import DIRECT, RESIDUAL, constant

__all__ = ["days"]
DAY = 24 * HOUR
RATE = SupplierRate("utility", Decimal(310), JULY, JULY + DAY, "label of 2025")
SHORT = replace(RATE, start_ns=JULY + HOUR // 2)


def with_inputs(period_evidence: PeriodEvidence, **change: object) -> dict[str, Figure]:
    site = period_evidence.sites["here"]
    assert site.inputs is not None
    inputs = replace(site.inputs, **change)  # type: ignore[arg-type]
    drawn = times({t: gpu + rest for t, (gpu, rest) in period_evidence.sums.cells["here"].items()}, inputs.stated[0])
    changed = replace(period_evidence, sites={"here": replace(site, inputs=inputs, grid=grid(inputs, drawn, site.window))})
    return {f.id: f for f in all_figures(changed)}


@pytest.fixture(scope="module")
def base(days: Path) -> PeriodEvidence:
    return evidence(days)


def market(figures: dict[str, Figure], name: str = "co2e.market") -> Figure:
    return figures[f"{name}/site/here"]


def test_a_supplier_rate_comes_before_the_residual_mix_and_after_contracts(base: PeriodEvidence) -> None:
    """2.4 x 310 = 744 g; without the rate 2.4 x 600; with a contract of 2 kWh at 10 g: 20 + 0.4 x 310."""
    figures = with_inputs(base, supplier_rates=(RATE,))
    assert (market(figures).text, market(figures, "co2e.market.supplier").text) == ("744", "744")
    assert market(figures, "co2e.market.residual").text == "0"
    assert market(figures).dims["levels"] == "supplier-specific rate: 2.4 kWh"
    assert market(figures).dims["higher_levels"] == "certificates: no certificate was given; contracts: no contract was given"
    assert market(figures).factor_ids == (RATE.id,)
    without = with_inputs(base)
    assert market(without).text == "1440"
    assert market(without, "co2e.market.supplier").reason == "no rate was given"
    assert market(without).dims["levels"] == "residual mix: 2.4 kWh"
    assert market(without).dims["higher_levels"].endswith("supplier-specific rate: no rate was given")
    both = with_inputs(base, supplier_rates=(RATE,), lots=(WIND,))
    assert (market(both).text, market(both, "co2e.market.instruments").text) == ("144", "20")
    assert market(both).dims["levels"] == "contracts: 2 kWh; supplier-specific rate: 0.4 kWh"


def test_every_market_based_figure_names_its_levels(base: PeriodEvidence) -> None:
    figures = with_inputs(base, supplier_rates=(RATE,))
    keys = {"co2e.market": "levels", "co2e.market/site/here": "levels"}
    keys |= dict.fromkeys(("co2e.held.market", "co2e.held.market/team/red"), "levels/here")  # the site's, not the team's
    assert {name: figures[name].dims[key] for name, key in keys.items()} == dict.fromkeys(
        keys, "supplier-specific rate: 2.4 kWh"
    )
    assert "levels" not in figures["co2e.held.market/team/red"].dims
    assert "levels" not in figures["co2e.location"].dims


def test_each_figure_names_the_factors_that_its_grams_were_calculated_with(base: PeriodEvidence) -> None:
    figures = with_inputs(base, supplier_rates=(SHORT,))
    rate, mix, grid_mean = (SHORT.id,), ("of.rest",), ("of.grid",)
    expected = {
        "co2e.location/site/here": grid_mean, "co2e.market/site/here": rate + mix, "co2e.market.supplier/site/here": rate,
        "co2e.market.residual/site/here": mix, "co2e.held.location/team/red": grid_mean,
        "co2e.held.market/team/red": grid_mean + rate + mix, "grid_intensity/site/here": grid_mean,
    }  # fmt: skip
    assert {name: sorted(figures[name].factor_ids) for name in expected} == {
        name: sorted(ids) for name, ids in expected.items()
    }


def test_a_rate_of_a_part_of_the_time_leaves_the_rest_to_the_residual_mix(base: PeriodEvidence) -> None:
    """The first half of the hour at 600, the second at 310: 1.2 x 600 + 1.2 x 310."""
    figures = with_inputs(base, supplier_rates=(SHORT,))
    assert market(figures).text == "1092"
    assert (market(figures, "co2e.market.supplier").text, market(figures, "co2e.market.residual").text) == ("372", "720")
    assert "supplier-specific rate: no rate of a part of the period" in market(figures).dims["higher_levels"]


def test_the_grid_average_is_the_last_level_and_each_reason_is_one_part(base: PeriodEvidence) -> None:
    reason = "XA: no factor; add a factor file; see docs/factors.md"
    dims = market(with_inputs(base, residual=(), residual_lacking=reason)).dims
    assert dims["levels"] == "grid average: 2.4 kWh"
    assert dims["higher_levels"].split("; ")[-1] == "residual mix: no input has a residual mix of the grid"
    assert len(dims["higher_levels"].split("; ")) == 4


def test_a_rate_does_not_need_a_grid_factor(base: PeriodEvidence) -> None:
    figures = with_inputs(base, supplier_rates=(RATE,), location=(), residual=(), location_lacking="no factor")
    assert (market(figures).text, figures["co2e.location"].value) == ("744", None)
    unknown = with_inputs(base, supplier_rates=(SHORT,), location=(), residual=(), location_lacking="no factor")
    assert market(unknown).value is None


def rate_config(**change: object) -> SupplierRateConfig:
    fields = {
        "supplier": "utility", "zone": "DE", "start": date(2026, 7, 1), "end": date(2026, 7, 31), "g_per_kwh": 310,
        "source": "label of 2025", **dict.fromkeys(CRITERIA, "yes"),
    }  # fmt: skip
    return SupplierRateConfig.model_validate(fields | change)


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({}, ""),
        ({"zone": "FR"}, ""),  # the European market
        (dict.fromkeys(CRITERIA, True), ""),  # as YAML reads yes
        *(({key: False}, f"it does not meet the quality criteria: {key} no") for key in CRITERIA),
        ({"zone": "GB"}, "another market"),
        ({"g_boundary": "life-cycle"}, "its rate is life-cycle, but the total is direct"),
        *(({key: None}, f"it does not meet the quality criteria: {key} not stated") for key in CRITERIA),
        *(({key: "no"}, f"it does not meet the quality criteria: {key} no") for key in CRITERIA),
    ],
)
def test_a_rate_is_used_only_if_it_meets_the_quality_criteria(
    base: PeriodEvidence, change: dict[str, object], objection: str
) -> None:
    """The twin of the first case: with one criterion removed the next level applies and the line has the reason."""
    rate = rate_config(**change).rate(ZoneInfo("UTC"), "DE", EmissionBoundary.DIRECT)
    assert rate.objection == objection
    figures = with_inputs(base, supplier_rates=(rate,))
    assert market(figures).text == ("1440" if objection else "744")
    if objection:
        assert market(figures).dims["higher_levels"].endswith(f"supplier-specific rate: {objection}")
        assert market(figures, "co2e.market.supplier").reason == objection


def test_wrong_rates_are_refused() -> None:
    with pytest.raises(ValidationError, match="ends on 2026-06-01, before it begins on 2026-07-01"):
        rate_config(end=date(2026, 6, 1))
    first, second = rate_config(end=date(2026, 7, 10)), rate_config(start=date(2026, 7, 10), supplier="other")
    with pytest.raises(ValueError, match="two supplier rates on 2026-07-10: 'utility' and 'other'"):
        refuse_overlap([second, first])
    refuse_overlap([first, rate_config(start=date(2026, 7, 11))])


@pytest.mark.parametrize(
    ("zone", "market"),
    [
        ("DE", "Europe"), ("NO1", "Europe"), ("SE-SE3", "Europe"), ("GB", "GB"), ("IS", "IS"), ("US-CA", "North America"),
        ("CA-ON", "North America"), ("CN-BJ", "CN"), ("grid", "grid"), ("DEU", "DEU"),
    ],
)  # fmt: skip
def test_markets(zone: str, market: str) -> None:
    """RE100/TAG/2019/02 of 27 May 2019: the European single market without Iceland, the United States with Canada."""
    assert market_of(zone) == market


def test_the_rule_for_the_place_of_generation() -> None:
    rules = {rule: [rule.accepts("DE", zone) for zone in ("DE", "NO1", "GB")] for rule in MarketBoundary}
    assert rules == {MarketBoundary.GUIDANCE_2015: [True, True, False], MarketBoundary.REVISION: [True, False, False]}


def test_a_certificate_of_the_same_market_counts_by_the_guidance_and_not_by_its_draft(base: PeriodEvidence) -> None:
    """2 kWh of Norwegian hydro at 0 g in Germany: 0.4 x 600 by the guidance; by the draft 2.4 kWh take the residual mix."""
    abroad = replace(lot("go", InstrumentKind.GO, Technology.HYDRO, "2", 0), zone="NO1")
    inputs = {"grid_zone": "DE", "lots": (abroad,)}
    assert "draft_revision.market/site/here" not in with_inputs(base, **inputs)
    figures = with_inputs(base, **inputs, with_revision=True)
    assert market(figures).text == "240"
    draft = figures["draft_revision.market/site/here"]
    assert (draft.text, draft.unit) == ("1440", "g")
    assert draft.dims["draft"].endswith("answers no datapoint")
    at_home = with_inputs(base, grid_zone="NO1", lots=(abroad,), with_revision=True)
    assert at_home["draft_revision.market/site/here"].text == "240"
    spread = with_inputs(base, grid_zone="NO1", lots=(replace(abroad, timed=False),), with_revision=True)
    assert (market(spread).text, spread["draft_revision.market/site/here"].text) == ("240", "1440")
    other = with_inputs(base, grid_zone="GB", lots=(abroad,))
    assert market(other).text == "1440"
    assert "certificates: another market" in market(other).dims["higher_levels"]


def test_the_draft_takes_no_average_and_answers_no_datapoint(base: PeriodEvidence) -> None:
    figures = with_inputs(base, with_revision=True, residual=())
    draft = figures["draft_revision.market/site/here"]
    assert "no grid average" in (draft.reason or "")
    patterns = {pattern for framework in frameworks() for point in framework.datapoints for pattern in point.figures}
    assert not [pattern for pattern in patterns if pattern.startswith(("draft", "*"))]


@pytest.mark.parametrize("language", LANGUAGES)
def test_levels_and_draft_are_printed(days: Path, language: str) -> None:
    period_evidence = evidence(days)
    site = period_evidence.sites["here"]
    assert site.inputs is not None
    inputs = replace(site.inputs, supplier_rates=(replace(RATE, objection="another market"),), with_revision=True)
    drawn = times({t: gpu + rest for t, (gpu, rest) in period_evidence.sums.cells["here"].items()}, inputs.stated[0])
    changed = replace(period_evidence, sites={"here": replace(site, inputs=inputs, grid=grid(inputs, drawn, site.window))})
    text = str(market_blocks(chains.facts_of(changed, []), say_in(language)))
    expected = {"en": ("residual mix: 2.40 kWh", "supplier-specific rate: another market", "Draft revision")}
    expected["zh"] = ("剩余电力组合: 2.40 kWh", "供应商排放率: 其他市场", "修订草案")
    for part in expected[language]:
        assert part in text


@dataclass(frozen=True)
class _Site:
    """A site as far as its levels need it."""

    inputs: SiteInputs
    grid: Grid


CONTRACTS = st.lists(
    st.tuples(
        st.sampled_from([InstrumentKind.PPA, InstrumentKind.GO, InstrumentKind.OTHER]),
        st.integers(0, 6),  # MWh
        st.integers(0, 4),  # certificates
        st.integers(0, 95),  # first quarter of an hour
        st.integers(1, 96),  # how many
        st.integers(0, 500),  # g/kWh
    ),
    max_size=5,
)


@given(
    CONTRACTS,
    st.lists(st.integers(0, 50 * KWH), min_size=96, max_size=96),
    st.lists(st.integers(0, 9 * KWH), min_size=96, max_size=96),
    st.booleans(),
)
def test_levels_sum_to_the_meter_and_their_grams_to_the_total(
    bought: list[tuple[InstrumentKind, int, int, int, int, int]], used: list[int], generation: list[int], supplied: bool
) -> None:
    """Random contracts, a supplier's rate for a part of the day, and sold generation of the roof, in cells that were used."""
    lots = []
    for number, (kind, mwh, certificates, first, count, grams) in enumerate(bought):
        span = JULY + first * CELL, JULY + min(96, first + count) * CELL
        (proven,) = certified([mwh * 1000 * KWH], certificates)
        what = (f"{kind}-{number}", kind, "XA", Technology.WIND, Decimal(grams))
        lots.append(Lot(*what, *span, mwh * 1000 * KWH, uncertified_uj=mwh * 1000 * KWH - proven))
    inputs = SiteInputs(
        "here", ZoneInfo("UTC"), grid_zone="XA", lots=tuple(lots), supplier_rates=(SHORT,) if supplied else (),
        location=(constant("of.grid", DIRECT, 400),), residual=(constant("of.rest", RESIDUAL, 600),),
        with_revision=True,
    )  # fmt: skip
    cells, sold = ({JULY + n * CELL: uj for n, uj in enumerate(each)} for each in (used, generation))
    joined = grid(inputs, cells, SiteWindow(JULY, JULY + DAY), sold=sold)
    rows = levels(_Site(inputs, joined))
    assert joined.coverage is not None
    assert sum(row.uj for row in rows) == sum(used) + sum(generation)
    assert sum((row.grams for row in rows), Fraction(0)) == joined.market_g
    assert joined.location_g == Fraction(400 * sum(used), KWH)
    assert joined.revision == Fraction(600 * (sum(used) + sum(generation)), KWH), "no contract is matched by the hour"
    allowed = {f"{kind}-{number}": count * 1000 * KWH for number, (kind, _, count, *_) in enumerate(bought)}
    for claim in joined.coverage.claims:
        assert claim.covered_uj <= allowed[claim.contract]
        assert claim.covered_uj + sum(claim.unused.values()) == claim.available_uj
