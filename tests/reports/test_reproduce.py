"""A report that is rebuilt from its original days, whatever data the ledger received since."""

import json
from pathlib import Path

import pytest

from energy_agent.core.energy import State
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from energy_agent.ledger.fleet.sites import DeviceLocation, Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.chains import CELL, DAY
from tests.reports.golden import at, cells
from wattlens.cli import main

APRIL, JULY = at("2026-04-01"), at("2026-07-01")
FOREVER = (1 << 63) - 1


def hours(gpu: str, *starts: int) -> list[Batch]:
    metadata = Batch(devices=[DeviceFacts(gpu, "H100", 0.02, APRIL)])
    return [metadata, *(Batch(cells(start, gpu, "w", State.ACTIVE, ["0.49"] * 4)) for start in starts)]


def compact(folder: Path, sites: Sites, *days: str) -> Path:
    """The days that are named, of all segments."""
    ledger_index = index.build([folder / "segments"])
    for _ in compact_days(ledger_index, folder / "days", [d for d in ledger_index.days if d.isoformat() in days], sites):
        pass
    return folder / "days"


def report(days: Path, out: Path, *more: str) -> int:
    argv = ["report", "--ledger", str(days), "--out", str(out), "--formats", "csv", "--accept-coverage", "0"]
    return main([*argv, "--quarter", "2026Q3", *more])


def verified(days: Path, out: Path, *more: str) -> bool:
    return main(["report", "verify", str(out), "--ledger", str(days), *more]) == 0


@pytest.mark.smoke
def test_days_that_came_later_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An interim report; then the days after it, and an imported quarter before it, are compacted as well."""
    chains.write(tmp_path / "segments", "lab", "n1", hours("GPU-1", APRIL, JULY, JULY + DAY, JULY + 2 * DAY))
    days = compact(tmp_path, Sites({}, "here"), "2026-07-01", "2026-07-02")
    assert report(days, tmp_path / "o", "--country", "IND") == 0
    assert json.loads((tmp_path / "o" / "facts.json").read_text())["status"] == "interim"
    assert verified(days, tmp_path / "o")
    compact(tmp_path, Sites({}, "here"), "2026-04-01", "2026-07-03")
    assert verified(days, tmp_path / "o"), capsys.readouterr().out
    figures = {f.id: f for f in chains.facts(days, chains.Organisation(), PeriodRequest("2026Q3")).figures.values()}
    assert figures["energy.gpu"].text == str(3 * 4 * 1_764_000)  # a new one has them


def test_that_the_quarter_was_over_is_seen_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """West's quarter ends at 07:00Z; only a day of the east, whose quarter ended before it, shows that it is over."""
    chains.write(tmp_path / "segments", "lab", "e", hours("GPU-e", JULY + DAY, at("2026-10-01T20:00")))
    chains.write(tmp_path / "segments", "lab", "w", hours("GPU-w", JULY + DAY))
    stays = {("lab", node, ""): (DeviceLocation(site, 0, FOREVER),) for node, site in (("e", "east"), ("w", "west"))}
    days = compact(tmp_path, Sites(stays), "2026-07-02", "2026-10-01")
    org = tmp_path / "org.yaml"
    org.write_text(
        "sites:\n  - site: {name: east, time_zone: Asia/Kolkata}\n  - site: {name: west, time_zone: America/Los_Angeles}\n"
    )
    assert report(days, tmp_path / "o", "--org", str(org)) == 0
    facts = json.loads((tmp_path / "o" / "facts.json").read_text())
    assert facts["status"] == "final"
    assert [(d["site"], d["day"]) for d in facts["inputs"]["days"]] == [
        ("east", "2026-07-02"), ("east", "2026-10-01"), ("west", "2026-07-02"),
    ]  # fmt: skip
    assert verified(days, tmp_path / "o", "--org", str(org)), capsys.readouterr().out


@pytest.mark.parametrize("more", [(), ("--country", "IND")])
def test_a_site_that_is_long_gone_is_not_in_later_reports(tmp_path: Path, more: tuple[str, ...]) -> None:
    chains.write(tmp_path / "segments", "lab", "old", hours("GPU-old", APRIL - 200 * DAY, APRIL - 200 * DAY + CELL * 4))
    chains.write(tmp_path / "segments", "lab", "n1", hours("GPU-1", JULY))
    stays = {("lab", node, ""): (DeviceLocation(site, 0, FOREVER),) for node, site in (("old", "gone"), ("n1", "here"))}
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites(stays))
    assert report(days, tmp_path / "o", *more) == 0
    facts = json.loads((tmp_path / "o" / "facts.json").read_text())
    assert list(facts["sites"]) == ["here"]
    figures = {f["id"]: f for f in facts["figures"]}
    emissions = figures.get("co2e.lifecycle.location", {"value": None})["value"]  # of India there is no direct factor
    assert (emissions is not None) == bool(more)
    assert figures["co2e.location"]["value"] is None
    assert "gone" not in str(figures["energy.node"]["reason"])
