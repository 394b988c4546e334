"""The framework index: what answers a datapoint, what is missing named once, and data that say what is not verified."""

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path

import pytest

from reports.frameworks import datapoints
from reports.frameworks.answers import in_unit
from reports.frameworks.datapoints import frameworks, group_missing, index, inputs
from reports.frameworks.rules import RULES, ReportedSite, ReportScope

BY_ID = {f.id: f for f in frameworks()}

# The ids of figures that a report can have; a pattern that fits none of them would never be answered.
STEMS = (
    "energy.facility", "energy.it", "energy.total_renewable", "energy.total_renewable.certificates",
    "energy.total_renewable.ppa", "energy.total_renewable.on_site", "energy.reused_heat", "water", "pue",
    "wue", "cue", "ref", "erf", "co2e.location", "co2e.market", "co2e.market.instruments", "co2e.market.residual",
    "scope_3_3", "biogenic_co2", "grid_share", "energy.bought", "sci.energy", "sci.embodied", "sci.tokens",
    "cfe.hourly", "matched.hourly", "matched.quarter_hourly", "ref.site", "erf.site", "grid_intensity", "contract", "embodied",
    "declared.it_kw", "declared.floor_m2", "sci_per_token",
    "declared.name", "declared.organisation", "declared.country",
    "tokens.generation", "j_per_token.gpu", "j_per_token.node", "j_per_token.facility", "dvfs.saved", "coverage",
)  # fmt: skip
IDS = [*STEMS, *(f"{s}/{by}/x" for s in STEMS for by in ("site", "model")), "training.energy.facility/run/a",
       "contract/x/wind", "pue.trailing/site/x", "biogenic_co2.contract/x/wood"]  # fmt: skip


def test_every_framework_of_the_report_is_there_with_its_state_and_date() -> None:
    assert {f.id: f.state for f in frameworks()} == {
        "ghg-protocol": "in force",
        "ghg-protocol-scope-2-revision": "draft",
        "esrs-e1-set-1": "in force",
        "esrs-e1-2026": "pending",
        "esrs-e3-set-1": "in force",
        "gri-303": "in force since 1 January 2021",
        "cdp": "voluntary, by request of investors and customers",
        "de-enefg": "in force",
        "cn-gb-40879": "in force; GB 40879 is under revision",
        "gri-302-305": "in force, for periods before 2027",
        "gri-103-102": "for periods from 1 January 2027, earlier by choice",
        "ifrs-s2": "in force",
        "sasb-tc-im": "applied with IFRS S2",
        "sasb-tc-si": "applied with IFRS S2",
        "eed-2024-1364": "in force",
        "iso-30134": "in force",
        "iso-21031": "in force",
        "eu-ai-act-annex-xi": "in force since 2 August 2025",
    }
    assert all(re.fullmatch(r"20[0-9]{2}(-[01][0-9](-[0-3][0-9])?)?", f.date) for f in frameworks())
    assert all(f.source and f.edition and f.note for f in frameworks())


def test_datapoint_missing_in_its_source_is_unverified() -> None:
    unverified = {(f.id, p.id) for f in frameworks() for p in f.datapoints if not p.verified}
    not_read_whole = {(f.id, p.id) for f in frameworks() if f.id in ("sasb-tc-im", "cn-gb-40879") for p in f.datapoints}
    assert unverified - not_read_whole == {
        ("eed-2024-1364", "SDC"), ("eed-2024-1364", "SCR"),
        ("eed-2024-1364", "Annex I, redundancy"), ("eed-2024-1364", "grid functions, CBtG"), ("eed-2024-1364", "TWH"),
        ("eed-2024-1364", "TIN"), ("eed-2024-1364", "CSERV"), ("eed-2024-1364", "refrigerants"), ("eed-2024-1364", "CDD"),
        ("eed-2024-1364", "BIN, BOUT and traffic"), ("esrs-e1-2026", "E1-7"),
        ("de-enefg", "section 11, air inlet"),
        ("esrs-e1-2026", "E1-8, Scope 2 location-based"), ("esrs-e1-2026", "E1-8, Scope 2 market-based"),
    }  # fmt: skip
    assert not_read_whole <= unverified
    assert all(row.verified == ((row.framework, row.datapoint) not in unverified) for row in index({}))


def test_each_pattern_fits_a_figure_and_each_id_is_there_once() -> None:
    names = sorted(path.stem for path in (Path(datapoints.__file__).parent / "data").glob("*.json"))
    assert sorted(framework.id for framework in frameworks()) == names
    for framework in frameworks():
        assert all(p.id and p.text and p.text_zh for p in framework.datapoints)
        ids = [p.id for p in framework.datapoints]
        assert len(set(ids)) == len(ids), framework.id
        for point in framework.datapoints:
            for pattern in point.figures:
                assert any(fnmatchcase(i, pattern) for i in IDS), (framework.id, point.id, pattern)


def test_no_input_is_idle_and_both_languages_are_there() -> None:
    of_rules = {
        "run",
        "unsubsidised",
        "zero_factor",
        "site.whole",
        "invoice.read",
        "gases",
        "calendar",
        "server",
        "all.sources",
    }  # named by rules and substitutes alone
    assert set(inputs()) == {p.needs for f in frameworks() for p in f.datapoints} | of_rules
    assert all(set(words) == {"en", "zh"} and all(words.values()) for words in inputs().values())
    chinese = re.compile("[\u4e00-\u9fff]")
    for framework in frameworks():
        assert chinese.search(framework.note_zh)
        for point in framework.datapoints:
            assert chinese.search(point.text_zh) or point.text_zh == point.text == "(E x I + M) / R"


def rows(
    figures: dict[str, str], framework: str, language: str = "en"
) -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return {r.datapoint: (r.state, r.answered_by, r.missing) for r in index(figures, language) if r.framework == framework}


def test_figure_with_a_value_answers_every_framework_that_requires_it() -> None:
    answered = {(r.framework, r.datapoint) for r in index({"co2e.location": ""}) if r.state == "answered"}
    assert answered == {
        ("ghg-protocol", "Scope 2, location-based"), ("esrs-e1-set-1", "E1-6, Scope 2 location-based"),
        ("esrs-e1-2026", "E1-8, Scope 2 location-based"), ("gri-302-305", "305-2 a"), ("gri-103-102", "102-6, location-based"),
        ("ifrs-s2", "29(a), Scope 2"), ("cdp", "7.7, location-based"),
    }  # fmt: skip


def test_one_site_with_a_pue_and_one_without_answer_in_part() -> None:
    answers = rows(
        {"pue/site/north": "", "pue/site/south": "no meter of role it", "pue.trailing/site/north": "3 of 12 months"},
        "iso-30134",
    )
    assert answers["30134-2, interim PUE"] == ("partly", ("pue/site/north",), ("no meter of role it",))
    assert answers["30134-2, PUE"] == ("missing", (), ("3 of 12 months",))
    assert answers["30134-9, WUE"] == ("missing", (), ("a meter of the water that the site takes in",))


def test_a_pattern_is_not_a_prefix() -> None:
    assert rows({"pue.trailing": "", "pue_of_a_room": ""}, "eed-2024-1364")["PUE"][0] == "missing"
    of_boards, of_building = "training.energy/run/llm-7b", "training.energy.facility/run/llm-7b"
    answer = rows({of_boards: "", of_building: ""}, "eu-ai-act-annex-xi")["section 1, 2(e)"]
    assert answer == ("partly", (of_building,), ("the whole training run, over all of its quarters",))


def test_what_is_missing_is_named_once() -> None:
    of = group_missing(index({"wue": "water: no meter", "wue/site/a": "water: no meter"}))
    assert of["water: no meter"] == [
        ("German Energy Efficiency Act, data centres", "annex 3, 2(i)"),
        ("EU Energy Efficiency Directive, data centres", "WUE"),
        ("ISO/IEC 30134", "30134-9, WUE"),
    ]
    scope_1 = [d for _, d in of["the fuel that the site burnt"]]
    assert scope_1 == [
        "7.6", "7.30.1, fuel", "E1-6, Scope 1", "Scope 1", "102-5", "302-1 a", "302-1 b", "305-1", "29(a), Scope 1",
    ]  # fmt: skip
    counts = list(map(len, group_missing(index({})).values()))
    assert counts == sorted(counts, reverse=True)
    # One input per datapoint that is missing; a draft and an intensity of other sectors do not apply.
    assert sum(counts) == len([row for row in index({}) if row.applicable])


SITES = {"fra1": ReportedSite("DEU", Fraction(600)), "pnq1": ReportedSite("IND", Fraction(900))}
YEAR, QUARTER = ReportScope(sites=SITES), ReportScope(twelve_months=False, sites=SITES)


def state(
    framework: str, datapoint: str, figures: dict[str, str], scope: ReportScope, *stand_ins: str
) -> tuple[str, tuple[str, ...]]:
    row = next(
        r
        for r in index(figures, "en", dict.fromkeys(stand_ins, ()), scope)
        if (r.framework, r.datapoint) == (framework, datapoint)
    )
    return row.state, row.missing


SITE = "the energy of hosts and building where only GPUs or nodes are metered"
GASES = "CH4 and N2O of the grid: factors of CO2e"
ANNUAL = (
    ("esrs-e1-set-1", "E1-6, Scope 2 location-based", "co2e.location", GASES),
    ("esrs-e1-set-1", "E1-6, Scope 2 market-based", "co2e.market", GASES),
    ("esrs-e1-set-1", "E1-5, renewable", "energy.total_renewable/site/fra1", SITE),
    ("ghg-protocol", "Scope 2, location-based", "co2e.location", GASES),
    ("ghg-protocol", "Scope 2, market-based", "co2e.market", GASES),
    ("ghg-protocol", "Scope 2, residual mix", "co2e.market.residual", GASES),
    ("ghg-protocol", "Scope 2, instruments", "co2e.market.instruments/site/fra1", SITE),
    ("ghg-protocol", "Scope 3.3", "scope_3_3", GASES),
    ("ghg-protocol", "Biogenic CO2", "biogenic_co2/site/fra1", SITE),
    ("ifrs-s2", "29(a), Scope 2", "co2e.location", GASES),
    ("ifrs-s2", "29(a), instruments", "co2e.market.instruments/site/fra1", SITE),
    ("gri-302-305", "305-2 a", "co2e.location", GASES),
    ("gri-302-305", "305-2 b", "co2e.market", GASES),
    ("gri-302-305", "302-3", "j_per_token.facility", ""),
    ("gri-302-305", "305-4", "sci_per_token", SITE),
    ("gri-103-102", "102-8", "sci_per_token", SITE),
    ("cdp", "7.7, location-based", "co2e.location", GASES),
    ("cdp", "7.7, market-based", "co2e.market", GASES),
    ("cdp", "7.8, category 3", "scope_3_3", ""),
    ("cdp", "7.20.2, location-based", "co2e.location/site/fra1", GASES),
    ("cdp", "7.20.2, market-based", "co2e.market/site/fra1", GASES),
    ("cdp", "7.30.1, purchased electricity", "energy.bought/site/fra1", ""),
    ("cdp", "7.30.1, own renewable energy", "energy.total_renewable.on_site/site/fra1", ""),
    ("cdp", "7.30.14", "contract/fra1/wind", SITE),
    ("iso-30134", "30134-9, WUE", "wue/site/fra1", ""),
    ("eed-2024-1364", "EIT", "energy.it/site/fra1", ""),
    ("eed-2024-1364", "ERES-TOT", "energy.total_renewable/site/fra1", SITE),
    ("de-enefg", "section 11, reused energy", "erf/site/fra1", ""),
    ("de-enefg", "annex 3, 2(a) bought", "energy.bought/site/fra1", ""),
    ("de-enefg", "annex 3, 2(b)", "ref/site/fra1", ""),
    ("de-enefg", "annex 3, 2(d) heat", "energy.reused_heat/site/fra1", ""),
    ("de-enefg", "annex 3, 2(f)", "pue/site/fra1", ""),
    ("de-enefg", "annex 3, 2(g)", "erf/site/fra1", ""),
    ("de-enefg", "annex 3, 2(i)", "wue/site/fra1", ""),
    ("cn-gb-40879", "GB 40879, IT", "energy.it/site/fra1", ""),
)
"""Framework, datapoint, the figure that answers it, and what a figure of GPUs or of CO2 alone lacks."""


@pytest.mark.parametrize(("framework", "datapoint", "figure", "part"), ANNUAL)
def test_an_annual_datapoint_is_answered_by_a_year_of_its_own_quantity(
    framework: str, datapoint: str, figure: str, part: str
) -> None:
    year = ReportScope(sites={"fra1": ReportedSite("CHN" if framework.startswith("cn") else "DEU", Fraction(600))})
    quarter, figures = replace(year, twelve_months=False), {figure: ""}
    assert state(framework, datapoint, figures, year) == ("answered", ())
    assert state(framework, datapoint, {"energy.gpu": "", "co2e.lifecycle.location": ""}, year)[0] == "missing"
    answer, missing = state(framework, datapoint, figures, quarter)
    assert (answer, "twelve months of data" in missing) == ("partly", True)
    for scope in (year, quarter, replace(year, narrow={figure})):
        assert state(framework, datapoint, {figure: "no meter"}, scope) == ("missing", ("no meter",))
    if part:
        assert state(framework, datapoint, figures, replace(year, narrow={figure})) == ("partly", (SITE,))
    if part == GASES:
        assert state(framework, datapoint, figures, replace(year, co2_alone={figure})) == ("partly", (GASES,))


def test_an_estimated_intensity_is_estimated() -> None:
    for datapoint, figure in (("302-3", "j_per_token.facility"), ("305-4", "sci_per_token")):
        assert state("gri-302-305", datapoint, {figure: ""}, YEAR, figure)[0] == "estimated"


@pytest.mark.parametrize(
    ("datapoint", "need"),
    [
        ("section 11, reused energy", "a meter of the heat that others reuse"),
        ("annex 3, 2(a) bought", "a meter of all energy of the site"),
        ("annex 3, 2(b)", "contracts and certificates of the period, with their retirement"),
        ("annex 3, 2(f)", "meters of the site's total energy and of its IT"),
        ("annex 3, 2(i)", "a meter of the water that the site takes in"),
    ],
)
def test_a_datapoint_without_a_figure_names_the_input_that_it_needs(datapoint: str, need: str) -> None:
    assert state("de-enefg", datapoint, {}, YEAR) == ("missing", (need,))


def test_a_substitute_names_the_input_that_it_replaces() -> None:
    """A stated PUE lacks a meter, the grid's average the residual mix: not what the datapoint itself would need."""
    keys: dict[str, tuple[str, ...]] = {"co2e.market": ("meter.total", "residual")}
    rows = index({"co2e.market": "", "co2e.location": ""}, "en", keys, YEAR)
    by_datapoint = {(r.framework, r.datapoint): r for r in rows}
    market = by_datapoint["ghg-protocol", "Scope 2, market-based"]
    names = ("a meter of all energy of the site", "the residual mix of the zone, as a factor file of your own")
    assert (market.state, market.missing) == ("estimated", names)
    assert by_datapoint["ghg-protocol", "Scope 2, location-based"].state == "answered"


def test_the_directive_is_about_sites_of_the_union_from_500_kw() -> None:
    """pnq1 is in India, and a total over both sites answers nothing. A site whose power is unknown is not excluded."""
    figures = {"energy.it": "", "energy.it/site/fra1": "", "energy.it/site/pnq1": ""}
    row = next(r for r in index(figures, scope=YEAR) if (r.framework, r.datapoint) == ("eed-2024-1364", "EIT"))
    assert (row.state, row.answered_by) == ("answered", ("energy.it/site/fra1",))
    for site, wanted in (
        (ReportedSite("DEU", Fraction(499)), "not_applicable"), (ReportedSite("DEU"), "answered"),
        (ReportedSite("GBR", Fraction(600)), "not_applicable"), (ReportedSite("", Fraction(600)), "not_applicable"),
    ):  # fmt: skip
        assert state("eed-2024-1364", "EIT", figures, ReportScope(sites={"fra1": site}))[0] == wanted


def test_energy_before_the_transfer_switch_is_metered_and_has_fuels_in_it() -> None:
    figures = {"energy.facility/site/fra1": ""}
    assert state("eed-2024-1364", "EDC", figures, YEAR) == ("partly", ("the fuel that the site burnt",))
    estimate = state("eed-2024-1364", "EDC", figures, YEAR, "energy.facility/site/fra1")
    assert estimate == ("missing", ("a meter of all energy of the site",))
    assert state("eed-2024-1364", "PUE", {"pue/site/fra1": ""}, YEAR)[0] == "answered"
    assert state("eed-2024-1364", "PUE", {"pue/site/fra1": ""}, YEAR, "pue/site/fra1")[0] == "missing"


def test_potable_water_and_all_water_are_of_two_categories() -> None:
    for category, potable, every in (("1", "answered", "missing"), ("2", "missing", "answered")):
        scope = replace(YEAR, water_categories={"water/site/fra1": category})
        assert state("eed-2024-1364", "WIN-POT", {"water/site/fra1": ""}, scope)[0] == potable
        assert state("eed-2024-1364", "WIN", {"water/site/fra1": ""}, scope)[0] == every


@pytest.mark.parametrize(("framework", "datapoint"), [("gri-303", "303-3 a, total"), ("esrs-e3-set-1", "E3-4, AR 32")])
def test_withdrawal_is_all_water_and_answers_no_consumption(framework: str, datapoint: str) -> None:
    """GRI 303-3 a: "total water withdrawal from all areas", which WUE category 2 counts; 303-5 and E3-4 ask for consumption,
    which is withdrawal minus discharge."""
    figures = {"water/site/fra1": "", "water": ""}
    for category, wanted in (("1", "missing"), ("2", "answered"), ("", "missing")):
        scope = replace(YEAR, water_categories=dict.fromkeys(figures, category))
        assert state(framework, datapoint, figures, scope)[0] == wanted
    scope = replace(YEAR, water_categories=dict.fromkeys(figures, "2"))
    assert state(framework, datapoint, figures, replace(scope, twelve_months=False))[0] == "partly"
    for other, point in (("gri-303", "303-5 a"), ("esrs-e3-set-1", "E3-4, 28(a)")):
        assert state(other, point, figures, scope) == ("missing", ("water that the site consumed",))


def test_cdp_totals_have_fuels_in_them() -> None:
    fuel = "the fuel that the site burnt"
    for datapoint, figure in (("7.30.1, total", "energy.facility"), ("7.12.1", "biogenic_co2")):
        assert state("cdp", datapoint, {figure: ""}, YEAR) == ("partly", (fuel,))
        assert state("cdp", datapoint, {figure: "no factor"}, YEAR) == ("missing", ("no factor",))


@pytest.mark.parametrize(
    ("framework", "datapoint", "other"),
    [("ghg-protocol", "Biogenic CO2", ()), ("cdp", "7.12.1", ("the fuel that the site burnt",))],
)
def test_a_contract_without_biogenic_co2_leaves_the_answer_in_part(
    framework: str, datapoint: str, other: tuple[str, ...]
) -> None:
    """The figure of the grid has a value, and that of a contract with biomass has none."""
    figures = {"biogenic_co2": "", "biogenic_co2.contract/fra1/wood": "not stated"}
    assert state(framework, datapoint, figures, YEAR) == ("partly", ("not stated", *other))
    stated = state(framework, datapoint, dict.fromkeys(figures, ""), YEAR)
    assert stated == ("partly" if other else "answered", other)


def test_only_contracts_at_zero_grams_were_accounted_at_a_zero_factor() -> None:
    figures = {"contract/fra1/wind": "", "contract/fra1/coal": ""}
    scope = replace(YEAR, zero_contracts={"contract/fra1/wind"})
    row = next(r for r in index(figures, scope=scope) if (r.framework, r.datapoint) == ("cdp", "7.30.14"))
    assert (row.state, row.answered_by) == ("answered", ("contract/fra1/wind",))
    assert state("cdp", "7.30.14", figures, replace(YEAR, zero_contracts=()))[0] == "missing"


def test_without_a_contract_at_zero_grams_no_contract_is_missing() -> None:
    """CDP 7.30.14 asks for the electricity at a zero factor: contracts at other factors are no gap in the inputs."""
    reason = "contracts cover energy, none of them at 0 g/kWh"
    scope = replace(YEAR, zero_contracts=(), other_contracts={"contract/fra1/coal"})
    figures = {"contract/fra1/coal": "", "contract/fra1/unproven": ""}
    assert state("cdp", "7.30.14", figures, scope) == ("not_applicable", (reason,))
    assert state("cdp", "7.30.14", figures, replace(scope, twelve_months=False)) == ("not_applicable", (reason,))
    assert reason not in group_missing(index(figures, scope=scope))
    need = "contracts and certificates of the period, with their retirement"
    assert state("cdp", "7.30.14", {"contract/fra1/unproven": ""}, scope) == ("missing", (need,))


@pytest.mark.parametrize(
    ("framework", "datapoint", "country", "least_kw"),
    [("de-enefg", "annex 3, 2(a) total", "DEU", 150), ("cn-gb-40879", "GB 40879, total", "CHN", 0)],
)
def test_national_rules_are_for_sites_of_that_country(framework: str, datapoint: str, country: str, least_kw: int) -> None:
    """The EnEfG applies from 300 kW of connected power (section 3, number 24): of a site of 160 kW of IT it is unknown."""
    figures = {"energy.facility": "", "energy.facility/site/here": "", "energy.facility/site/there": ""}
    other_site = ReportedSite("FRA", Fraction(900))
    for site, wanted in (
        (ReportedSite(country, Fraction(least_kw)), "answered"), (ReportedSite(country), "answered"),
        (ReportedSite("", Fraction(900)), "not_applicable"), (other_site, "not_applicable"),
        (ReportedSite(country, Fraction(least_kw, 2)), "not_applicable" if least_kw else "answered"),
    ):  # fmt: skip
        scope = ReportScope(sites={"here": site, "there": other_site})
        row = next(r for r in index(figures, scope=scope) if (r.framework, r.datapoint) == (framework, datapoint))
        assert row.state == wanted
        assert row.answered_by == (("energy.facility/site/here",) if wanted == "answered" else ())


def test_a_german_pue_is_annual_and_metered_and_renewable_electricity_unsubsidised() -> None:
    assert state("de-enefg", "section 11, PUE", {"pue.trailing/site/fra1": ""}, YEAR)[0] == "answered"
    assert state("de-enefg", "section 11, PUE", {"pue/site/fra1": ""}, YEAR)[0] == "missing"
    assert state("de-enefg", "annex 3, 2(f)", {"pue/site/fra1": ""}, YEAR, "pue/site/fra1")[0] == "missing"
    estimated = state("de-enefg", "annex 3, 2(a) total", {"energy.facility/site/fra1": ""}, YEAR, "energy.facility/site/fra1")
    assert estimated == ("missing", ("a meter of all energy of the site",))
    renewable = state("de-enefg", "section 11, renewable electricity", {"ref/site/fra1": ""}, YEAR)
    assert renewable == ("partly", ("proof that the renewable electricity was not subsidised",))


@pytest.mark.parametrize(
    ("framework", "datapoint"),
    [("gri-302-305", "302-1 e"), ("gri-103-102", "103-2"), ("esrs-e1-set-1", "E1-5, total"), ("esrs-e1-2026", "E1-7")],
)
def test_all_energy_is_not_answered_by_electricity_alone(framework: str, datapoint: str) -> None:
    assert state(framework, datapoint, {"energy.facility": ""}, YEAR) == ("partly", ("the fuel that the site burnt",))
    assert state("gri-302-305", "302-1 c", {"energy.facility": ""}, YEAR) == ("answered", ())


@pytest.mark.parametrize(
    ("first_day", "old", "new"),
    [("", "answered", "answered"), ("2026-10-01", "answered", "not_applicable"), ("2026-12-31", "answered", "not_applicable"),
     ("2027-01-01", "not_applicable", "answered")],
)  # fmt: skip
def test_the_first_day_of_the_period_selects_the_edition(first_day: str, old: str, new: str) -> None:
    """GRI 102 and 103 are effective for periods from 1 January 2027 (Jones Day, 2025: "effective for reporting periods starting
    January 1, 2027"), and replace GRI 305 and 302."""
    scope = replace(YEAR, first_day=first_day)
    assert state("gri-302-305", "305-2 a", {"co2e.location": ""}, scope)[0] == old
    assert state("gri-103-102", "102-6, location-based", {"co2e.location": ""}, scope)[0] == new
    assert state("esrs-e1-2026", "E1-8, Scope 2 location-based", {"co2e.location": ""}, scope)[0] == new
    assert state("esrs-e1-set-1", "E1-6, Scope 2 location-based", {"co2e.location": ""}, scope)[0] == "answered"


@pytest.mark.parametrize("code", ["TC-SI", "TC-IM"])
def test_sasb_requires_gigajoules_shares_and_withdrawn_water(code: str) -> None:
    """TC-SI-130a.1 1.1: energy from all sources, so that electricity alone answers in part; 3.2: renewable over total energy;
    130a.2 1.1: water of all sources, which is WUE category 2."""
    framework, fuel = f"sasb-{code.lower()}", "the fuel that the site burnt"
    for part, figure in (("1", "energy.facility"), ("2", "grid_share/site/fra1"), ("3", "ref/site/fra1")):
        point = f"{code}-130a.1 ({part})"
        assert state(framework, point, {figure: ""}, YEAR) == ("partly", (fuel,))
        assert state(framework, point, {figure: ""}, QUARTER) == ("partly", ("twelve months of data", fuel))
        assert state(framework, point, {figure: "no meter"}, YEAR) == ("missing", ("no meter",))
    for category, wanted in (("1", "missing"), ("2", "answered")):
        scope = replace(YEAR, water_categories={"water/site/fra1": category})
        assert state(framework, f"{code}-130a.2 (1)", {"water/site/fra1": ""}, scope)[0] == wanted
    assert state(framework, f"{code}-130a.3", dict.fromkeys(IDS, ""), YEAR)[0] == "missing"
    units = {p.id: p.unit for p in BY_ID[framework].datapoints}
    assert (units[f"{code}-130a.1 (1)"], units[f"{code}-130a.2 (1)"]) == ("GJ", "1000 m3")


def test_twelve_months_that_are_no_calendar_year_answer_in_part() -> None:
    """The EED and annex 3 of the EnEfG ask for the past calendar year; section 11 of the EnEfG for an annual mean."""
    sites = {"fra1": ReportedSite("DEU", Fraction(600))}
    fiscal = ReportScope(sites=sites, calendar_year=False)
    for framework in ("eed-2024-1364", "de-enefg"):
        annual = [p for p in BY_ID[framework].datapoints if "twelve_months" in p.rules and p.figures]
        for point in (p for p in annual if not p.id.startswith("section 11")):
            (figure,) = [f"{point.figures[0].partition('/')[0]}/site/fra1"]
            scope = replace(fiscal, water_categories={figure: "1" if point.id == "WIN-POT" else "2"})
            assert state(framework, point.id, {figure: ""}, scope)[0] == "partly", point.id
            assert "a calendar year of data" in state(framework, point.id, {figure: ""}, scope)[1], point.id
            short = state(framework, point.id, {figure: ""}, replace(scope, twelve_months=False))[1]
            assert "twelve months of data" in short
            assert "a calendar year of data" not in short
    assert state("de-enefg", "section 11, reused energy", {"erf/site/fra1": ""}, fiscal) == ("answered", ())
    assert state("gri-302-305", "302-1 c", {"energy.facility": ""}, fiscal) == ("answered", ())


def test_a_value_that_is_estimated_and_of_a_part_has_both_words() -> None:
    figure = "co2e.location/site/fra1"
    assert state("ghg-protocol", "Scope 2, location-based", {figure: ""}, YEAR, figure)[0] == "estimated"
    quarter = state("ghg-protocol", "Scope 2, location-based", {figure: ""}, QUARTER, figure)
    assert quarter == ("estimated_partly", ("twelve months of data", "the grid zone or country of the site"))
    narrow = replace(YEAR, narrow={figure})
    assert state("ghg-protocol", "Scope 2, location-based", {figure: ""}, narrow, figure)[0] == "estimated_partly"
    two = {figure: "", "co2e.location/site/par1": "no grid"}
    assert state("ghg-protocol", "Scope 2, location-based", two, YEAR, figure)[0] == "estimated_partly"


def test_measured_gpu_time_is_no_proof_that_all_sources_are_there() -> None:
    need = "all sources of emissions in the organisation's boundary, such as fuels and equipment without meters"
    assert state("ghg-protocol", "Completeness", {"coverage": "", "coverage/site/fra1": ""}, YEAR) == ("partly", (need,))
    assert state("ghg-protocol", "Completeness", {"coverage": "no inventory"}, YEAR) == ("missing", ("no inventory",))


def test_one_floor_area_answers_one_of_two_datapoints() -> None:
    figures = {"declared.floor_m2/site/fra1": ""}
    assert state("eed-2024-1364", "SDC", figures, YEAR) == ("answered", ())
    assert state("eed-2024-1364", "SCR", figures, YEAR) == ("missing", ("the floor area of the computer rooms",))


def test_embodied_emissions_of_boards_alone_are_a_part_of_m() -> None:
    need = "the footprint of the server around the GPUs, which your own figures or the published ones do not state"
    for datapoint, figure in (("M", "sci.embodied"), ("SCI", "sci_per_token")):
        assert state("iso-21031", datapoint, {figure: ""}, YEAR) == ("answered", ())
        assert state("iso-21031", datapoint, {figure: ""}, replace(YEAR, without_server={figure})) == ("partly", (need,))
    narrow, alone = (
        replace(YEAR, narrow={"sci_per_token"}),
        replace(YEAR, co2_alone={"sci_per_token", "cue", "grid_intensity/site/a"}),
    )
    assert state("iso-21031", "SCI", {"sci_per_token": ""}, narrow)[0] == "partly"
    for framework, datapoint, figure in (
        ("iso-21031", "SCI", "sci_per_token"), ("iso-21031", "I", "grid_intensity/site/a"),
        ("iso-30134", "30134-8, CUE", "cue"),
    ):  # fmt: skip
        assert state(framework, datapoint, {figure: ""}, YEAR)[0] == "answered"
        assert state(framework, datapoint, {figure: ""}, alone)[0] == "partly"


def test_annex_i_names_the_site_and_what_no_input_has() -> None:
    texts = {
        "declared.name/site/fra1": "fra1",
        "declared.organisation/site/fra1": "Example",
        "declared.country/site/fra1": "DEU",
    }
    texts |= {key.replace("fra1", "dal1"): "other" for key in texts}
    scope = replace(YEAR, texts=texts, sites={"fra1": ReportedSite("DEU", Fraction(600)), "dal1": ReportedSite("USA")})
    rows = {r.datapoint: r for r in index({}, scope=scope) if r.datapoint.startswith("Annex I,")}
    assert {name.removeprefix("Annex I, "): (r.state, tuple(r.texts.values())) for name, r in rows.items()} == {
        "name": ("answered", ("fra1",)), "owner": ("partly", ("Example",)), "place": ("partly", ("DEU",)),
        "type": ("missing", ()), "start": ("missing", ()), "redundancy": ("missing", ()),
    }  # fmt: skip
    assert rows["Annex I, owner"].missing == ("the owner and the operator of the site, with contacts",)
    assert rows["Annex I, place"].missing == ("the municipality of the site (LAU code)",)
    assert rows["Annex I, type"].missing == ("the type of the data centre: enterprise, colocation or co-hosting",)
    assert rows["Annex I, start"].missing == ("the date on which the data centre began to operate",)


def test_a_draft_and_an_intensity_of_other_sectors_do_not_apply() -> None:
    everything = dict.fromkeys(IDS, "")
    assert {r.state for r in index(everything) if r.framework == "ghg-protocol-scope-2-revision"} == {"not_applicable"}
    assert state("esrs-e1-set-1", "E1-5, intensity", everything, YEAR) == ("not_applicable", ())
    assert state("esrs-e1-set-1", "E1-6, intensity", everything, YEAR)[0] == "missing"


def test_terms_of_the_sci_are_of_what_the_sci_is_of() -> None:
    for term, figure in (("E", "sci.energy"), ("M", "sci.embodied"), ("R", "sci.tokens")):
        assert state("iso-21031", term, {figure: ""}, YEAR)[0] == "answered"
        assert state("iso-21031", term, {"energy.facility": "", "embodied": "", "tokens.generation": ""}, YEAR)[0] == "missing"


def test_each_rule_is_used_and_each_use_is_a_rule() -> None:
    assert {rule for f in frameworks() for p in f.datapoints for rule in p.rules} == set(RULES)


def test_values_are_in_the_requested_unit() -> None:
    """3.6 GJ are a MWh, a million grams a tonne; a bound to an unknown unit has no value."""
    for value, unit, asked, wanted in (
        (3_600_000_000, "J", "MWh", 1), (3_600_000, "J", "kWh", 1), (5, "J", "J, Wh", 5), (2_000_000, "g", "t CO2e", 2),
        (1500, "L", "m3", Fraction(3, 2)), (1500, "kWh", "MWh", Fraction(3, 2)),
        (3_000_000, "g", "t CO2", 3), (2_000_000, "L", "ML", 2), (5_000_000_000, "J", "GJ", 5), (3_000_000, "L", "1000 m3", 3),
        (Fraction(1, 2), "ratio", "%", 50), (2, "L/kWh", "m3/MWh", 2),
        (1, "J", "t CO2e", None),
    ):  # fmt: skip
        assert in_unit(Fraction(value), unit, asked) == wanted


def test_nothing_is_missing_without_datapoints() -> None:
    assert group_missing([]) == {}
    asked = [(f.title, p.id) for f in frameworks() for p in f.datapoints if p.needs == "declared" and not p.figures]
    assert len([title for title, _ in asked if title == BY_ID["eed-2024-1364"].title]) == 9
    assert group_missing(index(dict.fromkeys(IDS, "")))["a declaration of the operator"] == asked


def test_in_chinese_texts_and_inputs_are_chinese() -> None:
    assert rows({}, "iso-30134", "zh")["30134-9, WUE"] == ("missing", (), ("场地取水量水表",))
    assert {r.title for r in index({}, "zh") if r.framework == "iso-21031"} == {"软件碳强度（SCI）"}
    on_site = next(r for r in index({}, "zh") if r.datapoint == "E1-5，场地自产")
    assert (on_site.framework, on_site.unit) == ("esrs-e1-set-1", "MWh")
    assert {r.unit for r in index({}, "zh") if r.datapoint == "E1-6，强度"} == {"t CO2e/货币单位"}


def test_no_english_word_is_left_in_chinese() -> None:
    """But for codes, which have no small letters, and units of physics."""
    words = {word for r in index({}, "zh") for word in re.findall(r"[A-Za-z]*[a-z]{3,}|per", f"{r.datapoint} {r.unit}")}
    assert words == set()
