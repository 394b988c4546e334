"""Factors by zone and year, the reasons, a user's own sets, and hashes and sources of the sets that ship."""

import hashlib
import json
import os
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.factors import countries, set_file
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from energy_agent.factors.sets import catalogue, factor, shipped
from tests.energy_agent.factors.test_set_file import PAGE
from tests.support import need_module, refusal

LIFE = Basis(EmissionBoundary.LIFE_CYCLE)
DIRECT = Basis(EmissionBoundary.DIRECT)
CO2 = Basis(EmissionBoundary.DIRECT, gases=Gases.CO2)
RESIDUAL = Basis(EmissionBoundary.DIRECT, Accounting.RESIDUAL, Gases.CO2)
DATA = Path(set_file.__file__).with_name("data")


def put(folder: Path, name: str, table: str, **change: object) -> None:
    (folder / f"{name}.csv").write_text(table)
    (folder / f"{name}.json").write_text(json.dumps(PAGE | {"id": name} | change))


def test_the_year_itself_then_the_newest_before_then_the_oldest_after() -> None:
    now = factor("GBR", 2024, DIRECT)
    assert (now.factor.value, now.factor.year, now.reasons) == (Decimal("207.05"), 2024, ())
    later = factor("GBR", 2031, DIRECT)
    assert (later.factor.value, later.factor.year) == (Decimal("130.96"), 2026)
    assert later.reasons == ("GBR: no factor of 2031; that of 2026 is the newest before it",)
    earlier = factor("gbr", 2020, DIRECT)
    assert earlier.factor.year == 2023
    assert earlier.reasons == ("GBR: no factor of 2020; that of 2023 is the oldest after it",)


def test_zone_is_preferred_to_its_country_and_fallbacks_are_reported() -> None:
    assert factor("CN-BJ", 2023, CO2, "CHN").factor.zone == "CN-BJ"
    factor_match = factor("CN-XZ", 2023, CO2, "CHN")
    assert factor_match.factor.value == Decimal("530.6")
    assert factor_match.reasons == ("CN-XZ: no factor that is direct, location, CO2",)
    # The table that ships has 394.769 lb of California's plants a MWh: 394.769 x 0.45359237 = 179.1 g/kWh.
    california = factor("US-CA", 2026, DIRECT, "USA")
    assert round(california.factor.value, 1) == Decimal("179.1")
    state = "US-CA is a state: EPA recommends the eGRID subregion, such as US-ERCT"
    assert california.reasons == ("US-CA: no factor of 2026; that of 2023 is the newest before it", state)
    assert factor("US-TX", 2023, DIRECT).reasons[-1] == state.replace("CA", "TX")
    assert not any("subregion" in reason for zone in ("US-ERCT", "USA", "DEU") for reason in factor(zone, 2024, DIRECT).reasons)


def test_a_value_of_more_than_five_years_ago_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    table = "zone,name,g_per_kwh,year\nXAA,Somewhere,{},{}\nXAB,Elsewhere,5,2009\n"
    put(tmp_path, "own", table.format(100, 2019))
    assert factor("XAA", 2024, DIRECT, folder=tmp_path).factor.value == 100
    line = refusal(factor, "XAA", 2025, DIRECT, "XAB", tmp_path)
    assert (
        "XAA: the newest factor is of 2019, more than 5 years before 2025; add a newer one or accept it with --accept-old"
        in line
    )
    assert "XAB: the newest factor is of 2009" in line
    accepting = catalogue(tmp_path, accept_old=True)
    assert accepting.factor("XAA", 2025, DIRECT).factor.year == 2019
    assert accepting.factor("XAB", 2026, DIRECT).factor.value == 5
    # What is too old at the zone does not keep the country's newer value away.
    put(tmp_path, "country", "zone,name,g_per_kwh,year\nXAC,Country,7,2025\n")
    factor_match = factor("XAA", 2026, DIRECT, "XAC", tmp_path)
    assert factor_match.factor.value == 7
    assert factor_match.reasons[0].startswith("XAA: the newest factor is of 2019")


def test_official_direct_factors_of_the_european_union_the_united_states_australia_and_asia() -> None:
    """As published: EEA (g/kWh), eGRID2024 (lb of three gases by AR6), NGA 2026 (kg/kWh), EMA and MOE (kg CO2/kWh)."""
    european = next(s for s in shipped() if s.id == "eea-2024")
    assert len(european.factors) == 27
    assert {z: european.factors[z, 2024].value for z in ("DEU", "FRA", "POL", "SWE")} == {
        "DEU": 291, "FRA": 36, "POL": 566, "SWE": 6
    }  # fmt: skip
    texas = factor("US-ERCT", 2024, DIRECT).factor
    assert texas.value == (Decimal("700.7") + 27 * Decimal("0.040") + 273 * Decimal("0.006")) * Decimal("0.45359237")
    assert factor("AU-NSW", 2026, DIRECT, "AUS").factor.value == 600
    assert factor("AU-NSW", 2026, Basis(EmissionBoundary.DIRECT, Accounting.RESIDUAL), "AUS").factor.value == 790
    assert factor("SGP", 2024, CO2).factor.value == 402
    assert factor("JP", 2026, CO2, "JPN").factor.value == 423
    for factor_set in shipped():
        assert factor_set.evidence in set_file.EVIDENCE, factor_set.id
        assert factor_set.published <= factor_set.fetched, factor_set.id
        assert factor_set.quality == 5 or factor_set.evidence != "secondary source", (
            factor_set.id
        )  # the lowest class, until it is replaced


def test_gases_and_boundaries_are_never_mixed_and_gaps_are_reported() -> None:
    none = "no factor that is direct, location, CO2e; there is one that is "
    assert none + "direct, location, CO2" in refusal(factor, "CN-BJ", 2023, DIRECT)
    assert f"KOR: {none}life-cycle" in refusal(factor, "KOR", 2023, DIRECT)
    assert "grid.gases: CO2 uses the one of CO2 alone" in refusal(factor, "JP", 2026, DIRECT, "JPN")
    assert "grid.gases" not in refusal(factor, "KOR", 2023, DIRECT)
    assert factor("CHN", 2023, RESIDUAL).factor.accounting == "market-based"
    assert factor("CHN", 2023, LIFE).factor.unit == "g CO2e/kWh"
    assert "CAF: the publisher" in refusal(factor, "CAF", 2022, LIFE)
    for zone, country in (("IN", "IND"), ("KR", "KOR")):  # and what to supply is named
        line = refusal(factor, zone, 2026, DIRECT, country)
        assert "nearest" not in line
        assert all(words in line for words in (f"{country}: {none}life-cycle", "grid.factors", "grid.sources"))


def test_a_wrong_zone_names_the_nearest() -> None:
    for typed, hint in {
        "DE": "DEU", "GER": "DEU", "germany": "DEU (Germany)", "XQZ9": "docs/factors", "": "no zone is set",
    }.items():  # fmt: skip
        assert hint in refusal(factor, typed, 2024, LIFE)


def test_a_country_is_never_a_part_of_another_country() -> None:
    """DE is not Delaware, IN not Indiana, CA not California: a code of two or three letters is that of a country."""
    parts = {z for s in shipped() for z, _ in s.factors if "-" in z}
    for typed in sorted({z.rpartition("-")[2] for z in parts} | {"DE", "IN", "CA", "AL", "IND", "DEL", "CAN", "GER"}):
        for basis in (DIRECT, LIFE, CO2, RESIDUAL):
            try:
                text = "; ".join(factor(typed, 2026, basis).reasons)
            except UsageError as error:
                text = str(error)
            assert not [z for z in parts if f"{z} (" in text], (typed, text)
    with pytest.raises(UsageError, match=r"US-CL: .*nearest: US-"):
        factor("US-CL", 2026, DIRECT)


def test_of_two_publications_the_newer_is_taken_whatever_their_ids(tmp_path: Path) -> None:
    put(tmp_path, "a", "zone,name,g_per_kwh,year\nXAA,Somewhere,111,2024\n", fetched="2026-01-01", quality=3)
    put(tmp_path, "b", "zone,name,g_per_kwh,year\nXAA,Somewhere,222,2024\n", fetched="2026-06-01", quality=4)
    put(tmp_path, "c", "zone,name,g_per_kwh,year\nXAA,Somewhere,333,2024\n", fetched="2025-06-01", quality=1)
    assert factor("XAA", 2024, DIRECT, folder=tmp_path).factor.value == 222
    # Retrieved last, but published before: the date of publication decides.
    put(tmp_path, "b", "zone,name,g_per_kwh,year\nXAA,Somewhere,222,2024\n", fetched="2026-06-01", published="2025-01-01")
    factor_match = factor("XAA", 2024, DIRECT, folder=tmp_path)
    assert factor_match.factor.value == 111
    assert factor_match.reasons == ("a is the newest publication (2026-01-01)", "the same year is also in b, c")
    put(tmp_path, "b", "zone,name,g_per_kwh,year\nDEU,Germany,300,2024\n")
    ours = factor("DEU", 2024, DIRECT, folder=tmp_path)
    assert ours.reasons == ("b is one of your own files, which are used before eea-2024",)
    put(tmp_path, "d", "zone,name,g_per_kwh,year\nXAA,Somewhere,1,2024\n", published="2026-13")
    assert "key 'published': expected a date" in refusal(catalogue, tmp_path)


def test_a_users_own_set_goes_before_ours_and_needs_nothing_but_its_two_files(tmp_path: Path) -> None:
    put(tmp_path, "own", "zone,name,g_per_kwh,year\nGBR,Britain,123.4,2024\n")
    factor_match = factor("GBR", 2025, DIRECT, folder=tmp_path)
    assert (factor_match.factor.value, factor_match.factor.id) == (Decimal("123.4"), "grid.location.GBR.2024.own")
    assert factor_match.csv_sha256 == hashlib.sha256((tmp_path / "own.csv").read_bytes()).hexdigest()


def test_invalid_catalogue_files_are_reported(tmp_path: Path) -> None:
    assert "No such file" in refusal(catalogue, tmp_path / "nowhere")
    (tmp_path / "own.csv").write_text("zone\n")
    assert "own.json is missing" in refusal(catalogue, tmp_path)
    put(tmp_path, "own", "zone,name,g_per_kwh,year\n", id="desnz-2023-2025")  # an id that is there twice
    line = refusal(catalogue, tmp_path)
    assert "own.csv" in line
    assert "desnz_uk.csv" in line
    (tmp_path / "own.csv").unlink()
    os.mkfifo(tmp_path / "own.csv")
    assert "expected a regular file" in refusal(catalogue, tmp_path)
    (tmp_path / "own.csv").unlink()
    with (tmp_path / "own.csv").open("wb") as file:
        file.truncate(5 << 20)
    assert "larger than" in refusal(catalogue, tmp_path)


def test_report_finds_its_factor_again_by_id(tmp_path: Path) -> None:
    put(tmp_path, "own", "zone,name,g_per_kwh,year\nGBR,Britain,123.4,2024\n")
    before = factor("GBR", 2024, DIRECT, folder=tmp_path)
    put(tmp_path, "newer", "zone,name,g_per_kwh,year\nGBR,Britain,99,2024\n", quality=1)
    now = catalogue(tmp_path)
    assert now.factor("GBR", 2024, DIRECT).factor.value == 99
    assert now.by_id(before.factor.id).factor == before.factor
    with pytest.raises(UsageError, match="restore the two files"):
        catalogue().by_id(before.factor.id)


def test_each_file_that_ships_has_a_page_with_every_field_its_own_hash_and_may_be_passed_on() -> None:
    pages, ids = sorted(DATA.glob("*.json")), [f.id for s in shipped() for f in s.factors.values()]
    assert len(set(ids)) == len(ids) > 500
    assert {p.stem for p in pages} == {p.stem for p in DATA.glob("*.csv")}
    assert len(pages) == len(shipped()) == 18
    for path in pages:
        page = json.loads(path.read_text(encoding="utf-8"))
        assert set(page) == {*set_file.TEXTS, "published", "evidence", "quality", "note", "rows", "csv_sha256"}, path
        assert page["csv_sha256"] == hashlib.sha256(path.with_suffix(".csv").read_bytes()).hexdigest(), path
    for factor_set in shipped():
        text = f"{factor_set.id} {factor_set.publisher} {factor_set.licence}".lower()
        assert not {"aib", "iea", "watttime"} & set(text.split()), factor_set.id
        assert "all rights" not in text


def test_the_set_of_country_factors_is_the_table_that_reports_use() -> None:
    factor_set = next(s for s in shipped() if s.id == countries.EDITION)
    country_table = countries.country_factors().values()
    assert factor_set.source_sha256 == countries.SOURCE_SHA256
    assert {f.id: f for f in factor_set.factors.values()} == {f.id: f for f in country_table if f.value}


def _package(path: str) -> tuple[str, dict[str, dict[str, str]]]:
    need_module("codecarbon")
    raw = (files("codecarbon") / "data/private_infra" / path).read_bytes()
    return hashlib.sha256(raw).hexdigest(), json.loads(raw, parse_float=str, parse_int=str)


def test_zones_are_what_the_package_has() -> None:
    digest, published = _package("2023/usa_emissions.json")
    factor_set = next(s for s in shipped() if s.id == "egrid2023-states")
    assert factor_set.source_sha256 == digest
    assert (published["_unit"]["emissions"], published["_source"]["field"]) == ("lbs/MWh", "STC2ERTA")
    rows = {v["regionCode"]: v["emissions"] for k, v in published.items() if not k.startswith("_")}
    assert {z.removeprefix("US-").replace("USA", "usa"): f.value for (z, _), f in factor_set.factors.items()} == {
        code: Decimal(lb) * Decimal("0.45359237") for code, lb in rows.items()
    }
    for path, identity, unit, left_out in (
        ("2023/china_provincial_emissions.json", "mee-2023-provinces", "gCO2/kWh", ""),
        ("nordic_emissions.json", "nordic-codecarbon-3.3.2", "gCO2eq/kWh", "FI"),
    ):
        digest, published = _package(path)
        factor_set = next(s for s in shipped() if s.id == identity)
        assert factor_set.source_sha256 == digest
        rows = {k: v for k, v in published["data"].items() if k != left_out}
        assert {v["unit"] for v in rows.values()} == {unit}
        assert {
            (z.rpartition("-")[2] if z[:2] in ("SE", "NO") else z): (str(f.value), f.year)
            for (z, _), f in factor_set.factors.items()
        } == {k: (v["emission_factor"], int(v["year"])) for k, v in rows.items()}


def test_changes_of_chinese_regions_match_the_published_ones() -> None:
    """The press published the 2022 values first, then the 2023 values with the changes between them: both must agree."""
    factor_set = next(s for s in shipped() if s.id == "mee-2023-national")
    changes_percent = {"CHN": "-1.1", "CN-NORTH": "-6.1", "CN-NORTHEAST": "-8.0", "CN-EAST": "-2.1", "CN-CENTRAL": "-2.3",
            "CN-NORTHWEST": "-5.4", "CN-SOUTH": "4.5", "CN-SOUTHWEST": "9.0"}  # fmt: skip
    assert {z for z, _ in factor_set.factors} == set(changes_percent)
    for zone, percent in changes_percent.items():
        change = factor_set.factors[zone, 2023].value / factor_set.factors[zone, 2022].value * 100 - 100
        assert abs(change - Decimal(percent)) < Decimal("0.11"), zone
    residual = next(s for s in shipped() if s.id == "mee-2023-residual")
    change = residual.factors["CHN", 2023].value / residual.factors["CHN", 2022].value * 100 - 100
    assert abs(change - Decimal("4.1")) < Decimal("0.06")
