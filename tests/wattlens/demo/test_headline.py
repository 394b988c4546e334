"""The results that the demo ends with."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from energy_agent.ledger.rows.uncertainty import Bounds
from wattlens.demo import headline
from wattlens.demo.places import shell_command
from wattlens.demo.result import DemoResult
from wattlens.summary import EnergyShares, LedgerSummary, TokenCost

UJ = 1_000_000
CHAT, TRAIN = (Bounds(uj, uj - UJ, uj + UJ, 1, 1, 0) for uj in (300 * UJ, 600 * UJ))
TOTAL = Bounds(1000 * UJ, 990 * UJ, 1010 * UJ, 1, 1, 0)
SUMMARY = LedgerSummary(
    EnergyShares((("GPU-0", TOTAL),), (("chat", CHAT), ("train", TRAIN)), 100 * UJ, 0, 1000 * UJ),
    total=TOTAL,
    tokens=(TokenCost("chat", "org/model", 150, 2.0, 1.9, 2.1),),
    chain_faults=(),
    segments=1,
)
RESULT = DemoResult(SUMMARY, {"GPU-0": "GPU 0"}, {"reason": "it takes 4 pairs"}, True, Path("/o"), {})
FIGURES: headline.Figures = {
    "energy.facility": {"value": "1008000", "unit": "J", "reason": None},
    "co2e.location": {"value": "12.345", "unit": "g", "reason": None},
    "cost": {"value": None, "reason": "two currencies"},
    "cost/site/demo": {"value": "0.0123", "unit": "GBP", "reason": None},
    "pue": {"value": None, "reason": "no meter of role total"},
}


def rows(text: str) -> dict[str, str]:
    """The lines of results by their names."""
    pairs = [(line[2:20].strip(), line[20:]) for line in text.splitlines() if line.startswith("  ")]
    return {name: value for name, value in pairs if name}


def test_each_figure_has_a_value_or_a_reason() -> None:
    by_label = rows(headline.text(RESULT, FIGURES))
    assert by_label["energy"].startswith("0.000278 kWh for the GPUs (1,000 J)")
    assert by_label["by workload"] == "train 60 %, chat 30 %, unallocated 10 % of the GPU energy"
    assert by_label["energy per token"].startswith("2.000 J (1.900 to 2.100), chat")
    assert by_label["building energy"].startswith("0.280 kWh")
    assert by_label["CO2e"].startswith("12.3 g")
    assert by_label["electricity cost"].startswith("0.0123 GBP")
    assert "no meter of role total" in by_label["PUE"]
    assert "it takes 4 pairs" in by_label["DVFS saving"]
    without = rows(headline.text(RESULT, {}, "no report: no library"))
    assert {"no library" in without[name] for name in ("building energy", "CO2e", "electricity cost", "PUE")} == {True}


def test_whatever_is_wrong_is_in_the_results() -> None:
    assert "NOT" in rows(headline.text(replace(RESULT, restored=False), {}))["GPU settings"]
    broken = replace(RESULT, ledger_summary=replace(SUMMARY, chain_faults=("segment 3 is missing",)))
    assert "segment 3 is missing" in rows(headline.text(broken, {}))["ledger"]
    lost = replace(RESULT, ledger_summary=replace(SUMMARY, gpus=replace(SUMMARY.gpus, counters_uj=999 * UJ)))
    assert "1,000,000,000 uJ" in rows(headline.text(lost, {}))["ledger"]


def test_the_commands_to_try_survive_a_shell() -> None:
    odd = replace(
        RESULT, out=Path("my demo"), ledger_summary=replace(SUMMARY, tokens=(), gpus=EnergyShares(workloads=(("a; b", CHAT),)))
    )
    _, _, commands = headline.text(odd, {}, wattlens=".venv/bin/wattlens").partition("Try next:\n")
    export, verify, _ = (shlex.split(line) for line in commands.splitlines())
    assert export == [".venv/bin/wattlens", "ledger", "export", "my demo/state", "--sum", "--workload", "a; b"]
    assert verify == [".venv/bin/wattlens", "ledger", "verify", "my demo/state"]


def test_the_program_is_named_as_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my bin" / "wattlens"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shlex.split(shell_command(str(program))) == [str(program)]
    assert shell_command("/x/wattlens/__main__.py").endswith(" -m wattlens")
    monkeypatch.setenv("PATH", str(program.parent))
    assert shell_command(str(program)) == "wattlens"


def test_hostile_names_do_not_reach_the_terminal() -> None:
    hostile = replace(
        SUMMARY,
        gpus=EnergyShares(workloads=(("chat\x1b[31m", CHAT),)),
        tokens=(TokenCost("chat\x1b[31m", "m", 1, 1.0, 1.0, 1.0),),
    )
    assert "\x1b" not in headline.text(replace(RESULT, ledger_summary=hostile), {})


def test_the_results_are_about_a_dozen_lines() -> None:
    text = headline.text(RESULT, FIGURES)
    assert len([line for line in text.splitlines() if line]) <= 18
