"""`wattlens report verify` and `report diff` as a person and a script see them: lines, JSON, exit codes, errors."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from energy_agent.core.errors import UsageError, WattlensError
from reports.audit.manifest import Manifest
from tests.reports import ledgers
from tests.reports.audit import editions
from tests.reports.audit.editions import document, figure, figure_of
from tests.support import need_module, need_program
from wattlens.cli import build_parser, main
from wattlens.cli.report import verify as _report_verify
from wattlens.cli.report.diff import COMMAND as DIFF

PAGE = Path(__file__).parents[3] / "docs" / "report-audit.md"


def parsed(*words: object) -> argparse.Namespace:
    return build_parser(["report"]).parse_args(["report", *map(str, words)])


def verify(*words: object, rebuild: Any = None) -> int:
    return _report_verify.run(parsed("verify", *words), rebuild)


def diff(*words: object) -> int:
    assert DIFF.run is not None
    return DIFF.run(parsed("diff", *words))


class Editions(NamedTuple):
    """The folders of two editions, and what a command prints of them."""

    old: Path
    new: Path
    capsys: pytest.CaptureFixture[str]

    def printed(self) -> str:
        return self.capsys.readouterr().out

    def lines(self) -> list[str]:
        return self.printed().splitlines()

    def diff(self, *more: object) -> int:
        return diff(self.old, self.new, *more)


@pytest.fixture
def two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Editions:
    editions.write(tmp_path / "r0")
    editions.write(tmp_path / "r1", editions.late_and_revised())
    return Editions(tmp_path / "r0", tmp_path / "r1", capsys)


def test_the_page_shows_what_diff_prints(two: Editions) -> None:
    assert two.diff() == 0
    output = two.printed()
    assert f"```text\n{output}```" in PAGE.read_text()


def test_an_option_counts_before_and_after_the_name_of_the_action() -> None:
    for action, words in (("init", ()), ("check", ("o",)), ("verify", ("d",)), ("diff", ("a", "b"))):
        assert parsed("--json", action, *words).json is parsed(action, *words, "--json").json is True
        assert parsed(action, *words).json is False
    for option, value in (("--ledger", "x"), ("--org", Path("x")), ("--font-dir", [Path("x")])):
        name = option[2:].replace("-", "_")
        before, after = parsed(option, "x", "verify", "d"), parsed("verify", "d", option, "x")
        assert getattr(before, name) == getattr(after, name) == value


def test_diff_as_json(two: Editions) -> None:
    assert two.diff("--json", "--threshold", "3%") == 0
    result = json.loads(two.printed())
    (total,) = [each for each in result["changes"] if each["id"] == "co2e.location"]
    assert (total["absolute"], total["old"]["value"], total["new"]["value"]) == ("5000", "900000", "905000")
    assert (result["restates"], result["restatement_due"], result["unexplained"]) == (True, ["energy.facility"], [])
    assert result["inputs"][1:] == [
        {"kind": "factor", "name": "deu-2024", "change": "removed"},
        {"kind": "factor", "name": "deu-2025", "change": "new"},
    ]


def test_diff_of_the_same_report(two: Editions) -> None:
    assert diff(two.old, two.old / "facts.json") == 0
    output = two.printed()
    assert "All 6 figures are the same." in output
    assert "Program versions are not compared" in output
    assert "comparatives do not need to be restated" in output


def test_diff_fails_if_figures_differ_although_no_input_does(two: Editions) -> None:
    new = document()
    figure_of(new, "energy.facility/site/fra1")["value"] = "1001"
    editions.write(two.new, new)
    assert two.diff() == 1
    assert two.printed().endswith("\nFigures differ although no input does.\n")
    assert two.diff("--json") == 1
    assert json.loads(two.printed())["unexplained"] == ["energy.facility/site/fra1"]


def test_a_restatement_is_due(two: Editions) -> None:
    assert two.diff("--threshold", "0.03") == 0
    output = two.printed()
    assert "Restate the comparatives: energy.facility (+3.33 %) changed by 3% or more." in output


def test_many_long_and_odd_figures_keep_within_100_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = document(), document()
    for n in range(120):
        name = f"energy.gpu/team/{'研' * 20}{n}" if n % 2 else f"energy.gpu/workload/{'long-name-' * 12}{n}"
        old["figures"].append(figure(name, str(10**20 + n), "a unit that is long", method="m" * 200))
        new["figures"].append(figure(name, f"{10**20 + 10 * n}.123456", "a unit that is long", method="n" * 200))
    editions.write(tmp_path / "r0", old)
    editions.write(tmp_path / "r1", new, country="DEU")
    assert diff(tmp_path / "r0", tmp_path / "r1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "and 70 more figures; --all shows them" in lines
    assert diff(tmp_path / "r0", tmp_path / "r1", "--all") == 0
    assert sum(line.startswith("energy.gpu") for line in capsys.readouterr().out.splitlines()) == 120


def test_diff_of_what_is_no_report(tmp_path: Path, two: Editions) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        diff(tmp_path / "nowhere", two.old)
    (tmp_path / "x.json").write_text('{"schema": "other"}')
    with pytest.raises(WattlensError, match=r"x\.json: schema: Input should be 'wattlens\.report\.facts/2'"):
        diff(two.old, tmp_path / "x.json")


def test_verify_prints_a_line_a_check(two: Editions) -> None:
    assert verify(two.new) == 0
    lines = two.lines()
    assert lines[0] == "ok      manifest.json  edition 2 of 2026Q3, created by wattlens 1.0.0"
    assert lines[3] == "ok      report.html    37 bytes"
    assert lines[4] == "-       signature      not signed"
    assert lines[-1] == "All checks passed."
    (two.new / "report.html").write_text("x")
    assert verify(two.new) == 1
    lines = two.lines()
    assert lines[3] == "FAILED  report.html    was changed: 1 bytes, expected 37"
    assert lines[-1] == "1 of 7 checks FAILED."


def test_verify_warns_without_a_key_and_fails_without_a_required_signature(two: Editions) -> None:
    assert verify(two.new) == 0
    assert "wattlens: warning: without --key nothing shows who signed the report" in two.capsys.readouterr().err
    assert verify(two.new, "--require-signature") == 1
    assert "FAILED  signature      not signed, but a signature is required" in two.printed()


def test_verify_as_json(two: Editions) -> None:
    (two.old / "figures.csv").unlink()
    assert verify(two.old, "--json") == 1
    result = json.loads(two.printed())
    assert result["ok"] is False
    assert {"check": "figures.csv", "ok": False, "detail": "is missing"} in result["checks"]
    assert (result["inputs"], result["changes"]) == (None, [])


def test_verify_lists_inputs_before_figures(two: Editions) -> None:
    asked = []

    def rebuild(manifest: Manifest, ledger: str, org: Path | None) -> bytes:
        asked.append((ledger, org))
        return (two.new / "facts.json").read_bytes()

    assert verify(two.old, "--ledger", "s3://fleet/days", "--org", "org.yaml", rebuild=rebuild) == 1
    output = two.printed()
    assert asked == [("s3://fleet/days", Path("org.yaml"))]
    parts = [
        "FAILED  rebuilt",
        "Inputs that differ",
        "2026-07-02: statement 0 -> 1",
        "factor deu-2025: new",
        "FIGURE",
        "+5.00 %",
    ]
    assert [output.index(part) for part in parts] == sorted(output.index(part) for part in parts)


@pytest.mark.smoke
def test_a_report_is_signed_verified_made_again_and_its_successor_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A minute of a ledger: first two of its three segments, then all."""
    for module in ("codecarbon", "cryptography", "duckdb", "fsspec"):
        need_module(module)
    segments = sorted(ledgers.write(tmp_path / "state").iterdir())
    (tmp_path / "early").mkdir()
    for segment in segments[:2]:
        shutil.copy(segment, tmp_path / "early")
    key, public = tmp_path / "signing.pem", tmp_path / "signer.pem"
    openssl = need_program("openssl")
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run([openssl, "pkey", "-in", key, "-pubout", "-out", public], check=True)
    key.chmod(0o600)

    def report(ledger: str, out: str, *more: str) -> int:
        arguments = ["report", "--ledger", str(tmp_path / ledger), "--out", str(tmp_path / out), "--country", "DEU"]
        return main([*arguments, "--quarter", "2026Q3", "--formats", "csv", "--accept-coverage", "0%", *more])

    assert report("early", "r0", "--sign-key", str(key)) == 0
    checked = ["report", "verify", str(tmp_path / "r0"), "--key", str(public)]
    assert main([*checked, "--ledger", str(tmp_path / "early")]) == 0
    assert "the ledger gives the same facts" in capsys.readouterr().out

    assert report("state", "r1", "--restates", str(tmp_path / "r0"), "--reason", "corrected data") == 0
    assert main(["report", "diff", str(tmp_path / "r0"), str(tmp_path / "r1")]) == 0
    output = capsys.readouterr().out
    assert "NEW restates OLD." in output
    assert "day site 2026-07-01: different segments; different files" in output
    assert main([*checked, "--ledger", str(tmp_path / "state")]) == 1
    assert "day site 2026-07-01: different segments; different files" in capsys.readouterr().out

    (tmp_path / "state").rename(tmp_path / "elsewhere")
    assert main(["report", "verify", str(tmp_path / "r1"), "--ledger", str(tmp_path / "elsewhere")]) == 0

    facts = tmp_path / "r0" / "facts.json"
    facts.write_bytes(facts.read_bytes().replace(b'"final"', b'"other"').replace(b'"interim"', b'"final"'))
    assert main([*checked, "--ledger", str(tmp_path / "early")]) == 1
    output = capsys.readouterr().out
    assert "FAILED  facts.json" in output
    assert "Other differences: status" in output


def test_verify_of_no_folder_and_an_org_without_a_ledger(tmp_path: Path, two: Editions) -> None:
    with pytest.raises(UsageError, match="expected the folder of a report"):
        verify(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="--org: expected together with --ledger"):
        verify(two.old, "--org", "org.yaml")
    with pytest.raises(WattlensError, match="cannot be read"):
        verify(two.old, "--key", tmp_path / "nowhere.pem")


def test_nothing_of_a_hostile_report_reaches_the_terminal_as_a_command(two: Editions) -> None:
    (two.old / "\x1b[2Jx").write_text("")
    assert verify(two.old) == 1
    assert "\x1b" not in two.printed()
