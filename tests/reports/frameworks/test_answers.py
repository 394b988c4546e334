"""Answers to datapoints in facts.json and the workbook: value in the unit asked for, period, boundary, estimates, evidence."""

import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from reports.figures.facts import Facts
from reports.figures.facts_json import facts_json
from reports.figures.figure import ESTIMATED_J, IMPUTED_J, STAND_IN, Figure
from reports.frameworks.answers import datapoint_answers, scope_of
from reports.frameworks.datapoints import frameworks
from reports.language import say_in
from reports.page.section import ReportTable
from reports.page.sections.frameworks import build
from reports.page.sections.headline import estimated_share
from reports.period import PeriodRequest
from reports.render.xlsx import xlsx
from reports.reproduce import facts_of
from tests.reports import chains, golden

MWH = 3_600_000_000


@pytest.fixture(scope="module")
def quarter(golden_days: Path) -> Facts:
    return chains.facts(golden_days, golden.organisation(), PeriodRequest("2026Q3"))


@pytest.fixture(scope="module")
def facts(quarter: Facts) -> Facts:
    """Two sites of 3 and 1 MWh, of which the second is an estimate."""
    quarter_facts, names = quarter, sorted(quarter.sites)
    figures = {
        "energy.facility": Figure("energy.facility", Fraction(4 * MWH), "J", "sum", "facility", dims={STAND_IN: "PUE"}),
        **{
            f"energy.facility/site/{name}": Figure(
                f"energy.facility/site/{name}", Fraction(mwh * MWH), "J", "metered", "facility",
                dims={"site": name} | ({STAND_IN: "PUE"} if mwh == 1 else {}),
            )
            for name, mwh in zip(names, (3, 1), strict=False)
        },
    }  # fmt: skip
    return replace(quarter_facts, figures=dict(quarter_facts.figures) | figures)


def answer(facts: Facts, framework: str, datapoint: str) -> dict[str, object]:
    document = json.loads(facts_json(replace(facts, datapoints=datapoint_answers(facts))))
    (row,) = (each for each in document["datapoints"] if (each["framework"], each["datapoint"]) == (framework, datapoint))
    return row


def test_facts_have_every_datapoint_once(facts: Facts) -> None:
    answers = datapoint_answers(facts)
    assert [(a.framework, a.datapoint) for a in answers] == [(f.id, p.id) for f in frameworks() for p in f.datapoints]


def test_an_answer_has_value_unit_period_boundary_estimates_and_evidence(facts: Facts) -> None:
    row = answer(facts, "sasb-tc-si", "TC-SI-130a.1 (1)")
    assert row["unit"] == "GJ"
    assert row["values"]["energy.facility"] == "14.4"  # 4 MWh
    assert row["boundary"] == "facility"
    assert row["estimated_share"] == "0.25"
    assert "energy.facility" in row["figures"]
    assert row["state"] == "estimated_partly"
    site = next(iter(facts.sites.values()))
    assert row["period"].startswith(f"{site.start} to ")
    missing = answer(facts, "sasb-tc-si", "TC-SI-130a.3")
    assert (missing["state"], missing["values"], missing["period"], missing["figures"]) == ("missing", {}, "", [])


def test_the_printed_index_states_what_is_missing_of_a_value(facts: Facts) -> None:
    """A quarter's value of an annual datapoint, at a site with a stated PUE: estimated, partly, and what is missing."""
    cells = [row for block in build(facts, say_in("en")) if isinstance(block, ReportTable) for row in block.rows]
    (state,) = [row[-1] for row in cells if row[0].startswith("TC-SI-130a.1 (1)")]
    assert state.startswith("estimated, partly: twelve months of data; the fuel that the site burnt")
    assert not [row for row in cells if row[-1] in ("estimated", "partly", "missing", "estimated, partly")]


def test_a_year_ends_a_year_after_its_start(quarter: Facts) -> None:
    site = next(iter(quarter.sites.values()))
    for start, end, wanted in (
        ("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z", (True, True)),
        ("2026-04-01T00:00:00+02:00", "2027-04-01T00:00:00+02:00", (True, False)),
        ("2027-07-02T00:00:00Z", "2028-07-01T00:00:00Z", (False, False)),  # 365 days
        ("2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z", (False, False)),
        ("2026-07-01T00:00:00Z", "2026-10-01T00:00:00Z", (False, False)),
    ):
        scope = scope_of(replace(quarter, sites={"alfa": replace(site, start=start, end=end)}))
        assert (scope.twelve_months, scope.calendar_year) == wanted


@pytest.mark.parametrize(("covers", "wanted"), [("as told", "partly"), ("gpu", "partly"), ("gpu+server", "answered")])
def test_a_footprint_of_the_gpu_alone_is_a_part_of_embodied_emissions(quarter: Facts, covers: str, wanted: str) -> None:
    reason = "a range of published figures, never one number"
    figures = {
        i: Figure(i, None, "g", "published footprints", "embodied", None, Fraction(1), Fraction(2), dims=dims, reason=reason)
        for i, dims in (("embodied/sku/h", {"sku": "h", "covers": covers}), ("sci.embodied", {}))
    }
    kept = {i: f for i, f in quarter.figures.items() if not i.startswith(("embodied", "sci"))}
    assert answer(replace(quarter, figures=kept | figures), "iso-21031", "M")["state"] == wanted


def test_words_answer_annex_i_in_facts_and_print(quarter: Facts) -> None:
    site = replace(next(iter(quarter.sites.values())), declared={"country": "DEU", "it_kw": "600"})
    named = replace(quarter, sites={"fra1": site}, organisation="Example")
    row = answer(named, "eed-2024-1364", "Annex I, place")
    assert (row["state"], row["values"], row["figures"]) == ("partly", {"declared.country/site/fra1": "DEU"}, [])
    assert row["missing"] == ["the municipality of the site (LAU code)"]
    cells = [each for block in build(named, say_in("en")) if isinstance(block, ReportTable) for each in block.rows]
    assert [each[2] for each in cells if each[0] == "Annex I, owner"] == ["fra1 Example"]


def test_the_share_of_estimates_counts_parts_that_no_meter_read(facts: Facts) -> None:
    """The site of 3 MWh imputed 1 MWh; of the other 1 MWh, the supplier estimated 0.2 MWh: 1.2 of 4."""
    metered, invoiced = (facts.figures[f"energy.facility/site/{name}"] for name in sorted(facts.sites))
    figures = {
        metered.id: replace(metered, dims=metered.dims | {IMPUTED_J: str(MWH)}),
        invoiced.id: replace(invoiced, dims=invoiced.dims | {ESTIMATED_J: str(MWH // 5)}),
    }
    changed = replace(facts, figures=dict(facts.figures) | figures)
    assert answer(changed, "sasb-tc-si", "TC-SI-130a.1 (1)")["estimated_share"] == "0.3"
    assert estimated_share(changed) == Fraction(3, 10)


def test_datapoints_survive_the_way_through_facts_json(facts: Facts) -> None:
    whole = replace(facts, datapoints=datapoint_answers(facts))
    raw = facts_json(whole)
    assert facts_of(raw, "facts.json") == whole
    assert json.loads(raw)["edition"] == whole.edition + 1


def test_the_workbook_lists_them(facts: Facts) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(io.BytesIO(xlsx(facts, say_in("en"))), read_only=True)
    rows = list(book["Framework index"].iter_rows(values_only=True))
    heads = [str(head) for head in rows[0]]
    assert heads[8:11] == ["period", "boundary", "share of estimates"]
    lines = [dict(zip(heads, each, strict=True)) for each in rows if each[1] == "TC-SI-130a.1 (1)"]
    assert [(line["Figures"], line["Value"]) for line in lines] == [  # 4, 3 and 1 MWh
        ("energy.facility", 14.4),
        *zip((f"energy.facility/site/{name}" for name in sorted(facts.sites)), (10.8, 3.6), strict=False),
    ]
    assert {line["share of estimates"] for line in lines} == {0.25}
    assert {line["boundary"] for line in lines} == {"facility"}


def test_a_quarter_of_2026_takes_the_editions_of_its_time(quarter: Facts) -> None:
    asked = ("305-2 a", "102-6, location-based")
    states = {a.framework: a.state for a in datapoint_answers(quarter) if a.datapoint in asked}
    assert states["gri-103-102"] == "not_applicable"
    assert states["gri-302-305"] in ("partly", "estimated_partly")


def test_a_total_of_water_has_a_category_only_if_all_sites_have_that_one(quarter: Facts) -> None:
    names = sorted(quarter.sites)
    for categories, wanted in ((("2", "2"), "partly"), (("1", "2"), "partly"), (("1", "1"), "missing")):
        figures = {"water": Figure("water", Fraction(3_000_000), "L", "metered", "facility")}
        for name, category in zip(names, categories, strict=False):
            identity = f"water/site/{name}"
            dims = {"site": name, "category": category}
            figures[identity] = Figure(identity, Fraction(2_000_000), "L", "metered", "facility", dims=dims)
        row = answer(replace(quarter, figures=dict(quarter.figures) | figures), "gri-303", "303-3 a, total")
        assert row["state"] == wanted
        assert ("water" in row["figures"]) == (categories == ("2", "2"))


def test_contracts_at_zero_grams_are_known_by_their_factor(quarter: Facts) -> None:
    """One at 0 g/kWh, one at 820 g/kWh, and one that covers nothing and has no factor."""
    figures = {}
    for name, kwh, of in (("wind", 4000, {"g_per_kwh": "0"}), ("coal", 500, {"g_per_kwh": "820"}), ("unproven", 0, {})):
        identity = f"contract/north/{name}"
        figures[identity] = Figure(identity, Fraction(kwh), "kWh", "market-based", "facility", dims={"contract": name} | of)
    kept = {i: f for i, f in quarter.figures.items() if not i.startswith("contract/")}
    row = answer(replace(quarter, figures=kept | figures), "cdp", "7.30.14")
    assert row["values"] == {"contract/north/wind": "4"}
    del figures["contract/north/wind"]
    without = replace(quarter, figures=kept | figures)
    row = answer(without, "cdp", "7.30.14")
    assert (row["state"], row["values"]) == ("not_applicable", {})
    cells = [row for b in build(without, say_in("en")) if isinstance(b, ReportTable) for row in b.rows if row[0] == "7.30.14"]
    assert [row[2:] for row in cells] == [("\u2013", "MWh", "not applicable: contracts cover energy, none of them at 0 g/kWh")]


def test_a_framework_without_a_site_is_named_once_in_the_report(quarter: Facts) -> None:
    """The amended ESRS E1 applies to periods from 2027, and the draft revision of Scope 2 to none."""
    tables = {b.caption: b for b in build(quarter, say_in("en")) if isinstance(b, ReportTable)}
    outside = next(table for title, table in tables.items() if title.startswith("Frameworks that do not apply"))
    assert {"ESRS E1, amended", "GHG Protocol, revision of Scope 2"} <= {row[0] for row in outside.rows}
    assert not any(title.startswith("ESRS E1, amended") for title in tables)
    assert any(title.startswith("GRI 303 (") for title in tables)
