"""Cells drawn from a report: the same for the same seed, found in their segments, and every alteration named."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from energy_agent.ledger.segments import segment
from reports.inputs.organisation import Organisation, SiteInputs
from reports.language import say_in
from reports.period import PeriodRequest
from reports.publish import publish
from reports.reproduce import facts_of
from reports.sampling import draw
from tests.reports import chains
from tests.reports.golden import at, cells
from wattlens.cli import main

START = at("2026-07-01")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Segments, days and a report of 2.5 kWh of two GPUs and 1 kWh of their host, in 12 cells."""
    entries = cells(START, "GPU-1", "w", State.ACTIVE, ["0.25", "0.5", "0.25", "0.5"])
    entries += cells(START, "GPU-ü", "", State.UNALLOCATED, ["0.25"] * 4) + cells(
        START, "host:lab:n1", "w", State.ACTIVE, ["0.25"] * 4
    )
    metadata = Batch(
        facts=[WorkloadFacts("w", START, "pod", {"team": "red"})],
        devices=[DeviceFacts(d, "H100", 0.01, START) for d in ("GPU-1", "GPU-ü", "host:lab:n1")],
    )
    chains.write(tmp_path / "segments", "lab", "n1", [metadata, Batch(entries)])
    organisation = Organisation(sites={"here": SiteInputs("here", ZoneInfo("UTC"))}, least_coverage=Fraction(0))
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", organisation.stays("here"))
    facts = chains.facts(days, organisation, PeriodRequest("2026Q3"))
    publish(facts, tmp_path / "report", say_in("en"), forms=("csv",), command={"quarter": "2026Q3"})
    return tmp_path


@pytest.mark.parametrize("asked", [PeriodRequest("2026Q3"), PeriodRequest()])
def test_a_period_that_begins_with_its_first_reading_has_the_whole_first_cell(tmp_path: Path, asked: PeriodRequest) -> None:
    """The first reading is 7 s after a quarter of an hour, as on a node whose agent was started then."""
    first, *rest = cells(START, "GPU-1", "", State.UNALLOCATED, ["0.5"] * 3)
    entries = [replace(first, start_ns=START + 7 * 10**9), *rest]
    chains.write(tmp_path / "segments", "lab", "n1", [Batch(entries, devices=[DeviceFacts("GPU-1", "H100", 0.01, START)])])
    organisation = Organisation(sites={"here": SiteInputs("here", ZoneInfo("UTC"))}, least_coverage=Fraction(0))
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", organisation.stays("here"))
    facts = chains.facts(days, organisation, asked)
    publish(facts, tmp_path / "report", say_in("en"), forms=("csv",), command=dict(asked.arguments))
    sample = draw(tmp_path / "report", str(tmp_path / "days"), 50, "a", tmp_path / "segments")
    assert sample.ok
    assert {f.id: (f.cells, f.summed_uj) for f in sample.figures} == {"energy.gpu/site/here": (3, 1_500_000 * 3_600_000)}


def test_a_period_without_cells_and_a_ledger_that_is_not_compacted_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "sample", str(folder / "report"), "--ledger", str(folder / "segments")]) == 2
    assert "expected the compacted days of `wattlens ledger compact`" in capsys.readouterr().err
    report_facts = facts_of((folder / "report/facts.json").read_bytes(), "facts.json")
    site = report_facts.sites["here"]
    empty = replace(report_facts, sites={"here": replace(site, start_ns=site.end_ns)})
    publish(empty, folder / "empty", say_in("en"), forms=("csv",), command={"quarter": "2026Q3"})
    with pytest.raises(WattlensError, match="no cell of a GPU or host"):
        draw(folder / "empty", str(folder / "days"), 5, "a")


def test_every_cell_is_found_in_its_segment_and_its_figure_is_their_sum(folder: Path) -> None:
    sample = draw(folder / "report", str(folder / "days"), 50, "a", folder / "segments")
    assert sample.ok
    assert (sample.population, len(sample.cells)) == (12, 12)
    assert {f.id: (f.cells, f.summed_uj, f.stated_j) for f in sample.figures} == {
        "energy.gpu/site/here": (8, 2_500_000 * 3_600_000, Fraction(9_000_000)),
        "energy.node/site/here": (12, 3_500_000 * 3_600_000, Fraction(12_600_000)),
    }
    for cell in sample.cells:
        path = folder / "segments" / cell.segment[0]
        assert cell.segment[1] == segment.sha256(segment.load(path))
        assert cell.line is not None
        row = json.loads(segment.load(path).decode().splitlines()[cell.line - 1])
        assert (row["kind"], row["device"], row["energy_uj"]) == ("cell", cell.values["device"], cell.values["energy_uj"])


def test_a_seed_draws_the_same_cells_again_and_another_seed_others(folder: Path) -> None:
    def keys(seed: str) -> list[tuple[str, int]]:
        sample = draw(folder / "report", str(folder / "days"), 4, seed)
        assert all(cell.line is None for cell in sample.cells)
        return [(cell.values["device"], cell.values["cell_start_ns"]) for cell in sample.cells]

    assert keys("a") == keys("a")
    assert len({tuple(keys(seed)) for seed in "abcdef"}) > 1


def test_a_changed_segment_day_or_report_is_named(folder: Path) -> None:
    days = str(folder / "days")
    (path,) = (folder / "segments").iterdir()
    whole = path.read_bytes()
    path.write_bytes(
        segment.compress(segment.expand(whole, "it").replace(b'"energy_uj":900000000000', b'"energy_uj":900000000001'))
    )
    sample = draw(folder / "report", days, 1, "a", folder / "segments")
    assert not sample.ok
    assert sample.cells[0].problem.endswith("its SHA-256 differs from the day's manifest")
    path.unlink()
    assert "is missing" in draw(folder / "report", days, 1, "a", folder / "segments").cells[0].problem
    facts = folder / "report" / "facts.json"
    raw = facts.read_bytes()
    facts.write_bytes(raw.replace(b'"9000000"', b'"9000001"'))
    with pytest.raises(WattlensError, match="differs from the manifest"):
        draw(folder / "report", days, 1, "a")
    facts.write_bytes(raw)
    (parquet,) = (folder / "days").glob("*/*/r0000/cell.parquet")
    parquet.write_bytes(parquet.read_bytes()[:-1] + b"x")
    with pytest.raises(ChainError, match=r"cell\.parquet: differs from its manifest"):
        draw(folder / "report", days, 1, "a")


def test_the_command_prints_segment_line_and_hash(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", "sample", str(folder / "report"), "--ledger", str(folder / "days"), "--count", "2"]
    assert main([*words, "--segments", str(folder / "segments")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 of 12 cells of GPUs and hosts, seed 0"
    assert sum("segment lab_n1_00000000.jsonl.gz, line " in line for line in lines) == 2
    assert lines[-1] == "All cells and figures agree."
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["population"], document["cells"][0]["line"]) == (True, 12, None)


def test_wrong_use(folder: Path) -> None:
    for count in (0, 1001):
        with pytest.raises(UsageError, match="--count: expected 1 to 1000"):
            draw(folder / "report", str(folder / "days"), count, "a")
    with pytest.raises(UsageError, match="no such folder"):
        draw(folder / "report", str(folder / "days"), 1, "a", folder / "nowhere")
