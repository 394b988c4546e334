"""One set of factors: every field is wanted, values stay as published, and a mistake is told with file and line."""

import hashlib
import json
from decimal import Decimal

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.factors import set_file
from energy_agent.factors.basis import Accounting, Basis, Boundary, Gases

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
    found = parsed()
    factor = found.factors["DEU", 2025]
    assert str(factor.value) == "340.10"
    assert (factor.id, factor.unit) == ("grid.location.DEU.2025.mine-1", "g CO2e/kWh")
    assert (factor.publisher, factor.edition, factor.licence, factor.attribution) == ("p", "e", "l", "a")
    assert found.basis == Basis(Boundary.DIRECT, Accounting.LOCATION, Gases.CO2E)
    assert found.csv_sha256 == hashlib.sha256(TABLE.encode()).hexdigest()
    assert found.rows == 1


@pytest.mark.parametrize(
    ("unit", "text", "grams"),
    [("kg_per_kwh", "0.5306", "530.6"), ("kg_per_kwh", "0.200", "200"), ("lb_per_mwh", "1000", "453.59237")],
)
def test_units_become_grams_exactly(unit: str, text: str, grams: str) -> None:
    found = parsed(f"zone,name,{unit},year\nDEU,Germany,{text},2025\n", unit=unit)
    assert str(found.factors["DEU", 2025].value) == grams


@pytest.mark.parametrize("text", ["", "0", "0.0", "NA", "n/a", "NaN", "-"])
def test_what_is_missing_is_missing_and_never_0(text: str) -> None:
    found = parsed(f"zone,name,g_per_kwh,year\nAUT,Austria,{text},2025\n")
    assert not found.factors
    assert found.missing == {("AUT", 2025)}


@pytest.mark.parametrize("key", set_file.TEXTS)
def test_every_field_is_wanted(key: str) -> None:
    for bad in (..., "", "  ", 5, None, "two\nlines"):
        with pytest.raises(UsageError, match=rf"mine\.json: key '{key}' is missing"):
            parsed(**{key: bad})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("zone,name,year\nDEU,Germany,2025\n", "line 1: column g_per_kwh is missing"),
        ("", "line 1: column zone, name, year, g_per_kwh is missing"),
        (TABLE + "DEU,Germany,1,2025\n", "line 3: DEU of 2025 is there twice"),
        (TABLE + "deu,Germany,NA,2025\n", "line 3: deu of 2025 is there twice"),
        (TABLE + "FRA,France,1e3,2025\n", "line 3: '1e3' is no number"),
        (TABLE + "FRA,France,-5,2025\n", "line 3: '-5' is no number"),
        (TABLE + "FRA,France,10000.5,2025\n", "more than 10000; is it in the unit"),
        (TABLE + "FRA,France,5,25\n", "line 3: '25' is no year"),
        (TABLE + "../x,France,5,2025\n", "line 3: '../x' is no zone"),
        (TABLE + "FRA,France,5\n", "line 3: 3 cells, and the head has 4"),
        (TABLE + '"FRA,France,5,2025\n', "unexpected end of data"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(table: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(table)
    assert str(caught.value).startswith("mine.csv")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quality": True}, "'quality' must be"),
        ({"quality": 6}, "'quality' must be"),
        ({"boundary": "marginal"}, "'boundary' must be one of direct, life-cycle"),
        ({"accounting": "contract"}, "'accounting' must be one of location, residual-mix"),
        ({"gases": "CH4"}, "'gases' must be one of CO2, CO2e"),
        ({"unit": "t_per_gwh"}, "'unit' must be one of"),
        ({"id": "Mine 1"}, "'id' must be of small letters"),
        ({"fetched": "yesterday"}, "'fetched' must be a date"),
        ({"rows": 2}, "mine.csv has 1 rows, and mine.json says 2"),
        ({"csv_sha256": "0" * 64}, "a published table is never edited"),
        ({"note": 5}, "'note' must be text"),
    ],
)
def test_a_page_that_says_something_else_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parsed(**change)


@pytest.mark.parametrize("page", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"id": '])
def test_a_page_that_is_none_is_one_clear_line(page: bytes) -> None:
    with pytest.raises(UsageError, match=r"mine\.json is no"):
        set_file.parse(page, TABLE.encode(), "mine")


def test_a_residual_mix_is_market_based() -> None:
    found = parsed(accounting="residual-mix", gases="CO2")
    factor = found.factors["DEU", 2025]
    assert (factor.accounting, factor.id, factor.unit) == (
        "market-based", "grid.residual-mix.DEU.2025.mine-1", "g CO2/kWh"
    )  # fmt: skip
    assert factor.value == Decimal("340.1")
