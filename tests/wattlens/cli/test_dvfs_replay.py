"""`wattlens dvfs replay` on small tables: what it prints, its JSON, its chart, and one line for what is wrong."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from dvfs.sweep import profile
from wattlens.cli import main
from wattlens.cli.dvfs.replay_chart import Bar, bars

ROOT = Path(__file__).parents[3]
V100 = ROOT / "benchmarks/data/zeus/summary_power_v100.csv"


def replay(*arguments: object) -> int:
    """`wattlens dvfs replay`."""
    return main(["dvfs", "replay", *map(str, arguments)])


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert replay(*arguments, "--json") == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.smoke
def test_tables_of_a_training_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("".join(V100.read_text().splitlines(keepends=True)[:22]))
    chart = tmp_path / "t.svg"
    options = ("--table", table, "--slowdown", "5%", "--steps", 3000, "--noise", "2%", "--seeds", 2)
    assert replay(*options, "--chart", chart) == 0
    text = capsys.readouterr().out
    assert "Budget 5 % slowdown of the whole run." in text
    columns = ("SAVING", "OF BEST", "RUN OVER", "CHOICE OVER", "FAR OVER")
    assert [word for word in (*columns, "progress on 4 tables", "all tables") if word not in text] == []
    assert ET.fromstring(chart.read_text()).tag.endswith("svg")
    result = rows_of(capsys, *options)
    assert (result["tables"], result["slowdown"], result["steps"], result["noise"], result["seeds"]) == (4, 0.05, 3000, 0.02, 2)
    assert len(result["rows"]) == 5
    progress = result["rows"][-1]
    assert (progress["table"], progress["rule"], progress["runs"]) == ("all tables", "progress", 8)
    assert set(progress) == {
        "table", "knob", "rule", "oracle_ratio", "runs", "saving_ratio", "of_oracle_ratio", "slowdown_ratio",
        "chosen_over_ratio", "whole_over_ratio", "far_over_ratio",
    }  # fmt: skip
    assert progress["whole_over_ratio"] <= 0.125
    assert progress["slowdown_ratio"] <= 0.05
    assert progress["saving_ratio"] > 0
    assert result == rows_of(capsys, *options)


def test_a_profile_of_a_sweep_is_played_over_each_knob(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def point(clock: int | None, limit: float | None, time_s: float, power_w: float) -> profile.SettingEstimate:
        return profile.SettingEstimate(clock, limit, 5, time_s, time_s, time_s, power_w, power_w, power_w)

    points = (
        point(None, None, 1.0, 390.0), point(1200, None, 1.02, 300.0), point(None, 300.0, 1.01, 300.0),
        point(None, 250.0, 1.2, 250.0),
    )  # fmt: skip
    path = tmp_path / "p.json"
    path.write_text(profile.dump(profile.SweepProfile("job", "NVIDIA A100", "570", True, "steps", 1410, 400.0, 1, points)))
    result = rows_of(capsys, "--profile", path, "--seeds", 1, "--steps", 500, "--isotonic")
    assert [(row["table"], row["knob"]) for row in result["rows"]] == [
        ("job sm_clock_mhz", "sm_clock_mhz"), ("job power_limit_w", "power_limit_w"), ("all tables", "several"),
    ]  # fmt: skip


def test_bars_have_marks_and_say_what_broke_a_rule() -> None:
    assert bars([Bar("a", 20.0, 10.0, False), Bar("long", 10.0, 0.0, True), Bar("b", -3.0, -1.0, False)]) == [
        "a     " + "#" * 20 + "|" + "#" * 19 + "  20.0 %",
        "long  |" + "x" * 19 + " " * 21 + " 10.0 %",
        "b     |" + " " * 40 + " -3.0 %",
    ]
