"""Exported rows as a spreadsheet reads them."""

import csv

from energy_agent.ledger.export import COLUMNS, write

FORMULA = '=HYPERLINK("http://evil","x")'


def test_no_name_in_a_csv_is_a_formula_and_numbers_stay_numbers(tmp_path):
    strings = [name for name, kind in COLUMNS.items() if kind == "string"]
    row = {name: FORMULA if name in strings else -5 for name in COLUMNS}
    assert write([row], "csv", tmp_path / "rows.csv") == 1
    (cells,) = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    for name, cell in cells.items():
        assert cell == (f"'{FORMULA}" if name in strings else "-5"), name
    assert write([row], "jsonl", tmp_path / "rows.jsonl") == 1
    assert FORMULA.replace('"', '\\"') in (tmp_path / "rows.jsonl").read_text()  # programs read what was recorded
