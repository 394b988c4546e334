"""The same ledger gives the same bytes: another time, by other threads and less memory, with its files in another order."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest

from energy_agent.query.port import EngineOptions
from reports.figures.facts import build_facts
from reports.figures.facts_json import facts_json
from reports.figures.gather import gather
from reports.figures.measures import all_figures
from reports.ledger.days import DayStorage, find_days
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.random_fleet import SITE_OF, fleet
from tests.reports.walk import organisation
from wattlens.cli import main

SEEDS = (3, 11, 20)


def days_of(seed: int, folder: Path, *, orderly: bool = False) -> Path:
    random = Random(seed)
    fleet_data = fleet(random, folder / "segments", orderly=orderly)
    assert set(fleet_data.segments) <= set(SITE_OF)
    org = organisation(random, "Asia/Kolkata", {})
    return chains.compacted(folder / "segments", folder / "days", org.stays())


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("same")
    days_of(SEEDS[0], folder)
    return folder


@pytest.mark.parametrize("seed", [SEEDS[0], *(pytest.param(seed, marks=pytest.mark.smoke) for seed in SEEDS[1:])])
def test_threads_memory_and_the_order_of_files_change_nothing(tmp_path: Path, seed: int) -> None:
    folder = days_of(seed, tmp_path)
    org = organisation(Random(seed), "Asia/Kolkata", {})
    outputs = set()
    for threads, memory_mb, mix in ((0, 0, None), (1, 200, 1), (7, 2000, 2)):
        system = DayStorage(str(folder))
        days = find_days(system)
        if mix is not None:
            Random(mix).shuffle(days)
        evidence, used = gather(system, days, org, PeriodRequest("2026Q3"), limits=EngineOptions(threads, memory_mb))
        outputs.add(facts_json(build_facts(evidence, all_figures(evidence), used, "v")))
    assert len(outputs) == 1


@pytest.mark.smoke
def test_how_segments_lie_in_folders_changes_nothing_but_their_names(tmp_path: Path) -> None:
    days_of(SEEDS[1], tmp_path / "a")
    (tmp_path / "b" / "one").mkdir(parents=True)
    (tmp_path / "b" / "two").mkdir()
    for n, path in enumerate(sorted((tmp_path / "a" / "segments").iterdir(), reverse=True)):
        shutil.copy(path, tmp_path / "b" / ("one", "two")[n % 2] / path.name)
    org = organisation(Random(1), "UTC", {})
    again = chains.compacted(tmp_path / "b", tmp_path / "again", org.stays())
    one, two = (facts_json(chains.facts(d, org, PeriodRequest("2026Q3"))) for d in (tmp_path / "a" / "days", again))
    assert one == two


def report(ledger: Path, out: Path, *more: str) -> int:
    """Every form, of the quarter of a random fleet."""
    argv = ["report", "--ledger", str(ledger), "--out", str(out), "--quarter", "2026Q3", "--accept-coverage", "0"]
    return main([*argv, "--country", "IND", "--as-of", "2026-10-05", *more])


@pytest.mark.smoke
def test_two_builds_are_the_same_in_every_byte_of_every_file(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        assert report(ledger / "days", tmp_path / name) == 0
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["emissions.csv", "facts.json", "figures.csv", "manifest.json", "report.html", "report.pdf", "report.xlsx"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    capsys.readouterr()
    assert main(["report", "verify", str(tmp_path / "a"), "--ledger", str(ledger / "days")]) == 0
    assert "the ledger gives the same facts" in capsys.readouterr().out


@pytest.mark.smoke
def test_verify_names_what_the_ledger_does_not_give_any_more(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old statement of a restated day remains; if it is missing or changed, verification names it."""
    days = tmp_path / "days"
    shutil.copytree(ledger / "days", days)
    assert report(days, tmp_path / "o", "--formats", "csv") == 0
    facts = json.loads((tmp_path / "o" / "facts.json").read_text())
    day = facts["inputs"]["days"][0]
    home = days / day["site"] / day["day"]
    shutil.copytree(home / "r0000", home / "r0001")
    manifest = json.loads((home / "r0001" / "manifest.json").read_text()) | {"statement": 1, "reason": "late data"}
    (home / "r0001" / "manifest.json").write_text(json.dumps(manifest))
    verify = ["report", "verify", str(tmp_path / "o"), "--ledger", str(days)]
    assert main(verify) == 0
    capsys.readouterr()
    shutil.rmtree(home / "r0000")
    assert main(verify) == 1
    output = capsys.readouterr().out
    assert f"statement 0 of {day['site']} on {day['day']} is missing" in output
