"""`wattlens report` from its command line: files and figures, and one clear line for what is wrong, with nothing written."""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet
import pytest

from energy_agent.core.energy import State, Tokens, WorkloadFacts
from energy_agent.core.extras import install_hint
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.period import PeriodRequest, from_instants
from tests.reports import chains, ledgers
from tests.reports.chains import DAY, HOUR
from tests.reports.golden import at, cells
from tests.support import free_port
from wattlens.cli import main

pytestmark = pytest.mark.timeout(360)

START = at("2026-07-01")
QUARTER = ("--quarter", "2026Q3", "--accept-coverage", "0%")
Harm = Callable[[Path], None]


def segments(folder: Path) -> Path:
    """Six hours of one GPU on two days: 0.49 kWh in each of 24 cells, 11.76 kWh; 1,000,000 tokens. One segment an hour."""
    metadata = Batch(
        devices=[DeviceFacts("GPU-1", "H100", 0.02, START)], facts=[WorkloadFacts("w", START, "pod", {"team": "red"})]
    )
    hours = []
    for start in (START + day * DAY + hour * HOUR for day in range(2) for hour in range(3)):
        tokens = [Tokens(start, start + HOUR, "w", "llama", "generation", 1_000_000)] if not hours else []
        hours.append(Batch(cells(start, "GPU-1", "w", State.ACTIVE, ["0.49"] * 4), tokens=tokens))
    chains.write(folder / "segments", "lab", "n1", [metadata, *hours])
    return folder / "segments"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ledger")
    chains.compacted(segments(folder), folder / "days", Sites({}, "here"))
    return folder


@dataclass
class Desk:
    """Runs `wattlens report` on the days of a ledger into a folder, and reads what it writes and prints."""

    ledger: Path
    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def days(self) -> Path:
        return self.ledger / "days"

    @property
    def out(self) -> Path:
        return self.folder / "o"

    def report(self, *more: str, ledger: Path | None = None, out: Path | None = None) -> int:
        """Exit code of a run, of which alone the output can then be read."""
        self.capsys.readouterr()
        return report(ledger or self.days, out or self.out, *more)

    def verify(self, *more: str, out: Path | None = None) -> int:
        self.capsys.readouterr()
        return main(["report", "verify", str(out or self.out), *more])

    def verify_with_days(self, *more: str, out: Path | None = None) -> int:
        return self.verify("--ledger", str(self.days), *more, out=out)

    def failed(self) -> list[list[str]]:
        """The words of the failed checks of `verify`."""
        return [line.split() for line in self.capsys.readouterr().out.splitlines() if line.startswith("FAILED")]

    def refused(self) -> str:
        """Return the single error line; check that nothing else was printed."""
        output = self.capsys.readouterr()
        assert (output.out, output.err.count("\n"), "Traceback" in output.err) == ("", 1, False), output.err
        return output.err

    def refused_unwritten(self) -> str:
        """Return the single error line; check that no file was written."""
        assert not self.out.exists() or not any(self.out.iterdir())
        return self.refused()

    def facts(self, out: Path | None = None) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(((out or self.out) / "facts.json").read_text())
        return facts

    def figures(self, out: Path | None = None) -> dict[str, dict[str, Any]]:
        return {figure["id"]: figure for figure in self.facts(out)["figures"]}


@pytest.fixture
def desk(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(ledger, tmp_path, capsys)


@pytest.fixture
def place(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """With a copy of the ledger to do harm to."""
    shutil.copytree(ledger, tmp_path / "ledger")
    return Desk(tmp_path / "ledger", tmp_path, capsys)


def report(ledger: Path, out: Path, *more: str) -> int:
    return main(["report", "--ledger", str(ledger), "--out", str(out), "--formats", "csv", *more])


def test_every_form_and_the_headline(desk: Desk) -> None:
    """11.76 kWh, all of it allocated; 11.76 kWh x 3.6e6 J / 1e6 tokens = 42.336 J per token."""
    out = desk.folder / "a" / "report"
    argv = ["report", "--ledger", str(desk.days), "--out", str(out), "--country", "deu", *QUARTER]
    assert main(argv) == 0
    output = desk.capsys.readouterr().out
    assert "11.8 kWh" in output
    assert "11.8 Wh" in output
    names = ["emissions.csv", "facts.json", "figures.csv", "manifest.json", "report.html", "report.pdf", "report.xlsx"]
    assert sorted(p.name for p in out.iterdir()) == names
    for name in names:
        assert (out / name).stat().st_mode & 0o777 == 0o644
    figures = desk.figures(out)
    assert figures["energy.gpu"]["value"] == "42336000"
    assert figures["j_per_token.gpu/model/llama"]["value"] == "42.336"
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")


def test_json_lists_status_headline_and_files(desk: Desk) -> None:
    assert desk.report(*QUARTER, "--json") == 0
    document = json.loads(desk.capsys.readouterr().out)
    assert document["status"] == "interim"
    assert any(line["value"] == "42336000" for line in document["headline"].values())
    assert Path(document["files"]["facts"]).is_file()


@pytest.mark.smoke
def test_compacted_days_segments_and_a_state_folder_give_the_same_sums(ledger: Path, tmp_path: Path) -> None:
    ledgers.write(tmp_path / "state")
    chains.compacted(tmp_path / "state" / "segments", tmp_path / "days", Sites({}, "site"))
    contents = []
    for number, ledger in enumerate((tmp_path / "state", tmp_path / "state" / "segments", tmp_path / "days")):
        assert report(ledger, tmp_path / str(number), *QUARTER) == 0
        contents.append((tmp_path / str(number) / "facts.json").read_bytes())
    assert contents[0] == contents[1] == contents[2]
    # 60 x 600.000003 + 25 x 300 + 25 x 90 + 10 x 70.000001 J
    assert b'"46450.00019"' in contents[0]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x40
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def twice(path: Path) -> None:
    (path.parent / "copy").mkdir()
    shutil.copy(path, path.parent / "copy" / path.name)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (flip, "is corrupted"),
        (truncate, "is corrupted"),
        (Path.unlink, "segment 2 is missing; copy it"),
        (twice, "duplicate of segment"),
        (lambda path: shutil.copy(path, path.with_name(path.name.replace("2.jsonl", "9.jsonl"))), "contains segment 2"),
        (lambda path: shutil.copy(path.with_name(path.name.replace("2.jsonl", "1.jsonl")), path), "contains segment 1"),
    ],
)  # fmt: skip
def test_a_broken_chain_names_the_segment(place: Desk, harm: Harm, says: str) -> None:
    harm(sorted((place.ledger / "segments").iterdir())[2])
    assert place.report(*QUARTER, ledger=place.ledger / "segments") == 1
    message = place.refused_unwritten()
    assert says in message
    assert "lab_n1_0000000" in message


@pytest.mark.parametrize("name", ["holder_day", "span_day", "workload_cell", "tokens", "workload", "device"])
@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
def test_a_changed_file_of_a_day_is_named(place: Desk, name: str, harm: Harm) -> None:
    path = place.days / "here" / "2026-07-01" / "r0000" / f"{name}.parquet"
    harm(path)
    assert place.report(*QUARTER) == 1
    assert f"2026-07-01/r0000/{name}.parquet" in place.refused_unwritten()


def test_rows_of_a_day_that_the_period_cuts_are_checked_too(place: Desk) -> None:
    flip(place.days / "here" / "2026-07-01" / "r0000" / "span.parquet")
    cut = ("--from", "2026-07-01T00:15Z", "--to", "2026-07-03", "--accept-coverage", "0%")
    assert place.report(*cut) == 1
    assert "span.parquet" in place.refused_unwritten()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"site": "there"}, "it belongs to another day"),
        ({"statement": 3}, "it belongs to another day"),
        ({"day_sums": None}, "by a version without day sums"),
        ({"files": {}}, "holder_day.parquet is missing"),
        ({"files": {"../../x": "0" * 64}}, "contains a slash"),
        ({"files": []}, "is corrupted"),
        ({"inputs_sha256": "no"}, "a hash is not valid"),
        ({"energy_uj": "many"}, "is corrupted"),
    ],
)
def test_an_edited_manifest_is_refused(place: Desk, change: dict[str, object], says: str) -> None:
    path = place.days / "here" / "2026-07-01" / "r0000" / "manifest.json"
    manifest = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in manifest.items() if value is not None}))
    assert place.report(*QUARTER) == 1
    message = place.refused_unwritten()
    assert says in message
    assert "2026-07-01/r0000/manifest.json" in message


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "{}"])
def test_a_manifest_that_is_none_is_refused(place: Desk, text: str) -> None:
    (place.days / "here" / "2026-07-01" / "r0000" / "manifest.json").write_text(text)
    assert place.report(*QUARTER) == 1
    assert "manifest.json: " in place.refused_unwritten()


def rewritten(folder: Path, name: str, change: Callable[[pyarrow.Table], pyarrow.Table]) -> None:
    """Change a file and its manifest: hashes alone cannot show this."""
    table = change(pyarrow.parquet.read_table(folder / name))
    pyarrow.parquet.write_table(table, folder / name)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def column(table: pyarrow.Table, name: str, values: object) -> pyarrow.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("holder_day", lambda t: column(t, "energy_uj", pyarrow.compute.add(t["energy_uj"], 1)), "does not add up"),
        ("workload_cell", lambda t: column(t, "active_uj", pyarrow.compute.add(t["active_uj"], 1)), "does not add up"),
        ("holder_day", lambda t: t.drop(["energy_uj"]), "not written by `wattlens ledger compact`"),
        ("holder_day", lambda t: column(t, "energy_uj", pyarrow.array(["x"] * t.num_rows)), "not written by"),
        ("workload", lambda t: column(t, "labels", pyarrow.array(["{"] * t.num_rows)), "its labels are not in the form"),
        ("workload", lambda t: column(t, "labels", pyarrow.array(["[1]"] * t.num_rows)), "its labels are not in the form"),
        ("device", lambda t: column(t, "gain_ppm", pyarrow.array([2_000_000] * t.num_rows)), "is not from 0 to 1"),
    ],
)  # fmt: skip
def test_files_that_say_something_else_than_they_can_are_refused(
    place: Desk, name: str, change: Callable[..., pyarrow.Table], says: str
) -> None:
    rewritten(place.days / "here" / "2026-07-01" / "r0000", f"{name}.parquet", change)
    assert place.report(*QUARTER) == 1
    assert says in place.refused_unwritten()


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ("--country GER", 2, "DEU (Germany)"),
        ("--quarter 2020Q1", 1, "no energy in the period; the ledger covers 2026-07-01T00:00:00Z to 2026-07-03T00:00:00Z"),
        ("--quarter 2099Q4", 1, "no energy in the period"),
        ("--quarter Q1", 2, "2026Q3"),
        ("--quarter 2026Q5", 2, "2026Q3"),
        ("--quarter 2026Q3 --from 2026-07-01", 2, "--quarter: cannot be combined"),
        ("--from 2026-07-01T00:01", 2, "2026-07-01T00:15:00Z"),
        ("--from 2026-07-02 --to 2026-07-01", 2, "is not after"),
        ("--from 0001-01-01", 2, "--from: expected an instant from 1970 to 2199"),
        ("--from 2026-07-01 --to 9999-12-31", 2, "--to: expected an instant from 1970 to 2199"),
        ("--as-of 1969-12-31", 2, "--as-of: expected an instant from 1970 to 2199"),

        ("--month 2026-13", 2, "--month 2026-13: expected a year and a month such as 2026-07"),
        ("--month 2026-07 --year 2026", 2, "--month: cannot be combined with --year"),
        ("--month 2026-07 --from 2026-07-01", 2, "--month: cannot be combined with --from or --to"),
        ("--fiscal-year 2026", 2, "--fiscal-year: requires fiscal_year_start in --org (sheet Organisation), or --fi"),
        ("--period FY2026Q2", 2, "--period: requires fiscal_year_start in --org (sheet Organisation), or --first-month"),
        ("--period FY26Q2", 2, "'FY26Q2': expected a period such as 2026-07, 2026Q3, 2026, FY2026 or FY2026Q2"),
        ("--period 2026Q3 --month 2026-07", 2, "--month: cannot be combined with --period"),
        ("--period 2026Q3 --to 2026-07-02", 2, "--period: cannot be combined with --from or --to"),
        ("--fiscal-quarter 2026 --first-month 4", 2, "--fiscal-quarter 2026: expected a fiscal year and a quarter"),
        ("--year 2026 --first-month 4", 2, "--first-month: requires --fiscal-year, --fiscal-quarter or a --period"),
        ("--ledger /nowhere", 2, "/nowhere"),
        ("--ledger nonsense://x", 2, "nonsense"),
        ("--out /dev/null/x", 2, "--out /dev/null/x"),
        ("--formats html,doc", 2, "--formats: expected one or more of html"),
        ("--language la", 2, "--language la"),
        ("--accept-coverage lots", 2, "--accept-coverage: "),
        ("--accept-coverage 90", 2, "--accept-coverage: "),
        ("--as-of someday", 2, "got someday"),
        ("--org /nowhere.yaml", 2, "/nowhere.yaml"),
        ("--restates /nowhere --reason 'corrected data'", 2, "/nowhere"),
        ("--sign-key /nowhere.pem", 2, "/nowhere.pem"),
    ],
)  # fmt: skip
def test_wrong_arguments(desk: Desk, more: str, code: int, says: str) -> None:
    named = {"--quarter", "--from", "--month", "--year", "--fiscal-year", "--fiscal-quarter", "--period"}
    needed = () if named & set(more.split()) else QUARTER
    assert desk.report(*needed, *shlex.split(more)) == code
    assert says in desk.refused_unwritten()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("organisation: {nam: x}\n", "unknown key 'organisation.nam'; did you mean 'name'?"),
        ("sites: [\n", "is not valid YAML at line 2"),
        ("inventory: nowhere.csv\n", "nowhere.csv"),
        ("sites: [{file: nowhere.yaml}]\n", "nowhere.yaml"),
        ("sites: [{site: {name: here, time_zone: Mars/Olympus}}]\n", "Mars/Olympus"),
    ],
)
def test_a_wrong_file_of_inputs(desk: Desk, text: str, says: str) -> None:
    (desk.folder / "org.yaml").write_text(text)
    assert desk.report(*QUARTER, "--org", str(desk.folder / "org.yaml")) == 2
    assert says in desk.refused_unwritten()


def test_an_empty_folder_is_no_ledger(desk: Desk) -> None:
    (desk.folder / "empty").mkdir()
    assert desk.report(*QUARTER, ledger=desk.folder / "empty") == 1
    assert "no segments in this ledger" in desk.refused_unwritten()


def test_a_report_of_another_period_is_not_restated(desk: Desk) -> None:
    assert desk.report(*QUARTER, out=desk.folder / "old") == 0
    more = ("--restates", str(desk.folder / "old"), "--reason", "corrected data")
    assert desk.report("--quarter", "2026Q4", "--accept-coverage", "0%", *more) in (1, 2)
    desk.refused_unwritten()


def whole(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.smoke
def test_an_edition_that_is_restated_is_never_written_over(desk: Desk) -> None:
    """The edition itself by any name, one that it restates in its turn, and a copy of either; before the ledger is opened."""

    def restate(old: str, new: str, ledger: Path = desk.days) -> int:
        more = ("--restates", str(desk.folder / old), "--reason", "corrected data")
        return desk.report(*QUARTER, *more, ledger=ledger, out=desk.folder / new)

    assert desk.report(*QUARTER, out=desk.folder / "old") == restate("old", "new") == 0
    shutil.copytree(desk.folder / "old", desk.folder / "copy")
    (desk.folder / "link").symlink_to("old")
    before = whole(desk.folder)
    for restated, out in ("old", "old"), ("old", "link"), ("old", "old/in/it"), ("new", "new"), ("new", "copy"):
        assert restate(restated, out, desk.folder / "no-ledger") == 2
        assert "the report of a closed period is never changed; choose another folder" in desk.refused(), out
        assert whole(desk.folder) == before, out
    for _ in range(2):
        assert restate("new", "third") == 0


@pytest.mark.parametrize(
    "team",
    [
        "\u00c9quipe\u00a0IA",
        "\u7814\u7a76\u3000\u6240",
        "\u062a\u06cc\u0645\u200c\u0647\u0627",
        "soft\u00adhyphen",
        "\u200fright to left",
    ],
)
def test_a_report_verifies_whatever_letters_its_names_have(tmp_path: Path, team: str) -> None:
    """A no-break space, an ideographic space, a joiner: names that a word processor or another script writes."""
    metadata = Batch(facts=[WorkloadFacts("w", START, "pod", {"team": team, "model": team})])
    chains.write(tmp_path / "s", "lab", "n1", [metadata, Batch(cells(START, "GPU-1", "w", State.ACTIVE, ["0.49"] * 4))])
    (tmp_path / "org.yaml").write_text(f"organisation: {{name: {team}, contact: {team}}}\nsites: [{{site: {{name: site}}}}]\n")
    assert report(tmp_path / "s", tmp_path / "o", *QUARTER, "--org", str(tmp_path / "org.yaml")) == 0
    assert f"energy.held/team/{team}" in {f["id"] for f in json.loads((tmp_path / "o/facts.json").read_text())["figures"]}
    assert main(["report", "verify", str(tmp_path / "o")]) == 0


def test_no_name_that_a_node_writes_keeps_the_fleet_from_its_audit(tmp_path: Path) -> None:
    """Control characters in the labels of one node's workloads are replaced; two names that are alike then are one.

    0.49 kWh in each of 4 cells for either workload: 1.96 kWh, and 3.92 kWh = 14,112,000 J of both.
    """
    hostile, long = "red\x1b[2J\n\u202e", "x" * 60_000
    facts = [WorkloadFacts(f"w{end}", START, "pod\t", {"team": f"red{end}", "project": long}) for end in "\n\r"]
    facts.append(WorkloadFacts("v\x00", START, "pod", {"team": hostile, "precision": "\u2066fp8"}))
    tokens = [Tokens(START, START + HOUR, "v\x00", "llama\n", "generation", 1000)]
    rows = [
        row
        for n, end in enumerate("\n\r\x00")
        for row in cells(START, f"GPU-{n}", f"{'v' if n == 2 else 'w'}{end}", State.ACTIVE, ["0.49"] * 4)
    ]
    devices = [DeviceFacts(f"GPU-{n}", "H100\n", 0.02, START) for n in range(3)]
    chains.write(tmp_path / "s", "lab", "n1", [Batch(rows, facts=facts, devices=devices, tokens=tokens)])
    chains.compacted(tmp_path / "s", tmp_path / "days", Sites({}, "site"))
    assert report(tmp_path / "days", tmp_path / "o", *QUARTER) == 0
    figures = {f["id"]: f for f in json.loads((tmp_path / "o/facts.json").read_text())["figures"]}
    assert figures["energy.held/team/red?"]["value"] == "14112000"
    assert figures["energy.held/team/red?[2J??"]["value"] == "7056000"
    assert main(["report", "verify", str(tmp_path / "o"), "--ledger", str(tmp_path / "days")]) == 0


DAYS = ("--from", "2026-07-01", "--to", "2026-07-03", "--accept-coverage", "0%")


def test_a_final_report_is_replaced_only_by_the_same_facts(desk: Desk) -> None:
    """Other figures go to another folder; more forms of the same facts are the same report, fewer are not."""
    out = desk.out
    assert desk.report(*DAYS) == 0
    before = whole(out)
    for other in ((*DAYS, "--country", "DEU"), QUARTER):
        assert desk.report(*other) == 2
        message = desk.refused()
        assert f"--out {out}: contains a final report with other figures (edition 1); choose another folder" in message
        assert f"restate it with --restates {out} --reason TEXT" in message
        assert whole(out) == before
    assert desk.report(*DAYS, "--formats", "html") == 2
    assert "with figures.csv, which this run would remove; add the format to --formats" in desk.capsys.readouterr().err
    assert whole(out) == before
    assert desk.report(*DAYS, "--formats", "html,csv") == 0
    assert whole(out)["facts.json"] == before["facts.json"]
    (out / "facts.json").write_bytes(before["facts.json"] + b" ")
    assert desk.report(*DAYS, "--country", "DEU") == 1
    assert "its hash differs from the one in the manifest" in desk.capsys.readouterr().err


def test_an_ascii_terminal_shows_the_headline(desk: Desk) -> None:
    argv = [sys.executable, "-m", "wattlens", "report", "--ledger", str(desk.days), "--out", str(desk.out), *DAYS]
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    run = subprocess.run([*argv, "--formats", "csv"], env=ascii_only, capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (0, b"")
    assert b"bounds: ?2.1 %" in run.stdout


def test_an_interim_report_is_replaced(desk: Desk) -> None:
    """A quarter that the ledger does not end: its next report takes the folder, whatever changed."""
    for more in ((), ("--country", "DEU")):
        assert desk.report(*QUARTER, *more) == 0
    assert desk.facts()["status"] == "interim"


def test_of_two_runs_at_once_one_report_is_kept(desk: Desk) -> None:
    """Both may begin before either has a report; the one that comes second finds a final report, or the folder in use."""
    argv = [sys.executable, "-m", "wattlens", "report", "--ledger", str(desk.days), "--out", str(desk.out), *DAYS]
    runs = [
        subprocess.Popen([*argv, "--formats", "csv", "--country", country], stderr=subprocess.PIPE, text=True)
        for country in ("DEU", "FRA")
    ]
    ends = [(run.communicate()[1], run.returncode) for run in runs]
    assert sorted(code == 0 for _, code in ends) == [False, True]
    refusal = next(message for message, code in ends if code)
    assert "another run is writing a report there" in refusal or "contains a final report" in refusal
    assert desk.verify() == 0


@pytest.mark.parametrize("spelled", ["{}", "file://{}"])
@pytest.mark.parametrize(
    ("source", "out", "says"),
    [
        ("days", "days", "is the folder of the ledger"),
        ("days", "days/../days/", "is the folder of the ledger"),
        ("days", "days/report", "lies in the ledger's compacted days"),
        ("days", "days/here/2026-07-01", "lies in the ledger's compacted days"),
        ("days", ".", "contains the ledger's compacted days"),
        ("segments", "segments", "is the folder of the ledger"),
    ],
)  # fmt: skip
def test_a_report_is_not_put_among_what_it_is_made_of(place: Desk, spelled: str, source: str, out: str, says: str) -> None:
    before = whole(place.ledger)
    asked = ("--ledger", spelled.format(place.ledger / source), *QUARTER)
    assert place.report(*asked, out=place.ledger / out) == 2
    assert says in place.refused()
    assert whole(place.ledger) == before


def test_a_report_beside_its_days_is_made(place: Desk) -> None:
    assert place.report(*QUARTER, out=place.ledger / "days-report") == 0


@pytest.mark.smoke
def test_two_periods_are_no_two_editions(desk: Desk) -> None:
    """Two quarters, a quarter and a time, and two times that have no instant in common; times that overlap are compared."""
    first = ("--from", "2026-07-01", "--to", "2026-07-02", "--accept-coverage", "0%")
    second = ("--from", "2026-07-02", "--to", "2026-07-03", "--accept-coverage", "0%")
    both = ("--from", "2026-07-01", "--to", "2026-07-03", "--accept-coverage", "0%")
    for name, asked in (("q", QUARTER), ("a", first), ("b", second), ("ab", both)):
        assert desk.report(*asked, out=desk.folder / name) == 0
    desk.capsys.readouterr()
    facts = (desk.folder / "q" / "facts.json").read_text()
    (desk.folder / "q2.json").write_text(facts.replace('"2026Q3"', '"2026Q2"'))
    for old, new, says in (
        ("q2.json", "q", "q2.json of 2026Q2 and"),
        ("q", "a", "of 2026-07-01T00:00:00Z to 2026-07-02T00:00:00Z"),
        ("a", "b", "of 2026-07-02T00:00:00Z to 2026-07-03T00:00:00Z"),
    ):
        for more in ((), ("--json",)):
            assert main(["report", "diff", str(desk.folder / old), str(desk.folder / new), *more]) == 2
            assert says in desk.refused()
    assert main(["report", "diff", str(desk.folder / "a"), str(desk.folder / "ab")]) == 0


def test_verify_makes_the_forms_again(desk: Desk) -> None:
    """11.76 kWh are 42336000 J; somebody writes fewer into the table, and its new hash into the manifest."""
    out = desk.out
    assert desk.report(*QUARTER) == 0
    assert desk.verify() == 0
    assert "recreated from facts.json, identical: figures.csv" in desk.capsys.readouterr().out
    table, manifest = out / "figures.csv", out / "manifest.json"
    was = hashlib.sha256(table.read_bytes()).hexdigest()
    table.write_text(table.read_text().replace("42336000", "22336000"))
    manifest.write_text(manifest.read_text().replace(was, hashlib.sha256(table.read_bytes()).hexdigest()))
    for more in ([], ["--ledger", str(desk.days)]):
        assert desk.verify(*more) == 1
        failed = [line for line in desk.capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
        assert [line.split()[1] for line in failed] == ["forms"]
        assert "figures.csv differs from what facts.json gives: line " in failed[0]


def test_a_country_without_a_direct_factor_has_codecarbons_by_another_name_or_none(desk: Desk) -> None:
    """As `--help` and docs/report.md say: of the life cycle from the command; a site takes no other basis than it names."""
    (desk.folder / "org.yaml").write_text("sites: [{site: {name: here, time_zone: UTC}, grid: {country: JPN}}]\n")
    assert desk.report(*QUARTER, "--country", "JPN", out=desk.folder / "a") == 0
    assert desk.report(*QUARTER, "--org", str(desk.folder / "org.yaml"), out=desk.folder / "b") == 0
    documents = [desk.facts(desk.folder / n) for n in ("a", "b")]
    used = [[f["id"] for f in facts["factors"]] for facts in documents]
    assert [len(ids) for ids in used] == [1, 0]
    assert "codecarbon" in used[0][0]
    figures = [desk.figures(desk.folder / n) for n in ("a", "b")]
    assert figures[0]["co2e.lifecycle.location"]["value"] is not None
    assert [of["co2e.location"]["value"] for of in figures] == [None, None]
    assert "grid.factors" in figures[1]["co2e.location"]["reason"]
    assert figures[1]["energy.gpu"]["value"] == figures[0]["energy.gpu"]["value"]


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("asked", "label", "first", "end"),
    [
        (("--month", "2026-07"), "2026-07", "2026-07-01", "2026-08-01"),
        (("--year", "2026"), "2026", "2026-01-01", "2027-01-01"),
        (("--fiscal-year", "2027", "--first-month", "7"), "FY2027", "2026-07-01", "2027-07-01"),
        (("--fiscal-quarter", "FY2027Q1", "--first-month", "7"), "FY2027Q1", "2026-07-01", "2026-10-01"),
        (("--period", "2026Q3"), "2026Q3", "2026-07-01", "2026-10-01"),
    ],
)
def test_a_report_of_a_month_or_a_year_verifies(desk: Desk, asked: tuple[str, ...], label: str, first: str, end: str) -> None:
    """All of the ledger's energy, 11.76 kWh, is in each; those that have not ended in the ledger are interim."""
    accept = ("--accept-coverage", "0%")
    assert desk.report(*asked, *accept, out=desk.folder / "{period}") == 0
    facts = desk.facts(desk.folder / label)
    assert (facts["label"], facts["status"]) == (label, "interim")
    energy = next(f["value"] for f in facts["figures"] if f["id"] == "energy.gpu")
    assert energy == "42336000"
    assert PeriodRequest.from_arguments(json.loads((desk.folder / label / "manifest.json").read_text())["command"]).period(
        UTC
    ) == from_instants(first, end)
    assert desk.verify_with_days(out=desk.folder / label) == 0


def test_a_fiscal_quarter_begins_as_the_organisation_states_and_is_compared_with_the_one_before(desk: Desk) -> None:
    """The fiscal year 2027 begins in April 2026: its second quarter is July to September, its first April to June."""
    months = [f"{{number: R{n}, start: 2026-{n:02}-01, end: 2026-{n:02}-30, kwh: {n}}}" for n in (4, 6, 9)]
    months += [f"{{number: R{n}, start: 2026-{n:02}-01, end: 2026-{n:02}-31, kwh: {n}}}" for n in (5, 7, 8)]
    org = desk.folder / "org.yaml"
    org.write_text(
        f"organisation: {{fiscal_year_start: 4}}\nsites: [{{site: {{name: colo}}, invoices: [{', '.join(months)}]}}]\n"
    )
    words = ["report", "--org", str(org), "--formats", "html"]
    assert main([*words, "--period", "FY2027Q2", "--out", str(desk.folder / "{period}")]) == 0
    out = desk.folder / "FY2027Q2"
    facts = json.loads((out / "facts.json").read_text())
    values = {figure["id"]: figure["value"] for figure in facts["figures"]}
    assert facts["label"] == "FY2027Q2"
    assert values["energy.facility"] == str(24 * 3_600_000)
    assert values["total.period/FY2027Q1/energy.facility"] == str(15 * 3_600_000)
    command = json.loads((out / "manifest.json").read_text())["command"]
    assert (command["fiscal_quarter"], command["first_month"]) == ("2027Q2", "4")
    assert "FY2027Q1" in (out / "report.html").read_text()
    assert main(["report", "verify", str(out), "--org", str(org)]) == 0
    desk.capsys.readouterr()
    assert main([*words, "--period", "FY2027Q2", "--first-month", "7", "--out", str(desk.out)]) == 2
    assert f"--first-month 7: {org} states fiscal_year_start 4" in desk.refused_unwritten()


@pytest.mark.smoke
def test_too_little_coverage_creates_no_report_until_it_is_accepted(desk: Desk) -> None:
    """6 of 27 hours, from the quarter's start to the last reading, were metered: 22.2 %; the minimum is 95 %."""
    asked = ("--quarter", "2026Q3")
    assert desk.report(*asked) == 1
    message = desk.refused_unwritten()
    assert "coverage is 22.2 %, expected at least 95.0 %" in message
    assert "--accept-coverage SHARE" in message
    assert desk.report(*asked, "--accept-coverage", "22.3%") == 1
    desk.refused_unwritten()
    assert desk.report(*asked, "--accept-coverage", "22.2%", "--formats", "html") == 0
    page = (desk.out / "report.html").read_text()
    head = page[page.index("<body") : page.index("<section")]  # the banners of page one
    assert "Coverage is 22.2 %, below the required 95.0 %;" in head


def newcomer(folder: Path) -> Path:
    """Days of one GPU whose first reading is on 15 August at 10:30, in every cell until noon of the 16th."""
    first = at("2026-08-15T10:30")
    batches = [
        Batch(cells(first, "GPU-1", "w", State.ACTIVE, ["0.1"] * 102), devices=[DeviceFacts("GPU-1", "H100", 0.02, first)])
    ]
    chains.write(folder / "segments", "lab", "n1", batches)
    return chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))


@pytest.mark.smoke
@pytest.mark.parametrize("asked", [("--quarter", "2026Q3"), ("--year", "2026")])
def test_a_first_period_begins_with_the_first_reading_and_is_marked(desk: Desk, asked: tuple[str, str]) -> None:
    days = newcomer(desk.folder)
    assert desk.report(*asked, "--formats", "html", ledger=days) == 0
    output = desk.capsys.readouterr().out
    assert "First period: nothing earlier was measured or invoiced at here (2026-08-15 10:30)" in output
    assert "Interim: the ledger or the invoices do not reach the end of the period" in output
    facts = desk.facts()
    site = facts["sites"]["here"]
    assert (site["start"], site["end"], site["first"]) == ("2026-08-15T10:30:00Z", "2026-08-16T12:00:00Z", True)
    assert "First period: " in (desk.out / "report.html").read_text()
    assert desk.verify("--ledger", str(days)) == 0


def test_a_device_that_should_have_been_measured_earlier_makes_no_first_period(desk: Desk) -> None:
    """The inventory has it from 1 August on: 14.5 of 15.5 days without a reading are missing, not before the start."""
    days = newcomer(desk.folder)
    (desk.folder / "inventory.csv").write_text("cluster,node,uuid,sku,site,from,to\nlab,n1,GPU-1,H100,here,2026-08-01,\n")
    (desk.folder / "org.yaml").write_text("inventory: inventory.csv\nsites: [{site: {name: here}}]\n")
    asked = ("--quarter", "2026Q3", "--org", str(desk.folder / "org.yaml"))
    assert desk.report(*asked, ledger=days) == 1
    message = desk.refused_unwritten()
    assert "the ledger's first reading in the period is of 2026-08-15, from which --from 2026-08-15 reports" in message
    (desk.folder / "inventory.csv").write_text("cluster,node,uuid,sku,site,from,to\nlab,n1,GPU-1,H100,here,2026-08-15,\n")
    assert desk.report(*asked, ledger=days) == 0


def test_an_earlier_day_that_is_not_in_the_report_is_kept_for_its_verification(desk: Desk) -> None:
    """A reading of 2024 shows that August is not the first time: the quarter is whole, and verify sees that too."""
    first = at("2024-02-01")
    early = Batch(cells(first, "GPU-1", "w", State.ACTIVE, ["0.1"] * 4), devices=[DeviceFacts("GPU-1", "H100", 0.02, first)])
    late = Batch(cells(at("2026-08-15"), "GPU-1", "w", State.ACTIVE, ["0.1"] * 4))
    chains.write(desk.folder / "segments", "lab", "n1", [early, late])
    days = chains.compacted(desk.folder / "segments", desk.folder / "days", Sites({}, "here"))
    assert desk.report(*QUARTER, ledger=days) == 0
    facts = desk.facts()
    assert facts["sites"]["here"]["start"] == "2026-07-01T00:00:00Z"
    assert {day["day"] for day in facts["inputs"]["days"]} == {"2024-02-01", "2026-08-15"}
    assert desk.verify("--ledger", str(days)) == 0


def test_init_and_a_report_without_an_output_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three commands in an empty folder: the workbook of a ledger is valid, and the report goes into `report-2026Q3`."""
    days = newcomer(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["report", "init", "--ledger", str(days)]) == 0
    assert main(["report", "check", "org.xlsx"]) == 0
    asked = ["report", "--ledger", str(days), "--org", "org.xlsx", "--formats", "csv"]
    assert main([*asked, "--quarter", "2026Q3"]) == 0
    assert "report-2026Q3/facts.json" in capsys.readouterr().out
    assert main([*asked, "--from", "2026-08-15T10:30", "--to", "2026-10-01"]) == 0
    assert json.loads(Path("report/facts.json").read_text())["status"] == "interim"


@pytest.mark.smoke
def test_a_colocation_customer_reports_from_invoices_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three invoices of 41.25 + 43.1 + 40.4 = 124.75 MWh, no ledger: every form, verified, marked on page one."""
    rows = [f"{{number: R{m}, start: 2026-{m:02d}-01, end: 2026-{m:02d}-{last}, kwh: {kwh}}}"
            for m, last, kwh in ((7, 31, 41250), (8, 31, 43100), (9, 30, 40400))]  # fmt: skip
    grid = "grid: {zone: DE, country: DEU}"
    (tmp_path / "org.yaml").write_text(f"sites: [{{site: {{name: colo}}, {grid}, invoices: [{', '.join(rows)}]}}]\n")
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--org", "org.yaml", "--quarter", "2026Q3", "--out", "o"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("From invoices: the building energy of colo is what the supplier invoiced")
    assert "Facility energy:         125 MWh  (0 % is an estimate; bounds: \u00b12 %)" in output
    assert main(["report", "verify", "o", "--org", "org.yaml"]) == 0
    assert "the invoices give the same facts" in capsys.readouterr().out
    assert main(["report", "--org", "org.yaml", "--quarter", "2027Q3", "--out", "p"]) == 1
    assert "no site of the inputs (--org) has invoices of the period" in capsys.readouterr().err
    assert main(["report", "--quarter", "2026Q3"]) == 2
    assert "missing --ledger (or --org with invoices)" in capsys.readouterr().err


def test_a_report_that_fails_leaves_the_one_before_as_it_was(place: Desk) -> None:
    assert place.report(*QUARTER) == 0
    before = {p.name: p.read_bytes() for p in place.out.iterdir()}
    flip(place.days / "here" / "2026-07-02" / "r0000" / "holder_day.parquet")
    assert place.report(*QUARTER) == 1
    assert place.report(*QUARTER, "--sign-key", str(place.folder / "none.pem")) != 0
    assert {p.name: p.read_bytes() for p in place.out.iterdir()} == before


def test_threads_and_memory_change_no_byte_of_a_report(desk: Desk) -> None:
    folders = {}
    for threads, memory in (("1", "200mb"), ("2", "1GB"), ("16", "4GB")):
        out = desk.folder / threads
        limits = ("--threads", threads, "--memory", memory)
        assert desk.report(*QUARTER, "--as-of", "2026-10-05", *limits, out=out) == 0
        assert desk.verify_with_days(*limits, out=out) == 0
        folders[threads] = {path.name: path.read_bytes() for path in out.iterdir()}
    assert folders["1"] == folders["2"] == folders["16"]


def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_is_made(desk: Desk) -> None:
    """The command fails before it opens the ledger, which does not exist."""
    (desk.out / "facts.json").mkdir(parents=True)
    assert report(desk.folder / "nowhere", desk.out, *QUARTER) == 2
    assert "facts.json is not a file" in desk.capsys.readouterr().err
    assert [p.name for p in (desk.out).iterdir()] == ["facts.json"]


def test_a_report_after_one_that_was_cut_off_holds_and_nothing_else_of_the_folder_is_touched(desk: Desk) -> None:
    out = desk.out
    (out / ".report-abcd1234").mkdir(parents=True)
    (out / "report.pdf").write_text("of somebody")
    assert desk.report(*QUARTER) == 0
    assert sorted(p.name for p in out.iterdir()) == ["facts.json", "figures.csv", "manifest.json", "report.pdf"]
    assert (out / "report.pdf").read_text() == "of somebody"
    (out / "report.pdf").unlink()
    (out / ".report-7-abcd1234").mkdir()  # of one that was cut off since
    assert desk.verify() == 0
    assert "FAILED" not in desk.capsys.readouterr().out


def test_a_second_run_into_the_folder_is_refused_and_the_report_in_it_stays(desk: Desk) -> None:
    out = desk.out
    assert desk.report(*QUARTER) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    handle = os.open(out, os.O_RDONLY)  # as the run that came first holds it
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert desk.report(*QUARTER, "--country", "DEU") == 1
    os.close(handle)
    message = desk.refused()
    assert "another run is writing a report there" in message
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


@pytest.mark.smoke
def test_a_file_of_a_day_that_no_figure_is_made_of_is_checked_by_verify(place: Desk) -> None:
    assert place.report(*QUARTER) == 0
    assert place.verify_with_days() == 0
    flip(place.days / "here" / "2026-07-01" / "r0000" / "cell.parquet")
    assert place.verify_with_days() == 1
    assert place.failed() == [["FAILED", "ledger", "here/2026-07-01/r0000/cell.parquet:", "was", "changed"]]


@pytest.mark.smoke
def test_verify_names_the_hours_of_the_grid_that_say_otherwise(desk: Desk) -> None:
    """One value of a CSV file of hours: the file is an input that differs, and so is the series that it is."""
    org, hours = desk.folder / "org.yaml", desk.folder / "hours.csv"
    sources = "[csv_file: {path: hours.csv, publisher: us, licence: ours}]"
    org.write_text(f"sites: [{{site: {{name: here}}, grid: {{zone: XA, sources: {sources}}}}}]\n")
    rows = [f"2026-07-0{day}T{hour:02}:00:00Z,XA,400,direct" for day in (1, 2) for hour in range(24)]
    hours.write_text("\n".join(["ts_utc,zone,g_per_kwh,kind", *rows, ""]))
    assert desk.report(*QUARTER, "--org", str(org)) == 0
    assert desk.verify_with_days("--org", str(org)) == 0
    hours.write_text(hours.read_text().replace("01T01:00:00Z,XA,400", "01T01:00:00Z,XA,401"))
    assert desk.verify_with_days("--org", str(org)) == 1
    lines = desk.capsys.readouterr().out.splitlines()
    differences = lines[lines.index("Inputs that differ (report -> reproduced):") + 1 :]
    differences = [line.strip() for line in differences[: differences.index("")]]
    assert "file hours.csv: different content" in differences
    series = [line for line in differences if line.startswith("factor series.csv_file.")]
    assert [line.rpartition(": ")[2] for line in series] in (["removed", "new"], ["new", "removed"])


def test_a_prometheus_that_does_not_answer_is_the_reason_of_its_figure(desk: Desk) -> None:
    """Prometheus is only a check: the report can be created and rebuilt without it, and contains no address."""
    address = f"http://127.0.0.1:{free_port()}"
    assert desk.report(*QUARTER, "--prometheus", address) == 0
    stderr = desk.capsys.readouterr().err
    assert (stderr.startswith("--prometheus: "), stderr.count("\n")) == (True, 1)
    assert desk.figures()["crosscheck.prometheus"]["reason"] == "the response is not from a Prometheus server"
    assert "127.0.0.1" not in (desk.out / "facts.json").read_text()
    assert desk.verify_with_days() == 0
    assert desk.report(*QUARTER, "--prometheus", "127.0.0.1:1", out=desk.folder / "p") == 2


def test_the_real_command(desk: Desk) -> None:
    """A process of its own: its exit code, its one line, and no trace of Python."""
    argv = [sys.executable, "-m", "wattlens", "report", "--ledger", str(desk.days), "--out", str(desk.out)]
    done = subprocess.run([*argv, "--quarter", "2020Q1"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert not desk.out.exists()


def test_invoices_alone_have_earlier_periods_and_a_base_year(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """100 MWh in the base year, 110 MWh a quarter ago, 125 MWh now; the quarter between has no invoice."""
    rows = ", ".join(
        f"{{number: R{year}{month}, start: {year}-{month:02d}-01, end: {year}-{month + 2:02d}-30, kwh: {kwh}, "
        "basis: estimated}"
        for year, month, kwh in ((2025, 7, 100_000), (2026, 4, 110_000), (2026, 7, 125_000))
    )
    path = tmp_path / "org.yaml"
    path.write_text(f"{{organisation: {{base_year: 2025}}, sites: [{{site: {{name: colo}}, invoices: [{rows}]}}]}}\n")
    asked = ["report", "--org", str(path), "--quarter", "2026Q3", "--earlier", "2", "--formats", "html"]
    assert main([*asked, "--out", str(tmp_path / "o")]) == 0
    assert "125 MWh  (100 % is an estimate; bounds: " in capsys.readouterr().out
    facts = json.loads((tmp_path / "o" / "facts.json").read_text())
    value = {f["id"]: f["value"] and Fraction(f["value"]) / 3_600_000_000 for f in facts["figures"] if f["unit"] == "J"}
    assert value["total.period/2025Q3/energy.facility"] == 100
    assert value["total.period/2026Q2/energy.facility"] == 110
    assert value["total.period/2026Q1"] is None
    assert value["total.before/energy.facility"] == 110
    assert {each["state"] for each in facts["datapoints"]} == {"estimated_partly", "partly", "missing", "not_applicable"}
    stated = [(each["kind"], each["name"]) for each in facts["stated_inputs"]]
    assert stated == [("invoice", "R20257"), ("invoice", "R20264"), ("invoice", "R20267")]
    assert main(["report", "verify", str(tmp_path / "o"), "--org", str(path)]) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("as_of_ns", "17y4"),
        ("as_of_ns", str(10**30)),
        ("earlier", "99999"),
        ("prometheus", "{"),
        ("prometheus", "[]"),
        ("codecarbon", 5),
    ],
)
def test_a_manifest_with_an_option_that_is_none_cannot_be_rebuilt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: object
) -> None:
    org = tmp_path / "org.yaml"
    org.write_text("{sites: [{site: {name: colo}, invoices: [{number: R1, start: 2026-07-01, end: 2026-09-30, kwh: 9}]}]}\n")
    out = tmp_path / "o"
    assert main(["report", "--org", str(org), "--quarter", "2026Q3", "--formats", "csv", "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["command"][name] = value
    (out / "manifest.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert main(["report", "verify", str(out), "--org", str(org)]) in (1, 2)


def test_without_its_libraries_the_report_names_one_extra_that_has_them_all(desk: Desk) -> None:
    bare = "import sys; sys.modules.update(dict.fromkeys(('duckdb', 'pyarrow', 'fsspec'))); from wattlens.cli import main; "
    command = ["report", "--ledger", str(desk.ledger), "--quarter", "2026Q1", "--out", str(desk.folder / "out")]
    done = subprocess.run(
        [sys.executable, "-c", f"{bare}sys.exit(main({command!r}))"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert install_hint("reports") in done.stderr
