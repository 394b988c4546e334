"""One set of factors: every field is required, values stay as published, and errors name file and line."""

import hashlib
import json
from decimal import Decimal
from itertools import product

from energy_agent.factors import set_file
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from tests.support import refusal

PAGE = {
    "id": "mine-1", "title": "t", "publisher": "p", "edition": "e", "unit": "g_per_kwh", "gases": "CO2e", "gwp_set": "AR6",
    "boundary": "direct", "basis": "production", "accounting": "location", "quality": 5, "uncertainty": "u", "years": "2025",
    "source": "s", "source_sha256": "0" * 64, "fetched": "2026-01-02", "licence": "l", "attribution": "a", "update": "how",
}  # fmt: skip
TABLE = "zone,name,g_per_kwh,year\nDEU,Germany,340.10,2025\n"


def parsed(table: str = TABLE, **change: object) -> set_file.FactorSet:
    page = {key: value for key, value in (PAGE | change).items() if value is not ...}
    return set_file.parse(json.dumps(page).encode(), table.encode(), "mine")


def test_a_value_is_as_published_and_carries_all_of_its_page() -> None:
    factor_set = parsed()
    factor = factor_set.factors["DEU", 2025]
    assert str(factor.value) == "340.10"
    assert (factor.id, factor.unit) == ("grid.location.DEU.2025.mine-1", "g CO2e/kWh")
    assert (factor.publisher, factor.edition, factor.licence, factor.attribution) == ("p", "e", "l", "a")
    assert factor_set.basis == Basis(EmissionBoundary.DIRECT, Accounting.LOCATION, Gases.CO2E)
    assert factor_set.csv_sha256 == hashlib.sha256(TABLE.encode()).hexdigest()
    assert factor_set.rows == 1


def test_units_become_grams_exactly() -> None:
    for unit, text, grams in (
        ("kg_per_kwh", "0.5306", "530.6"), ("kg_per_kwh", "0.200", "200"), ("lb_per_mwh", "1000", "453.59237"),
    ):  # fmt: skip
        factor_set = parsed(f"zone,name,{unit},year\nDEU,Germany,{text},2025\n", unit=unit)
        assert str(factor_set.factors["DEU", 2025].value) == grams


def test_what_is_missing_is_missing_and_never_0() -> None:
    for text in ("", "0", "0.0", "NA", "n/a", "NaN", "-"):
        factor_set = parsed(f"zone,name,g_per_kwh,year\nAUT,Austria,{text},2025\n")
        assert (factor_set.factors, factor_set.missing) == ({}, {("AUT", 2025)}), text


def test_table_mistake_is_reported_with_file_and_line() -> None:
    for table, words in (
        ("zone,name,year\nDEU,Germany,2025\n", "line 1: column g_per_kwh "), ("", "line 1: column zone, name, year, "),
        (TABLE + "DEU,Germany,1,2025\n", "duplicate DEU of 2025"), (TABLE + "deu,Germany,NA,2025\n", "duplicate deu of 2025"),
        (TABLE + "FRA,France,1e3,2025\n", "got '1e3'"), (TABLE + "FRA,France,-5,2025\n", "got '-5'"),
        (TABLE + "FRA,France,10000.5,2025\n", "more than 10000"), (TABLE + "FRA,France,5,25\n", "expected a year, got '25'"),
        (TABLE + "../x,France,5,2025\n", "expected a zone, got '../x'"), (TABLE + "FRA,France,5\n", "line 3: 3 cells"),
        (TABLE + '"FRA,France,5,2025\n', "unexpected end of data"),
    ):  # fmt: skip
        line = refusal(parsed, table)
        assert line.startswith("mine.csv")
        assert words in line


def test_a_mistake_in_the_page_names_its_key() -> None:
    for key, bad in product(set_file.TEXTS, (..., "", "  ", 5, None, "two\nlines")):
        assert refusal(parsed, **{key: bad}).startswith(f"mine.json: key '{key}'")
    for key, value in {
        "boundary": "marginal", "accounting": "contract", "gases": "CH4", "unit": "t_per_gwh", "id": "Mine 1",
        "fetched": "yesterday", "note": 5,
    }.items():  # fmt: skip
        assert f"'{key}': expected" in refusal(parsed, **{key: value})
    assert "'quality': expected" in refusal(parsed, quality=True)
    assert "'quality': expected" in refusal(parsed, quality=6)
    assert "mine.csv has 1 rows, but mine.json states 2" in refusal(parsed, rows=2)
    assert "must not be edited" in refusal(parsed, csv_sha256="0" * 64)
    for page in (b"", b"[]", b"\xff", b"[" * 100_000, b'{"id": '):
        assert "JSON" in refusal(set_file.parse, page, TABLE.encode(), "mine")


def test_a_residual_mix_is_market_based() -> None:
    factor_set = parsed(accounting="residual-mix", gases="CO2")
    factor = factor_set.factors["DEU", 2025]
    assert (factor.accounting, factor.id, factor.unit) == (
        "market-based", "grid.residual-mix.DEU.2025.mine-1", "g CO2/kWh"
    )  # fmt: skip
    assert factor.value == Decimal("340.1")
