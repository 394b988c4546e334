"""CodeCarbon's files as estimates: what counts, what is refused, and the figures of a report with them."""

import csv
import json
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.core.errors import UsageError
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from tests.reports import chains
from tests.reports.golden import at, cells
from wattlens.cli import main
from wattlens.report.inputs.codecarbon import estimates_csv, read_estimates, read_runs

START = at("2026-07-01")
UTC = ZoneInfo("UTC")
ROW = {
    "timestamp": "2026-07-01T02:00:00", "project_name": "red", "run_id": "r1", "experiment_id": "e", "duration": "3600",
    "emissions": "0.2", "energy_consumed": "0.5", "country_iso_code": "DEU", "region": "hesse", "cloud_provider": "",
    "cloud_region": "", "os": "Linux", "codecarbon_version": "3.3.2", "tracking_mode": "machine", "on_cloud": "N",
}  # fmt: skip


def write(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ROW)
        writer.writeheader()
        writer.writerows(ROW | row for row in rows)
    return path


def test_runs_and_their_places(tmp_path: Path) -> None:
    """A flushed run has growing totals; a time without a zone is the machine's own."""
    path = write(
        tmp_path / "emissions.csv",
        {"energy_consumed": "0.25", "duration": "1800", "timestamp": "2026-07-01T01:30:00"},
        {},
        {"run_id": "c", "on_cloud": "Y", "cloud_provider": "aws", "cloud_region": "eu-west-1", "tracking_mode": "process",
         "emissions": ""},
    )  # fmt: skip
    runs = {run.id: run for run in read_runs([path], ZoneInfo("Europe/Berlin"), "laptop")}
    assert {r.id: (r.place, r.kind, r.energy_uj, r.grams) for r in runs.values()} == {
        "r1": ("DEU", "host", chains.KWH // 2, Decimal(200)), "c": ("aws/eu-west-1", "cloud", chains.KWH // 2, None),
    }  # fmt: skip
    assert (runs["r1"].start_ns, runs["r1"].end_ns, runs["r1"].row) == (at("2026-06-30T23:00"), START, 3)
    assert read_estimates(estimates_csv(runs.values()).encode(), "estimates.csv") == tuple(runs.values())


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"energy_consumed": "nan"}], "row 2: energy_consumed: expected a number from 0, got nan"),
        ([{"duration": "long"}], "row 2: duration: expected a number, got 'long'"),
        ([{"timestamp": "1.7.2026"}], "row 2: timestamp: expected a time such as"),
        ([{}, {"run_id": "r2", "timestamp": "2026-07-01T02:30:00"}], "row 3: overlaps .*row 2: both measured the same whole"),
        (
            [{}, *({"run_id": f"r{n}", "timestamp": f"2026-07-01T01:{n}0:00", "duration": "600"} for n in (3, 5))],
            "row 3: overlaps .*row 2(.|\n)*row 4: overlaps .*row 2",
        ),
        ([{"run_id": ""}], "row 2: run_id: expected the ID of the run"),
        ([{"project_name": "x" * 200_000}], r"emissions\.csv: field larger than field limit"),
        ([{"experiment_id": "fra1", "region": "fra1"}], "was written by `wattlens report`"),
    ],
)
def test_what_is_wrong_or_counts_twice_is_refused(tmp_path: Path, rows: list[dict[str, str]], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        read_runs([write(tmp_path / "emissions.csv", *rows)], UTC)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"not an emissions\.csv of CodeCarbon: column timestamp is missing"):
        read_runs([tmp_path / "x.csv"], UTC)
    with pytest.raises(UsageError, match="create it with `wattlens report import codecarbon`"):
        read_estimates(b"a,b\n", "x.csv")


def test_a_report_has_estimates_of_their_own_and_refuses_a_metered_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 kWh metered on n1; 0.5 kWh of a laptop, half of it before the period; 0.5 kWh of a cloud job."""
    entries = cells(START, "GPU-1", "w", State.ACTIVE, ["0.5"] * 4)
    metadata = Batch(facts=[WorkloadFacts("w", START, "pod", {})], devices=[DeviceFacts("GPU-1", "H100", 0.01, START)])
    chains.write(tmp_path / "segments", "lab", "n1", [metadata, Batch(entries)])
    path = write(
        tmp_path / "emissions.csv",
        {"timestamp": "2026-07-01T00:30:00"},
        {"run_id": "c", "on_cloud": "Y", "cloud_provider": "aws", "cloud_region": "eu-west-1", "tracking_mode": "process"},
    )
    out = tmp_path / "estimates.csv"
    assert main(["report", "import", "codecarbon", str(path), "--out", str(out), "--host", "laptop"]) == 0
    assert "host   DEU" in capsys.readouterr().out
    (tmp_path / "org.yaml").write_text("{least_coverage_percent: 0, estimates: estimates.csv, sites: [{site: {name: lab}}]}")
    words = ["report", "--ledger", str(tmp_path / "segments"), "--org", str(tmp_path / "org.yaml"), "--formats", "html",
             "--from", "2026-07-01T00:00", "--to", "2026-07-01T03:00"]  # fmt: skip
    assert main([*words, "--out", str(tmp_path / "report")]) == 0
    facts = json.loads((tmp_path / "report" / "facts.json").read_text())
    value = {f["id"]: f["value"] and Fraction(f["value"]) for f in facts["figures"]}
    assert value["estimate.energy/kind/host"] == 900_000
    assert value["estimate.energy/place/aws/eu-west-1"] == 1_800_000
    assert value["estimate.energy"] == 2_700_000
    assert value["estimate.co2e.lifecycle/kind/host"] == 100
    assert value["energy.with_estimates"] == value["energy.inventory"] + 2_700_000 == 9_900_000
    page = " ".join(re.sub("<[^>]*>", " ", (tmp_path / "report" / "report.html").read_text()).split())
    assert "Places: estimated energy and life-cycle CO2e Places Runs Energy, Wh" in page
    assert "aws/eu-west-1 1 500" in page
    assert "total 2 750" in page
    assert "and of the estimates together: 2.750 kWh." in page
    assert [f["name"] for f in facts["inputs"]["files"] if f["name"] != "org.yaml"] == ["estimates.csv"]
    assert main(["report", "import", "codecarbon", str(path), "--out", str(out), "--host", "n1", "--force"]) == 0
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "report-2")]) == 2
    assert "its host n1 is metered by the ledger" in capsys.readouterr().err


def test_import_alone_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "codecarbon", "emissions.csv"]) == 2
    assert "unknown command 'import'; see wattlens report import (CodeCarbon)" in capsys.readouterr().err
