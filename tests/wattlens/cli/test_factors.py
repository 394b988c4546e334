"""`wattlens factors`: what it lists and shows, and that a published table becomes a factor file that a site can use."""

import hashlib
import json
from decimal import Decimal
from pathlib import Path

import pytest

from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from energy_agent.factors.sets import Catalogue, catalogue, shipped
from tests.support import need_module
from wattlens.cli import main

TERMS = ("--licence", "own use, by permission", "--source", "https://example.org/table")
RESIDUAL_CO2 = Basis(EmissionBoundary.DIRECT, Accounting.RESIDUAL, Gases.CO2)


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(each) for each in argv]) == 2
    return capsys.readouterr().err


def aib(path: Path) -> Path:
    """A workbook with the sheet, the column and the gaps of AIB's results; its values are made up."""
    need_module("openpyxl")
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Introduction"
    sheet = book.create_sheet("Residual Mixes")
    sheet.append(["Country", "Renewables", "CO2 (gCO2/kWh)"])
    for row in (["AT", 0, "NA"], ["DE", 0.1, 701.47], ["GR", 0.2, 365.2], ["Average", 0.3, 400]):
        sheet.append(row)
    book.save(path)
    return path


def test_the_list_has_every_table_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["factors", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {each["id"] for each in listed} == {each.id for each in shipped()}
    assert all(each["source"] and each["source_sha256"] and each["fetched"] and each["evidence"] for each in listed)
    assert main(["factors", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(listed) + 1
    assert any(line.startswith("desnz-2026 ") and "secondary source" in line for line in lines)


def test_all_factors_of_a_zone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["factors", "list", "--zone", "gbr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:4] == ["2026", "130.96", "g", "CO2e/kWh"] and "direct" in line for line in lines)
    assert any(line.split()[:2] == ["2026", "36.82"] and "upstream" in line for line in lines)
    assert "'XX9' is not in any table" in refused(capsys, "factors", "list", "--zone", "XX9")


def test_show_names_the_request_the_reason_and_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["factors", "show", "GB", "--country", "GBR", "--year", "2026"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["requested"].strip() == "GB / GBR, 2026, direct, location, CO2e"
    assert lines["value"].strip() == "130.96 g CO2e/kWh"
    assert lines["reason"].strip() == "GB: no factor that is direct, location, CO2e"
    assert (lines["GWP set"].strip(), lines["quality"].strip()) == ("AR5", "5")
    assert lines["origin"].strip() == "secondary source, retrieved on 2026-11-29"
    assert lines["source"].strip().startswith("https://assets.publishing.service.gov.uk/")
    assert main(["factors", "show", "US-CAMX", "--year", "2026", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["reason"] == "US-CAMX: no factor of 2026; that of 2024 is the newest before it"
    for zone, country in (("IN", "IND"), ("JP", "JPN")):
        line = refused(capsys, "factors", "show", zone, "--country", country, "--year", "2026")
        assert "no factor that is direct" in line
        assert "add a factor file" in line
    assert "accept it with --accept-old" in refused(capsys, "factors", "show", "USA", "--year", "2030")
    assert main(["factors", "show", "USA", "--year", "2030", "--accept-old"]) == 0


def test_the_residual_mixes_of_aib_become_a_set_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = aib(tmp_path / "results.xlsx")
    argv = [
        "factors",
        "import",
        "aib",
        str(file),
        "--out",
        str(tmp_path),
        "--year",
        "2025",
        "--published",
        "2026-05-26",
        *TERMS,
    ]
    assert main(argv) == 0
    output = capsys.readouterr()
    assert "2 factors, 1 without a value" in output.out
    assert "CO2 alone" in output.err
    factor_sets = catalogue_of(tmp_path, "aib-2025")
    match = factor_sets.factor("DE", 2025, RESIDUAL_CO2, "DEU")
    assert match.factor.value == Decimal("701.47")
    assert match.factor.source_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (match.factor.published, match.factor.evidence, match.factor.licence) == ("2026-05-26", "own file", TERMS[1])
    assert factor_sets.factor("GRC", 2025, RESIDUAL_CO2).factor.value == Decimal("365.2")
    with pytest.raises(Exception, match="AUT: the publisher states no value"):
        factor_sets.factor("AUT", 2025, RESIDUAL_CO2)
    assert "already exists" in refused(capsys, *argv)
    assert main([*argv, "--force", "--gases", "CO2e"]) == 0
    page = json.loads((tmp_path / "aib-2025.json").read_text())
    assert (page["gases"], page["gwp_set"]) == ("CO2e", "none: CO2 alone, used as CO2e")
    assert "CH4 and N2O are missing" in page["note"]


def catalogue_of(folder: Path, name: str) -> Catalogue:
    """A catalogue with one set, copied to a folder of its own, as the download lies next to it."""
    directory = folder / "own"
    directory.mkdir()
    for suffix in (".csv", ".json"):
        (directory / f"{name}{suffix}").write_bytes((folder / f"{name}{suffix}").read_bytes())
    return catalogue(directory)


def test_the_residual_mixes_of_green_e_are_pounds_per_subregion(tmp_path: Path) -> None:
    table = tmp_path / "greene.csv"
    table.write_text("eGRID Subregion,Name,Residual mix (lb CO2/MWh)\nCAMX,WECC California,1000\nERCT,ERCOT All,NA\nTotal,,5\n")
    assert main(["factors", "import", "green-e", str(table), "--out", str(tmp_path), "--year", "2023", *TERMS]) == 0
    factor_sets = catalogue_of(tmp_path, "green-e-2023")
    assert factor_sets.factor("US-CAMX", 2023, RESIDUAL_CO2, "USA").factor.value == Decimal("453.59237")


EM = "Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle)\n"


def test_a_yearly_file_of_electricity_maps_gives_either_basis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "de.csv"
    file.write_text(
        EM + "2024-01-01 00:00:00,Germany,Germany,DE,300.5,350.25\n2025-01-01 00:00:00,Germany,Germany,DE,290,340\n"
    )
    for name in ("electricity-maps", "electricity-maps-life-cycle"):
        assert main(["factors", "import", name, str(file), "--out", str(tmp_path), *TERMS, "--id", name]) == 0
    factor_sets = catalogue_of(tmp_path, "electricity-maps")
    assert factor_sets.factor("DE", 2025, Basis(EmissionBoundary.DIRECT), "DEU").factor.value == 290
    page = json.loads((tmp_path / "electricity-maps-life-cycle.json").read_text())
    assert (page["boundary"], page["rows"]) == ("life-cycle", 2)
    file.write_text(EM + "2025-01-01 00:00:00,Germany,Germany,DE,290,340\n2025-01-01 01:00:00,Germany,Germany,DE,291,341\n")
    line = refused(capsys, "factors", "import", "electricity-maps", file, "--out", tmp_path, *TERMS, "--id", "hours")
    assert "a file of hours belongs in grid.sources" in line


def test_a_table_of_ones_own_needs_its_publisher_and_gwp_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cea.csv"
    file.write_text("zone,name,kg_per_kwh,year\nIND,India,0.7,2025\n")
    argv = ["factors", "import", "csv", str(file), "--out", str(tmp_path), *TERMS, "--id", "india"]
    assert "--publisher: required" in refused(capsys, *argv)
    assert main([*argv, "--publisher", "an authority", "--gwp-set", "none: CO2 alone", "--gases", "CO2"]) == 0
    factor_sets = catalogue_of(tmp_path, "india")
    assert factor_sets.factor("IN", 2026, Basis(EmissionBoundary.DIRECT, gases=Gases.CO2), "IND").factor.value == 700
    file.write_text("zone,g_per_kwh\nIND,7x\n")
    more = ("--publisher", "p", "--gwp-set", "AR6", "--force")
    assert "no column year" in refused(capsys, *argv, *more)
    assert "got '7x'" in refused(capsys, *argv, *more, "--year", "2025")
    file.write_text("zone;g_per_kwh;year\nIND;700,5;2025\n")
    assert "is separated by semicolons: save it with commas" in refused(capsys, *argv, *more)
    file.write_text('zone,g_per_kwh,year\nIND,"700,5",2025\n')
    assert "cea.csv, line 2: row 'IND': expected a number or NA, got '700,5'" in refused(capsys, *argv, *more)
    file.write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in refused(capsys, *argv, *more)
    file.write_text("a,b\n1,2\n")
    assert "expected the columns zone and one of g_per_kwh" in refused(capsys, *argv, *more)
    assert "expected a column `CO2 (gCO2/kWh)`" in refused(
        capsys, "factors", "import", "aib", file, "--out", tmp_path, "--year", "2025", *TERMS
    )
    assert "expected an existing folder" in refused(
        capsys, "factors", "import", "aib", file, "--out", tmp_path / "no", "--year", "2025", *TERMS
    )
