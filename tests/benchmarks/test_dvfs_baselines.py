"""The benchmark of search rules for training jobs."""

import pytest

from benchmarks.dvfs_baselines import mixing_saving
from dvfs.tables import SettingRow, SettingTable


def test_mixing_uses_the_budget_up() -> None:
    table = SettingTable("t", "power_limit_w", (SettingRow(100, 1.2, 50), SettingRow(200, 1.0, 100)))
    assert mixing_saving(table, 0.1) == pytest.approx(0.2)
    assert mixing_saving(table, 0.3) == pytest.approx(0.4)
