"""Every `--help` page at 80 columns; docs/cli.md holds them all, byte for byte (`make docs` writes it)."""

import argparse
import errno
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import said_here
from tools import cli_docs
from tools.cli_docs import WIDTH, parsers
from wattlens.cli import build_parser, main

FULL = "wattlens: No space left on device\n"


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))


def _same(page: str, golden: str) -> bool:
    return page == golden if sys.version_info[:2] == (3, 11) else _words(page) == _words(golden)


def _words(page: str) -> str:
    """Without what newer Pythons print in another way: the alignment of names, and the value of an option with two names."""
    return re.sub(r"(--?[\w-]+) [A-Z][A-Z0-9_]*, (?=--)", r"\1, ", " ".join(page.split()))


def test_the_reference_in_the_docs_has_every_page() -> None:
    committed = (Path(__file__).parents[3] / "docs/cli.md").read_text()
    assert _same(cli_docs.reference(), committed), "run: make docs"


def test_no_page_is_wider_than_a_terminal() -> None:
    for name, text in cli_docs.pages().items():
        assert max(map(len, text.splitlines())) <= WIDTH, name


def test_every_option_is_explained() -> None:
    for parser in parsers(build_parser(["--help"])):
        assert parser.description
        for action in parser._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (parser.prog, action.dest)


def test_the_program_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "fault", "--help"]) == 0
    assert capsys.readouterr().out == cli_docs.pages()["wattlens sim fault"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("demo --for 5s", ["--for:", "from 10s to 1d", "got 5s"]),
        ("demo --for 60", ["--for:", "30s", "got 60"]),
        ("demo --seed x", ["--seed:", "whole number", "'x'"]),
        ("dashboards push --timeout 5", ["--timeout:", "30s", "got 5"]),
        ("sim fault gpu2 lost --for 2d", ["--for:", "at most 1d", "got 2d"]),
        ("agent --for 0.5s", ["--for:", "from 1s to 1d", "got 0.5s"]),
        ("doctor --sensors --overhead", ["--overhead:", "--sensors"]),
        ("report --paper a5", ["--paper:", "a4 or letter", "'a5'"]),
        ("ledger export", ["SOURCE"]),
        ("demo --scenaro idle", ["--scenaro", "did you mean --scenario?"]),
        ("top --no-such-thing", ["--no-such-thing"]),
        ("init agent.yaml", ["'agent.yaml'"]),
    ],
)
def test_wrong_usage_names_option_expectation_value_and_the_help_page_of_the_command(arguments: str, words: list[str]) -> None:
    line = said_here(*arguments.split()).stderr
    names = ("dashboards push", "sim fault", "ledger export", arguments.split()[0])
    command = next(name for name in names if arguments.startswith(name))
    assert line.startswith(f"wattlens {command}: ")
    assert line.endswith(f"see wattlens {command} --help\n")
    assert all(word in line for word in words)


@pytest.mark.parametrize(
    ("arguments", "near"),
    [("tpo", "top"), ("mesure -- ls", "measure"), ("dvfs sats", "status"), ("report dif", "diff")],
)
def test_a_near_miss_is_suggested(arguments: str, near: str) -> None:
    done = said_here(*arguments.split())
    assert (done.returncode, f"did you mean {near}?" in done.stderr) == (2, True)


def test_the_command_alone_prints_its_help_with_every_command_under_one_title(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    page = capsys.readouterr().out
    assert page == cli_docs.pages()["wattlens"]
    titles = [line[:-1] for line in page.splitlines() if line.endswith(":") and not line.startswith(("usage", " "))]
    assert titles == ["Measure", "Operate", "Steer", "Report", "Simulate", "Shell", "Options"]
    listed = [line.split()[0] for line in page.splitlines() if line.startswith("  ") and line[2] not in " -"]
    assert sorted(listed) == sorted({name.split()[1] for name in cli_docs.pages() if name != "wattlens"})


def test_an_error_of_the_machine_is_one_line_and_exit_1() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "wattlens", "dvfs", "policy"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, FULL)


class FullOutput(io.StringIO):
    """What a program that runs commands within itself may have in place of a file."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("output", [FullOutput(), None])
def test_an_error_of_the_machine_is_one_line_where_the_output_is_no_file(
    output: FullOutput | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as change:
        change.setattr(sys, "stdout", output)
        codes = [main(["dvfs", "policy"]), main(["factors", "list"])]
    assert (codes, capsys.readouterr().err) == ([0, 0] if output is None else [1, 1], "" if output is None else FULL * 2)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -m wattlens sim list --json | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
