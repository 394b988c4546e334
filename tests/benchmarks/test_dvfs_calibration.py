"""Comparison of the GPU models with measured tables: the bars, the marks, the search, and errors in files."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import dvfs_calibration
from benchmarks.__main__ import main
from benchmarks.llm_power import derive, tables
from benchmarks.llm_power.workloads import Workload, change, run_capped, search
from dvfs.replay.serving import boards

GPUS = boards.load()


def test_every_gpu_is_within_ten_percent_or_marked() -> None:
    rows = list(dvfs_calibration.run())
    verdicts = [row for row in rows if "verdict" in row]
    assert [row for row in verdicts if not row["ok"]] == []
    compared = {(row["gpu"], row["phase"]) for row in verdicts}
    for gpu in ("h200", "b200", "gb200"):
        assert {(gpu, "decode"), (gpu, "prefill")} <= compared
    for gpu in ("rtx-3090", "rtx-4090", "rtx-5090"):
        assert (gpu, "decode by cap") in compared
    assert {row["half"] for row in rows if "half" in row} == {"fitted", "held out"}
    for row in verdicts:
        if "cap" in row["source"]:
            assert row["speed_held_out_worst"] < 5


def test_a_gpu_without_its_mark_misses_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    unmarked = {key: replace(gpu, marks=()) for key, gpu in GPUS.items()}
    monkeypatch.setattr(dvfs_calibration.boards, "load", lambda: unmarked)
    assert main(["dvfs_calibration"]) == 1
    assert "beyond 10 %, unmarked" in capsys.readouterr().out


def test_no_mark_is_stale() -> None:
    """Each mark of a compared phase belongs to a phase that is more than 10 % off."""
    marked = {(row["gpu"], row["phase"]) for row in dvfs_calibration.run() if row.get("verdict") == "marked"}
    stored = {(key, phase) for key, gpu in GPUS.items() for phase, _ in gpu.marks if phase != "older servers"}
    assert stored == marked


def test_draft_tokens_make_a_cap_dearer() -> None:
    costs = [row for row in dvfs_calibration.run() if "error_points" in row]
    assert [row["drafts"] for row in costs] == list(range(7))
    simulated = [row["simulated_cost_percent"] for row in costs]
    assert simulated == sorted(simulated)
    assert simulated[4] > 3 * simulated[0]
    assert max(abs(row["error_points"]) for row in costs) < 4


@given(st.sampled_from(sorted(GPUS)), st.floats(0, 1), st.floats(0.3, 1.5), st.floats(0.4, 1.5), st.floats(0.4, 1.5))
def test_a_higher_cap_never_slows_and_is_never_exceeded(key: str, m: float, x: float, one: float, other: float) -> None:
    gpu, workload = GPUS[key], Workload(m, x)
    low, high = sorted((one * gpu.tdp_w, other * gpu.tdp_w))
    slow, fast = run_capped(gpu, workload, low), run_capped(gpu, workload, high)
    assert slow.power_w <= low
    assert slow.speed <= fast.speed + 1e-9
    assert fast.speed <= 1 + 1e-9


def test_the_search_finds_the_workload_that_made_the_points() -> None:
    gpu, true = GPUS["rtx-4090"], Workload(0.55, 0.95)
    points = [(cap, run_capped(gpu, true, cap)) for cap in range(220, 460, 20)]

    def loss(values: dict[str, float]) -> float:
        steps = [(run_capped(gpu, Workload(values["boundness"], values["intensity"]), cap), made) for cap, made in points]
        return sum((step.speed / made.speed - 1) ** 2 + (step.power_w / made.power_w - 1) ** 2 for step, made in steps)

    found = search(loss, {"boundness": 0.2, "intensity": 0.7}, {"boundness": (0, 1), "intensity": (0.3, 2)})
    assert found == pytest.approx({"boundness": 0.55, "intensity": 0.95}, rel=0.02)


def test_the_search_keeps_to_its_limits_and_to_what_has_none() -> None:
    found = search(lambda v: (v["a"] - 9) ** 2 + (v["b"] - 9) ** 2, {"a": 1.0, "b": 2.0}, {"a": (0.0, 5.0)})
    assert found == {"a": 5.0, "b": 2.0}


def test_a_changed_gpu_has_whole_clocks() -> None:
    changed = change(GPUS["h200"], {"knee_mhz": 1000.6, "b_w_per_mhz": 0.25})
    assert (changed.knee_mhz, changed.b_w_per_mhz) == (1001, 0.25)


def test_decode_power_of_a_measured_gpu_is_its_own() -> None:
    measured = {
        (point.gpu, point.tokens): point.power_w
        for point in tables.batch_points(tables.DATA)
        if point.source == "operators" and point.is_fitted
    }
    rows = [row for row in dvfs_calibration.run() if row.get("source") == "operators" and row.get("half") == "fitted"]
    assert {(row["gpu"], row["tokens_per_step"]): row["simulated_w"] for row in rows} == pytest.approx(measured, rel=0.01)


@pytest.mark.smoke
def test_the_stored_parameters_are_those_of_the_fit() -> None:
    """The search starts from the stored values; curve parameters that no SM clock pins may move a little."""
    rows = list(dvfs_calibration.run(refit=True))
    assert {row["gpu"] for row in rows} == {"rtx-3090", "rtx-4090", "rtx-5090", "h200", "b200", "gb200"}
    for row in rows:
        assert row["fitted"] == pytest.approx(row["stored"], rel=0.15), row
        if row["of"] == "decode":
            assert row["fitted"] == pytest.approx(row["stored"], rel=0.01), row


def test_the_table_of_gemms_has_quartiles_of_large_operators_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    duckdb = pytest.importorskip("duckdb")
    large = ", ".join(f"('bfloat16', 8, 20000, 10000, {watts}.0, 700.0)" for watts in (100, 200, 300, 400, 500))
    other = (
        "('fp8_block', 8, 20000, 10000, 9.0, 700.0), ('bfloat16', 8, 4096, 4096, 9.0, 700.0), "
        "('bfloat16', 9, 20000, 10000, 9.0, 700.0)"
    )
    for name in derive.GPUS.values():
        path = tmp_path / f"{name}-vllm-0.22.0-gemm_perf.parquet"
        rows = f"(values {large}, {other}) as t(gemm_dtype, m, n, k, power, power_limit)"
        duckdb.execute(f"copy (select * from {rows}) to '{path}' (format parquet)")
    derive.main(tmp_path)
    expected = [f"{gpu},decode,8,5,200.0,300.0,400.0,700" for gpu in derive.GPUS]
    assert capsys.readouterr().out.splitlines() == [derive.HEAD, *expected]


def test_a_missing_table_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tables.DATA / "aiconfigurator", tmp_path / "aiconfigurator")
    assert main(["dvfs_calibration", "--data", str(tmp_path)]) == 2
    assert "serving_power.csv: cannot read the measured table" in capsys.readouterr().err


def test_every_file_of_a_sweep_is_used_and_has_its_source() -> None:
    used = {tables.DATA / table.path for table in tables.CAP_TABLES}
    assert used == {path for folder in ("club-3090", "qwen38-mtp") for path in (tables.DATA / folder).glob("*.csv")}
    for folder in ("club-3090", "qwen38-mtp", "aiconfigurator", "ml-energy-v3"):
        assert "Apache-2.0" in (tables.DATA / folder / "SOURCE.md").read_text()
