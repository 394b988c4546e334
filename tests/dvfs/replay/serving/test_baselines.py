"""The benchmark of the baselines: its own engine, the protocol in between, and what it prints."""

import json
from pathlib import Path

import pytest

from benchmarks import dvfs_baselines, serving_plant
from benchmarks.__main__ import main
from benchmarks.dvfs_baselines import ProtocolPolicy, Served, compare, mixing_saving
from benchmarks.serving_plant import ENGINES, F_MAX_MHZ, SETTINGS, decode_boundness, power_w, serve, stretch
from dvfs.tables import SettingRow, SettingTable

ENGINE, LIMITS = ENGINES["8b"], (0.5, 0.05)
REQUESTS = [(0.3 * i, 200 + 37 * i % 900, 1 + 53 * i % 200) for i in range(300)]


def test_boundness_falls_with_the_batch_and_below_the_knee_everything_slows() -> None:
    assert [decode_boundness(batch) for batch in (1, 8, 64, 128)] == [1.0, 0.5, 0.0, 0.0]
    assert stretch(1000, 1.0) == 1.0 < stretch(900, 1.0)
    assert stretch(990, 0.0) == 2.0
    assert [round(power_w(F_MAX_MHZ, serving_plant.decode_activity(batch)), -1) for batch in (8, 128)] == [520.0, 660.0]


def test_every_request_is_served_and_counted_once() -> None:
    lines = []
    outcome = serve(ENGINE, REQUESTS, LIMITS, lambda line: lines.append(line) or F_MAX_MHZ)
    last = lines[-1]
    assert outcome.requests == len(REQUESTS)
    assert last["tokens"]["generation"] <= sum(output for _, _, output in REQUESTS)
    assert last["ttft"]["buckets"][-1] == ["+Inf", last["ttft"]["count"]]
    assert last["requests"] + last["running"] + last["waiting"] <= len(REQUESTS)
    assert [line["t_s"] for line in lines] == sorted(line["t_s"] for line in lines)
    assert outcome == serve(ENGINE, REQUESTS, LIMITS, None)  # to look at it changes nothing


def test_a_lower_clock_takes_longer_and_less_energy() -> None:
    runs = [serve(ENGINE, REQUESTS, LIMITS, None, mhz) for mhz in SETTINGS]
    assert [run.energy_j for run in runs] == sorted(run.energy_j for run in runs)
    assert [run.late_first for run in runs] == sorted((run.late_first for run in runs), reverse=True)


@pytest.mark.parametrize("name", dvfs_baselines.POLICIES)
def test_policies_steer_it_over_the_protocol(name: str) -> None:
    policy = ProtocolPolicy(name, SETTINGS, 500, 50)
    outcome = serve(ENGINE, REQUESTS, LIMITS, policy.choose)
    assert outcome.energy_j < serve(ENGINE, REQUESTS, LIMITS, None).energy_j
    assert outcome.mean_mhz < F_MAX_MHZ


def test_the_best_fixed_clock_keeps_the_target_or_what_the_highest_clock_reaches() -> None:
    top = Served(100.0, 0.995, 0.98)
    clocks = {1000: Served(60.0, 0.989, 0.9795), 1500: Served(80.0, 0.991, 0.9795), 1980: top}
    rows = {row["policy"]: row for row in compare({}, top, clocks, {"ours": Served(70.0, 0.985, 0.98)})}
    assert (rows["best fixed"]["mean_mhz"], round(rows["best fixed"]["saving_percent"])) == (1000, 40)
    assert round(rows["ours"]["lost_points"], 3) == 0.5
    strict = {mhz: Served(run.energy_j, run.ttft, 0.995) for mhz, run in clocks.items()}
    rows = {row["policy"]: row for row in compare({}, strict[1980], strict, {})}
    assert rows["best fixed"]["mean_mhz"] == 1500


def test_mixing_uses_the_budget_up() -> None:
    table = SettingTable("t", "power_limit_w", (SettingRow(100, 1.2, 50), SettingRow(200, 1.0, 100)))
    assert mixing_saving(table, 0.1) == pytest.approx(0.2)
    assert mixing_saving(table, 0.3) == pytest.approx(0.4)


def test_a_whole_run_on_short_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("azure", "conversation"):
        path = tmp_path / dvfs_baselines.TRACES[name]
        path.parent.mkdir(parents=True)
        rows = "".join(f"{i * 300},{300 + 31 * i % 500},{20 + i % 30}\n" for i in range(60))
        path.write_text(f"at_ms,prompt,output\n{rows}")
    assert main(["dvfs_baselines", "--part", "vllm", "--requests", "50", "--data", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    cells = len(dvfs_baselines.CELLS)
    assert len(rows) == cells * (2 + len(dvfs_baselines.POLICIES)) + len(dvfs_baselines.POLICIES)
    assert all(row["lost_points"] == 0 for row in rows[: 5 * cells] if row["policy"] == "highest clock")


def test_data_that_is_missing_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dvfs_baselines", "--data", str(tmp_path)]) == 2
    assert "Azure/AzurePublicDataset" in capsys.readouterr().err
