"""docs/report-sheets.md explains every key; the example of docs/report-inputs.md is right."""

import re
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.config.agent import parse_as
from tests.wattlens.report.books import AS_OF_NS, END_NS, START_NS
from tools.report_input_docs import tables
from wattlens.report.inputs.model import OrgFile
from wattlens.report.inputs.org import load_organisation
from wattlens.report.inputs.workbook.sheets import SHEETS

PAGE = Path(__file__).parents[2] / "docs/report-inputs.md"
SHEET_PAGE = PAGE.with_name("report-sheets.md")


def test_every_column_is_explained():
    rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in tables().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(sheet.columns) for sheet in SHEETS)
    assert all(len(row) == 5 and row[2] and row[4].strip() for row in rows)


def test_the_example_is_right():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    org_file = parse_as(OrgFile, text.encode(), "example")
    assert [site.file for site in org_file.sites] == [Path("fra1.yaml"), None]
    assert (len(org_file.teams), len(org_file.prices), len(org_file.embodied), len(org_file.models)) == (3, 2, 1, 1)


def test_the_default_bound_of_a_stated_pue_is_documented(tmp_path):
    """What the page says is what a PUE without a bound gets."""
    (tmp_path / "org.yaml").write_text("sites: [{site: {name: a}, pue: {value: 2}}]")
    stated = load_organisation(tmp_path / "org.yaml", START_NS, END_NS, AS_OF_NS).sites["a"].stated
    assert stated == (2, Fraction(10, 100))
    (row,) = (line for line in SHEET_PAGE.read_text().splitlines() if line.startswith("| `pue_uncertainty_percent`"))
    assert row.endswith("| bound of its error; empty: 10 |")


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.title)
def test_every_sheet_is_described(sheet):
    prose = PAGE.read_text()
    assert f"**{sheet.title}**" in prose
