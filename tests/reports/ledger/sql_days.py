"""A small fleet's compacted days for questions in SQL, and the blocks of docs/report-sql.md."""

import re
from pathlib import Path

import pytest

from benchmarks import sample_fleet
from energy_agent.ledger import reading
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.ledger.summary import bounds
from wattlens.cli import main

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "deploy/examples/sql"
TEAMS = {"pod:chat-70b": "assistants", "pod:chat-8b": "assistants", "pod:notebook": "research", "pod:translate": "language"}
"""Label `team` of workloads; pod:eval has none."""


def make(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three days of the sample's fleet, the second of them stated twice; returns the folder that has `days` and `segments`."""
    nodes = {
        node: tuple(j._replace(labels={**j.labels, "team": TEAMS[j.name]} if j.name in TEAMS else j.labels) for j in jobs)
        for node, jobs in sample_fleet.NODES.items()
    }
    monkeypatch.setattr(sample_fleet, "NODES", nodes)
    monkeypatch.setattr(sample_fleet, "DAYS", 3)
    sample_fleet.write(folder / "segments")
    inventory = ROOT / "deploy/examples/report/inventory.csv"
    words = ["ledger", "compact", "--out", f"{folder}/days", "--inventory", str(inventory)]
    late = sorted((folder / "segments").glob("prod_gpu-a1_*"))[-1]
    late.rename(folder / late.name)
    assert main([*words, str(folder / "segments")]) == 0
    (folder / late.name).rename(late)
    assert main([*words, str(folder / "segments")]) == 0
    assert len(list((folder / "days").glob("*/*/r0001"))) == 1
    return folder


def block(kind: str) -> str:
    """The first block of a kind in the page."""
    match = re.search(rf"^```{kind}\n(.*?)^```", (ROOT / "docs/report-sql.md").read_text(), re.M | re.S)
    assert match
    return match[1]


def questions() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(EXAMPLES.glob("*.sql"))}


def by_team(segments: Path) -> dict[tuple[str, str], int]:
    """GPU energy by (UTC day, team), from the rows of the segments themselves."""
    energy_uj: dict[tuple[str, str], int] = {}
    for item in reading.read_rows(segments):
        row = item.row
        if isinstance(row, Cell) and row.workload and not row.device.startswith(("host:", "meter:")):
            number = (row.cell_start_ns - sample_fleet.FIRST_NS) // sample_fleet.DAY_NS
            day = ("2026-03-31", "2026-04-01", "2026-04-02")[number]
            key = day, TEAMS.get(row.workload, "unassigned")
            energy_uj[key] = energy_uj.get(key, 0) + row.energy_uj
    return energy_uj


def total(segments: Path) -> tuple[int, int, int]:
    """Energy of all GPUs in uJ and its bounds, by the ledger's own account of errors."""
    rows = [item.row for item in reading.read_rows(segments)]
    gpus = [r for r in rows if not getattr(r, "device", getattr(r, "uuid", "")).startswith(("host:", "meter:"))]
    interval = bounds(gpus)
    return interval.energy_uj, interval.low_uj, interval.high_uj
