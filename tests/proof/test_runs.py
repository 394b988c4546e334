"""The long runs of benchmarks/: each whole under `proof`, and a small smoke of it in `make test-all`.

No bar of the smokes is a timing: they show that the run still runs and that what must hold exactly does.
"""

import pytest

from benchmarks import exactness, faults, ledger_scale
from tests.support import need_module


@pytest.mark.smoke
@pytest.mark.timeout(180)
def test_a_short_exactness_run_conserves_and_never_falls():
    result = exactness.run(seconds=25, kills=4, seed=11)
    assert result.agent_kills + result.reader_kills == 4
    assert result.conserved
    assert (result.chain_faults, result.fell, result.overbooked) == (0, 0, 0)
    assert result.total_held
    assert result.devices_held == result.devices == 8
    assert abs(result.error_total) < 0.01  # the bar of 0.1 % is for ten minutes: edges weigh more in a short run


@pytest.mark.smoke
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["lost", "counter_reset", "stuck_sensor"])
def test_a_fault_is_told_and_recovered_from(kind):
    for outcome in faults.run(hang_s=6, only=kind):
        assert outcome.told
        assert outcome.same_agent
        assert outcome.back_s is not None


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_exactness_for_ten_minutes():
    result = exactness.run(seconds=600, kills=50, seed=1)
    assert result.ok, result


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_every_fault_and_a_call_hung_for_a_minute():
    outcomes = faults.run(hang_s=60)
    assert [o for o in outcomes if not o.ok] == []


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_cost_beside_nvitop_exporter():
    need_module("nvitop_exporter")
    from benchmarks import cost

    found = cost.run(seconds=120)
    assert found["cpu_of_nvitop_ratio"] <= 0.25, found
    assert found["agent_pss_mib"] <= 80, found
    assert found["agent_10hz_cpu_ratio"] <= 0.02, found


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_a_fleet_day_compacts_and_sums_exactly():
    assert ledger_scale.main([]) == 0
