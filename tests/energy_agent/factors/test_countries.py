"""The country factors: dated, never zero, and the same as the package they were copied from."""

import hashlib
import json
from decimal import Decimal
from importlib.resources import files

from energy_agent.factors import countries
from tests.support import need_module, refusal


def test_a_factor_carries_year_source_and_licence_and_an_id_of_its_own() -> None:
    factor = countries.country_factor("deu")
    assert (factor.zone, factor.zone_name, factor.year, factor.unit) == ("DEU", "Germany", 2023, "g CO2e/kWh")
    assert (factor.value, factor.id) == (Decimal("380.95"), "grid.location.DEU.2023.codecarbon-3.3.2")
    assert "CC BY" in factor.licence
    factors = countries.country_factors()
    assert len({f.id for f in factors.values()}) == len(factors) == 213


def test_the_copy_equals_the_package_it_was_taken_from() -> None:
    need_module("codecarbon")
    raw = (files("codecarbon") / countries.SOURCE_PATH).read_bytes()
    published = json.loads(raw, parse_float=Decimal, parse_int=Decimal)
    assert hashlib.sha256(raw).hexdigest() == countries.SOURCE_SHA256
    assert {c: (f.zone_name, f.value, f.year) for c, f in countries.country_factors().items()} == {
        c: (row["country_name"], row["carbon_intensity"], int(row["year"])) for c, row in published.items()
    }


def test_a_wrong_country_names_the_nearest_code_and_a_published_zero_is_a_missing_value() -> None:
    hints = {"DE": "DEU (Germany)", "GER": "DEU (Germany)", "germany": "DEU (Germany)", "XQZ9": "ISO 3166-1", "": "ISO 3166-1"}
    for typed, hint in (hints | {"CAF": "means that the value is missing"}).items():
        assert hint in refusal(countries.country_factor, typed), typed
