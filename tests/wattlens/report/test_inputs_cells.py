"""Units of a workbook's cells: converted exactly, for any number that a spreadsheet can hold."""

from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlens.report.inputs.faults import Faults
from wattlens.report.inputs.workbook.cells import nested, parse_number
from wattlens.report.inputs.workbook.columns import SheetRow
from wattlens.report.inputs.workbook.sheets import BY_TITLE

LETTERS = {"volume": "H", "volume_unit": "I", "price": "D", "price_unit": "E", "max_power": "G", "max_power_unit": "H"}
NUMBERS = st.decimals(0, 10**9, places=5).map(lambda d: Context(prec=15).create_decimal(d))


def read(sheet, cells, letters):
    """What a row gives, and what is wrong with it that is no empty cell."""
    faults = Faults("org.xlsx")
    values = nested(SheetRow(BY_TITLE[sheet], 2, cells, letters), faults)
    return values, [line for line in faults.lines if " is empty" not in line]


def converted(sheet, label, value, unit, key):
    return Decimal(repr(read(sheet, {label: value, f"{label}_unit": unit}, LETTERS)[0][key]))


@given(NUMBERS)
def test_a_megawatt_hour_is_a_thousand_kilowatt_hours(number):
    """Shifting the decimal point changes no digit: `scaleb` is the decimal module's own."""
    assert converted("Contracts", "volume", float(number), "MWh", "volume_kwh") == number.scaleb(3)
    assert converted("Contracts", "volume", str(number), "MWh", "volume_kwh") == number.scaleb(3)
    assert converted("Contracts", "volume", float(number), "kWh", "volume_kwh") == number


@given(NUMBERS)
def test_a_price_of_a_megawatt_hour_is_a_thousandth_a_kilowatt_hour(number):
    assert converted("Tariffs", "price", float(number), "MWh", "default_per_kwh") == number.scaleb(-3)


@given(st.integers(0, 10**9), st.sampled_from([("W", 0), ("kW", 3), ("MW", 6)]))
def test_whole_numbers_too(number, unit):
    name, power = unit
    assert converted("Meters", "max_power", number, name, "max_power_w") == Decimal(number).scaleb(power)


@given(st.text(max_size=6).filter(lambda text: text not in ("kWh", "MWh")))
def test_any_other_unit_is_refused(unit):
    _, (line,) = read("Contracts", {"volume": 1, "volume_unit": unit}, LETTERS)
    assert line.startswith("org.xlsx: sheet Contracts, cell I2: ")


@given(st.text(min_size=1, max_size=8).filter(lambda text: not text.isascii() or not any(c.isdigit() for c in text)))
def test_text_is_no_number(text):
    """Digits of other scripts, words and signs."""
    _, (line,) = read("Contracts", {"volume": text, "volume_unit": "MWh"}, LETTERS)
    assert line.startswith("org.xlsx: sheet Contracts, cell H2: ")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e16, 0.5, True])
def test_a_number_that_is_no_name(value):
    _, (line,) = read("Models", {"model": value}, {"model": "B"})
    assert line.startswith("org.xlsx: sheet Models, cell B2: expected text")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_beyond_all_numbers(value):
    _, (line,) = read("Contracts", {"volume": value, "volume_unit": "MWh"}, LETTERS)
    assert f"sheet Contracts, cell H2: expected a number such as 1234.5, with its unit in volume_unit, got {value!r}" in line


def test_a_whole_number_is_a_name():
    """4711 in a cell that is not formatted as text: the name is 4711, not 4711.0."""
    for value in (4711, 4711.0):
        assert read("Models", {"model": value}, {"model": "B"}) == ({"model": "4711"}, [])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.234,5", "1234.5"), ("1 234,5", "1234.5"), ("1\u00a0234,5", "1234.5"), ("1\u202f234,567", "1234.567"),
        ("1,234.5", "1234.5"), ("1'234.5", "1234.5"), ("1\u2019234.5", "1234.5"), ("12,34,567.8", "1234567.8"),
        ("4,5", "4.5"), ("0,182", "0.182"), ("0.182", "0.182"), ("1234.567", "1234.567"), ("1,234,567", "1234567"),
        ("1.234.567", "1234567"), ("-1 234", "-1234"), ("+3", "3"), (".5", "0.5"), ("0", "0"),
    ],
)  # fmt: skip
def test_numbers_as_countries_write_them(text, number):
    assert parse_number(text) == Decimal(number)
    values, lines = read("Contracts", {"volume": text.lstrip("-+"), "volume_unit": "kWh"}, LETTERS)
    assert (Decimal(repr(values["volume_kwh"])), lines) == (abs(Decimal(number)), [])


@pytest.mark.parametrize("text", ["1.200", "1,200", "12.345", "999,999"])
def test_a_number_with_two_meanings_is_refused(text):
    """1.200 is 1200 in Berlin and 1.2 in London."""
    with pytest.raises(ValueError, match=r"one meaning"):
        parse_number(text)
    for sheet, label in (("Contracts", "volume"), ("Prices", "per_gpu_hour")):
        _, lines = read(sheet, {label: text, "volume_unit": "kWh"}, LETTERS | {"per_gpu_hour": "D"})
        assert any("expected a number with one meaning" in line for line in lines)


@pytest.mark.parametrize(
    "text", ["1.23.456", "1,2,3", "1 23", "5.", "--3", "1.234,567.8", "1..2", "", "12 MWh", "1e3", "1,234,5"]
)
def test_what_no_country_writes_is_not_a_number(text):
    assert parse_number(text) is None


@given(st.decimals(1000, 10**9, places=2), st.sampled_from([".,", ",.", " ,", " .", "',", "'."]))
def test_grouped_numbers_with_two_decimals(number, marks):
    """Python's own grouping, with the marks of a country."""
    group, point = marks
    text = f"{number:,.2f}".replace(",", "G").replace(".", point).replace("G", group)
    assert parse_number(text) == number
