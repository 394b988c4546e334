import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Method, State
from energy_agent.ledger.rows.kinds import Cell, DeviceFacts, EdgeRow, GapRow
from energy_agent.ledger.rows.uncertainty import EdgeRun, bound_of, combine, systematic_uj
from energy_agent.ledger.summary import bounds, cell_bounds
from tests.energy_agent.ledger.cases import T0


@given(st.integers(0, 10**20), st.integers(0, 400_000), st.floats(-1, 1))
def test_the_systematic_part_holds_the_truth_of_any_gain(true_uj, gain_ppm, at):
    gain = int(at * gain_ppm)
    measured = true_uj * (1_000_000 + gain) // 1_000_000
    assert abs(measured - true_uj) <= systematic_uj(measured, gain_ppm) + 2


def test_gains_add_linearly_and_the_gap_bound_is_in_the_upper_bound_alone():
    b = combine({"a": 1_000}, {"a": 0}, [[EdgeRun(0, 1, 10, 5, 10)]], [300])
    assert (b.low_uj, b.energy_uj, b.high_uj) == (975, 1_000, 1_325)
    one = combine({"a": 10**9}, {"a": 50_000}, [])
    many = combine({str(i): 10**9 for i in range(100)}, {str(i): 50_000 for i in range(100)}, [])
    assert many.systematic_uj == 100 * one.systematic_uj
    with pytest.raises(KeyError):
        combine({"a": 1}, {}, [])
    with pytest.raises(ValueError):
        systematic_uj(1, 1_000_000)


@pytest.mark.parametrize(
    ("runs", "bound"),
    [
        ([], 0),
        ([EdgeRun(10, 20, 3, 0, 4), EdgeRun(0, 10, 2, 0, 3), EdgeRun(25, 30, 7, 1, 8)], 2 + 4 + 7 + 1 + 8),
        (
            [EdgeRun(0, 10, 1, 0, 5, 0), EdgeRun(10, 20, 5, 0, 1, 0)],
            2,
        ),  # shares that are not known cancel only where they are equal
        ([EdgeRun(0, 10, 1, 0, 5, 0), EdgeRun(10, 20, 9, 0, 1, 0)], 2 + 9),
    ],
)
def test_runs_that_meet_cancel_in_any_order(runs, bound):
    assert bound_of(runs) == bound_of(runs[::-1]) == bound


def cell(device, workload, uj):
    return Cell(T0, device, workload, State.ACTIVE, Method.COUNTER, uj, 0, EdgeRun(T0, T0 + 9, 1, 2, 3))


def test_bounds_of_rows_take_the_spans_of_the_requested_rows():
    rows = [
        cell("a", "w", 100_000),
        cell("a", "v", 50_000),
        cell("b", "w", 10_000),
        EdgeRow(T0, "a", "", EdgeRun(T0, T0 + 9, 10, 0, 10)),
        EdgeRow(T0, "a", "w", EdgeRun(T0, T0 + 9, 7, 0, 7)),
        EdgeRow(T0, "b", "", EdgeRun(T0, T0 + 9, 5, 0, 5)),
        GapRow(T0, "b", "lost", T0, T0 + 9, 400),
        DeviceFacts("a", "H100", 0.01, T0),
        DeviceFacts("b", "H100", 0.01, T0),
    ]
    assert (bounds(rows).energy_uj, bounds(rows).edge_uj, bounds(rows).gap_bound_uj) == (160_000, 30, 400)
    mine = bounds(rows, workload="w", device="a")
    assert (mine.energy_uj, mine.edge_uj, mine.gap_bound_uj) == (100_000, 14, 0)
    assert cell_bounds([cell("a", "w", 100_000)], {"a": 0}).edge_uj == 6
