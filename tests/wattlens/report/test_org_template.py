"""The workbook that `report init` writes: what a spreadsheet makes of it, and that its examples are right and never read."""

from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from tests.wattlens.report.books import AS_OF_NS, END_NS, START_NS
from wattlens.report.inputs.org import load_organisation
from wattlens.report.inputs.workbook.columns import EXAMPLE, HOW_TO, NOTE
from wattlens.report.inputs.workbook.sheets import SHEETS
from wattlens.report.inputs.workbook.template import template


@pytest.fixture(scope="module")
def workbook(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "org.xlsx"
    path.write_bytes(template())
    return path


def test_the_same_bytes_each_time():
    assert template() == template()


def test_unchanged_template_gives_an_empty_organisation(workbook):
    organisation = load_organisation(workbook, START_NS, END_NS, AS_OF_NS)
    assert (
        organisation.name,
        organisation.sites,
        organisation.expected,
        organisation.teams,
        organisation.prices,
        organisation.embodied,
    ) == ("", {}, (), (), (), ())


def test_its_examples_are_right_when_their_notes_are_cleared(workbook, tmp_path):
    """Worked out by hand: 1200 MWh of wind and 150 MWh of certificates of July to September, one delivery of 812.5 kWh."""
    book = openpyxl.load_workbook(workbook)
    for sheet in book.worksheets[1:]:
        for row in sheet.iter_rows(min_row=3):
            if row[0].value == EXAMPLE:
                row[0].value = None
    book.save(tmp_path / "org.xlsx")
    organisation = load_organisation(tmp_path / "org.xlsx", START_NS - 86_400 * 10**9, END_NS, AS_OF_NS)
    site = organisation.sites["fra1"]
    by_contract = {}
    for lot in site.lots:
        by_contract[lot.contract] = by_contract.get(lot.contract, 0) + lot.uj
    kwh = 3_600_000_000_000
    assert by_contract == {"wind-north": 1_200_000 * kwh, "go-2026-07": 150_000 * kwh, "solar-east": 8125 * kwh // 10}
    assert len(site.tariffs[0].prices) == 1
    assert (
        len(organisation.expected),
        len(organisation.teams),
        len(organisation.prices),
        len(organisation.embodied),
        len(organisation.model_names),
    ) == (1, 2, 1, 1, 1)


def test_every_sheet_has_its_heads_meanings_and_choices(workbook):
    book = openpyxl.load_workbook(workbook)
    assert book.sheetnames == ["Start", *(sheet.title for sheet in SHEETS)]
    for sheet in SHEETS:
        page = book[sheet.title]
        assert tuple(cell.value for cell in page[1]) == sheet.labels
        assert page.freeze_panes == "B2"
        assert page["A2"].value == HOW_TO
        assert all(cell.value for cell in page[2])
        assert [page.cell(row, 1).value for row in range(3, 3 + len(sheet.examples))] == [EXAMPLE] * len(sheet.examples)
        offered = {
            str(each.sqref).split(":")[0].rstrip("0123456789"): each.formula1
            for each in page.data_validations.dataValidation
            if each.type == "list"
        }
        for column in sheet.columns:
            letter = page.cell(1, 1 + sheet.labels.index(column.label)).column_letter
            choices = sheet.choices(column)
            if choices:
                assert offered[letter] == f'"{",".join(choices)}"'
            elif column.names:
                assert offered[letter].startswith("Sites!$B$")


def test_what_it_requires_is_what_the_model_requires(workbook):
    book = openpyxl.load_workbook(workbook)
    for sheet in SHEETS:
        page = book[sheet.title]
        for column in sheet.columns:
            index = 1 + sheet.labels.index(column.label)
            text = page.cell(2, index).value
            assert text.startswith("Required. ") == sheet.needs(column)
            field = sheet.field(column) if column.path else None
            if field is not None and column.needed is None:
                assert sheet.needs(column) == field.is_required()


def test_no_sheet_has_a_column_of_no_key():
    """But for those that only a table has: whose a row is, a list of labels, the times of a price."""
    for sheet in SHEETS:
        for column in sheet.columns:
            has_key = sheet.field(column) is not None if column.path else column.says
            assert has_key or column.path[0] == "match", (sheet.title, column.label)
        assert NOTE not in {column.label for column in sheet.columns}


def test_boards_that_are_known_are_put_in(tmp_path):
    lines = [
        {"cluster": "c", "node": "n1", "uuid": "GPU-1", "sku": "H100", "site": "fra1", "from": "2026-07-01"},
        {"cluster": "c", "node": "=1+1", "uuid": "GPU-2", "sku": "H100", "site": "pnq1", "to": "2026-08-01"},
    ]
    path = Path(tmp_path) / "org.xlsx"
    path.write_bytes(template(lines))
    organisation = load_organisation(path, START_NS, END_NS, AS_OF_NS)
    assert list(organisation.sites) == ["fra1", "pnq1"]
    assert [(e.node, e.uuid, e.site) for e in organisation.expected] == [("=1+1", "GPU-2", "pnq1"), ("n1", "GPU-1", "fra1")]
    cells = openpyxl.load_workbook(path)["Inventory"]
    assert [cell.data_type for cell in cells[5]][2] == "s", "a name that looks like a formula is text"
    assert datetime(2026, 7, 1) in [cell.value for cell in cells[4]]  # noqa: DTZ001 - as a workbook has a date
