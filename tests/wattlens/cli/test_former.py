"""Options of the previous release: each sets its successor, and a warning names it."""

import argparse

import pytest

from wattlens.cli import build_parser
from wattlens.cli._former import FORMER, add_former_options, with_unit

VALUES = {
    "--seconds": "60",
    "--from": "90",
    "--start": "2026-01-01",
    "--end": "2026-01-02",
    "--gain-percent": "5",
    "--coverage": "0.5",
}
OTHER = {
    "ledger import": ["--prometheus", "http://h", "--source", "dcgm"],
    "ledger compact": ["segments"],
    "ledger export": ["state"],
    "dvfs sweep": ["--out", "p.json"],
    "measure": ["--", "ls"],
    "doctor": ["--sensors"],
}


def parse(words: list[str]) -> dict[str, object]:
    parsed = vars(build_parser(words).parse_args(words))
    return {key: value for key, value in parsed.items() if not callable(value)}


@pytest.mark.parametrize(("command", "option"), [(c, o) for c, options in FORMER.items() for o in options])
def test_a_former_option_sets_its_successor_and_warns(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    new, unit = FORMER[command][option]
    name, value = command.removeprefix("wattlens "), VALUES.get(option, "file")
    rest = OTHER.get(name, [])
    former = parse([*name.split(), option, value, *rest])
    warning = capsys.readouterr().err
    assert warning.startswith(f"wattlens: warning: {option} is now {new};")
    assert warning.count("\n") == 1
    assert former == parse([*name.split(), new, with_unit(value, unit), *rest])
    assert capsys.readouterr().err == ""


def test_a_required_option_may_be_given_by_its_former_name() -> None:
    parser = argparse.ArgumentParser(prog="wattlens ledger compact")
    parser.add_argument("--out", required=True)
    add_former_options(parser)
    assert parser.parse_args(["--output", "x"]).out == "x"


def test_former_values_of_options_that_stayed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ledger", "import", "--prometheus", "http://h", "--from", "dcgm", "--start", "2026-01-01"]
    parsed = parse(words)
    assert (parsed["source"], parsed["start"]) == ("dcgm", 1767225600)
    assert "--source dcgm" in capsys.readouterr().err
    assert parse(["agent", "return"])["action"] == "resume"
    assert "agent resume" in capsys.readouterr().err
