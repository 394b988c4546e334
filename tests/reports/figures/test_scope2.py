"""Figures reported as Scope 2 and figures left out: basis of factors, contracts without proof, stand-ins, bounds, and parts.

Energies of the golden quarter are calculated in `golden`. At alfa, nodes used 13.328 kWh for workloads: 3.92 + 2.352 + 1.96 on
a1 and 3.92 + 1.176 on a2. Its building had 48 kWh in each of 2,208 hours, 8 of them from its own roof, and 32 of IT: a PUE
of 1.5.

Changes of the site's files in a test show on the first days of that quarter, which have all of its workloads (`of`).
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.quantity import ZERO
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from reports.compose import compose
from reports.figures.evidence import PeriodEvidence
from reports.figures.facts import Facts, UsedFactor
from reports.figures.facts_json import facts_json
from reports.figures.figure import STAND_IN
from reports.figures.measures import building, carbon, declared
from reports.figures.measures._measure import groups
from reports.figures.uncertainty import FACTOR_ERROR
from reports.frameworks.datapoints import IndexRow, index
from reports.inputs.matching import InstrumentKind, Lot, Technology
from reports.inputs.organisation import Organisation, SiteInputs
from reports.language import LANGUAGES, say_in
from reports.ledger.days import Day
from reports.page.partition import unallocated, whole
from reports.page.section import Note, ReportTable
from reports.page.sections.headline import build as build_headline
from reports.page.sections.headline import tiles, widest
from reports.period import PeriodRequest
from reports.site.grid import grid
from tests.reports import chains, golden
from tests.reports.chains import HOUR
from tests.reports.golden import DIRECT, RESIDUAL, constant, tariff, uj

LIFE_CYCLE = Basis(EmissionBoundary.LIFE_CYCLE)
KWH_J = 3_600_000


@pytest.fixture(scope="module")
def gathered(golden_days: Path) -> tuple[PeriodEvidence, Sequence[Day]]:
    return chains.evidence(golden_days, golden.organisation(), PeriodRequest("2026Q3"))


@pytest.fixture(scope="module")
def evidence(gathered: tuple[PeriodEvidence, Sequence[Day]]) -> PeriodEvidence:
    return gathered[0]


@pytest.fixture(scope="module")
def facts(gathered: tuple[PeriodEvidence, Sequence[Day]]) -> Facts:
    return chains.facts_of(*gathered)


FIRST_DAYS = PeriodRequest(None, "2026-06-30T18:30", "2026-07-05T00:00")
"""From the first instant of beta's quarter on: the second half of an hour, and 101 hours."""
BOUGHT_KWH = 2 * 8 + 101 * 40


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.days(tmp_path_factory.mktemp("days"), golden.at("2026-06-30"), golden.at("2026-07-05"))


def of(days: Path, **change: object) -> Facts:
    """Both sites in one place whose grid has 400 g/kWh, and what else a test changes of them."""
    inputs = {"location": (constant("grid", DIRECT, 400),), "location_lacking": "", "grid_zone": "XA"} | change
    zones = {"alfa": "UTC", "beta": "Asia/Kolkata"}
    sites = {name: SiteInputs(name, ZoneInfo(zone), **inputs) for name, zone in zones.items()}
    organisation = Organisation(sites=sites, expected=golden.organisation().expected, least_coverage=Fraction(0))
    return chains.facts(days, organisation, FIRST_DAYS)


@pytest.fixture(scope="module")
def usual(days: Path) -> Facts:
    """The facts that `of` makes without a change."""
    return of(days)


@pytest.fixture(scope="module")
def without_factor(days: Path) -> Facts:
    return of(days, location=(), location_lacking="XA: no factor that is direct; add a factor file")


def states(report_facts: Facts) -> dict[tuple[str, str], IndexRow]:
    reasons = {i: "" if f.value is not None or f.low is not None else f.reason or "" for i, f in report_facts.figures.items()}
    rows = index(reasons, stand_ins={i: () for i, f in report_facts.figures.items() if STAND_IN in f.dims})
    return {(row.framework, row.datapoint): row for row in rows}


SCOPE_2 = [
    ("ghg-protocol", "Scope 2, location-based"), ("ghg-protocol", "Scope 2, market-based"),
    ("ghg-protocol", "Scope 2, instruments"), ("ghg-protocol", "Scope 2, residual mix"),
    ("esrs-e1-set-1", "E1-6, Scope 2 location-based"), ("esrs-e1-set-1", "E1-6, Scope 2 market-based"),
    ("gri-302-305", "305-2 a"), ("ifrs-s2", "29(a), Scope 2"), ("ifrs-s2", "29(a), instruments"),
]  # fmt: skip


@pytest.mark.smoke
def test_a_life_cycle_figure_has_a_name_of_its_own_and_answers_no_scope_2_datapoint(days: Path, usual: Facts) -> None:
    direct, whole_life = usual, of(days, location=(constant("grid", LIFE_CYCLE, 400),))
    for name in ("location/site/alfa", "market/site/alfa", "location", "market", "held.location/team/nlp"):
        assert whole_life.figures[f"co2e.lifecycle.{name}"].value == direct.figures[f"co2e.{name}"].value is not None
        absent = whole_life.figures[f"co2e.{name}"]
        assert absent.value is None
        assert "life-cycle" in (absent.reason or "")
    assert not [i for i in direct.figures if "lifecycle" in i]
    rows = states(whole_life)
    for key in SCOPE_2:
        assert rows[key].state == "missing", key
    for language in LANGUAGES:
        say = say_in(language)
        tables = [b.caption for s in compose(whole_life, say).sections for b in s.blocks if isinstance(b, ReportTable)]
        assert say("co2e_of_electricity_ghg_protocol") not in tables
        assert say("life_cycle_co2e_of_electricity") in tables


UPSTREAM, LOSSES = Basis(EmissionBoundary.UPSTREAM), Basis(EmissionBoundary.LOSSES)


def test_category_3_is_the_energy_times_factors_of_its_own_and_no_part_of_scope_2(days: Path, usual: Facts) -> None:
    supply = {
        EmissionBoundary.UPSTREAM: (constant("up", UPSTREAM, 36),),
        EmissionBoundary.LOSSES: (constant("lost", LOSSES, 16),),
    }
    report_facts = of(days, supply=supply)
    assert report_facts.figures["scope_3_3.upstream/site/alfa"].text == str(BOUGHT_KWH * 36)
    assert report_facts.figures["scope_3_3.losses/site/alfa"].text == str(BOUGHT_KWH * 16)
    assert report_facts.figures["scope_3_3/site/alfa"].text == str(BOUGHT_KWH * 52)
    assert report_facts.figures["scope_3_3/site/alfa"].factor_ids == ("lost", "up")
    by_site = [report_facts.figures[f"scope_3_3/site/{name}"].value or 0 for name in ("alfa", "beta")]
    assert report_facts.figures["scope_3_3"].value == sum(by_site)
    for name in ("co2e.location", "co2e.market", "co2e.location/site/alfa"):
        assert report_facts.figures[name] == usual.figures[name]
    assert states(report_facts)["ghg-protocol", "Scope 3.3"].state == "answered"
    blocks = [b for s in compose(report_facts, say_in("en")).sections for b in s.blocks]
    (table,) = [b for b in blocks if isinstance(b, ReportTable) and b.caption.startswith("Scope 3, category 3")]
    assert [row[0] for row in table.rows] == ["alfa", "beta", "all sites"]
    assert "\u2013" not in table.rows[0][1:4]
    assert len(table.columns) == 4
    notes = [b.text for b in blocks if isinstance(b, Note)]
    biogenic = "no table has a factor of this grid's biogenic CO2: add a factor file with boundary biogenic"
    assert f"Biogenic CO2 is missing for alfa, beta: {biogenic}." in notes


def test_category_3_is_missing_with_its_reason_where_a_factor_is(days: Path, usual: Facts) -> None:
    one = of(days, supply={EmissionBoundary.LOSSES: (constant("lost", LOSSES, 16),)})
    assert one.figures["scope_3_3.losses/site/alfa"].text == str(BOUGHT_KWH * 16)
    for report_facts in (one, usual):
        for name in ("scope_3_3", "scope_3_3/site/alfa", "scope_3_3.upstream", "biogenic_co2"):
            assert report_facts.figures[name].value is None, name
        assert "boundary upstream" in (report_facts.figures["scope_3_3"].reason or "")
        assert states(report_facts)["ghg-protocol", "Scope 3.3"].state == "missing"
    whole_life = of(days, location=(constant("grid", LIFE_CYCLE, 400),))
    assert "not split into scopes" in (whole_life.figures["scope_3_3"].reason or "")


def test_biogenic_co2_is_a_figure_of_its_own(days: Path, usual: Facts) -> None:
    basis = Basis(EmissionBoundary.BIOGENIC, gases=Gases.CO2)
    report_facts = of(days, supply={EmissionBoundary.BIOGENIC: (constant("wood", basis, 9),)})
    assert report_facts.figures["biogenic_co2/site/alfa"].text == str(BOUGHT_KWH * 9)
    assert report_facts.figures["co2e.location"] == usual.figures["co2e.location"]
    assert states(report_facts)["ghg-protocol", "Biogenic CO2"].state == "answered"
    assert states(usual)["ghg-protocol", "Biogenic CO2"].state == "missing"


@pytest.mark.smoke
def test_biogenic_co2_of_contracts_is_apart_from_the_scopes_and_missing_where_it_is_not_stated(days: Path) -> None:
    """10 kWh of biomass at 1,050 g/kWh of biogenic CO2, 10 kWh of a mix that states none, and wind, which has none."""
    hour = (golden.Q3, golden.Q3 + HOUR, uj(10))
    lots = tuple(
        Lot(name, InstrumentKind.PPA, "XA", technology, Decimal(20), *hour, biogenic_g_per_kwh=grams)
        for name, technology, grams in (
            ("wood", Technology.BIOMASS, Decimal(1050)), ("mix", Technology.MIXED, None), ("wind", Technology.WIND, None),
        )
    )  # fmt: skip
    report_facts, bare = of(days, lots=lots), of(days, lots=tuple(replace(lot, biogenic_g_per_kwh=None) for lot in lots))
    of_contracts = {f.id: f for f in report_facts.by_prefix("biogenic_co2.contract/alfa/")}
    assert sorted(of_contracts) == ["biogenic_co2.contract/alfa/mix", "biogenic_co2.contract/alfa/wood"]
    assert of_contracts["biogenic_co2.contract/alfa/wood"].value == 10 * 1050
    why = "the contract does not state its biogenic CO2 (biogenic_g_per_kwh)"
    assert of_contracts["biogenic_co2.contract/alfa/mix"].reason == why
    assert report_facts.figures["co2e.market"] == bare.figures["co2e.market"]
    assert report_facts.figures["biogenic_co2/site/alfa"].value is None
    blocks = [b for s in compose(report_facts, say_in("en")).sections for b in s.blocks]
    (table,) = [b for b in blocks if isinstance(b, ReportTable) and b.caption.startswith("Biogenic CO2, apart")]
    assert [row[:2] for row in table.rows] == [("alfa", "wood")]
    basis = Basis(EmissionBoundary.BIOGENIC, gases=Gases.CO2)
    row = states(of(days, lots=lots, supply={EmissionBoundary.BIOGENIC: (constant("wood", basis, 9),)}))[
        "ghg-protocol", "Biogenic CO2"
    ]
    assert (row.state, row.missing) == ("partly", (why,))
    assert f"Biogenic CO2 is missing for mix: {why}." in [b.text for b in blocks if isinstance(b, Note)]


def test_without_a_factor_there_is_no_co2e_and_the_rest_of_the_report_is_there(without_factor: Facts) -> None:
    report_facts = without_factor
    co2e = {i: f for i, f in report_facts.figures.items() if i.startswith(("co2e.", "cue/", "grid_intensity/"))}
    assert {f.value for f in co2e.values()} == {None}
    assert "no factor that is direct" in (co2e["co2e.location"].reason or "")
    assert report_facts.figures["energy.gpu"].value is not None
    text = str(compose(report_facts, say_in("en")))
    assert "no factor that is direct" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_one_states_in_plain_words_that_a_grid_has_no_factor(without_factor: Facts, language: str) -> None:
    say = say_in(language)
    both = [tile for tile in tiles(without_factor, say) if tile.figure_id.startswith("co2e.")]
    names = ", ".join(without_factor.sites)
    text = say("no_factor_for_the_grid", sites=names, section=say("carbon"))
    assert [(tile.value, tile.detail) for tile in both] == [(say("not_known"), text)] * 2
    assert names in text
    assert "location, CO2e" not in text


def test_page_one_states_that_factors_of_two_gwp_sets_are_added(usual: Facts) -> None:
    """The DESNZ states AR5, eGRID2024 AR6."""
    from energy_agent.factors.sets import factor

    matches = [factor("GBR", 2026, DIRECT), factor("US-ERCT", 2024, DIRECT)]
    assert [match.factor.gwp_set for match in matches] == ["AR5", "AR6 (CH4 27, N2O 273)"]
    used = tuple(UsedFactor(match.factor, match.csv_sha256, (), "") for match in matches)
    for taken in ((0,), (1,), (0, 1)):
        total = replace(usual.figures["co2e.location"], factor_ids=tuple(matches[n].factor.id for n in taken))
        report_facts = replace(usual, factors=used, figures={**usual.figures, total.id: total})
        details = {tile.figure_id: tile.detail for tile in tiles(report_facts, say_in("en"))}
        mixed = "factors with the global warming potentials of AR5, AR6 are added"
        assert (mixed in details["co2e.location"]) == (len(taken) == 2)
        assert mixed not in details["co2e.market"]


def test_used_water_is_printed_in_volume(facts: Facts) -> None:
    """alfa took in 127,180.8 L, which are 127.2 m3."""
    (table,) = [
        b
        for section in compose(facts, say_in("en")).sections
        for b in section.blocks
        if isinstance(b, ReportTable) and "Water used, m\u00b3" in b.columns
    ]
    assert [row[table.columns.index("Water used, m\u00b3")] for row in table.rows] == ["127.2", "\u2013"]


def test_levels_and_contracts_have_the_same_kwh_and_sum_to_the_meter(days: Path) -> None:
    """1,234.5678 kWh of certificates: the same text in both tables, and the levels sum to 4,056 kWh."""
    span = golden.Q3, golden.at("2026-07-05")
    lot = Lot("go", InstrumentKind.GO, "XA", Technology.HYDRO, Decimal(0), *span, uj("1234.5678"))
    report_facts = of(days, lots=(lot,))
    blocks = [b for s in compose(report_facts, say_in("en")).sections for b in s.blocks if isinstance(b, ReportTable)]
    levels = next(b for b in blocks if b.caption == say_in("en")("levels_of_the_market_based_method"))
    contracts = next(b for b in blocks if b.caption == say_in("en")("contracts_and_certificates"))
    texts = re.findall(r": ([\d\u202f.]+) kWh", next(row for row in levels.rows if row[0] == "alfa")[1])
    assert texts[0] == contracts.rows[0][4] == "1\u202f234.57"
    assert sum(Decimal(text.replace("\u202f", "")) for text in texts) == BOUGHT_KWH


def test_nothing_is_0_g_where_no_contract_was_given(without_factor: Facts, usual: Facts) -> None:
    """Neither with a grid nor without: what no contract covers is not known to be covered by 0 g."""
    for report_facts in (without_factor, usual):
        assert not [
            i for i, f in report_facts.figures.items() if i.startswith("co2e.market.instruments") and f.value is not None
        ]
        row = states(report_facts)["ghg-protocol", "Scope 2, instruments"]
        assert (row.state, row.answered_by) == ("missing", ())


def test_the_grids_average_is_no_residual_mix(days: Path, usual: Facts) -> None:
    rows = states(usual)
    mix_row, draft = rows["ghg-protocol", "Scope 2, residual mix"], rows["ghg-protocol-scope-2-revision", "unmatched load"]
    assert (mix_row.state, mix_row.answered_by) == ("missing", ())
    assert (draft.state, draft.answered_by) == ("not_applicable", ())  # a draft has no datapoint to answer
    for key in (("ghg-protocol", "Scope 2, market-based"), ("esrs-e1-set-1", "E1-6, Scope 2 market-based")):
        assert rows[key].state == "estimated"
        assert "the residual mix of the zone, as a factor file of your own" in rows[key].missing
    assert rows["ghg-protocol", "Scope 2, location-based"].state == "answered"
    assert usual.figures["co2e.market.average/site/alfa"].text == str(BOUGHT_KWH * 400)
    mix = of(days, residual=(constant("rest", RESIDUAL, 600),), residual_lacking="")
    rows = states(mix)
    for key in (("ghg-protocol", "Scope 2, residual mix"), ("ghg-protocol", "Scope 2, market-based")):
        assert rows[key].state == "answered"
    assert mix.figures["co2e.market.residual/site/alfa"].text == str(BOUGHT_KWH * 600)


def test_unclaimable_contract_covers_nothing_and_is_listed_with_its_reason(days: Path, usual: Facts) -> None:
    refused = ("not retired", "retired on 2099-01-01, after the day of the report (2026-10-05)",
               "no emission factor (g_per_kwh) is given, which fossil electricity requires",
               "its emission factor is life-cycle, but the total is direct")  # fmt: skip
    lots = tuple(
        Lot(f"c{n}", InstrumentKind.PPA, "XA", Technology.WIND, Decimal(0), golden.Q3, golden.Q3 + HOUR, uj(10), why)
        for n, why in enumerate(refused)
    )
    report_facts = of(days, lots=lots)
    for name in ("co2e.market", "co2e.market/site/alfa", "co2e.location"):
        assert report_facts.figures[name].value == usual.figures[name].value
    assert report_facts.figures["co2e.market.instruments/site/alfa"].value is None
    assert states(report_facts)["ghg-protocol", "Scope 2, instruments"].state == "missing"
    document = compose(report_facts, say_in("en"))
    (table,) = (
        b for s in document.sections for b in s.blocks if isinstance(b, ReportTable) and b.caption.startswith("Contracts")
    )
    reasons = {row[0]: row[-2] for row in table.rows if row[1] == "alfa"}
    assert reasons == {f"c{n}": f"10.00 kWh: {why}" for n, why in enumerate(refused)}


@pytest.mark.smoke
def test_every_bound_of_co2e_has_the_error_of_its_factor(facts: Facts) -> None:
    """Where CO2e has bounds they are wider than those of the energy alone: at least the assumed error of a factor."""
    least = min(FACTOR_ERROR.values())
    begins = ("co2e.location", "co2e.held.location", "cue/", "grid_intensity/")
    of_sites = [f for i, f in facts.figures.items() if i.startswith(begins) and len(f.factor_ids) < 2]  # no error cancels
    bounded_figures = [f for f in of_sites if f.value and f.low is not None]
    assert len(bounded_figures) > 5
    for figure in bounded_figures:
        assert figure.low <= figure.value * (1 - least), figure.id
        assert figure.high is None or figure.high >= figure.value * (1 + least), figure.id


def test_the_span_of_sci_is_that_of_embodied_figures(facts: Facts, evidence: PeriodEvidence) -> None:
    """(E x I + M) / R: both ends have the same E x I, so that the width is that of M over R."""
    sci = facts.figures["sci_per_token/model/Llama (fp8)"]
    allocated_co2e = facts.figures["co2e.held.location/model/Llama (fp8)"]
    tokens = 7_000_000
    # Two boards for two hours of a life of five years, 100 to 200 kg each.
    least, most = (Fraction(kg * 1000 * 4, 5 * 8760) for kg in (100, 200))
    for bound, embodied_g in ((sci.low, least), (sci.high, most)):
        assert bound is not None
        exact = (Fraction(allocated_co2e.value or 0) + embodied_g) / tokens
        assert abs(Fraction(bound) - exact) <= exact / 10**7


def test_unattributed_energy_and_co2e_by_hand(facts: Facts) -> None:
    """Building: 48 x 2,208 - 13.328 x 1.5 = 105,964.008 kWh. Nodes: 0.392 + 0.196 unallocated, 0.49 bridged: 1.078 kWh.

    CO2e: 40 kWh per hour, half of the day at 200 and half at 400 g, are 26,496,000 g in 92 days; that of workloads is
    13.328 x 1.5 x 200 g, of which the roof supplies a sixth: 3,332 g.
    """
    figures = facts.figures
    assert figures["energy.node.unattributed/site/alfa"].text == str(int(Fraction("1.078") * KWH_J))
    assert Fraction(figures["energy.facility.unattributed/site/alfa"].value or 0) == golden_rounded("105964.008", KWH_J)
    assert figures["co2e.held.location/site/alfa"].text == "3332"
    assert figures["co2e.location.unattributed/site/alfa"].text == str(26_496_000 - 3_332)
    # An hour of a2's GPU without an allocation, and a quarter of an hour with an unknown owner.
    assert figures["gpu_hours.unattributed"].text == "1.25"


def test_the_rest_of_a_building_is_unallocated_nodes_and_it_that_is_in_no_node(facts: Facts) -> None:
    """1.078 x 1.5 = 1.617 kWh of the nodes; the other 105,962.391 are of IT elsewhere and of losses."""
    figures = facts.figures
    parts = [figures[f"energy.facility.unattributed.{name}/site/alfa"].value or 0 for name in ("nodes", "other_it")]
    assert parts == [golden_rounded("1.617", KWH_J), golden_rounded("105962.391", KWH_J)]
    whole = figures["energy.facility.unattributed/site/alfa"].value or Fraction(0)
    assert abs(sum(parts) - whole) <= whole / 10**8  # each is rounded to nine digits


def test_water_is_of_workloads_by_their_share_of_it_energy(facts: Facts) -> None:
    """127,180.8 L over 32 x 2,208 kWh of IT are 1.8 L/kWh: 13.328 kWh of workloads took 23.9904 L. beta has none."""
    figures = facts.figures
    assert figures["water.held/site/alfa"].text == "23.9904"
    assert abs((figures["water.unattributed/site/alfa"].value or 0) - Fraction("127156.8096")) < Fraction(1, 1000)
    teams = [f for f in facts.of("water.held", "team") if f.value is not None]
    assert teams
    for identity in ("water", "water.held", "water.unattributed", "water.held/site/beta"):
        assert figures[identity].reason == figures["water/site/beta"].reason


@pytest.mark.parametrize("kept", [True, False, None])
def test_on_site_generation_counts_only_with_its_certificates(evidence: PeriodEvidence, *, kept: bool | None) -> None:
    """The roof of alfa made 17,664 kWh, of 105,984; contracts cover 31,280. Sold energy takes the 600 g of the mix."""
    site = evidence.sites["alfa"]
    assert site.inputs is not None
    inputs = replace(site.inputs, on_site_kept=kept)
    sold_cells = site.building.made_cells if kept is False else {}
    joined = grid(inputs, site.building.bought_cells, site.window, evidence.sums.cells["alfa"], sold=sold_cells)
    changed = replace(site, inputs=inputs, grid=joined)
    changed_evidence = replace(evidence, sites=dict(evidence.sites) | {"alfa": changed})
    figures = {f.id: f for measure in (carbon, building, declared) for f in measure.figures(changed_evidence)}
    generated_kwh = 17_664 if kept else 0
    share = Fraction(generated_kwh + 31_280, 105_984)
    assert abs((figures["ref/site/alfa"].value or 0) - share) < Fraction(1, 10**8)
    assert figures["energy.total_renewable/site/alfa"].value == (generated_kwh + 31_280) * KWH_J
    for identity in ("energy.total_renewable.on_site/site/alfa", "ref.site/site/alfa"):
        assert (figures[identity].value is not None) == bool(kept)
        assert kept or "certificates of on-site generation" in (figures[identity].reason or "")
    sold = 17_664 * 600 if kept is False else 0
    assert figures["co2e.market/site/alfa"].value == 34_444_800 + sold
    # The levels name the energy of the roof too: 88,320 kWh from the grid, of which contracts cover 31,280.
    assert (
        f"residual mix: {88_320 - 31_280 + (17_664 if kept is False else 0)} kWh"
        in figures["co2e.market/site/alfa"].dims["levels"]
    )


def test_energy_of_page_one_is_at_the_boundary_of_its_co2e(facts: Facts) -> None:
    """Where a site has no building figure, it counts with its nodes, in the energy as in the CO2e."""
    total, co2e = facts.figures["energy.inventory"], facts.figures["co2e.location"]
    assert total.boundary == co2e.boundary
    sites = {name: facts.figures[f"co2e.location/site/{name}"].boundary for name in facts.sites}
    parts = [facts.figures[f"energy.{within}/site/{name}"].value or 0 for name, within in sites.items()]
    assert abs((total.value or 0) - sum(parts)) <= (total.value or 0) / 10**8
    assert widest(facts).boundary == co2e.boundary


def test_a_change_on_page_one_is_the_sum_of_its_effects(facts: Facts) -> None:
    """Every effect has a sign, and the change of what no workload used is one of them."""
    texts = [block.text for block in build_headline(facts, say_in("en")) if isinstance(block, Note)]
    assert texts[0].startswith("Boundary of every figure on this page: ")
    for text in (text for text in texts[1:] if "Causes" in text):
        change, effects = text.removesuffix(".").split(". Causes: ")
        assert ", unallocated " in effects
        assert all(re.search(r" [+\u2212]?[0-9]", each) for each in effects.split(", ")), effects
        assert re.search(r": [+\u2212]?[0-9.]+ .*\([+\u2212]?[0-9.]+ %\)$", change)


def golden_rounded(text: str, scale: int) -> Fraction:
    exact = Fraction(text) * scale
    places = len(str(int(exact))) - 9
    return Fraction(round(exact / 10**places) * 10**places)


DIMENSIONS = ("site", "team", "project", "model", "kind")


def test_parts_and_what_is_unallocated_are_the_meter_exactly(evidence: PeriodEvidence, facts: Facts) -> None:
    """Of each dimension, in whole uJ and in fractions of grams; in print to the last of nine digits."""
    sums = evidence.sums
    device_uj = sum(w.energy_uj for w in sums.wholes if w.device_class == "gpu")
    for dimension in DIMENSIONS:
        of_dimension = [(of.dims[dimension], rows) for of, rows in groups(evidence) if dimension in of.dims]
        gpu_uj = sum(r.held_uj for _, rows in of_dimension for r in rows if r.device_class == "gpu")
        rest_uj = sum(s.energy_uj for s in sums.states if s.device_class == "gpu" and s.state not in ("active", "idle"))
        assert gpu_uj + rest_uj == device_uj
        for site in evidence.sites:
            parts = [carbon.group_grams(evidence, site, [r for r in rows if r.site == site]) for _, rows in of_dimension]
            every = carbon.group_grams(evidence, site, [r for r in sums.part_rows if r.site == site and r.part])
            assert sum(parts, ZERO).value == every.value is not None
    for quantity, identity in (
        ("energy.held", "energy.gpu"), ("energy.held.node", "energy.node"), ("co2e.held.location", "co2e.location"),
        ("co2e.held.market", "co2e.market"), ("cost", "cost"),
    ):  # fmt: skip
        meter = facts.figures[identity].value
        if meter is None:
            assert unallocated(facts, quantity) is None
            continue
        for dimension in DIMENSIONS:
            values = [f.value for f in facts.of(quantity, dimension)]
            if quantity == "cost" and dimension in ("site", "kind"):
                continue  # its sites' are all that they paid, and kinds have none
            rest = unallocated(facts, quantity)
            assert rest is not None
            total = added(values) + rest
            if quantity == "energy.held":
                assert total == Fraction(meter), dimension
            assert abs(total - Fraction(meter)) <= Fraction(meter) * (len(values) + 2) / (2 * 10**8), (quantity, dimension)
            assert whole(facts, quantity) == Fraction(meter)


def test_energy_of_groups_is_whole_where_one_site_has_a_building_and_another_only_gpus(days: Path) -> None:
    """alfa is a metered building; beta's nodes have no meter and no PUE, so that its energy is that of its GPUs."""
    report_facts = of(days)
    assert {site: report_facts.boundary_of(site) for site in report_facts.sites} == {"alfa": "facility", "beta": "gpu"}
    total = report_facts.figures["energy.inventory"].value
    buildings = report_facts.figures["energy.facility/site/alfa"].value, report_facts.figures["energy.gpu/site/beta"].value
    assert total == added(map(str, buildings))
    for dimension in DIMENSIONS:
        values = [f.value for f in report_facts.of("energy.held.inventory", dimension)]
        rest = unallocated(report_facts, "energy.held.inventory")
        assert rest is not None
        assert abs(added(map(str, values)) + rest - Fraction(total or 0)) <= Fraction(total or 0) * (len(values) + 2) / 10**8
    say = say_in("en")
    tables = [b for s in compose(report_facts, say).sections for b in s.blocks if isinstance(b, ReportTable)]
    (table,) = (b for b in tables if b.caption == "Projects: energy, including unallocated energy")
    (column,) = (n for n, head in enumerate(table.columns) if head.startswith("at the widest boundary"))
    assert "\u2013" not in [row[column] for row in table.rows]


def added(texts: Iterable[str | None]) -> Fraction:
    return sum((Fraction(text or 0) for text in texts), Fraction(0))


def test_every_table_of_groups_has_an_unallocated_row_and_the_total_of_the_meter(days: Path) -> None:
    report_facts = of(days, stated=(Fraction("1.5"), Fraction(0)), tariffs=tariff("0.20"))
    for language in LANGUAGES:
        say = say_in(language)
        captions = {
            say(f"{what}_and_what_is_in_no_workload", title=say(title))
            for what in ("energy", "cost")
            for title in ("teams", "projects", "models", "kinds_of_workload")
        }
        tables = [
            b
            for s in compose(report_facts, say).sections
            for b in s.blocks
            if isinstance(b, ReportTable) and b.caption in captions
        ]
        assert len(tables) == 6
        for table in tables:
            assert [row[0] for row in table.rows[-2:]] == [say("unallocated"), say("total")]
            assert all(len(row) == len(table.columns) for row in table.rows)


def test_the_reader_sees_why_a_factor_is_not_of_the_zone_and_year_that_was_named(days: Path) -> None:
    from energy_agent.factors.sets import factor

    chosen = factor("GB", 2027, DIRECT, "GBR")
    source = replace(constant(chosen.factor.id, DIRECT, 131), reasons=chosen.reasons)
    report_facts = of(days, location=(source,), factors=((chosen.factor, chosen.csv_sha256),))
    (used,) = report_facts.factors
    which = "GBR: no factor of 2027; that of 2026 is the newest before it"
    assert used.why == f"GB: no factor that is direct, location, CO2e; {which}"
    notes = [b.text for s in compose(report_facts, say_in("en")).sections for b in s.blocks if isinstance(b, Note)]
    assert f"Reason for United Kingdom 2026: {used.why}." in notes


def test_a_factor_is_printed_with_its_request_its_gwp_set_and_its_origin(days: Path) -> None:
    from energy_agent.factors.sets import factor

    chosen = factor("US-CAMX", 2024, DIRECT, "USA")
    source = replace(constant(chosen.factor.id, DIRECT, 184), reasons=chosen.reasons)
    report_facts = of(
        days, location=(source,), factors=((chosen.factor, chosen.csv_sha256),), grid_zone="US-CAMX", country="USA"
    )
    (used,) = report_facts.factors
    assert used.why == "the newest publication of the requested zone and year"
    assert [(r.site, r.zone, r.country, r.years, r.basis) for r in used.requests] == [
        (site, "US-CAMX", "USA", "2026", "direct, location, CO2e") for site in ("alfa", "beta")
    ]
    (record,) = json.loads(facts_json(report_facts))["factors"]
    assert record["gwp_set"] == "AR6 (CH4 27, N2O 273)"
    assert (record["evidence"], record["fetched"], record["published"]) == ("secondary source", "2026-11-29", "2026-05-26")
    assert record["source"].startswith("https://")
    blocks = [b for s in compose(report_facts, say_in("en")).sections for b in s.blocks]
    (table,) = [b for b in blocks if isinstance(b, ReportTable) and b.caption == say_in("en")("yearly_factors")]
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert (cells["GWP set"], cells["quality (1 to 5)"], cells["Year"]) == ("AR6 (CH4 27, N2O 273)", "5", "2024")
    text = "\n".join(b.text for b in blocks if isinstance(b, Note))
    assert "WECC California 2024 was requested for alfa: US-CAMX / USA, 2026, direct, location, CO2e." in text
    assert "Origin of WECC California 2024: secondary source, retrieved on 2026-11-29: https://doi.org/" in text


def test_a_residual_mix_of_the_life_cycle_is_named_so(days: Path) -> None:
    residual = Basis(EmissionBoundary.LIFE_CYCLE, Accounting.RESIDUAL)
    report_facts = of(days, location=(constant("grid", LIFE_CYCLE, 400),), residual=(constant("rest", residual, 600),))
    assert report_facts.figures["co2e.lifecycle.market.residual/site/alfa"].text == str(BOUGHT_KWH * 600)
    assert report_facts.figures["co2e.market.residual/site/alfa"].value is None
    assert UJ_PER_KWH == KWH_J * 10**6
