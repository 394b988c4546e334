"""The demo's summary of its ledger rows, against a calculation by hand."""

from dataclasses import replace

import pytest

from energy_agent.core.proof import Analysis, PairedBlocks
from wattlens.demo.result import proven

TOLD = Analysis(
    9, "serving", "job", "static", 1, 1, 5, 1, 25_000_000, 900, 100, -100, 300, 0, 0, 20_000, -10_000, 50_000, "latency", ""
)
PAIR = PairedBlocks(8, "serving", "job", "static", 1, 0, 900, 9, 9, 9, 0, 0, 9, 9, 9, 0, 0, "open", "")


def test_ratios_are_of_what_would_have_been_used() -> None:
    """900 uJ under the setting and 100 saved: 10 % of 1000; from -100 of 800 to 300 of 1200."""
    proof = proven([PAIR, TOLD], 5)
    assert proof["saving_ratio"] == {"value": 0.1, "lower": -0.125, "upper": 0.25}
    assert proof["slowdown_ratio"] == {"value": 0.02, "lower": -0.01, "upper": 0.05}
    assert (proof["pairs"], proof["slowdown_of"], proof["claimable_uj"]) == (5, "latency", 0)


def test_a_claim_is_the_sum_of_all_adjustments() -> None:
    rows = [replace(TOLD, claimed_uj=70), replace(TOLD, number=2, claimed_uj=-50, lost_uj=3)]
    assert [proven(rows[::way], 5)["claimable_uj"] for way in (1, -1)] == [20, 20]
    assert proven(rows, 5)["lost_uj"] == 3


@pytest.mark.parametrize(
    ("rows", "pairs", "reason"),
    [
        ([], 0, "0 of the 5 pairs"),
        ([PAIR, replace(PAIR, number=1), replace(PAIR, number=2, excluded="no readings")], 2, "2 of the 5 pairs"),
        ([PAIR, replace(TOLD, pairs=1, reason="needs more")], 1, "needs more"),
    ],
)
def test_what_proves_nothing_has_its_reason(rows: list[Analysis | PairedBlocks], pairs: int, reason: str) -> None:
    proof = proven(rows, 5)
    assert proof["reason"].startswith(reason)
    assert (proof["pairs"], "saving_ratio" in proof) == (pairs, False)
