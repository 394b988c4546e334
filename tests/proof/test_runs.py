"""A small smoke of each long run of benchmarks/, in `make test-all`; `make proof` runs them whole.

No bar of the smokes is a timing: they show that the run still runs and that what must hold exactly does.
"""

import json

import pytest

from benchmarks import (
    attribution,
    cost,
    dvfs_claims,
    dvfs_safety,
    exactness,
    hostile,
)
from benchmarks.hostile import web
from benchmarks.runner import call
from tests.support import need_module


@pytest.mark.smoke
@pytest.mark.timeout(360)
def test_a_short_exactness_run_conserves_and_never_falls():
    result = exactness.run(seconds=25, kills=4, seed=11)
    assert result["agent_kills"] + result["reader_kills"] == 4
    assert result["conserved"]
    assert (result["chain_faults"], result["fell"]) == (0, 0)
    assert result["total_held"]
    assert result["devices_held"] == result["devices"] == 8
    # This invariant of the ledger does not depend on the share of gaps, which is large in so short a run. Per device, energy
    # that a counter showed and the ledger lacks is declared, and the ledger records no energy that no counter showed. Four of
    # the eight devices have neither a gap nor a reset, so they may lack at most 0.3 s at their last reading. An entry of one
    # second that is lost on its way to the ledger breaks this, as does a gap without its row or an unrecorded bridge over a
    # kill. Energy that is recorded twice breaks the other half.
    assert (result["underbooked"], result["overbooked"]) == (0, 0)


@pytest.mark.smoke
@pytest.mark.timeout(360)
def test_the_cost_run_measures_both_exporters():
    need_module("nvitop_exporter")
    agent, peer, fast = cost.run("nvitop", seconds=4)
    assert agent["processes"] >= 2  # a prober may come and go where a board answered late
    assert max(agent["pss_mib"]) <= 80
    assert min(peer["cpu"], fast["cpu"]) > 0


@pytest.mark.smoke
@pytest.mark.timeout(360)
def test_hostile_clients_cost_no_scrape():
    for row in web.run(seconds=2, only=("nobody", "silent", "wrong_credentials")):
        assert row["failed"] == 0
        assert row["scrapes"] > 0
        assert (row["attempts_per_s"] > 0) == (row["kind"] != "nobody")


@pytest.mark.smoke
@pytest.mark.timeout(240)
def test_energy_is_exact_in_peace():
    (row,) = hostile.run("nobody", seconds=3)
    assert row["counter_difference_uj"] == 0
    assert row["recorded_uj"] > 0
    assert row["memory_peak_mib"] > 0
    assert (row["unattributed"], row["memory_kills"]) == (0, 0)


@pytest.mark.smoke
@pytest.mark.timeout(360)
def test_what_metrics_endpoints_cost_is_measured():
    (row,) = cost.run("serving", seconds=6, warm_up_s=3)
    assert row["cpu"] > 0
    assert max(row["pss_mib"]) <= 96


@pytest.mark.smoke
@pytest.mark.timeout(360)
def test_the_cost_of_top_is_measured_next_to_nvitop():
    need_module("nvitop")
    rows = list(cost.run("top", seconds=4, warm_up_s=3))
    assert [row["program"] for row in rows] == ["top", "top with private agent", "nvitop"]
    assert all(row["running"] and row["output_b_per_s"] > 0 for row in rows)


@pytest.mark.smoke
@pytest.mark.timeout(360)
def test_shared_gpus_are_attributed_close_to_the_plants_truth():
    """Bars are those of the long run: a short one has as many windows to settle as its loads have changes."""
    rows = list(attribution.run(seconds=60, nodes=2, seed=5))
    assert {row["mode"] for row in rows} == set(attribution.MODES)
    assert all(row["conserved"] for row in rows)
    assert all(row["processes"] > 0 for row in rows)
    busy = [row for row in rows if row["kernels"] == "busy" and row["mode"] != "mps"]
    assert [row["ok"] for row in busy] == [True] * 3
    alike = [row for row in rows if row["kernels"] == "alike" and row["mode"] in ("time-sliced", "mps")]
    assert all(row["active_median"] < 0.10 for row in alike)


@pytest.mark.smoke
@pytest.mark.timeout(360)
def test_a_day_claims_most_of_what_is_saved_and_never_more():
    for name in dvfs_claims.CLASSES:
        days = [dvfs_claims.day((name, seed)) for seed in range(8)]
        assert sum(over for over, _, _ in days) <= 1, name
        if "10 %" in name:
            assert sorted(claimed_j / saved_j for _, claimed_j, saved_j in days)[4] > 0.5, name


@pytest.mark.smoke
@pytest.mark.timeout(600)
def test_whatever_happens_on_a_steered_node_its_settings_are_put_back():
    (result,) = dvfs_safety.run(events=12, kills=0, seed=5)
    assert len(result["events"]) == 12
    assert result["settings_seen"] > 0
    assert result["ok"], result


@pytest.mark.smoke
@pytest.mark.timeout(600)
def test_whoever_is_killed_or_frozen_every_joule_is_recorded_and_settings_come_back():
    *rounds, end = dvfs_safety.run(events=0, kills=5, nodes=1, seed=5)
    assert sum(row["processes"] for row in rounds) >= 5
    assert end["recorded_uj"] > 0
    assert end["counter_difference_uj"] == 0
    assert (end["strange"], end["original_settings_at_end"], end["ledger_verifies"]) == ([], True, True)


@pytest.mark.smoke
def test_a_command_prints_its_rows_and_fails_below_a_bar(capsys):
    assert call("dvfs_claims", ["--runs", "2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["saving"] for row in printed] == list(dvfs_claims.CLASSES)
    assert all(row["ok"] for row in printed)
