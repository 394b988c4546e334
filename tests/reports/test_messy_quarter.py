"""A messy quarter (`messy`): the truth is within the bounds, unknown values are reported, late data is a restatement."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from reports.figures.facts import Facts
from reports.reproduce import facts_of
from tests.reports import chains, messy
from wattlens.cli import main

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(360)]

INVENTORY = ["cluster,node,uuid,sku,site,from,to"]
ORG = """
organisation: {name: Messy}
inventory: inventory.csv
sites:
  - site: {name: east, time_zone: Asia/Kolkata}
    grid: {country: IND}
  - site: {name: west, time_zone: America/Los_Angeles}
    grid: {country: USA}
"""


@pytest.fixture(scope="module")
def quarter_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[messy.Messy, Path]:
    folder = tmp_path_factory.mktemp("messy")
    quarter = messy.write(folder)
    chains.compacted(quarter.segments, folder / "days", messy.organisation().stays())
    rows = [f"lab,{e.node},{e.uuid},H100,{e.site},," for e in messy.organisation().expected]
    (folder / "inventory.csv").write_text("\n".join([*INVENTORY, *rows, ""]))
    (folder / "org.yaml").write_text(ORG)
    return quarter, folder


@pytest.fixture(scope="module")
def again(quarter_folder: tuple[messy.Messy, Path]) -> tuple[Path, Path, Path]:
    """(the days with what came late, the report before, the report that restates it)."""
    quarter, folder = quarter_folder
    days, old, new = folder / "days", folder / "old", folder / "new"
    assert report(folder, days, old, "--formats", "csv", "--accept-coverage", "50%") == 0
    for path in quarter.late.iterdir():
        shutil.copy(path, quarter.segments / path.name)
    ledger_index = index.build([quarter.segments])
    late = [day for day in ledger_index.days if day.isoformat() >= "2026-12-29"]
    for result in compact_days(ledger_index, days, late, messy.organisation().stays()):
        for statement in result.statements:
            assert statement.number == (1 if statement.folder.parts[-3] == "east" else 0)
    assert (
        report(
            folder,
            days,
            new,
            "--formats",
            "html",
            "--accept-coverage",
            "50%",
            "--restates",
            str(old),
            "--reason",
            "corrected data",
        )
        == 0
    )
    return days, old, new


@pytest.fixture(scope="module")
def facts(again: tuple[Path, Path, Path]) -> Facts:
    """Of the report before."""
    return facts_of((again[1] / "facts.json").read_bytes(), "facts.json")


def report(folder: Path, days: Path, out: Path, *more: str) -> int:
    argv = ["report", "--ledger", str(days), "--out", str(out), "--quarter", "2026Q4"]
    return main([*argv, "--org", str(folder / "org.yaml"), "--as-of", "2027-01-05", *more])


def span(facts: Facts, identity: str) -> tuple[Fraction, Fraction, Fraction]:
    figure = facts.figures[identity]
    assert figure.value is not None, figure.reason
    assert figure.low is not None
    assert figure.high is not None
    return Fraction(figure.low), Fraction(figure.value), Fraction(figure.high)


def test_quarters_are_those_of_each_sites_clock(facts: Facts) -> None:
    """India: 92 days. California's clocks go back on 1 November, so its quarter has an hour more."""
    east, west = facts.sites["east"], facts.sites["west"]
    assert (east.start, east.end) == ("2026-10-01T00:00:00+05:30", "2027-01-01T00:00:00+05:30")
    assert (west.start, west.end) == ("2026-10-01T00:00:00-07:00", "2027-01-01T00:00:00-08:00")
    assert int(east.end_ns) - int(east.start_ns) == 92 * chains.DAY
    assert int(west.end_ns) - int(west.start_ns) == 92 * chains.DAY + chains.HOUR
    assert facts.status == "final"


def test_the_truth_is_within_what_is_stated(quarter_folder: tuple[messy.Messy, Path], again: tuple[Path, Path, Path]) -> None:
    """With all data there, of each site and of both; and the bounds say something: less than a tenth around the value."""
    whole = facts_of((again[2] / "facts.json").read_bytes(), "facts.json")
    total = Fraction(0)
    for site in ("east", "west"):
        truth = quarter_folder[0].truth(site) / 1_000_000
        total += truth
        low, value, high = span(whole, f"energy.gpu/site/{site}")
        assert low <= truth <= high
        assert high - low < value / 10
    low, value, high = span(whole, "energy.gpu")
    assert low <= total <= high
    assert abs(value - total) < total / 20
    assert whole.conservation.holds


def test_unmetered_energy_is_in_no_value_and_in_the_upper_bound(facts: Facts) -> None:
    """n2 was down for a day: two boards of at most 700 W for 24 h are 120.96 MJ that no sum has."""
    down = facts.figures["gap/east/gpu/down"]
    assert (down.value, down.low, down.high) == (None, 0, 2 * 700 * 86_400)
    assert down.dims["seconds"] == str(2 * 86_400)
    assert facts.figures["gap/east/gpu/counter reset"].value is None
    unseen = sum(Fraction(f.high or 0) for f in facts.by_prefix("gap/") if f.dims["class"] == "gpu")
    assert unseen == Fraction(facts.figures["uncertainty/unseen"].value or 0)


def test_coverage_is_a_figure_and_dead_devices_are_named(quarter_folder: tuple[messy.Messy, Path], facts: Facts) -> None:
    """Metered device time, by the schedule of what happened, of six boards for all of their site's quarter."""
    expected = 4 * 92 * chains.DAY + 2 * (92 * chains.DAY + chains.HOUR)
    metered = sum(quarter_folder[0].metered_ns(site, without_late=True) for site in ("east", "west"))
    share = Fraction(facts.figures["coverage"].value or 0)
    assert 0 <= Fraction(metered, expected) - share < Fraction(1, 10**9)
    missed = {f.dims["device"]: f for f in facts.by_prefix("missed/")}
    assert missed["GPU-n3-1"].value == 92 * 86_400 + 3600
    assert Fraction(missed["GPU-n1-1"].value or 0) > 48 * 86_400  # dead since 12 November


def test_a_silent_meter_is_imputed_and_the_truth_is_within(quarter_folder: tuple[messy.Messy, Path], facts: Facts) -> None:
    """PUE of west over its quarter, of which its IT meter has no readings for four days."""
    start, end = messy.quarter("west")
    main_uj, racks_uj = (messy.true_meter(quarter_folder[0].boards, meter, start, end) for meter in (messy.MAIN, messy.RACKS))
    low, value, high = span(facts, "pue/site/west")
    assert low <= main_uj / racks_uj <= high
    assert Fraction(facts.figures["pue/site/west"].dims["imputed_j"]) > 0
    coverage = facts.figures["pue/site/west"].coverage
    assert coverage is not None
    assert abs(Fraction(coverage) - (1 - Fraction(4 * 24, 92 * 24 + 1))) < Fraction(1, 10**8)
    low, value, high = span(facts, "energy.facility/site/west")
    assert low <= main_uj / 1_000_000 <= high
    assert value != main_uj / 1_000_000


def test_late_data_is_a_restatement_that_lists_changes(
    quarter_folder: tuple[messy.Messy, Path], again: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """n2's last days came late: its site's energy grows by what they hold, by nothing else; the other site stays as it was."""
    days, old, new = again
    capsys.readouterr()
    before, after = (json.loads((folder / "facts.json").read_text()) for folder in (old, new))
    assert (after["edition"], before["edition"]) == (2, 1)
    figures = [{f["id"]: f for f in facts["figures"]} for facts in (before, after)]
    assert figures[0]["energy.gpu/site/west"] == figures[1]["energy.gpu/site/west"]
    grown = Fraction(figures[1]["energy.gpu"]["value"]) - Fraction(figures[0]["energy.gpu"]["value"])
    late = [b for b in quarter_folder[0].boards if b.node == "n2"]
    truth = sum((b.draws(messy.LATE, messy.quarter("east")[1]) for b in late), Fraction(0)) / 1_000_000
    assert abs(grown - truth) < truth / 20
    restated = [d["day"] for d in after["inputs"]["days"] if d["site"] == "east" and d["statement"] == 1]
    assert restated == ["2026-12-29", "2026-12-30", "2026-12-31"]
    assert main(["report", "diff", str(old), str(new)]) == 0
    output = capsys.readouterr().out
    assert "energy.gpu" in output
    for day in restated:
        assert day in output
    assert main(["report", "verify", str(old), "--ledger", str(days), "--org", str(quarter_folder[1] / "org.yaml")]) == 0
