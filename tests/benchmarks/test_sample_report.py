"""The sample report of the docs is what the code makes of the example's inputs; the long way is a smoke."""

import hashlib
import json
import re
import subprocess
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import duckdb
import pytest

from benchmarks import sample_fleet, sample_proof, sample_report
from energy_agent.core.proof import Analysis, PairedBlocks
from energy_agent.ledger.rows.kinds import CELL_NS, Cell, GapRow
from energy_agent.ledger.segments import segment
from tests.support import need_program
from wattlens.cli import main

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "docs/sample-report"
HOW = "create it again: python -m benchmarks sample_report --out docs/sample-report"

AUDIT = (ROOT / "docs/report-audit.md").read_text().partition("## Recompute the sample report")[2].partition("\n## ")[0]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.smoke
def test_it_is_small_whole_and_marked_as_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(path.name for path in SAMPLE.iterdir())
    assert names == ["facts.json", "manifest.json", "report.html", "report.pdf"]
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 3_000_000
    facts = json.loads((SAMPLE / "facts.json").read_text())
    assert (facts["simulated"], facts["status"], facts["label"]) == (True, "final", "2026Q3")
    assert "SIMULATED" in (SAMPLE / "report.html").read_text()
    assert main(["report", "verify", str(SAMPLE)]) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_its_inputs_are_those_of_the_example() -> None:
    manifest = json.loads((SAMPLE / "manifest.json").read_text())
    files = {row["name"]: row["sha256"] for row in manifest["inputs"]["files"]}
    for name in ("org.yaml", "inventory.csv", "fra1.yaml", "solar-park.csv", "factors/example_in.csv"):
        assert files[name] == sha256(sample_report.INPUTS / name), f"{name} has changed; {HOW}"


def test_the_example_is_right_and_its_hours_are_the_generators(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "check", str(sample_report.INPUTS / "org.yaml")]) == 0
    output = capsys.readouterr().out
    assert "14 GPUs of 4 nodes" in output
    assert "fra1, pnq1, par1" in output
    assert (sample_report.INPUTS / "solar-park.csv").read_text() == sample_report.solar_csv()


def test_what_a_node_books_is_what_was_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell of the segments against the generator's own numbers; a rebooted node leaves gaps and no energy."""
    monkeypatch.setattr(sample_fleet, "DAYS", 2)
    monkeypatch.setattr(sample_fleet, "_OUTAGE", (1, 16, 26))
    (tmp_path / "segments").mkdir()
    drawn = sample_fleet.write_node(tmp_path / "segments", "gpu-a2")
    rows = [row for path in segment.list_files(tmp_path / "segments") for row in segment.read(path).rows]
    booked = [0] * (2 * 96)
    for row in rows:
        if isinstance(row, Cell):
            booked[(row.cell_start_ns - sample_fleet.FIRST_NS) // CELL_NS] += row.energy_uj
    assert booked == drawn
    assert drawn[96 + 16 : 96 + 26] == [0] * 10
    assert min(drawn[:96]) > 600 * 900 * 10**6  # four idle boards and their host
    gaps = [row for row in rows if isinstance(row, GapRow)]
    assert sum(gap.bound_uj for gap in gaps) == 10 * (4 * 700 + 900) * 900 * 10**6


@pytest.mark.smoke
@pytest.mark.timeout(600)
def test_it_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    sample_report.prepare(tmp_path / "work")
    sample_report.make(tmp_path / "work", tmp_path / "out")
    assert (tmp_path / "out/facts.json").read_bytes() == (SAMPLE / "facts.json").read_bytes(), HOW
    facts = {row["id"]: row["value"] for row in json.loads((SAMPLE / "facts.json").read_text())["figures"]}
    (query,) = re.findall(r"^```sql\n(.*?)^```", AUDIT, re.M | re.S)
    ((energy_uj,),) = duckdb.sql(query.replace("practice/days", str(tmp_path / "work/days"))).fetchall()
    assert Decimal(energy_uj) / 10**6 == Decimal(facts["energy.gpu/site/pnq1"])
    assert f"-- {energy_uj}\n" in query
    drawn_by = json.loads((SAMPLE / "manifest.json").read_text())["libraries"]
    if drawn_by == {name: version(name) for name in drawn_by}:
        for name in ("report.html", "report.pdf"):
            assert sha256(tmp_path / "out" / name) == sha256(SAMPLE / name), f"{name}: {HOW}"


def test_an_auditor_can_recompute_a_figure_from_the_facts() -> None:
    need_program("jq")
    command = next(block for block in re.findall(r"^```sh\n(.*?)^```", AUDIT, re.M | re.S) if block.startswith("jq"))
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = re.findall(r"([\d.]+) \w+, reported ([\d.]+)", done.stdout)
    assert len(lines) == 2
    for recomputed, reported in lines:
        assert float(recomputed) == pytest.approx(float(reported), rel=1e-8)


@pytest.mark.smoke
@pytest.mark.parametrize("node", sorted(sample_fleet.STEERED))
def test_what_steering_saved_is_what_the_plant_draws_less(node: str) -> None:
    """The truth is of the plant's own numbers: power less in ppm, at a lower rate of steps, while tokens come as they did."""
    steered = sample_fleet.STEERED[node]
    rows = list(sample_proof.rows(steered, sample_fleet.FIRST_NS, sample_fleet.DAYS))
    analyses = [row for row in rows if isinstance(row, Analysis)]
    last = analyses[-1]
    rate = 1 if steered.wait_us else 1 - steered.slower_ppm / 1e6
    ratio = (1 - steered.less_ppm / 1e6) / rate  # energy per work with the setting, of that without
    assert last.low_uj <= last.covered_uj * (1 / ratio - 1) <= last.high_uj
    assert last.slowdown_low_ppm <= steered.slower_ppm / (1 if steered.wait_us else rate) <= last.slowdown_high_ppm
    assert sum(row.claimed_uj for row in analyses) == last.low_uj > 0
    assert last.covered_uj == sum(row.enforced_uj for row in rows if isinstance(row, PairedBlocks))
