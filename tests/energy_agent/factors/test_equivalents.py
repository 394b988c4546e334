"""Comparisons: cited, at most two, exact, and by another's arithmetic what they say they are."""

import hashlib
import json
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.factors import equivalents as eq
from tests.support import refusal


def test_trees_and_cars_by_hand() -> None:
    """120,000 seedlings x 0.060 t = 7,200 t; 1,000 vehicle-years x 4.29 t = 4,290 t."""
    trees, _ = eq.equivalents(7_200_000_000)
    _, cars = eq.equivalents(4_290_000_000)
    assert (trees.value, trees.of.unit_text) == (120_000, "tree seedlings")
    assert (cars.value, cars.of.unit_text) == (1000, "vehicle-years")
    assert trees.format_sentence("120 000") == "what 120 000 urban tree seedlings take up in their first ten years"
    assert "120 000株" in trees.format_sentence("120 000", "zh")


def test_the_published_factors_follow_from_what_their_publisher_makes_them_of() -> None:
    """EPA: 36.4 lb of carbon a tree x 44/12 / 2,204.6 = 0.0605 t; 0.00889 t a gallon x 10,917 mi / 22.8 / 0.994 = 4.28 t."""
    trees, cars = eq.shipped()[1]
    assert abs(Fraction("36.4") * 44 / 12 / Fraction("2204.6") * 10**6 - Fraction(trees.grams_each)) < 1000
    car_grams = Fraction("0.00889") * 10917 / Fraction("22.8") / Fraction("0.994") * 10**6
    assert abs(car_grams - Fraction(cars.grams_each)) < 10_000


def test_each_has_its_source_with_conditions() -> None:
    assert all("https://" in each.source for each in eq.shipped()[1])
    assert "not appropriate for reforestation" in eq.shipped()[1][0].conditions
    assert "fir" not in eq.shipped()[1][0].text.split()


@given(st.fractions(min_value=Fraction(1, 10**6), max_value=10**15))
def test_at_most_two_and_exact_and_none_of_nothing(grams: Fraction) -> None:
    assert eq.equivalents(0) == eq.equivalents(-grams) == ()
    results = eq.equivalents(grams)
    assert len(results) == 2
    assert all(e.value * Fraction(e.of.grams_each) == grams for e in results)


def test_wrong_cell_is_reported_with_its_line() -> None:
    cells = dict.fromkeys(eq.COLUMNS, "x") | {"text": "{count}", "text_zh": "{count}", "gases": "CO2e", "grams_each": "1"}
    for column, text in (("text", "no number"), ("text_zh", "{count}{other}"), ("gases", "CO"), ("grams_each", "0")):
        raw = f"{','.join(eq.COLUMNS)}\n{','.join((cells | {column: text}).values())}\n".encode()
        page = dict.fromkeys(("id", "title", "edition", "fetched", "update", "note"), "x")
        page["csv_sha256"] = hashlib.sha256(raw).hexdigest()
        line = refusal(eq.parse, json.dumps(page).encode(), raw, "mine")
        assert line.startswith("mine.csv, line 2")
        assert column in line
