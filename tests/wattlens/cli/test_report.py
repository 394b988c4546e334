"""`wattlens report` from its command line: files, figures, and one clear line for each error."""

import json
from pathlib import Path

import pytest

from tests.reports import ledgers
from wattlens.cli import main


@pytest.fixture
def state(tmp_path: Path) -> Path:
    ledgers.write(tmp_path / "state")
    return tmp_path / "state"


def test_files_and_headline(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a" / "report"
    assert main(["report", "--ledger", str(state), "--out", str(out), "--country", "deu"]) == 0
    said = capsys.readouterr().out
    assert "12.9 Wh" in said
    assert "0.279 J" in said
    for name in ("index.html", "facts.json", "emissions.csv"):
        assert str(out / name) in said
        assert (out / name).stat().st_mode & 0o777 == 0o644
    assert sorted(p.name for p in out.iterdir()) == ["emissions.csv", "facts.json", "index.html"]


def test_json(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--ledger", str(state), "--out", str(tmp_path / "o"), "--json", "--quarter", "2026Q3"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["headline"]["GPU energy"]["value"] == "46450.00019"
    assert document["headline"]["CO2e, location-based"]["value"] is None
    assert Path(document["files"]["facts"]).is_file()


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--country", "GER"], 2, "DEU (Germany)"),
        (["--quarter", "2020Q1"], 1, "no energy in the period"),
        (["--quarter", "Q1"], 2, "2026Q3"),
        (["--quarter", "2026Q3", "--from", "2026-07-01"], 2, "exclude each other"),
        (["--from", "2026-07-01T00:01"], 2, "2026-07-01T00:15:00Z"),
        (["--savings", "/nowhere.json"], 2, "--savings /nowhere.json"),
        (["--ledger", "/nowhere"], 2, "/nowhere"),
        (["--out", "/dev/null/x"], 2, "--out /dev/null/x"),
    ],
)
def test_errors(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, says: str) -> None:
    assert main(["report", "--ledger", str(state), "--out", str(tmp_path / "o"), *more]) == code
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_broken_chain_is_exit_1_and_names_the_segment(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = sorted((state / "segments").iterdir())
    second.unlink()
    assert main(["report", "--ledger", str(state), "--out", str(tmp_path / "o")]) == 1
    assert "segment" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert first.exists()
