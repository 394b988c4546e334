"""The workbook of inputs: equal to the same YAML, every error names its cell, and hostile files are refused."""

import io
import re
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

import openpyxl
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from tests.support import examples
from tests.wattlens.report.books import AS_OF_NS, CSV, END_NS, NINE, START_NS, book, part, whole, with_part, yaml_files
from wattlens.report.inputs.org import load_organisation
from wattlens.report.inputs.workbook import file as org_xlsx


def load(path):
    return load_organisation(path, START_NS, END_NS, AS_OF_NS)


def refusal(tmp_path, sheets):
    with pytest.raises(UsageError) as refused:
        load(book(tmp_path / "org.xlsx", sheets))
    return str(refused.value).replace(f"{tmp_path}/", "")


def changed(sheet, cell, value):
    """The whole organisation with one cell changed, by its name in the sheet."""
    sheets = whole()
    column, row = openpyxl.utils.cell.coordinate_from_string(cell)
    sheets[sheet][row - 1][openpyxl.utils.column_index_from_string(column) - 1] = value
    return sheets


def test_workbook_gives_the_same_inputs_as_yaml(tmp_path):
    by_rows = load(book(tmp_path / "org.xlsx", whole()))
    by_keys = load(yaml_files(tmp_path))
    assert replace(by_rows, files=(), warnings=()) == replace(by_keys, files=(), warnings=())
    assert len(by_rows.warnings) == len(by_keys.warnings)
    assert [path for path, _ in by_rows.files] == ["org.xlsx"]


@pytest.mark.parametrize(
    ("sheet", "cell", "value", "message"),
    [
        ("Contracts", "I2", "GWh", "sheet Contracts, cell I2: expected a unit of volume (kWh or MWh), got 'GWh'"),
        ("Contracts", "I2", None, "sheet Contracts, cell I2 is empty; enter the unit of volume: kWh or MWh"),
        (
            "Contracts",
            "H2",
            "12 MWh",
            "sheet Contracts, cell H2: expected a number such as 1234.5, with its unit in volume_unit, got '12 MWh'",
        ),
        (
            "Contracts",
            "H2",
            True,
            "sheet Contracts, cell H2: expected a number such as 1234.5, with its unit in volume_unit, got True",
        ),
        ("Contracts", "H2", -3, "sheet Contracts, cell H2: expected a number above 0 and at most 1000000000, got -3 (MWh)"),
        ("Contracts", "H2", None, "sheet Contracts, row 2: contract 'wind': expected volume with start and end"),
        ("Contracts", "B2", None, "sheet Contracts, cell B2 is empty; enter id: name of the contract, unique within the site"),
        ("Contracts", "A2", "fra2", "sheet Contracts, cell A2: unknown site 'fra2'; sheet Sites has: fra1, pnq1"),
        ("Contracts", "C2", "go", "sheet Contracts, cell C2: expected one of ppa, other"),
        ("Contracts", "E2", "windy", "sheet Contracts, cell E2: expected one of "),
        ("Contracts", "F2", "1.7.2026", "sheet Contracts, cell F2: expected a day such as 2026-01-31, got '1.7.2026'"),
        ("Contracts", "F2", datetime(2026, 7, 1, 9), "cell F2: expected a day such as 2026-01-31, got '2026-07-01 09:00:00'"),  # noqa: DTZ001
        (
            "Certificates",
            "B2",
            "wind",
            "duplicate contract 'wind' (sheet Contracts, cell B2; sheet Certificates, cell B2)",
        ),
        ("Deliveries", "D3", 30, "sheet Deliveries, cell D3: expected one of 15 or 60, got 30"),
        ("Deliveries", "D2", 60, "sheet Deliveries, row 2: 2026-07-01 09:15:00: not the start of an interval of 60 minutes"),
        ("Deliveries", "B2", "moon", "sheet Deliveries, cell B2: 'moon' is not a contract or certificate of site 'fra1'"),
        ("Deliveries", "C2", "soon", "sheet Deliveries, cell C2: expected a time in UTC such as 2026-01-31T23:15, got 'soon'"),
        ("Tariffs", "D2", 2_000_000, "sheet Tariffs, cell D2: expected a number from -1000000 to 1000000, got 2000000 (MWh)"),
        ("Tariffs", "F3", "Mon-Fri 8-20", "sheet Tariffs, cell F3: expected DAYS HH:MM-HH:MM, such as Mon-Fri 08:00-18:00"),
        (
            "Tariffs",
            "F3",
            None,
            "sheet Tariffs, cell F3: tariff '2026': expected one row without times (the price at all other times), got 2",
        ),
        (
            "Tariffs",
            "F2",
            "Sun 00:00-24:00",
            "tariff '2026': expected one row without times (the price at all other times), got 0",
        ),
        ("Tariffs", "C3", "USD", "sheet Tariffs, cell C3 differs from sheet Tariffs, cell C2"),
        ("Tariffs", "C2", "ZZZ", "sheet Tariffs, cell C2: expected an ISO 4217 currency code such as EUR, got 'ZZZ'"),
        ("Tariffs", "C2", None, "sheet Tariffs, cell C2 is empty; enter currency: ISO 4217"),
        ("Meters", "D3", None, "sheet Meters, row 3: meter 'ups' has role it and requires a position"),
        ("Meters", "G2", -2.5, "sheet Meters, cell G2: expected a number above 0 and at most 10000, got -2.5 (MW)"),
        ("Sites", "B2", "Berlin", "sheet Sites, cell B2: expected an IANA time zone such as Europe/Berlin, got 'Berlin'"),
        ("Sites", "A3", "fra1", "duplicate site 'fra1' (sheet Sites, cell A2; sheet Sites, cell A3)"),
        ("Inventory", "E2", "fra3", "sheet Inventory, cell E2: unknown site 'fra3'; did you mean 'fra1'?"),
        ("Inventory", "B2", None, "sheet Inventory, cell B2 is empty; enter node"),
        (
            "Inventory",
            "G3",
            date(2027, 1, 1),
            "GPU-1 is listed twice for the same time, also in org.xlsx: sheet Inventory, cell E3",
        ),
        (
            "Inventory",
            "F3",
            date(2026, 9, 1),
            "sheet Inventory, row 3: removed on 2026-08-01, before its first day 2026-09-01",
        ),
        ("Teams", "D4", "tier", "sheet Teams, cell D4: expected key=glob with each key once, got 'tier'"),
        ("Teams", "A2", None, "sheet Teams, row 2: expected at least one glob"),
        ("Teams", "G3", None, "sheet Teams, row 3: expected a team, a project or a price_class"),
        ("Prices", "C2", "0;90", "sheet Prices, cell C2: expected a number from 0 to 1000000, got '0;90'"),
        (
            "Contracts",
            "H2",
            "1.200",
            "sheet Contracts, cell H2: expected a number with one meaning, got '1.200' (1200 or 1.2)",
        ),
        ("Prices", "C2", "1,750", "sheet Prices, cell C2: expected a number with one meaning, got '1,750' (1750 or 1.75)"),
        ("Prices", "A2", None, "duplicate price class ''"),
        (
            "Models",
            "D2",
            date(2026, 1, 1),
            "sheet Models, cell D2: expected a number above 0 and at most 1000000, got '2026-01-01 00:00:00'",
        ),
        (
            "Organisation",
            "C1",
            "least_covrage",
            "cell C1: unknown column 'least_covrage'; did you mean 'least_coverage_p",
        ),
        ("Organisation", "C1", "name", "sheet Organisation, cell C1: duplicate column 'name'"),
        ("Organisation", "C1", None, "sheet Organisation, cell C2: row 1 has no name for this column"),
        ("Models", "A2", "#REF!", "sheet Models, cell A2 is the error #REF!; enter a value"),
    ],
)
def test_error_names_its_cell(tmp_path, sheet, cell, value, message):
    text = refusal(tmp_path, changed(sheet, cell, value))
    assert text.startswith("org.xlsx: ")
    assert message in text


def test_what_is_wrong_with_several_rows_names_all_of_them(tmp_path):
    sheets = whole()
    sheets["Water"].append(["fra1", date(2026, 9, 1), date(2026, 10, 1), 1, "l", 2, 1, "bill 5000"])
    message = refusal(tmp_path, sheets)
    assert message.startswith("org.xlsx: site 'fra1': water of 2026-09-01 is listed twice: 'bill 4711' and 'bill 5000' (")
    assert "sheet Water, cell H2; sheet Water, cell H3" in message
    sheets = whole()
    sheets["Tariffs"].append(["fra1", "late", "EUR", 1, "kWh", None, date(2026, 1, 1), "page"])
    assert "sheet Tariffs, cell B2" in refusal(tmp_path, sheets)
    sheets = whole()
    sheets["Certificates"].append([*sheets["Certificates"][1][:1], "go2", *sheets["Certificates"][1][2:]])
    assert "a certificate counts only once (sheet Certificates, cell B2; sheet Certificates, cell B3" in refusal(
        tmp_path, sheets
    )


@pytest.mark.parametrize(
    ("start", "minutes", "at", "cells"),
    [
        (NINE, 15, "09:15", "sheet Deliveries, cell C2; sheet Deliveries, cell C4"),
        (datetime(2026, 7, 1, 10, 45), 15, "10:45", "sheet Deliveries, cell C4"),  # noqa: DTZ001
        (datetime(2026, 7, 1, 9), 60, "09:15", "sheet Deliveries, cell C2"),  # noqa: DTZ001
    ],
)
def test_duplicate_delivery_error_names_its_rows(tmp_path, start, minutes, at, cells):
    """09:15 for 15 minutes is in row 2, 10:00 for 60 minutes in row 3; the row of another site and contract does not matter."""
    sheets = whole()
    sheets["Deliveries"].append(["fra1", "sun", start, minutes, 1, "kWh"])
    message = refusal(tmp_path, sheets)
    assert message.startswith("org.xlsx: sheet Contracts, row 3: contract 'sun': duplicate delivery at ")
    assert f"'2026-07-01 {at}:00' UTC ({cells})" in message
    sheets["Deliveries"][3][2] = datetime(2026, 7, 1, 9, 30)  # noqa: DTZ001
    sheets["Deliveries"][3][3] = 15
    load(book(tmp_path / "org.xlsx", sheets))


def test_all_errors_of_a_workbook_are_reported_at_once(tmp_path):
    """In every sheet, in their order, and several times in one row; what only follows from a wrong cell is left out."""
    sheets = changed("Contracts", "I2", "GWh")
    sheets["Contracts"][1][4] = "windy"
    sheets["Meters"][1][3] = sheets["Water"][1][4] = "gal"
    sheets["Teams"][2][6] = "x" * 64
    sheets["Prices"][1][1] = "#REF!"
    sheets["Models"][1][0] = "#REF!"
    sheets["Inventory"][1][1] = None
    places = [line.removeprefix("org.xlsx: sheet ").partition(":")[0] for line in refusal(tmp_path, sheets).splitlines()]
    assert [place.partition(" is ")[0] for place in places] == [
        "Prices, cell B2", "Models, cell A2", "Inventory, cell B2", "Contracts, cell I2", "Water, cell E2",
        "Contracts, cell E2", "Meters, cell D2", "Teams, cell G3",
    ]  # fmt: skip


def test_every_wrong_cell_of_one_row_is_named(tmp_path):
    """Cells that the model refuses, and in the same row an unknown site and an unknown unit."""
    sheets = changed("Meters", "C2", "power")
    sheets["Meters"][1][5:7] = [-1, -2.5]
    sheets["Contracts"][1][0], sheets["Contracts"][1][8] = "fra9", "GWh"
    sheets["Tariffs"][2][3:5] = [214, "GWh"]
    places = [line.removeprefix("org.xlsx: sheet ").partition(":")[0] for line in refusal(tmp_path, sheets).splitlines()]
    assert places == [
        "Contracts, cell I2", "Contracts, cell A2", "Tariffs, cell E3", "Meters, cell C2", "Meters, cell F2", "Meters, cell G2",
    ]  # fmt: skip


def test_very_many_errors_are_cut_and_the_rest_counted(tmp_path):
    prices = [["price_class", "currency", "per_gpu_hour"], *[[f"c{n}", "EUR", -1] for n in range(110)]]
    lines = refusal(tmp_path, {"Prices": prices}).splitlines()
    assert (len(lines), lines[-1]) == (101, "10 more errors are not listed")


def with_inventory_file(name):
    head, row = ["name", "inventory_file"], ["Example AI", name]
    return {"Organisation": [head, row], "Sites": [["name"], ["fra1"], ["pnq1"]]}


def test_invalid_inventory_file_error_names_its_cell(tmp_path):
    sheets = with_inventory_file("lines.csv")
    assert refusal(tmp_path, sheets).startswith("org.xlsx: sheet Organisation, cell B2: cannot read lines.csv: ")
    (tmp_path / "lines.csv").write_bytes(b"\xff\xfe")
    assert refusal(tmp_path, sheets) == "org.xlsx: sheet Organisation, cell B2: lines.csv: expected a CSV file in UTF-8"
    (tmp_path / "lines.csv").write_text(CSV)
    assert len(load(book(tmp_path / "org.xlsx", sheets)).expected) == 4


def test_two_inventories_error_names_both_cells(tmp_path):
    (tmp_path / "lines.csv").write_text(CSV)
    sheets = with_inventory_file("lines.csv") | {"Inventory": [["note", "cluster", "node", "site"], [None, "c", "n", "fra1"]]}
    assert refusal(tmp_path, sheets) == (
        "org.xlsx: sheet Organisation, cell B2: names lines.csv, and sheet Inventory, cell D2 contains an inventory as well; "
        "keep one of the two"
    )


@pytest.mark.parametrize("note", ["example", "Example", "how to"])
def test_row_excluded_by_its_note_is_not_read(tmp_path, note):
    sheets = {"Prices": [["note", "price_class", "currency", "per_gpu_hour"], [note, "spot", "nonsense", -1]]}
    assert load(book(tmp_path / "org.xlsx", sheets)).prices == ()
    sheets["Prices"][1][0] = "mine"
    assert "cell C2: expected an ISO 4217" in refusal(tmp_path, sheets)


def test_a_site_s_own_file_beside_its_rows(tmp_path):
    (tmp_path / "fra1.yaml").write_text("site: {name: fra1}\ngrid: {zone: DE}\npue: {value: 1.2}\n")
    sheets = {
        "Sites": [["name", "file", "floor_m2"], ["fra1", "fra1.yaml", 12]],
        "Contracts": whole()["Contracts"][:2],
    }
    site = load(book(tmp_path / "org.xlsx", sheets)).sites["fra1"]
    assert site.stated is not None
    assert (len(site.lots), site.floor_m2) == (1, Decimal(12))
    sheets["Meters"] = whole()["Meters"]
    assert "fra1.yaml describes this site; move meters into that file" in refusal(tmp_path, sheets)
    sheets = {"Sites": [["name", "file", "time_zone"], ["fra1", "fra1.yaml", "UTC"]]}
    assert "sheet Sites, row 2: fra1.yaml describes this site; move site.time_zone into that file" in refusal(tmp_path, sheets)


def test_the_hours_of_a_grid_in_a_file(tmp_path):
    (tmp_path / "de.csv").write_text("ts_utc,zone,g_per_kwh,kind\n2026-07-01T00:00:00Z,DE,400.5,direct\n")
    head = ["name", "grid_zone", "hours_file", "hours_publisher", "hours_licence"]
    row = ["fra1", "DE", "de.csv", "the operator", "ours"]
    organisation = load(book(tmp_path / "org.xlsx", {"Sites": [head, row]}))
    assert [piece.g_per_kwh for piece in organisation.sites["fra1"].location[0].pieces] == [Decimal("400.5")]
    assert [path for path, _ in organisation.files] == ["de.csv", "org.xlsx"]
    for index, message in (
        (1, "sheet Sites, row 2: source csv_file has no zone"),
        (2, "sheet Sites, cell C2 is empty; enter hours_file"),
        (3, "sheet Sites, cell D2 is empty; enter hours_publisher"),
        (4, "sheet Sites, cell E2 is empty; enter hours_licence"),
    ):
        incomplete_row = [None if n == index else cell for n, cell in enumerate(row)]
        assert message in refusal(tmp_path, {"Sites": [head, incomplete_row]})


def test_sheets_of_one_s_own_are_not_read_and_misspelt_ones_are_refused(tmp_path):
    assert len(load(book(tmp_path / "org.xlsx", {"Prices": whole()["Prices"], "My sums": [[1, 2], ["=A1", None]]})).prices) == 2
    assert refusal(tmp_path, {"Price": whole()["Prices"], "Teams": []}).endswith("did you mean 'Prices'?")
    assert "expected one or more of the sheets Organisation" in refusal(tmp_path, {"Notes": [["x"]]})


def test_a_formula_counts_by_the_value_that_was_saved(tmp_path):
    """Written with its value, as a spreadsheet does, it is read; written by a program that counts nothing, it is refused."""
    path = tmp_path / "org.xlsx"
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet("Prices")
        sheet.write_row(0, 0, ["price_class", "currency", "per_gpu_hour"])
        sheet.write_row(1, 0, ["spot", "EUR"])
        sheet.write_formula(1, 2, "=0.5+0.25", None, 0.75)
    assert load(path).prices[0].per_gpu_hour == Decimal("0.75")
    message = refusal(tmp_path, changed("Prices", "C2", "=0.5+0.25"))
    assert (
        "sheet Prices, cell C2 is a formula without a value; open the workbook in a spreadsheet program and save it" in message
    )


def test_a_formula_without_a_value_is_refused_whatever_prefix_and_part_a_program_chose(tmp_path):
    """Open XML SDK writes `<x:f>`, and a sheet's part may have any name."""
    path = book(tmp_path / "org.xlsx", changed("Prices", "C2", "=0.5+0.25"))
    number = list(whole()).index("Prices") + 1
    name = f"xl/worksheets/sheet{number}.xml"
    text = re.sub(r"<(/?)(\w)", r"<\1x:\2", part(path, name)).replace("xmlns=", "xmlns:x=")
    with_part(with_part(path, name, "<none/>"), "xl/tables.xml", text)
    for holder in ("xl/_rels/workbook.xml.rels", "[Content_Types].xml"):
        with_part(path, holder, part(path, holder).replace(f"/{name}", "/xl/tables.xml"))
    assert "sheet Prices, cell C2 is a formula without a value" in hostile(path)


def test_a_sheet_of_one_s_own_that_is_damaged_is_not_read_for_formulas(tmp_path):
    path = book(tmp_path / "org.xlsx", {"Own": [["=1"]], "Prices": whole()["Prices"]})
    with_part(path, SHEET, part(path, SHEET).removesuffix("</worksheet>"))
    assert len(load(path).prices) == 2


@pytest.mark.parametrize("value", [0.1 + 0.2, "0.3"])
def test_a_number_is_what_a_spreadsheet_shows_of_it(tmp_path, value):
    """0.1 + 0.2 is 0.30000000000000004 in binary; a spreadsheet keeps 15 digits: 0.3 MWh are 300 kWh, exactly."""
    organisation = load(book(tmp_path / "org.xlsx", changed("Contracts", "H2", value)))
    assert sum(lot.uj for lot in organisation.sites["fra1"].lots if lot.contract == "wind") == 300 * 3_600_000_000_000


def test_more_digits_than_can_be_kept_are_refused(tmp_path):
    message = refusal(tmp_path, changed("Contracts", "H2", "1.00000000000000000001"))
    assert "cell H2: expected at most 15 digits, got '1.00000000000000000001'" in message


# What is hostile ------------------------------------------------------------------------------------------------------------


def hostile(path):
    with pytest.raises(UsageError) as refused:
        load(path)
    return str(refused.value)


def test_no_archive_and_half_of_one(tmp_path):
    path = tmp_path / "org.xlsx"
    raw = book(path, whole()).read_bytes()
    for part_of_it in (b"PK\x03\x04 nothing of the kind", b"", raw[: len(raw) // 2], raw[:-30]):
        path.write_bytes(part_of_it)
        assert "org.xlsx: is not a readable .xlsx workbook" in hostile(path)


def test_an_archive_that_unpacks_to_more_than_a_list_of_inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(org_xlsx, "UNPACKED_MAX_B", 10 << 20)
    path = with_part(book(tmp_path / "org.xlsx", whole()), "xl/sharedStrings.xml", b" " * (11 << 20))
    assert path.stat().st_size < 1 << 20
    assert "it unpacks to more than 10 MiB" in hostile(path)


SHEET = "xl/worksheets/sheet1.xml"
SPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
LAUGHS = f'<?xml version="1.0"?><!DOCTYPE sst [<!ENTITY e0 "aaaaaaaaaa">{ENTITIES}]><sst {SPACE}><si><t>&e9;</t></si></sst>'


@pytest.mark.parametrize("name", ["xl/sharedStrings.xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", SHEET])
def test_entities_that_expand_to_gigabytes_are_never_expanded(tmp_path, by_xlsxwriter, name):
    path = tmp_path / "org.xlsx"
    path.write_bytes(by_xlsxwriter.read_bytes())
    assert "org.xlsx" in hostile(with_part(path, name, LAUGHS))


@pytest.mark.parametrize("rows", ["<row><c", "<a></b>", "</sheetData>", '<row r="1"><c r="A1"><f>1</f></c></row><row'])
def test_a_sheet_that_is_no_xml(tmp_path, rows):
    text = f'<worksheet {SPACE}><dimension ref="A1"/><sheetData>{rows}</sheetData></worksheet>'
    assert "org.xlsx: " in hostile(with_part(book(tmp_path / "org.xlsx", whole()), SHEET, text))


def test_a_day_that_no_calendar_has_is_an_error_of_its_cell(tmp_path):
    sheets = whole()
    path = book(tmp_path / "org.xlsx", {"Sites": sheets["Sites"], "Water": sheets["Water"]})
    name = "xl/worksheets/sheet2.xml"
    text = part(path, name)
    assert text.count("<v>46204</v>") == 1  # 2026-07-01
    with_part(path, name, text.replace("<v>46204</v>", "<v>1e300</v>"))
    assert "sheet Water, cell B2 is the error #VALUE!; enter a value" in hostile(path)


def test_declared_sheet_size_does_not_cut_rows_off(tmp_path):
    path = book(tmp_path / "org.xlsx", {"Prices": whole()["Prices"]})
    text = part(path, SHEET)
    assert '<dimension ref="A1:D3"' in text
    with_part(path, SHEET, text.replace('<dimension ref="A1:D3"', '<dimension ref="A1:B2"'))
    assert len(load(path).prices) == 2
    assert load(path).prices[1].electricity_share == Decimal("0.5")


def test_macros_and_pictures_are_not_read(tmp_path):
    path = book(tmp_path / "org.xlsm", whole())
    with_part(path, "xl/vbaProject.bin", b"\xd0\xcf\x11\xe0 a macro")
    with_part(path, "xl/media/image1.png", b"\x89PNG")
    assert load(path).name == "Example AI"


PARTS = ["xl/workbook.xml", "[Content_Types].xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml", "xl/sharedStrings.xml", SHEET]


@pytest.fixture(scope="module")
def by_xlsxwriter(tmp_path_factory):
    """A workbook whose texts are shared, as spreadsheets write them."""
    path = tmp_path_factory.mktemp("damaged") / "org.xlsx"
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as workbook:
        for title in ("Contracts", "Deliveries", "Sites", "Tariffs", "Teams"):
            sheet = workbook.add_worksheet(title)
            for number, row in enumerate(whole()[title]):
                sheet.write_row(number, 0, row)
    return path


def test_texts_that_cells_share_are_read(by_xlsxwriter):
    organisation = load(by_xlsxwriter)
    assert organisation.sites["fra1"].stated_source == "the operator"


@settings(max_examples=examples(150), deadline=None)
@given(name=st.sampled_from(PARTS), at=st.floats(0, 1), cut=st.integers(0, 12), put=st.binary(max_size=6))
def test_a_damaged_workbook_is_read_or_refused_and_never_a_crash(by_xlsxwriter, name, at, cut, put):
    text = part(by_xlsxwriter, name).encode()
    begin = int(at * len(text))
    path = by_xlsxwriter.with_name("damaged.xlsx")
    path.write_bytes(by_xlsxwriter.read_bytes())
    with_part(path, name, text[:begin] + put + text[begin + cut :])
    lines = []
    try:
        load(path)
    except UsageError as error:
        lines = str(error).splitlines()
    assert all("damaged.xlsx" in line for line in lines[:100])


@pytest.mark.smoke
def test_a_large_inventory_is_read_whole(tmp_path):
    """12,000 boards: every one of them, in order."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet("Inventory")
        sheet.write_row(0, 0, ["cluster", "node", "uuid", "site"])
        for number in range(12_000):
            sheet.write_row(number + 1, 0, ["c", f"n{number // 8:05d}", f"GPU-{number:08d}", "fra1"])
    (tmp_path / "org.xlsx").write_bytes(out.getvalue())
    organisation = load(tmp_path / "org.xlsx")
    assert [each.uuid for each in organisation.expected] == [f"GPU-{number:08d}" for number in range(12_000)]
