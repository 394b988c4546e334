"""The command of the benchmarks: options, tables, JSON and exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from benchmarks.__main__ import NAMES, OTHERS, claims, main
from benchmarks.runner import Row, call, table
from energy_agent.core.errors import UsageError


def run(
    *names: str, size: int = 3, kinds: tuple[str, ...] = ("10 %", "20 %"), ratio: float | None = None, bad: bool = False
) -> Iterator[Row]:
    """Rows of the options."""
    if size < 0:
        raise UsageError("--size: expected at least 0")
    yield {"names": names, "size": size, "kinds": kinds, "ratio": ratio}
    yield {"ok": not bad}


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = ModuleType("benchmarks.made_up", "A benchmark of this test.")
    benchmark.__dict__["run"] = run
    monkeypatch.setitem(sys.modules, "benchmarks.made_up", benchmark)


def test_parameters_are_options_and_rows_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["a", "b", "--size", "7", "--kinds", "20 %", "--ratio", "0.5", "--json"]
    assert call("made_up", words) == 0
    first, last = json.loads(capsys.readouterr().out)
    assert first == {"names": ["a", "b"], "size": 7, "kinds": ["20 %"], "ratio": 0.5}
    assert last == {"ok": True}


def test_a_row_below_its_bar_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("made_up", []) == 0
    assert call("made_up", ["--bad"]) == 1
    assert "fell short" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--kinds", "30 %"], ["--size", "x"], ["--other"]])
def test_wrong_options_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call("made_up", words)
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_benchmark_that_cannot_run_prints_one_line_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("made_up", ["--size", "-1"]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert "--size" in printed.err
    assert printed.err.count("\n") == 1


def test_rows_before_a_failure_are_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Iterator[Row]:
        yield {"case": "first"}
        raise RuntimeError("second")

    monkeypatch.setitem(sys.modules["benchmarks.made_up"].__dict__, "run", fail)
    with pytest.raises(RuntimeError):
        call("made_up", ["--json"])
    assert json.loads(capsys.readouterr().out) == [{"case": "first"}]


def test_rows_with_the_same_columns_are_one_table() -> None:
    lines = table([{"a": 1, "b": "x"}, {"a": 22, "b": None}, {"c": True}]).splitlines()
    assert [line.split() for line in lines] == [["a", "b"], ["1", "x"], ["22", "-"], ["c", "yes"]]


@pytest.mark.parametrize("name", ["nothing", "running", "no.module"])
def test_an_unknown_benchmark_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 2
    assert NAMES[0] in capsys.readouterr().err


def test_the_list_has_every_benchmark_with_its_claim_and_last_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert {command.split()[0] for _, command, _ in claims()} == {*NAMES, *OTHERS}
    assert all(text in printed for row in claims() for text in row)


def test_list_ends_quietly_when_its_reader_closes_the_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-m", "benchmarks"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("name", NAMES + OTHERS)
def test_every_benchmark_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call(name, ["--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out
