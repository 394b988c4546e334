"""The benchmark of search rules for training jobs."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import dvfs_baselines
from benchmarks.drawn_tables import WorkChange, draw_cell, draw_table
from benchmarks.dvfs_baselines import mixing_saving
from dvfs.policies.progress import SPEC
from dvfs.replay.table_files import load
from dvfs.replay.training import Weather, play, summary
from dvfs.tables import SettingRow, SettingTable


def test_mixing_uses_the_budget_up() -> None:
    table = SettingTable("t", "power_limit_w", (SettingRow(100, 1.2, 50), SettingRow(200, 1.0, 100)))
    assert mixing_saving(table, 0.1) == pytest.approx(0.2)
    assert mixing_saving(table, 0.3) == pytest.approx(0.4)


def test_drawn_tables_are_convex_enough_to_mix_and_the_same_for_a_seed() -> None:
    for seed in range(30):
        table = draw_table(seed)
        assert table == draw_table(seed)
        times = [row.time_s for row in table.rows]
        assert times == sorted(times, reverse=True)
        assert 8 <= len(times) <= 40
        assert times[-1] == min(times)
        assert (
            mixing_saving(table, 0.1)
            >= 1
            - min(r.time_s * r.power_w for r in table.rows if r.time_s <= 1.1 * times[-1]) / (times[-1] * table.default.power_w)
            - 1e-12
        )


def test_drawn_cells_differ_in_length_noise_and_work() -> None:
    cells = [draw_cell(seed) for seed in range(40)]
    assert all(300 <= cell.steps <= 30_000 and 0.005 <= cell.weather.noise <= 0.08 for cell in cells)
    assert {cell.weather.stalls > 0 for cell in cells} == {cell.weather.ar > 0 for cell in cells} == {True, False}
    assert draw_cell(3, is_calm=True).table == cells[3].table
    change = WorkChange(rise=0.1, swing=0.0, swings=1.0, longer=2.0, at=0.5)
    assert (change(0.0), change(0.5)) == (0.0, pytest.approx(1.1))


def test_rows_compare_runs_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvfs_baselines, "ProcessPoolExecutor", ThreadPoolExecutor)
    rows = list(dvfs_baselines.run(cells=4, table=()))
    difference = next(row for row in rows if row["rule"] == "progress - bisect")
    saved = {row["rule"]: row["saving_percent"] for row in rows if row["tables"] == difference["tables"]}
    assert difference["saving_percent"] == pytest.approx(saved["progress"] - saved["bisect"])
    assert difference["low_95_percent"] < difference["saving_percent"]
    assert all(math.isfinite(row["saving_percent"]) for row in rows)


@pytest.mark.smoke
def test_progress_stays_within_its_budget_on_measured_tables() -> None:
    assert SPEC.trials is not None
    tables = [table.isotonic() for table in load(dvfs_baselines.TABLES[0])][:4]
    score = summary(
        [play(SPEC.trials, table, 0.05, 3000, seed, Weather()) for table in tables for seed in range(900, 904)], 0.05
    )
    assert score.whole_over_ratio == 0
    assert score.of_oracle_ratio is not None
    assert score.of_oracle_ratio > 0.8
