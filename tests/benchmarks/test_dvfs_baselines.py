"""The benchmark of search rules for training jobs."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import dvfs_baselines
from benchmarks.drawn_tables import WorkChange, draw_cell, draw_table
from benchmarks.dvfs_baselines import mixing_saving
from benchmarks.dvfs_budget import compare, divide
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
    rows = list(dvfs_baselines.run(("training",), cells=4, table=()))
    difference = next(row for row in rows if row["rule"] == "progress - bisect")
    saved = {row["rule"]: row["saving_percent"] for row in rows if row["tables"] == difference["tables"]}
    assert difference["saving_percent"] == pytest.approx(saved["progress"] - saved["bisect"])
    assert difference["low_95_percent"] < difference["saving_percent"]
    assert all(math.isfinite(row["saving_percent"]) for row in rows)


def test_a_power_budget_is_divided_watt_by_watt() -> None:
    steep, flat = (lambda power: power / 100), (lambda power: power / 200)
    assert divide([steep, flat], 100, 250, 400) == [250, 150]
    assert divide([flat, flat], 100, 250, 400) == [pytest.approx(200, abs=25)] * 2
    assert sum(divide([lambda power: min(power, 150) / 150] * 2, 100, 250, 400)) == 300, "what brings nothing is not given"


def test_rules_for_a_power_budget_are_between_the_least_limits_and_the_best() -> None:
    (row,) = compare(dvfs_baselines.TABLES[:1], nodes=5, seed=1)
    assert row["nodes"] == 5
    assert 50 < row["equal_percent"] <= row["tables_percent"] + 0.5 < 101
