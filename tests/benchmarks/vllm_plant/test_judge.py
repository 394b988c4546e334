"""Runs under policies, scores, totals and the command."""

import ast
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count, pairwise, repeat
from pathlib import Path

import numpy as np
import pytest

import benchmarks.vllm_plant as package
from benchmarks.__main__ import main
from benchmarks.vllm_plant.cells import LatencyLimits, LimitKind, ServingCell, draw_cells
from benchmarks.vllm_plant.engine import bucket_edges
from benchmarks.vllm_plant.judge import (
    CellLoad,
    CellOutcome,
    choose_limits,
    measure_capacity,
    play_cell,
    run_fixed,
    run_policy,
    short_points,
)
from benchmarks.vllm_plant.judging_log import source_hash
from benchmarks.vllm_plant.policy import find_policy
from benchmarks.vllm_plant.systems import Role
from benchmarks.vllm_plant.totals import paired_difference, sum_by_group, sum_cells
from dvfs.types import Action, Decision, DvfsPolicy, Observation, Setting
from energy_agent.core.errors import UsageError

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

Choice = tuple[Action, int]
"""What a policy does, and the clock in MHz that it sets."""


def scripted(choices: Iterator[Choice], observations: list[Observation]) -> DvfsPolicy:
    """A policy that does this in turn, and keeps what it observes."""

    def decide(observation: Observation, state: None, _config: None) -> tuple[Decision, None]:
        observations.append(observation)
        action, mhz = next(choices)
        setting = {device.uuid: Setting(sm_clock_max_mhz=mhz) for device in observation.devices}
        return Decision(action, "test", setting if action == "set" else {}), state

    return DvfsPolicy("scripted", {}, lambda _options, _knees: None, lambda: None, decide)


def at_clock(index: int) -> DvfsPolicy:
    """A policy that always chooses the clock at this index."""
    observations: list[Observation] = []
    return scripted((("set", observations[-1].clocks_mhz[index]) for _ in count()), observations)


def make_cell(role: Role = "both", limits: LimitKind = "near", system: str = "H100-8B") -> ServingCell:
    return ServingCell("cell", system, "conv", 0.6, 200, 1, (1.5, 1.5), 0.3, limits, role=role)


@needs_compiler
def test_policy_of_the_highest_clock_saves_nothing_and_is_not_short(data: Path) -> None:
    (row,) = play_cell(make_cell(), {"top": at_clock(-1)}, data)
    assert row["saving_percent"] == 0
    assert (row["ttft_percent"], row["itl_percent"]) == (row["top_ttft_percent"], row["top_itl_percent"])
    assert (row["short_points"], row["mean_mhz"], row["changes"]) == (0, 1980, 0)
    assert row["requests"] == 200


@needs_compiler
def test_policies_of_one_clock_come_close_to_it_and_none_that_keeps_the_target_beats_the_best(data: Path) -> None:
    rows = play_cell(make_cell(), {str(i): at_clock(i) for i in range(0, 12, 3)}, data)
    savings = [row["saving_percent"] for row in rows]
    assert savings[0] > 5
    for row in rows:
        assert row["changes"] == 1
        assert row["of_best_percent"] == pytest.approx(100 * row["saving_percent"] / row["best_saving_percent"])
        if row["short_points"] == 0:
            assert row["saving_percent"] <= row["best_saving_percent"] + 1
        if row["mean_mhz"] == pytest.approx(row["best_mhz"], rel=0.05):
            assert row["saving_percent"] == pytest.approx(row["best_saving_percent"], abs=3)


@needs_compiler
@pytest.mark.parametrize(("role", "limits"), [("both", (0.25, 0.05)), ("prefill", (0.25, None)), ("decode", (None, 0.05))])
def test_a_policy_observes_what_the_agent_would_read(role: Role, limits: tuple[float | None, float | None], data: Path) -> None:
    load, observations = CellLoad.draw(make_cell(role, system="H100-8B-spec"), data, 100), list[Observation]()
    outcome = run_policy(load, load.arrivals_s(5), LatencyLimits(0.25, 0.05), scripted(repeat(("set", 1005)), observations))
    assert {(each.terms.ttft_s, each.terms.itl_s, each.terms.attainment_ratio) for each in observations} == {(*limits, 0.99)}
    assert {after.boot_ns - before.boot_ns for before, after in pairwise(observations)} == {1_000_000_000}
    assert [each.devices[0].sm_clock_mhz for each in observations] == [1980] + [1005] * (len(observations) - 1)
    assert [each.in_force for each in observations] == [{}] + [{"plant-0": Setting(sm_clock_max_mhz=1005)}] * (
        len(observations) - 1
    )
    for before, after in pairwise(each.progress for each in observations):
        assert before is not None
        assert after is not None
        assert (after.requests, after.tokens, after.prompt_tokens) >= (before.requests, before.tokens, before.prompt_tokens)
    last = observations[-1].progress
    assert last is not None
    assert last.requests == last.tpot.count == last.ttft.count == 100
    assert last.tokens == load.drawn.output.sum()
    assert (last.ttft.edges, last.itl.edges, last.tpot.edges) == (*bucket_edges(), bucket_edges()[1])
    assert observations[-1].devices[0].energy_uj == round(1e6 * outcome.energy_j)
    assert len(outcome.ttft_s) == 100


@needs_compiler
def test_a_policy_sets_the_next_higher_clock_holds_and_releases(data: Path) -> None:
    load, observations = CellLoad.draw(make_cell(), data, 100), list[Observation]()
    choices = chain([("set", 1100), ("hold", 0), ("release", 0)], repeat(("hold", 0)))
    outcome = run_policy(load, load.arrivals_s(5), LatencyLimits(0.25, 0.05), scripted(choices, observations))
    clocks = observations[0].clocks_mhz
    higher = next(mhz for mhz in clocks if mhz > 1100)
    assert 1100 not in clocks
    assert [each.devices[0].sm_clock_mhz for each in observations[:5]] == [1980, higher, higher, 1980, 1980]
    assert outcome.changes == 2


def test_a_policy_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match="got 'fast'"):
        find_policy("fast")


@needs_compiler
def test_slo_saves_energy_at_light_load_and_keeps_the_target(data: Path) -> None:
    cell = replace(make_cell(limits="edge"), trace="code", load=0.3, requests=4000)
    (row,) = play_cell(cell, {"slo": find_policy("slo")}, data)
    assert row["saving_percent"] > 10
    assert row["short_points"] == 0


@needs_compiler
@pytest.mark.parametrize("role", ["both", "decode"])
def test_only_in_a_decode_pool_the_wait_counts_as_time_between_tokens(role: Role, data: Path) -> None:
    """Twenty requests come at once and are served one after another. So the wait of the last one is nearly the whole run."""
    load = CellLoad.draw(make_cell(role), data, 20)
    load.params.running_limit = 1
    outcome, gaps = run_fixed(load, np.zeros(20), 1980), load.drawn.output - 1
    longest_s = (outcome.itl_s * gaps[gaps > 0]).max()
    assert outcome.end_s > 3
    if role == "decode":
        assert outcome.end_s - 1 <= longest_s <= outcome.end_s  # the run ends with a whole second
    else:
        assert longest_s < outcome.end_s / 2


@needs_compiler
def test_capacity_is_what_an_overloaded_engine_serves(data: Path) -> None:
    load = CellLoad.draw(make_cell(), data, 200)
    capacity_s = measure_capacity(load)
    with load.engine(load.arrivals_s(5 * capacity_s)) as engine:
        engine.advance(200 / capacity_s, load.params.top_mhz)
        assert 150 < engine.metrics.requests <= 200


@needs_compiler
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("near", LatencyLimits(0.45, 0.03)),
        ("edge", LatencyLimits(0.5, 0.025)),  # between 1.2 and 2.5 times the percentiles
        ("between", LatencyLimits(0.375, 0.03)),  # in the middle of 0.25 and 0.5
        ("unmet", LatencyLimits(0.18, 0.017)),
    ],
)
def test_limits_follow_from_the_percentiles_at_the_highest_clock(limits: LimitKind, expected: LatencyLimits) -> None:
    assert choose_limits(make_cell(limits=limits), 0.3, 0.02) == expected


def make_outcome(ttft_kept: int, itl_kept: int) -> CellOutcome:
    """100 requests, of which some are within 1 s and 0.1 s."""
    ttft_s = np.where(np.arange(100) < ttft_kept, 0.5, 2.0)
    itl_s = np.where(np.arange(100) < itl_kept, 0.05, 0.2)
    return CellOutcome(1.0, 1.0, ttft_s, itl_s, 1980.0)


@pytest.mark.parametrize(
    ("role", "run", "top", "points"),
    [
        ("both", (99, 99), (100, 100), 0),
        ("both", (97, 98), (99, 100), 2),  # the worse of both, below 99 %
        ("both", (90, 99), (92, 100), 1.9),  # the highest clock misses the target: its own less 0.1 points
        ("prefill", (98, 50), (99, 100), 1),
        ("decode", (50, 96), (99, 100), 3),
    ],
)
def test_short_points_are_below_the_target_or_the_highest_clock(
    role: Role, run: tuple[int, int], top: tuple[int, int], points: float
) -> None:
    cell, limits = make_cell(role), LatencyLimits(1.0, 0.1)
    assert short_points(cell, limits, make_outcome(*run), make_outcome(*top)) == pytest.approx(points)


def test_totals_are_sums_over_cells_and_groups() -> None:
    savings = {"slo": [10.0, 20.0, 6.0], "aimd": [4.0, 10.0, 4.0]}
    rows = [
        {
            "policy": name,
            "trace": trace,
            "load_percent": load,
            "saving_percent": saving,
            "best_saving_percent": 20.0,
            "short_points": short,
        }
        for name, group_savings in savings.items()
        for saving, (trace, load), short in zip(
            group_savings, (("conv", 30), ("conv", 30), ("code", 60)), (0.0, 0.1, 0.6), strict=True
        )
    ]
    slo, aimd = sum_cells(rows, ["slo", "aimd"])
    assert (slo["cells"], slo["mean_saving_percent"], slo["of_best_percent"]) == (3, 12, 60)
    assert (slo["cells_short"], slo["worst_short_points"]) == (1, 0.6)
    assert slo["mean_short_points"] == pytest.approx(0.7 / 3)
    # Differences 6, 10 and 2: mean 6, standard deviation 4, t of two degrees of freedom 4.303.
    assert slo["over_aimd"] == "+6.00 (-3.94 to +15.94)"
    assert (slo["over_bisect"], aimd["over_aimd"]) == ("-", "-")
    groups = list(sum_by_group(rows, ["slo", "aimd"]))
    assert [(row["trace"], row["load_percent"], row["policy"], row["cells"]) for row in groups] == [
        ("code", 60, "slo", 1),
        ("code", 60, "aimd", 1),
        ("conv", 30, "slo", 2),
        ("conv", 30, "aimd", 2),
    ]


def test_difference_of_one_cell_has_no_bounds() -> None:
    assert paired_difference([1.0]) == "-"


@needs_compiler
def test_command_prints_rows_and_totals_and_keeps_a_log(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "log.jsonl"
    words = ["--seed", "3", "--only", "H100-8B-code-30$", "--policy", "aimd", "--requests", "40", "--json"]
    assert main(["vllm_plant", *words, "--data", str(data), "--log", str(out)]) == 0
    row, group, total = json.loads(capsys.readouterr().out)
    assert (row["seed"], row["cell"], row["policy"], row["requests"]) == (3, "H100-8B-code-30", "aimd", 40)
    assert (group["trace"], group["load_percent"]) == ("code", 30)
    assert total["mean_saving_percent"] == row["saving_percent"]
    started, entry = map(json.loads, out.read_text().splitlines())
    assert started["started"]
    assert entry["sha256"] == source_hash("aimd")
    assert entry["saving_percent"] == row["saving_percent"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "("], "regular expression"),
        (["--only", "nothing"], "matches none of the cells"),
        (["--requests", "0"], "expected at least 1"),
    ],
)
def test_wrong_options_are_explained(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vllm_plant", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_plant_and_its_cells_know_nothing_of_dvfs() -> None:
    imports = set()
    for name in ("engine", "systems", "cells", "traces"):
        for node in ast.walk(ast.parse(Path(package.__path__[0], f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                imports.add(node.module)
            elif isinstance(node, ast.Import):
                imports |= {alias.name for alias in node.names}
    assert imports
    assert not {name for name in imports if "dvfs" in name or "policy" in name}


def test_every_cell_of_a_seed_has_a_drawable_load(data: Path) -> None:
    for cell in draw_cells(2):
        load = CellLoad.draw(cell, data, 50)
        assert len(load) == 50
        assert load.params.kv_blocks > 0
