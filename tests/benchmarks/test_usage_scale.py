"""The days of `usage_scale` hold each joule of the fleet that they were made of once per copy."""

import pytest

from benchmarks import sample_fleet
from benchmarks.usage_scale import multiply_days
from energy_agent.core.units import NS_PER_DAY
from tests.reports.ledger import sql_days
from wattlens.cli import main
from wattlens.usage.compacted_days import read_days
from wattlens.usage.statement import GroupBy

PERIOD = (sample_fleet.FIRST_NS, sample_fleet.FIRST_NS + 3 * NS_PER_DAY)


@pytest.mark.smoke
def test_three_copies_of_a_fleet_use_three_times_its_energy(tmp_path, monkeypatch):
    segments, days = sql_days.make(tmp_path, monkeypatch) / "segments", tmp_path / "one"
    assert main(["ledger", "compact", "--out", str(days), "--site", "one", str(segments)]) == 0
    multiply_days(days, tmp_path / "fleet", 3)
    one, three = (read_days(str(folder), GroupBy.WORKLOAD, *PERIOD) for folder in (days, tmp_path / "fleet"))
    assert three.total.energy.energy_uj == 3 * one.total.energy.energy_uj
    assert three.total.tokens == {phase: 3 * count for phase, count in one.total.tokens.items()}
    assert (three.scope.gpus, three.scope.nodes) == (3 * one.scope.gpus, 3 * one.scope.nodes)
    assert len(three.rows) == 3 * (len(one.rows) - 1) + 1
