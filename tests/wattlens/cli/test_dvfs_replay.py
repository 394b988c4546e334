"""`wattlens dvfs replay` on small traces and tables: what it prints, its JSON, its chart, and one line for what is wrong."""

import contextlib
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from dvfs.sweep import profile
from wattlens.cli import main
from wattlens.cli.dvfs.replay_text import Bar, bars

ROOT = Path(__file__).parents[3]
V100 = ROOT / "benchmarks/data/zeus/summary_power_v100.csv"
AZURE = ROOT / "tests/dvfs/replay/serving/traces/azure-2023.csv"
RULES = ["default", "slo", "best fixed clock", "static knee", "hindsight"]


def replay(*arguments: object) -> int:
    """`wattlens dvfs replay`."""
    return main(["dvfs", "replay", *map(str, arguments)])


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of chat, denser in the second."""
    path = tmp_path_factory.mktemp("t") / "chat.csv"
    rows = [(i * 700, 300 + 97 * i % 900, 40 + 31 * i % 60) for i in range(90)]
    rows += [(63_000 + i * 150, 200 + 71 * i % 1500, 20 + 13 * i % 50) for i in range(500)]
    path.write_text("at_ms,prompt,output\n" + "".join(f"{a},{p},{o}\n" for a, p, o in rows))
    return path


@pytest.fixture(scope="module")
def replayed(trace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """What one run prints, as text and as JSON, and its chart."""
    chart = tmp_path_factory.mktemp("c") / "chart.svg"
    texts = []
    for more in ((), ("--json", "--chart", chart)):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert replay("--trace", trace, *more) == 0
        texts.append(out.getvalue())
    return texts[0], texts[1], chart


@pytest.mark.smoke
def test_a_trace_as_a_table_with_its_assumptions(replayed: tuple[str, str, Path]) -> None:
    text = replayed[0]
    heads = next(line for line in text.splitlines() if line.startswith("RULE"))
    assert heads.split("  ")[0] == "RULE"
    assert [
        c for c in ("ENERGY", "SAVING", "ATTAINMENT", "DIFFERENCE", "J/TOKEN", "CHANGES", "OF HINDSIGHT") if c not in heads
    ] == []
    for rule in RULES:
        assert any(line.startswith(rule) for line in text.splitlines()), rule
    for said in (
        "Memory-boundness mid: decode 0.75, prefill 0.1; assumed",
        "Decode power by batch: fitted to this GPU.",
        "More than 10 % off, decode: power by batch is that of Llama 3.1 8B;",
        "fitted",
        "11 measured",
        "1 replica, the fewest that",
    ):
        assert said in " ".join(text.split()), said
    assert "Saving in %" in text


def test_its_json_has_every_rule_and_agrees_with_itself(replayed: tuple[str, str, Path]) -> None:
    told: dict[str, Any] = json.loads(replayed[1])
    assert set(told) == {
        "trace", "server", "slo", "simulated", "replicas", "grid_mhz", "tokens", "seconds", "rows", "assumptions",
    }  # fmt: skip
    assert told["simulated"] is True
    assert told["trace"] == {"name": "chat.csv", "requests": 590, "seconds": pytest.approx(137.85)}
    assert told["server"]["basis"]["boundness"] == "assumed"
    assert told["server"]["basis"]["host"] == "fitted"
    assert list(told["server"]["marked"]) == ["decode", "older servers"]
    assert (len(told["grid_mhz"]), told["grid_mhz"][0], told["grid_mhz"][-1]) == (8, 1005, 1980)
    rows = {row["rule"]: row for row in told["rows"]}
    assert list(rows) == RULES
    default, best = rows["default"], rows["hindsight"]
    assert (default["saving_ratio"], default["difference_ratio"], default["of_hindsight_ratio"]) == (0.0, 0.0, None)
    for row in rows.values():
        assert set(row) == set(default)
        assert row["saving_ratio"] == pytest.approx(1 - row["energy_j"] / default["energy_j"])
        assert row["joules_per_token"] == pytest.approx(row["energy_j"] / told["tokens"])
        assert row["difference_ratio"] == pytest.approx(row["attainment_ratio"] - default["attainment_ratio"])
        if row["rule"] != "default":
            assert row["of_hindsight_ratio"] == pytest.approx(row["saving_ratio"] / best["saving_ratio"])
    assert best["within_rule"]
    assert best["saving_ratio"] >= rows["best fixed clock"]["saving_ratio"]
    assert rows["slo"]["clock_changes"] > 0
    assert len(rows["slo"]["mean_mhz"]) == 3  # of 60 s; the last answers end in the third


def test_its_chart_is_svg_that_says_what_it_shows(replayed: tuple[str, str, Path]) -> None:
    root = ET.fromstring(replayed[2].read_text())
    texts = [node.text or "" for node in root.iter() if node.tag.endswith("text")]
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert [rule for rule in RULES[1:] if rule not in texts] == []
    assert any("simulated" in text for text in texts)
    assert any("MHz" in text for text in texts)
    title = next(node.text or "" for node in root.iter() if node.tag.endswith("title"))
    assert "hindsight: " in title


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert replay(*arguments, "--json") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_options_of_a_trace_are_heard(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = ("--trace", trace, "--no-hindsight", "--for", "30s", "--replicas", 2)
    told = rows_of(
        capsys, *fast, "--boundness", "high", "--skip", "70s", "--rate", 2, "--ttft-ms", 300, "--itl-ms", 40,
        "--ttft-tokens", 1000, "--attainment", "90%", "--policy", "static", "--option", "clean_s=1",
        "--option", "queue_limit=3",
    )  # fmt: skip
    assert [row["rule"] for row in told["rows"]] == ["default", "static", *RULES[2:-1]]
    assert told["replicas"] == 2
    assert told["slo"] == {"ttft_s": 0.3, "ttft_tokens": 1000, "itl_s": 0.04, "attainment_ratio": 0.9}
    assert (told["server"]["decode_boundness"], told["server"]["prefill_boundness"]) == (0.95, 0.25)
    assert told["trace"]["requests"] == 200
    assert told["trace"]["seconds"] < 15
    assert all(row["of_hindsight_ratio"] is None for row in told["rows"])
    assert len(rows_of(capsys, *fast, "--option", "levels=4")["grid_mhz"]) == 4
    lean = rows_of(capsys, *fast, "--engine", "lean", "--gpu", "a100-sxm", "--gpus", 2)
    assert (lean["server"]["gpu"], lean["server"]["gpus"], lean["grid_mhz"][0]) == ("a100-sxm", 2, 1020)
    assert lean["server"]["basis"]["host"] == "assumed"


def test_the_same_seed_gives_the_same_numbers(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = ("--trace", trace, "--no-hindsight", "--for", "40s")
    first, again, other = (rows_of(capsys, *fast, "--seed", seed)["rows"][1] for seed in (1, 1, 2))
    assert first == again
    assert first["energy_j"] != other["energy_j"]


def test_a_published_trace_and_a_board_without_a_knee_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert replay("--trace", AZURE, "--gpu", "l40s", "--for", "5s") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "The knee table has no row for NVIDIA L40S: policies that use the knee keep the original setting" in text
    assert "azure-2023.csv at 1x: 4 requests in 5 s" in text


@pytest.mark.smoke
def test_tables_of_a_training_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("".join(V100.read_text().splitlines(keepends=True)[:22]))
    chart = tmp_path / "t.svg"
    options = ("--table", table, "--slowdown", "5%", "--steps", 3000, "--noise", "2%", "--seeds", 2)
    assert replay(*options, "--chart", chart) == 0
    text = capsys.readouterr().out
    assert "Budget 5 % slowdown of the whole run." in text
    assert [
        w
        for w in ("SAVING", "OF BEST", "RUN OVER", "CHOICE OVER", "FAR OVER", "progress", "zeus", "all tables")
        if w not in text
    ] == []
    assert ET.fromstring(chart.read_text()).tag.endswith("svg")
    told = rows_of(capsys, *options)
    assert (told["tables"], told["slowdown"], told["steps"], told["noise"], told["seeds"]) == (4, 0.05, 3000, 0.02, 2)
    assert len(told["rows"]) == 10
    progress = told["rows"][-2]
    assert (progress["table"], progress["rule"], progress["runs"]) == ("all tables", "progress", 8)
    assert set(progress) == {
        "table", "knob", "rule", "oracle_ratio", "runs", "saving_ratio", "of_oracle_ratio", "slowdown_ratio",
        "chosen_over_ratio", "whole_over_ratio", "far_over_ratio",
    }  # fmt: skip
    assert progress["whole_over_ratio"] <= 0.125
    assert progress["slowdown_ratio"] <= 0.05
    assert progress["saving_ratio"] > 0
    assert told == rows_of(capsys, *options)


def test_a_profile_of_a_sweep_is_played_over_each_knob(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def point(clock: int | None, limit: float | None, time_s: float, power_w: float) -> profile.SettingEstimate:
        return profile.SettingEstimate(clock, limit, 5, time_s, time_s, time_s, power_w, power_w, power_w)

    points = (
        point(None, None, 1.0, 390.0), point(1200, None, 1.02, 300.0), point(None, 300.0, 1.01, 300.0),
        point(None, 250.0, 1.2, 250.0),
    )  # fmt: skip
    path = tmp_path / "p.json"
    path.write_text(profile.dump(profile.SweepProfile("job", "NVIDIA A100", "570", True, "steps", 1410, 400.0, 1, points)))
    told = rows_of(capsys, "--profile", path, "--seeds", 1, "--steps", 500, "--isotonic")
    assert [(row["table"], row["knob"]) for row in told["rows"][::2]] == [
        ("job sm_clock_mhz", "sm_clock_mhz"), ("job power_limit_w", "power_limit_w"), ("all tables", "several"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "dvfs replay: expected --trace, --table or --profile"),
        (("--trace", AZURE, "--table", V100), "--trace: cannot be combined with --table"),
        (("--table", V100, "--profile", V100), "--table: cannot be combined with --profile"),
        (("--table", V100, "--rate", 2), "--rate: cannot be combined with --table"),
        (("--table", V100, "--skip", "2s"), "--skip: cannot be combined with --table"),
        (("--table", V100, "--no-hindsight"), "--no-hindsight: cannot be combined with --table"),
        (("--profile", V100, "--option", "a=1"), "--option: cannot be combined with --profile"),
        (("--trace", AZURE, "--slowdown", "5%"), "--slowdown: cannot be combined with --trace"),
        (("--trace", AZURE, "--isotonic"), "--isotonic: cannot be combined with --trace"),
        (("--trace", AZURE, "--model", "gpt"), "--model: expected one of llama-8b, llama-70b, qwen-32b"),
        (("--trace", AZURE, "--gpu", "tpu"), "--gpu: expected one of h100-sxm, "),
        (("--trace", AZURE, "--engine", "x"), "--engine: expected vllm-2024, lean or random, got 'x'"),
        (("--trace", AZURE, "--boundness", "half"), "--boundness: "),
        (
            ("--trace", AZURE, "--policy", "fast"),
            "--policy: with --trace expected one of aimd, bisect, slo, static, got 'fast'",
        ),
        (("--trace", AZURE, "--policy", "budget"), "expected one of aimd, bisect, slo, static, got 'budget'"),
        (("--trace", AZURE, "--policy", "progress"), "expected one of aimd, bisect, slo, static, got 'progress'"),
        (("--trace", AZURE, "--option", "levels"), "--option: "),
        (("--trace", AZURE, "--option", "speed=4"), "dvfs policy slo: unknown option 'speed'; expected one of levels"),
        (("--trace", AZURE, "--option", "levels=many"), "levels: expected an integer"),
        (("--trace", AZURE, "--rate", 0), "--rate: expected a"),
        (("--trace", AZURE, "--ttft-ms", 0), "--ttft-ms: expected a"),
        (("--trace", AZURE, "--itl-ms", 0), "--itl-ms: expected a"),
        (("--trace", AZURE, "--itl-ms", 5), "--itl-ms 5 is too low: raise it"),
        (("--trace", AZURE, "--ttft-ms", 1), "raise --ttft-ms or --itl-ms"),
        (("--trace", AZURE, "--attainment", 101), "--attainment: expected a"),
        (("--trace", AZURE, "--replicas", 0), "--replicas: expected a"),
        (("--trace", AZURE, "--replicas", 9), "--replicas: expected at most 5, the requests of the trace, got 9"),
        (("--trace", AZURE, "--skip", "99s"), "no request after 99 s; the last one arrives at 6 s"),
        (("--trace", AZURE, "--for", "0s"), "--for: expected a"),
        (
            ("--trace", AZURE, "--model", "llama-70b", "--gpus", 1),
            "llama-70b does not fit on 1 x h100-sxm, it needs 2: use --gpus 2",
        ),
        (("--trace", "none.csv"), "trace none.csv: cannot read: No such file or directory"),
        (("--trace", V100), "line 1: expected the columns"),
        (("--trace", AZURE, "--chart", "none/there/c.svg"), "--chart: cannot write none/there/c.svg"),
        (("--trace", AZURE, "--chart", "c.png"), ".svg"),
        (("--trace", AZURE, "--option", "levels=4.5"), "levels: expected an integer"),
        (("--trace", AZURE, "--option", "stale_s=0"), "stale_s: expected a number from 0.1"),
        (("--table", "none.csv"), "none.csv: cannot read"),
        (("--table", AZURE), "expected one of the columns power_limit"),
        (("--table", V100, "--policy", "slo"), "--policy: with --table expected one of bisect, progress, got 'slo'"),
        (("--profile", V100, "--policy", "budget"), "with --profile expected one of bisect, progress, got 'budget'"),
        (("--table", V100, "--slowdown", 0), "--slowdown: expected a"),
        (("--table", V100, "--steps", 0), "--steps: expected a"),
        (("--table", V100, "--noise", -1), "--noise: expected a"),
        (("--table", V100, "--seeds", 0), "--seeds: expected a"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    arguments: tuple[object, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(*arguments) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_a_wrong_row_of_a_trace_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("at_ms,prompt,output\n0,10,10\n5,ten,10\n")
    assert replay("--trace", path) == 2
    assert f"trace {path}, line 3: tokens: expected integers" in capsys.readouterr().err


def test_bars_have_marks_and_say_what_broke_a_rule() -> None:
    assert bars([Bar("a", 20.0, "20 %", mark=10.0), Bar("long", 10.0, "10 %", broken=True), Bar("b", -3.0, "-3 %")]) == [
        "a     " + "#" * 20 + "|" + "#" * 19 + "  20 %",
        "long  " + "x" * 20 + " " * 21 + " 10 %",
        "b     " + " " * 41 + " -3 %",
    ]


def test_a_server_drawn_at_random(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--trace", trace, "--engine", "random", "--seed", 7, "--policy", "aimd", "--load", "40%", "--ttft-ms", 2000)
    pools = ("--prefill", 1, "--replicas", 2, "--router", "least queue", "--period", "0.5s")
    assert replay(*words, *pools) == 0
    text = capsys.readouterr().out
    for part in (
        "Server drawn with seed 7, simulated",
        "40 % of the capacity of 1 prefill and 2 decode replicas",
        "best fixed clock",
    ):
        assert part in text
    assert replay(*words, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["rule"] for row in result["rows"]] == ["highest clock", "best fixed clock", "aimd"]
    assert result["rows"][1]["keeps_slo"]
    assert {"name", "meaning", "unit", "range", "basis", "value"} <= set(result["parameters"][0])
    assert replay(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out) == result


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--engine", "random", "--gpu", "h200"), "--gpu: cannot be combined with --engine random"),
        (("--engine", "random", "--chart", "a.svg"), "--chart: cannot be combined with --engine random"),
        (("--load", "30%"), "--load: needs --engine random"),
        (("--engine", "random", "--policy", "static"), "with --engine random expected one of aimd, bisect, slo"),
    ],
)
def test_options_of_a_drawn_server_are_checked(
    trace: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay("--trace", trace, *words) == 2
    assert message in capsys.readouterr().err
