"""What a fleet's figures should be, by hand; and that a figure that is off by a microjoule is seen."""

from fractions import Fraction
from pathlib import Path

from benchmarks.report_expected import bounds, differences, expected
from benchmarks.report_fleet import MARGIN, edge_uj
from benchmarks.report_ledger import CompactedLedger
from benchmarks.report_truth import ExpectedTotals

KWH = 3_600_000_000_000


def ledger():
    """One cell in Iceland: a team's GPUs used 1 kWh, its host another, half a kWh was held by nobody; the building 3 kWh."""
    truth = ExpectedTotals(
        cells={"rvk": {MARGIN: {"team-a|p|llama|fp8|": [KWH, 0, 0, KWH], "": [0, 0, KWH // 2, 0]}}},
        tokens={"rvk/team-a|p|llama|fp8|/llama/generation": 1_000},
        gaps={"rvk/gpu_dead": [7, 900 * 10**9]},
        boards={"0/0": [KWH, 2], "0/1": [KWH // 2, 1], "0/8": [KWH, 1]},
        gpu_ns=2 * 3600 * 10**9,
    )
    return CompactedLedger(Path(), Path(), truth, {"rvk": {"main": {MARGIN: 3 * KWH}, "it": {MARGIN: 5 * KWH // 2}}}, [])


def facts(made):
    """A document that says what is expected."""
    figures = [{"id": identity, "value": str(Fraction(value))} for identity, value in expected(made)]
    for identity, (low, high) in bounds(made.truth).items():
        found = next(f for f in figures if f["id"] == identity)
        found |= {"low": str(Fraction(low, 10**6)), "high": str(Fraction(high, 10**6))}
    told = {"active_uj": str(KWH), "idle_uj": "0", "unheld_uj": str(KWH // 2)}
    return {"figures": figures, "conservation": told | dict.fromkeys(("device_uj", "cells_uj"), str(KWH * 3 // 2))}


def test_figures_by_hand():
    """Iceland's grid emits 28.330019 g/kWh (Ember). 3 kWh: 84.990057 g; the team's 2 kWh at a PUE of 3 / 2.5: 67.9920456 g."""
    found = dict(expected(ledger()))
    assert found["energy.gpu"] == found["energy.gpu/site/rvk"] == 5_400_000
    assert found["energy.gpu.unheld"] == 1_800_000
    assert found["energy.node"] == 9_000_000
    assert found["energy.held/team/team-a"] == found["energy.held/model/llama (fp8)"] == 3_600_000
    assert found["energy.held.node/project/team-a/p"] == 7_200_000
    assert found["energy.facility/site/rvk"] == 10_800_000
    assert found["co2e.lifecycle.location"] == Fraction("84.990057")
    assert found["co2e.lifecycle.held.location/team/team-a"] == Fraction("67.9920456")
    assert found["gpu_hours"] == 2
    assert found["tokens.generation/team/team-a"] == 1_000


def test_bounds_by_hand():
    """1 kWh x 5 / 95 is 189,473,684,210.5 uJ, half of it 94,736,842,105.3: both rounded up. Three runs have two edges each."""
    low, high = bounds(ledger().truth)["energy.gpu"]
    wrong = 189_473_684_211 + 94_736_842_106 + 4 * edge_uj(0, 0) + 2 * edge_uj(0, 1)
    assert (low, high) == (KWH * 3 // 2 - wrong, KWH * 3 // 2 + wrong + 7)


def test_a_figure_that_is_off_by_one_is_seen():
    made = ledger()
    document = facts(made)
    wrong, equal, _ = differences(document, made)
    assert wrong == []
    assert equal == len(list(expected(made))) + 4
    for key, scale in (
        ("energy.gpu.active", Fraction(1, 10**6)),
        ("tokens.generation", Fraction(1)),
        ("co2e.lifecycle.location", 1),
    ):
        changed = facts(made)
        figure = next(f for f in changed["figures"] if f["id"] == key)
        figure["value"] = str(Fraction(figure["value"]) + scale)
        ((said,), _, _) = differences(changed, made)
        assert said.startswith(f"{key}: ")
    changed = facts(made)
    changed["conservation"]["cells_uj"] = str(KWH * 3 // 2 - 1)
    assert len(differences(changed, made)[0]) == 1
    changed = facts(made)
    changed["figures"][0]["high"] = "1"
    assert len(differences(changed, made)[0]) == 1


def test_sums_of_later_days_are_added():
    truth = ledger().truth
    truth.merge(ledger().truth)
    assert truth.cells["rvk"][MARGIN][""] == [0, 0, KWH, 0]
    assert truth.boards["0/0"] == [2 * KWH, 4]
