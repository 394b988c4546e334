"""Workbooks with one wrong cell each, refused or warned of by that cell; many wrong cells of one are reported together."""

from datetime import date, datetime

import openpyxl
import pytest

from energy_agent.core.errors import UsageError
from energy_agent.core.units import UJ_PER_KWH
from tests.wattlens.report.books import AS_OF_NS, END_NS, START_NS, Rows, book, whole
from wattlens.report.inputs.org import load_organisation

INVOICES: Rows = [
    ["site", "number", "meter", "start", "end", "energy", "energy_unit", "basis", "accuracy_percent", "peak", "peak_unit",
     "amount", "currency", "tax"],
    ["fra1", "R-7", "Z1", date(2026, 7, 1), date(2026, 7, 31), 412.5, "MWh", "read", 1, 640, "kW", 75075, "EUR", "excluded"],
    ["fra1", "R-8", "Z1", date(2026, 8, 1), date(2026, 8, 31), 398, "MWh", "estimated", None, None, None, 71640, "EUR",
     "excluded"],
]  # fmt: skip
READINGS: Rows = [
    ["site", "meter", "day", "register", "register_unit", "multiplier", "source"],
    ["fra1", "Z1", date(2026, 7, 1), 88120, "kWh", 60, "photo"],
    ["fra1", "Z1", date(2026, 8, 1), 94990, "kWh", 60, "photo"],
]
Change = dict[tuple[str, str], object]


def load(path):
    return load_organisation(path, START_NS, END_NS, AS_OF_NS)


def sheets_with(changes: Change) -> dict[str, Rows]:
    """All inputs with some cells changed, by (sheet, cell)."""
    sheets = {**whole(), "Invoices": [list(row) for row in INVOICES], "Readings": [list(row) for row in READINGS]}
    for (sheet, cell), value in changes.items():
        column, row = openpyxl.utils.cell.coordinate_from_string(cell)
        rows = sheets[sheet]
        while len(rows) < row:
            rows.append([*rows[-1]])
        rows[row - 1][openpyxl.utils.column_index_from_string(column) - 1] = value
    return sheets


NINE = datetime(2026, 7, 1, 9)  # noqa: DTZ001 - as a workbook has it
# (sheet, cell, its wrong value, what the message contains, from the cell on)
WRONG = [
    # Units and numbers
    ("Contracts", "I2", "GWh", "sheet Contracts, cell I2: expected a unit of volume (kWh or MWh), got 'GWh'"),
    ("Contracts", "I2", "mwh", "sheet Contracts, cell I2: expected a unit of volume (kWh or MWh), got 'mwh'"),
    ("Contracts", "I2", None, "sheet Contracts, cell I2 is empty; enter the unit of volume"),
    ("Contracts", "H2", "12 MWh", "sheet Contracts, cell H2: expected a number such as 1234.5"),
    ("Contracts", "H2", "1.200", "sheet Contracts, cell H2: expected a number with one meaning, got '1.200' (1200 or 1.2)"),
    ("Contracts", "H2", "1,200", "sheet Contracts, cell H2: expected a number with one meaning, got '1,200' (1200 or 1.2)"),
    ("Contracts", "H2", "1.234.56", "sheet Contracts, cell H2: expected a number such as 1234.5"),
    ("Contracts", "H2", "about 5", "sheet Contracts, cell H2: expected a number such as 1234.5"),
    ("Contracts", "H2", -3, "sheet Contracts, cell H2: expected a number above 0 and at most 1000000000, got -3 (MWh)"),
    ("Contracts", "H2", 0, "sheet Contracts, cell H2: expected a number above 0 and at most 1000000000, got 0 (MWh)"),
    ("Contracts", "H2", NINE, "sheet Contracts, cell H2: expected a number such as 1234.5"),
    ("Water", "E2", "gal", "sheet Water, cell E2: expected a unit of amount (l or m3), got 'gal'"),
    ("Water", "D2", -4, "sheet Water, cell D2: expected a number from 0 to 1000000000, got -4 (m3)"),
    ("Water", "F2", 0, "sheet Water, cell F2: expected a number above 0 and at most 50, got 0"),
    ("Water", "G2", 4, "sheet Water, cell G2: expected one of 1, 2 or 3, got 4"),
    ("Meters", "F2", 0, "sheet Meters, cell F2: expected a number from 0.01 to 50, got 0"),
    ("Meters", "H2", "VA", "sheet Meters, cell H2: expected a unit of max_power (W or kW or MW), got 'VA'"),
    ("Sites", "E2", 0.9, "sheet Sites, cell E2: expected a number from 1"),
    ("Sites", "E2", "1,300", "sheet Sites, cell E2: expected a number with one meaning, got '1,300' (1300 or 1.3)"),
    ("Sites", "H2", -1, "sheet Sites, cell H2: expected a number above 0"),
    ("Prices", "C2", "free", "sheet Prices, cell C2: expected a number from 0 to 1000000, got 'free'"),
    ("Prices", "C2", -0.9, "sheet Prices, cell C2: expected a number from 0 to 1000000, got -0.9"),
    ("Hardware", "D2", 0, "sheet Hardware, cell D2: expected a number above 0 and at most 50, got 0"),
    ("Models", "D2", "70B", "sheet Models, cell D2: expected a number above 0 and at most 1000000, got '70B'"),
    ("Organisation", "C2", 120, "sheet Organisation, cell C2: expected a number from 0 to 100, got 120"),
    # Days
    ("Contracts", "F2", "1.7.2026", "sheet Contracts, cell F2: expected a day such as 2026-01-31, got '1.7.2026'"),
    ("Contracts", "F2", "7/1/2026", "sheet Contracts, cell F2: expected a day such as 2026-01-31, got '7/1/2026'"),
    ("Contracts", "F2", "2026-02-30", "sheet Contracts, cell F2: the day 2026-02-30 does not exist"),
    ("Contracts", "G2", date(2026, 6, 30), "sheet Contracts, row 2: contract 'wind'"),
    ("Water", "C2", date(2026, 6, 1), "sheet Water, row 2: water ends on 2026-06-01, before it begins on 2026-07-01"),
    ("Inventory", "F3", date(2026, 9, 1), "sheet Inventory, row 3: removed on 2026-08-01, before its first day 2026-09-01"),
    ("Tariffs", "G2", "January", "sheet Tariffs, cell G2: expected a day such as 2026-01-31, got 'January'"),
    ("Deliveries", "C2", "soon", "sheet Deliveries, cell C2: expected a time in UTC such as 2026-01-31T23:15, got 'soon'"),
    ("Deliveries", "D2", 60, "sheet Deliveries, row 2: 2026-07-01 09:15:00: not the start of an interval of 60 minutes"),
    # Names and references
    ("Contracts", "A2", "fra2", "sheet Contracts, cell A2: unknown site 'fra2'; sheet Sites has: fra1, pnq1"),
    ("Contracts", "B2", None, "sheet Contracts, cell B2 is empty; enter id"),
    ("Contracts", "C2", "go", "sheet Contracts, cell C2: expected one of ppa, other"),
    ("Contracts", "D2", None, "sheet Contracts, cell D2 is empty; enter zone"),
    ("Contracts", "E2", "windy", "sheet Contracts, cell E2: expected one of "),
    ("Certificates", "C2", "GOO", "sheet Certificates, cell C2: expected one of go, rec, i-rec"),
    ("Certificates", "B2", "wind", "sheet Certificates, cell B2"),
    ("Deliveries", "B2", "moon", "sheet Deliveries, cell B2: 'moon' is not a contract or certificate of site 'fra1'"),
    ("Sites", "A3", "fra1", "duplicate site 'fra1' (sheet Sites, cell A2; sheet Sites, cell A3)"),
    ("Sites", "B2", "Berlin", "sheet Sites, cell B2: expected an IANA time zone such as Europe/Berlin, got 'Berlin'"),
    ("Sites", "D2", "Germany", "sheet Sites, cell D2: expected "),
    ("Sites", "D2", "DE", "sheet Sites, cell D2: expected "),
    ("Meters", "C2", "main", "sheet Meters, cell C2: expected one of "),
    ("Meters", "D3", None, "sheet Meters, row 3: meter 'ups' has role it and requires a position"),
    ("Meters", "E3", "attic", "attic"),
    ("Inventory", "B2", None, "sheet Inventory, cell B2 is empty; enter node"),
    ("Inventory", "E2", "fra3", "sheet Inventory, cell E2: unknown site 'fra3'; did you mean 'fra1'?"),
    ("Teams", "A2", None, "sheet Teams, row 2: expected at least one glob"),
    ("Teams", "D4", "tier", "sheet Teams, cell D4: expected key=glob with each key once, got 'tier'"),
    ("Models", "A2", "#REF!", "sheet Models, cell A2 is the error #REF!; enter a value"),
    # Money
    ("Tariffs", "C2", "EURO", "sheet Tariffs, cell C2: expected an ISO 4217 currency code such as EUR, got 'EURO'"),
    ("Tariffs", "C2", "\u20ac", "sheet Tariffs, cell C2: expected an ISO 4217 currency code such as EUR"),
    ("Tariffs", "C3", "USD", "sheet Tariffs, cell C3 differs from sheet Tariffs, cell C2"),
    ("Tariffs", "F3", "Mon-Fri 8-20", "sheet Tariffs, cell F3: expected DAYS HH:MM-HH:MM"),
    ("Tariffs", "F3", None, "sheet Tariffs, cell F3: tariff '2026': expected one row without times"),
    # Invoices and readings
    ("Invoices", "D2", date(2026, 8, 2), "sheet Invoices, row 2: invoice 'R-7' ends on 2026-07-31, before it begins"),
    (
        "Invoices",
        "D3",
        date(2026, 7, 15),
        "energy of 2026-07-15 of meter 'Z1' is invoiced twice: 'R-7' and 'R-8' (sheet ",
    ),
    ("Invoices", "F2", "412.500", "sheet Invoices, cell F2: expected a number with one meaning, got '412.500'"),
    ("Invoices", "G2", "kW", "sheet Invoices, cell G2: expected a unit of energy (kWh or MWh), got 'kW'"),
    ("Invoices", "M2", None, "sheet Invoices, row 2: invoice 'R-7': amount needs a currency"),
    ("Invoices", "M3", "EURO", "sheet Invoices, cell M3: expected an ISO 4217 currency code such as EUR, got 'EURO'"),
    ("Invoices", "N2", "gross", "sheet Invoices, cell N2: expected one of 'excluded' or 'included', got 'gross'"),
    (
        "Invoices",
        "N3",
        "included",
        "amounts of invoices 'R-7' (excluded) and 'R-8' (included) differ in tax (sheet ",
    ),
    ("Invoices", "H2", "guess", "sheet Invoices, cell H2: expected one of 'read' or 'estimated', got 'guess'"),
    ("Readings", "D3", 80000, "meter 'Z1' reads 80000 kWh on 2026-08-01, less than 88120 kWh on 2026-07-01"),
    ("Readings", "C3", date(2026, 7, 1), "meter 'Z1' is read twice on 2026-07-01 (sheet Readings, cell B2"),
    ("Readings", "F3", 30, "meter 'Z1': its multiplier changes on 2026-08-01"),
]
# Valid, but odd or of no use: the report is created, and the warning names the cell.
WARNED = [
    ("Tariffs", "D2", 182_000, "sheet Tariffs, cell D2: 182 EUR/kWh is far from plausible"),
    ("Tariffs", "D3", 0.0005, "sheet Tariffs, cell D3: 0.0005 EUR/kWh is far from plausible"),
    ("Sites", "E2", 4.2, "sheet Sites, cell E2: 4.2 is unusual; expected 1.02 to 3 as a PUE"),
    ("Sites", "C2", "de", "sheet Sites, cell C2: zones are written in capitals: 'DE', got 'de'"),
    ("Invoices", "L2", 75_075_000, "sheet Invoices, cell L2: amount over energy: 182 EUR/kWh is far from plausible"),
    ("Invoices", "J2", 64, "sheet Invoices, cell J2: the mean power of the invoice is 554 kW, above its peak"),
    ("Certificates", "K2", date(2099, 1, 1), "contract 'go' of site fra1 covers nothing: retired on 2099-01-01, after the day"),
]


@pytest.mark.parametrize(("sheet", "cell", "value", "message"), WRONG)
def test_a_wrong_cell_is_refused(tmp_path, sheet, cell, value, message):
    with pytest.raises(UsageError) as refused:
        load(book(tmp_path / "org.xlsx", sheets_with({(sheet, cell): value})))
    text = str(refused.value)
    assert message in text
    assert "org.xlsx: " in text
    assert f"sheet {sheet}, " in text


@pytest.mark.parametrize(("sheet", "cell", "value", "message"), WARNED)
def test_an_odd_cell_is_warned_of(tmp_path, sheet, cell, value, message):
    loaded = load(book(tmp_path / "org.xlsx", sheets_with({(sheet, cell): value})))
    (warning,) = (line for line in loaded.warnings if message in line)
    assert f"sheet {sheet}, cell {cell[0] if 'covers nothing' not in message else 'B'}" in warning


def test_the_workbook_without_a_wrong_cell_is_read(tmp_path):
    loaded = load(book(tmp_path / "org.xlsx", sheets_with({})))
    assert (len(loaded.sites["fra1"].invoices), len(loaded.sites["fra1"].readings)) == (2, 1)
    assert not any("plausible" in line for line in loaded.warnings)


def test_a_source_without_its_figure_is_refused_by_its_cell(tmp_path):
    sheets = sheets_with({})
    contracts = sheets["Contracts"]
    contracts[0].append("biogenic_source")
    contracts[1].append("the seller")
    cell = f"sheet Contracts, cell {openpyxl.utils.get_column_letter(len(contracts[0]))}2"
    with pytest.raises(UsageError) as refused:
        load(book(tmp_path / "org.xlsx", sheets))
    assert str(refused.value).endswith(
        f"{cell}: biogenic_source requires biogenic_g_per_kwh; enter the figure or delete its source"
    )


def test_many_wrong_cells_are_reported_in_one_run(tmp_path):
    """One wrong cell of each of twelve sheets: twelve lines, each with its cell."""
    first = {case[0]: case for case in reversed(WRONG) if " cell " in case[3] and "duplicate" not in case[3]}
    chosen = {name: case for name, case in first.items() if name not in ("Sites", "Certificates", "Readings")}
    with pytest.raises(UsageError) as refused:
        load(book(tmp_path / "org.xlsx", sheets_with({case[:2]: case[2] for case in chosen.values()})))
    text = str(refused.value)
    assert len(chosen) == 12
    assert [name for name, case in chosen.items() if case[3] not in text] == []
    assert len(text.splitlines()) >= 12


def test_certificates_retired_for_another_name_its_cell_unless_it_is_accepted(tmp_path):
    """The row's own cell is named, although another row has the same beneficiary."""
    sheets = sheets_with({("Certificates", "P2"): "Wind Trading Ltd"})
    first = sheets["Certificates"][1]
    sheets["Certificates"].append([*first[:1], "go2", *first[2:11], 124, "HKNR", "Y-1..Y-9999", "P", "Wind Trading Ltd"])
    loaded = load(book(tmp_path / "org.xlsx", sheets))
    reason = "retired for 'Wind Trading Ltd', which is neither the organisation nor an accepted beneficiary"
    warnings = [line for line in loaded.warnings if reason in line]
    assert warnings == [
        f"org.xlsx: contract 'go' of site fra1 covers nothing: {reason} (sheet Certificates, cell P2)",
        f"org.xlsx: contract 'go2' of site fra1 covers nothing: {reason} (sheet Certificates, cell P3)",
    ]
    assert {lot.objection for lot in loaded.sites["fra1"].lots if lot.contract == "go"} == {reason}
    for column in ("legal_entities", "beneficiaries"):
        row = sheets["Organisation"]
        named = [[*row[0], column], [*row[1], "Example Cloud GmbH; Wind Trading Ltd."]]
        accepted = load(book(tmp_path / f"{column}.xlsx", sheets | {"Organisation": named}))
        assert not [line for line in accepted.warnings if "'go" in line]
        assert {lot.objection for lot in accepted.sites["fra1"].lots if lot.contract == "go"} == {""}
        others = (("go", "Wind Trading Ltd"), ("go2", "Wind Trading Ltd")) if column == "beneficiaries" else ()
        assert accepted.sites["fra1"].accepted_beneficiaries == others
        assert ("beneficiary", "Wind Trading Ltd.") in {(each.kind, each.name) for each in accepted.stated_inputs}


def test_kinds_of_instruments_may_be_in_capitals(tmp_path):
    loaded = load(book(tmp_path / "org.xlsx", sheets_with({("Certificates", "C2"): "GO", ("Contracts", "C2"): "PPA"})))
    assert {lot.contract: lot.kind.value for lot in loaded.sites["fra1"].lots}.items() >= {"go": "go", "wind": "ppa"}.items()


@pytest.mark.parametrize(("line", "kwh"), [(1, "1234.5"), (2, "4062.5")])
def test_a_contract_beyond_its_certificates_is_warned_of_by_the_cell_of_its_serials(tmp_path, line, kwh):
    """An agreement of 1.2345 MWh, or of deliveries of 3.25 + 0.8125 MWh, with one certificate covers 1 MWh."""
    sheets = sheets_with({})
    proof = {"retired": date(2026, 8, 1), "retirement_id": "R-9", "registry": "HKNR", "serials": "DE-7", "plant": "P",
             "beneficiary": "Example AI"}  # fmt: skip
    sheets["Contracts"][0] += list(proof)
    sheets["Contracts"][line] += list(proof.values())
    loaded = load(book(tmp_path / "org.xlsx", sheets))
    name = sheets["Contracts"][line][1]
    lots = [lot for lot in loaded.sites["fra1"].lots if lot.contract == name]
    assert sum(lot.uj - lot.uncertified_uj for lot in lots) == 1000 * UJ_PER_KWH
    warnings = [text for text in loaded.warnings if f"contract {name!r} of site fra1" in text]
    assert warnings == [
        f"org.xlsx: contract {name!r} of site fra1 covers at most 1000 of its {kwh} kWh: a serial number is a certificate of "
        f"1 MWh (sheet Contracts, cell Q{line + 1})"
    ]
