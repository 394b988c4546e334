"""The country factors: dated, never zero, and the same as the package they were copied from."""

import hashlib
import json
from decimal import Decimal
from importlib.resources import files

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.factors import countries
from tests.support import need_module


def test_a_factor_carries_year_source_and_licence() -> None:
    factor = countries.country_factor("deu")
    assert factor.value == Decimal("380.95")
    assert (factor.zone, factor.zone_name, factor.year, factor.unit) == ("DEU", "Germany", 2023, "g CO2e/kWh")
    assert "CC BY" in factor.licence
    assert factor.id == "grid.location.DEU.2023.codecarbon-3.3.2"


def test_ids_are_unique() -> None:
    known = countries.country_factors()
    assert len({f.id for f in known.values()}) == len(known) == 213


def test_the_copy_equals_the_package_it_was_taken_from() -> None:
    need_module("codecarbon")
    raw = (files("codecarbon") / countries.SOURCE_PATH).read_bytes()
    published = json.loads(raw, parse_float=Decimal, parse_int=Decimal)
    assert hashlib.sha256(raw).hexdigest() == countries.SOURCE_SHA256
    assert {c: (f.zone_name, f.value, f.year) for c, f in countries.country_factors().items()} == {
        c: (row["country_name"], row["carbon_intensity"], int(row["year"])) for c, row in published.items()
    }


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("DE", "DEU (Germany)"),
        ("GER", "DEU (Germany)"),
        ("germany", "DEU (Germany)"),
        ("XQZ9", "ISO 3166-1"),
        ("", "ISO 3166-1"),
    ],
)
def test_a_wrong_country_names_the_nearest_code(typed: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        countries.country_factor(typed)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_published_zero_is_a_missing_value() -> None:
    with pytest.raises(UsageError, match="means missing"):
        countries.country_factor("CAF")
