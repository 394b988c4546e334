"""`wattlens report init` and `wattlens report check`, as a person uses them."""

import argparse
import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from energy_agent.core.energy import State
from energy_agent.core.errors import UsageError
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import About
from energy_agent.ledger.fleet.sites import read_inventory
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.inputs.organisation import Organisation, SiteInputs
from tests.reports import chains, ledgers
from tests.reports.golden import DIRECT, RESIDUAL, at, cells, constant
from tests.wattlens.report.books import CSV, book, whole, yaml_files
from wattlens.cli._command import CommandOptions, Parser
from wattlens.cli.report.init import CHECK, COMMAND
from wattlens.report.inputs.text import list_inputs


def init(*arguments):
    parser = Parser()
    parser.set_defaults(json=False)  # as `wattlens report` has it
    COMMAND.configure(CommandOptions(parser))
    return COMMAND.run(parser.parse_args([str(each) for each in arguments]))


def check(*arguments):
    parser = argparse.ArgumentParser()
    parser.set_defaults(json=False, accept_old=False)
    CHECK.configure(CommandOptions(parser))
    return CHECK.run(parser.parse_args([str(each) for each in arguments]))


def test_a_workbook_is_written_once_and_over_another_only_by_force(tmp_path, capsys):
    path = tmp_path / "mine.xlsx"
    assert init("--out", path) == 0
    assert f"wattlens report check {path}" in capsys.readouterr().out
    path.write_bytes(b"what I filled in")
    with pytest.raises(UsageError, match=r"mine\.xlsx already exists; .*--out.*--force"):
        init("--out", path)
    assert path.read_bytes() == b"what I filled in"
    assert init("--out", path, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(path), "boards": 0}
    assert openpyxl.load_workbook(path).sheetnames[0] == "Start"


@pytest.mark.parametrize("name", ["org.yaml", "org"])
def test_only_a_workbook_is_written(tmp_path, name):
    with pytest.raises(UsageError, match=r"expected a name that ends in .xlsx"):
        init("--out", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot write"):
        init("--out", tmp_path / "no" / "org.xlsx")


def test_the_boards_of_an_inventory_are_put_in(tmp_path, capsys):
    (tmp_path / "inventory.csv").write_text(CSV)
    assert init("--out", tmp_path / "org.xlsx", "--from-inventory", tmp_path / "inventory.csv") == 0
    assert "with 4 GPUs" in capsys.readouterr().out
    assert check(tmp_path / "org.xlsx", "--json") == 0
    rows = {(row["site"], row["what"]): row["found"] for row in json.loads(capsys.readouterr().out)["inputs"]}
    assert rows["", "inventory"] == "2 GPUs of 3 nodes, 1 of them listed as whole nodes"
    assert rows["", "sites"] == "fra1, pnq1"


def test_the_gpus_of_a_ledger_are_put_in(tmp_path):
    """The ledger's own journal wrote two GPUs, which are at the one site of a report without inputs. The file is valid."""
    ledgers.write(tmp_path / "state")
    assert init("--out", tmp_path / "org.xlsx", "--ledger", tmp_path / "state") == 0
    rows = list(openpyxl.load_workbook(tmp_path / "org.xlsx")["Inventory"].values)[3:]
    assert [row[1:6] for row in rows] == [("demo", "gpu-node-1", gpu, "NVIDIA H100 80GB HBM3", "site") for gpu in ledgers.GPUS]
    assert [row[6] for row in rows] == [datetime(2026, 7, 1)] * 2  # noqa: DTZ001 - a date cell, as the sheet's validation asks
    assert check(tmp_path / "org.xlsx") == 0


def test_the_sites_of_compacted_days_are_put_in(tmp_path, capsys):
    """Days compacted with an inventory file: GPU-1 moved from fra1 to pnq1 on August 1; GPU-2 stayed at fra1."""
    (tmp_path / "inventory.csv").write_text(CSV)
    for node, gpu, days in (("n1", "GPU-1", ("2026-07-31", "2026-08-01", "2026-08-02")), ("n2", "GPU-2", ("2026-07-31",))):
        batches = [
            Batch(cells(at(day), gpu, "w", State.ACTIVE, ["0.25"] * 4), devices=[DeviceFacts(gpu, "H100", 0.02, at(days[0]))])
            for day in days
        ]
        chains.write(tmp_path / "segments", "prod", node, batches)
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", read_inventory(tmp_path / "inventory.csv"))
    july, august = datetime(2026, 7, 31), datetime(2026, 8, 1)  # noqa: DTZ001 - as a workbook has them
    first = ("prod", "n1", "GPU-1", "H100", "fra1", july, august)
    second = ("prod", "n1", "GPU-1", "H100", "pnq1", august, None)
    third = ("prod", "n2", "GPU-2", "H100", "fra1", july, None)
    for ledger, wanted in (
        (days, [first, second, third]),
        (days / "fra1", [(*first[:6], None), third]),
        (days / "pnq1" / "2026-08-02", [(*second[:5], july, None)]),
    ):
        assert init("--out", tmp_path / "org.xlsx", "--force", "--ledger", ledger) == 0
        assert [row[1:8] for row in openpyxl.load_workbook(tmp_path / "org.xlsx")["Inventory"].values][3:] == wanted
        assert check(tmp_path / "org.xlsx", "--json") == 0
    capsys.readouterr()


def test_contracts_of_older_years_are_counted(tmp_path, capsys):
    """The country of `here` has a yearly factor and no residual mix; the zone of `there` has neither."""
    old = {"kind": "go", "zone": "DE", "technology": "wind", "start": "2024-01-01", "end": "2024-12-31", "volume_kwh": 5}
    sites = [
        {"site": {"name": "here"}, "grid": {"zone": "DE", "country": "GBR"}, "contracts": [old | {"id": i} for i in "ab"]},
        {"site": {"name": "there"}, "grid": {"zone": "XA"}, "contracts": [old | {"id": "c"}]},
    ]
    (tmp_path / "org.yaml").write_text(json.dumps({"sites": sites}))
    assert check(tmp_path / "org.yaml") == 0
    lines = capsys.readouterr().out.splitlines()
    contracts = "  contracts            2 contracts, none in the last twelve months"
    assert f"{contracts}: the market-based total uses the grid's average only" in lines
    assert "  contracts            1 contract, none in the last twelve months: there is no market-based total" in lines


@pytest.mark.parametrize(
    ("residual", "ending"),
    [((constant("rest", RESIDUAL, 600),), "uses the residual mix only"), ((), "uses the grid's average only")],
)
def test_without_contracts_the_total_is_of_what_stands_in(residual, ending):
    site = SiteInputs("a", ZoneInfo("UTC"), location=(constant("grid", DIRECT, 400),), location_lacking="", residual=residual)
    (line,) = (each for each in list_inputs(Organisation(sites={"a": site})) if each.what == "contracts")
    assert (line.content, line.missing) == ("", f"the market-based total {ending}")


def test_assumed_bound_is_printed_as_assumed(tmp_path, capsys):
    (tmp_path / "org.yaml").write_text("sites: [{site: {name: a}, pue: {value: 1.5, source: a plate}}]")
    assert check(tmp_path / "org.yaml") == 0
    assert "  stated PUE           1.5 \u00b1 10 %, assumed (a plate)" in capsys.readouterr().out.splitlines()


def test_check_lists_available_and_missing_inputs(tmp_path, capsys):
    for path in (book(tmp_path / "org.xlsx", whole()), yaml_files(tmp_path)):
        assert check(path) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{path}: OK; ")
        for line in (
            "  organisation         Example AI · esg@example.com",
            "  least coverage       97.5 %",
            "  teams                3 rules",
            "site fra1",
            "  stated PUE           1.28 ± 5 % (the operator)",
            "  installed IT power   800 kW",
            "site pnq1",
            "  stated PUE           none: PUE comes only from meters",
        ):
            assert line in out.splitlines()
        assert "  location-based       291.0 g CO2e/kWh, Germany 2024, direct, European Environment Agency (EEA)" in out
        assert "  contract wind        covers nothing: not retired" in out.splitlines()


@pytest.mark.parametrize(
    ("grid", "parts", "why"),
    [
        ({"zone": "US-CA", "country": "USA"}, ("179.1 g CO2e/kWh, California 2023, direct, ",), "US-CA: no factor of "),
        (
            {"zone": "GB", "country": "GBR"},
            ("131.0 g CO2e/kWh, United Kingdom 2026, direct, ",),
            "GB: no factor that is direct",
        ),
        (
            {"zone": "CN-BJ", "country": "CHN", "gases": "CO2"},
            ("555.4 g CO2/kWh, Beijing 2023, direct, ",),
            "CN-BJ: no factor of ",
        ),
        ({"zone": "DE", "country": "DEU"}, ("291.0 g CO2e/kWh, Germany 2024, direct, ",), "DE: no factor that is direct"),
        (
            {"zone": "IN", "country": "IND"},
            ("none: IN: ", "there is one that is life-cycle", "grid.factors", "grid.sources"),
            "",
        ),
        ({"zone": "JP", "country": "JPN"}, ("none: JP: ", "grid.gases: CO2 uses the one of CO2 alone"), ""),
        ({"zone": "JP", "country": "JPN", "gases": "CO2"}, ("423.0 g CO2/kWh, Japan 2024, direct, ",), "JP: no factor that is"),
        ({"country": "SGP"}, ("none: SGP: ", "there is one that is direct, location, CO2 /", "grid.factors"), ""),
        ({"country": "SGP", "gases": "CO2"}, ("402.0 g CO2/kWh, Singapore 2024, direct, ",), "SGP: no factor of "),
        ({"country": "VIR"}, ("none: VIR: ", "there is one that is life-cycle"), ""),
    ],
)
def test_check_prints_the_factor_with_its_value_and_choice(tmp_path, capsys, grid, parts, why):
    """Of 394.769 lb a MWh (eGRID, California) are 179.1 g/kWh; the ministry's figure of Beijing is 0.5554 kg."""
    (tmp_path / "org.yaml").write_text(json.dumps({"sites": [{"site": {"name": "a"}, "grid": grid}]}))
    assert check(tmp_path / "org.yaml") == 0
    lines = {line[2:22].strip(): line[23:] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert all(part in lines["location-based"] for part in parts), lines["location-based"]
    assert not any(state in lines["location-based"] for state in ("Delaware", "Indiana"))
    assert lines.get("factor choice", "").startswith(why)


def test_check_warns_of_a_state_where_the_subregion_is_recommended(tmp_path, capsys):
    sites = [{"site": {"name": zone}, "grid": {"zone": zone, "country": "USA"}} for zone in ("US-TX", "US-ERCT")]
    (tmp_path / "org.yaml").write_text(json.dumps({"sites": sites}))
    assert check(tmp_path / "org.yaml") == 0
    output = capsys.readouterr()
    warnings = [line for line in (output.out + output.err).splitlines() if "grid.zone of site" in line]
    assert len(warnings) == 1
    assert "grid.zone of site US-TX: US-TX is a state: EPA recommends the eGRID subregion, such as US-ERCT" in warnings[0]


def test_a_series_of_hours_is_named_by_its_zone_and_publisher(tmp_path):
    identity = "hours.csv/DE/" + "0123456789abcdef" * 5
    source = IntensitySource(identity, Basis(EmissionBoundary.DIRECT), 1, ())
    about = About("file", "DE", Basis(EmissionBoundary.DIRECT), "Example grid", "CC0", quality=1)
    site = SiteInputs("a", ZoneInfo("UTC"), location=(source,), location_lacking="", series=((identity, about),))
    by_input = {row.what: row.content for row in list_inputs(Organisation(sites={"a": site}))}
    assert by_input["location-based"] == "hours of DE, direct, location, CO2e, Example grid"


def test_check_lists_invoices_with_energy_days_and_money(tmp_path, capsys):
    rows = [
        {"number": "R", "start": "2026-07-01", "end": "2026-09-30", "kwh": 1000, "amount": 200, "currency": "EUR"},
        {"number": "C", "start": "2026-07-01", "end": "2026-07-31", "kwh": 0, "amount": -20, "currency": "EUR"},
    ]
    document = {"sites": [{"site": {"name": "a", "time_zone": "Europe/Berlin"}, "invoices": rows}]}
    (tmp_path / "org.yaml").write_text(json.dumps(document))
    assert check(tmp_path / "org.yaml") == 0
    lines = {line[2:22].strip(): line[23:] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert lines["invoices"] == "1 invoice, 1,000 kWh, 2026-07-01 to 2026-09-30, 180 EUR"
    assert lines["tariffs"] == "none: the cost is the amounts of the invoices"


def test_check_names_each_contract_that_covers_nothing_and_why(tmp_path, capsys):
    this_year = datetime.now(UTC).year
    proof = {"registry": "R", "plant": "P", "beneficiary": "B"}
    base = proof | {"zone": "GB", "start": f"{this_year}-01-01", "end": f"{this_year}-12-31", "volume_kwh": 5}
    done = {"retired": f"{this_year}-01-01"}
    contracts = [
        base | {"id": "fine", "kind": "ppa", "technology": "wind", "retirement_id": "1", "serials": "1-1"} | done,
        base | {"id": "open", "kind": "ppa", "technology": "wind"},
        base | {"id": "bare", "kind": "ppa", "technology": "wind", "retirement_id": "6", "plant": ""} | done,
        base
        | {"id": "future", "kind": "go", "technology": "wind", "retired": "2099-01-01", "retirement_id": "2", "serials": "2-1"},
        base
        | {"id": "old", "kind": "rec", "technology": "wind", "retired": "2020-01-01", "retirement_id": "3", "serials": "3-1"},
        base | {"id": "coal", "kind": "ppa", "technology": "fossil", "retirement_id": "4", "serials": "4-1"} | done,
        base
        | {"id": "far", "kind": "go", "technology": "hydro", "retirement_id": "5", "serials": "5-1"}
        | done
        | {"zone": "NO-NO1"},
    ]
    site = {"site": {"name": "a"}, "grid": {"zone": "GB", "country": "GBR"}, "contracts": contracts}
    (tmp_path / "org.yaml").write_text(json.dumps({"sites": [site]}))
    assert check(tmp_path / "org.yaml") == 0
    reasons = [line.split(maxsplit=2)[1:] for line in capsys.readouterr().out.splitlines() if line.startswith("  contract ")]
    assert {name: reason.removeprefix("covers nothing: ").split(",")[0].split(" (")[0] for name, reason in reasons} == {
        "open": "not retired", "future": "retired on 2099-01-01", "old": "retired on 2020-01-01", "far": "another market",
        "coal": "no emission factor", "bare": "its retirement is not proven: serials",
    }  # fmt: skip


def test_check_of_what_is_wrong(tmp_path, capsys):
    sheets = whole()
    sheets["Contracts"][1][8] = "GWh"
    path = book(tmp_path / "org.xlsx", sheets)
    message = "org.xlsx: sheet Contracts, cell I2: expected a unit of volume (kWh or MWh), got 'GWh'"
    with pytest.raises(UsageError) as refused:
        check(path)
    assert (str(refused.value), refused.value.exit_code) == (message, 2)
    assert check(path, "--json") == 2
    assert json.loads(capsys.readouterr().out) == {"file": str(path), "ok": False, "error": message, "errors": [message]}


def test_the_pages_fit_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in (COMMAND, CHECK):
        parser = Parser(prog="wattlens report init")
        command.configure(CommandOptions(parser))
        assert max(map(len, parser.format_help().splitlines())) <= 80
        assert all(action.help for action in parser._actions)
