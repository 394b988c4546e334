"""Whatever workloads, models, files and servers are called, none of it reaches a terminal as a command."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.boundary import Boundary
from energy_agent.core.text import is_printable, printable, printable_lines
from energy_agent.ledger.rows.uncertainty import Bounds
from wattlens import summary
from wattlens.cli import main
from wattlens.cli._command import print_table
from wattlens.summary import EnergyShares, LedgerSummary, TokenCost

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\r\n\u202e"
BOUNDS = Bounds(5_000_000, 4_000_000, 6_000_000, 1, 1, 0)


@given(st.text())
def test_text_becomes_printable_and_printable_text_stays(text: str) -> None:
    line = printable(text)
    assert is_printable(line)
    assert len(line) == len(text)
    assert printable(line) == line
    assert printable_lines(text).split("\n") == [printable(line) for line in text.split("\n")]


@given(st.text() | st.just(HOSTILE))
def test_a_summary_is_printable_whatever_the_names(name: str) -> None:
    rows = ((name, BOUNDS),)
    tokens = (TokenCost(name, name, 5, 1.0, 0.9, 1.1),)
    shares = EnergyShares(rows, rows, 0, 0, 1)
    ledger_summary = LedgerSummary(shares, BOUNDS, tokens, (name,), 1, boundary=Boundary.NODE, host=shares)
    assert all(is_printable(line) for line in summary.text(ledger_summary, {}).split("\n"))


@pytest.mark.parametrize("command", [["ledger", "verify"], ["config", "check"], ["compare", "x.json"], ["report", "--ledger"]])
def test_an_error_is_printable_whatever_it_names(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, str(tmp_path / HOSTILE)])
    stderr = capsys.readouterr().err
    assert stderr.startswith("wattlens: ")
    assert all(is_printable(line) for line in stderr.split("\n"))


def test_a_table_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("workload", "J"), (HOSTILE, "1")])
    assert all(is_printable(line) for line in capsys.readouterr().out.split("\n"))
