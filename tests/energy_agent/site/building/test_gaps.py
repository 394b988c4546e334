"""Gaps of meters filled from meters below, from readings and from the mean: bounds, and parts that sum to the whole."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Method
from energy_agent.core.meters.facility import MeterEnergy, MeterFacts, Position, Role
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.site.building.gaps import (
    BELOW,
    CELL_NS,
    MEAN,
    READINGS,
    MeteredCells,
    MeterFill,
    bridge_gaps,
    fill_gaps,
    grid_cells,
    signed_cells,
    with_fills,
)
from energy_agent.site.building.ratio import energy

KWH = UJ_PER_KWH
MAIN = MeterFacts("main", Role.TOTAL, max_mw=100_000_000)
UPS = MeterFacts("ups", Role.IT, Position.UPS_OUTPUT, "main")
CHILLER = MeterFacts("chiller", Role.COOLING, parent="main")
ROOF = MeterFacts("roof", Role.RENEWABLE)


def cells(energies: list[int], unread: set[int] = frozenset()) -> dict[int, tuple[int, int]]:  # type: ignore[assignment]
    """Metered cells, one after the other."""
    return {n * CELL_NS: (uj, CELL_NS) for n, uj in enumerate(energies) if n not in unread}


def meters_of(facts: list[MeterFacts], read: Mapping[str, MeteredCells], count: int) -> dict[str, MeterEnergy]:
    """What each meter counted in that many cells, all of which it was declared."""
    whole = (0, count * CELL_NS)
    sums = {f.id: [sum(column) for column in zip((0, 0), *read[f.id].values(), strict=True)] for f in facts}
    return {f.id: MeterEnergy(f, whole[1], sums[f.id][1], {Method.COUNTER: sums[f.id][0]}, 0, lives=(whole,)) for f in facts}


def filled(facts: list[MeterFacts], read: Mapping[str, MeteredCells], count: int) -> dict[str, MeterFill]:
    meters = meters_of(facts, read, count)
    return fill_gaps(meters, ["main"], read.__getitem__, {"main": [(0, count * CELL_NS)]})


def test_the_rest_of_the_load_is_at_its_mean_and_at_most_at_its_highest() -> None:
    """Four cells of 10, 11, 12, 11 kWh with 8 kWh of the UPS and 1 of the chiller below: the rest is 1, 2, 3, 2.

    In two more cells the UPS had 6 and 7 kWh and the chiller 1: 6 + 1 + 2 and 7 + 1 + 2 kWh are put in, at least 6 + 1 and
    7 + 1, at most 6 + 1 + 3 and 7 + 1 + 3.
    """
    read = {
        "main": cells([each * KWH for each in (10, 11, 12, 11, 0, 0)], {4, 5}),
        "ups": cells([each * KWH for each in (8, 8, 8, 8, 6, 7)]),
        "chiller": cells([KWH] * 6),
    }
    fill = filled([MAIN, UPS, CHILLER], read, 6)["main"]
    rows = [(c.uj // KWH, c.low_uj // KWH, (c.high_uj or 0) // KWH, c.basis) for c in fill.cells.values()]
    assert rows == [(9, 7, 10, BELOW), (10, 8, 11, BELOW)]
    whole = fill.within(0, 6 * CELL_NS)
    assert (whole.uj, whole.low_uj, whole.high_uj) == (19 * KWH, 15 * KWH, 21 * KWH)


def test_errors_of_the_meters_widen_the_bounds() -> None:
    """UPS of 1 %, main of 2 %: at least 8 / 1.01 kWh flowed, and at most 8 / 0.99 and the rest of 10 / 0.98 - 8 / 1.01."""
    read = {"main": cells([10 * KWH] * 2, {1}), "ups": cells([8 * KWH] * 2)}
    facts = [replace(MAIN, accuracy_ppm=20_000), replace(UPS, accuracy_ppm=10_000)]
    (cell,) = filled(facts, read, 2)["main"].cells.values()
    most = Fraction(800, 99) + Fraction(1000, 98) - Fraction(800, 101)
    assert (cell.low_uj, cell.high_uj) == (8 * KWH * 100 // 101, ceil(KWH * most))


def test_what_no_meter_below_saw_is_at_the_mean_and_bounded_by_the_maximum() -> None:
    """10 kWh in each of three cells, nothing in the fourth; 100 kW are 25 kWh in a quarter of an hour."""
    for ups in (cells([8 * KWH] * 4, {3}), cells([])):
        fill = filled([MAIN, UPS], {"main": cells([10 * KWH] * 4, {3}), "ups": ups}, 4)["main"]
        assert [(c.uj, c.low_uj, c.high_uj, c.basis) for c in fill.cells.values()] == [(10 * KWH, 0, 25 * KWH, MEAN)]


def test_a_rest_that_was_seen_for_less_time_than_the_gap_does_not_bound_it() -> None:
    """One cell of 10 kWh with 8 below; in three others 8 were below: at least 24, at most three cells at 100 kW."""
    read = {"main": cells([10 * KWH] * 4, {1, 2, 3}), "ups": cells([8 * KWH] * 4)}
    whole = filled([MAIN, UPS], read, 4)["main"].within(0, 4 * CELL_NS)
    assert (whole.low_uj, whole.high_uj) == (24 * KWH, 75 * KWH)


@pytest.mark.parametrize(
    ("kwh", "value", "low", "high", "basis"),
    [
        (41, 11, 11, 11, READINGS),  # 41 less 3 x 10
        (44, 10, 8, 12, BELOW),  # 14 is more than could flow
        (37, 10, 8, 12, BELOW),  # 7 is less than flowed below
    ],
)
def test_two_readings_bridge_a_gap(kwh: int, value: int, low: int, high: int, basis: str) -> None:
    """Three cells of 10 kWh of which one had 4 beyond the UPS, one 0: the fourth is 8 to 12 by the meters below."""
    read = {"main": cells([10 * KWH, 12 * KWH, 8 * KWH, 0], {3}), "ups": cells([8 * KWH] * 4)}
    facts, span = [MAIN, UPS], (0, 4 * CELL_NS)
    meters = meters_of(facts, read, 4)
    readings = {span: Fraction(kwh * KWH)}
    fills = bridge_gaps(filled(facts, read, 4), meters, {"main": 1}, read.__getitem__, readings, span)
    whole = fills["main"].within(*span)
    assert (whole.uj, whole.low_uj, whole.high_uj) == (value * KWH, low * KWH, high * KWH)
    assert {cell.basis for cell in fills["main"].cells.values()} == {basis}


def test_readings_of_a_longer_time_than_the_window_bridge_nothing() -> None:
    read = {"main": cells([10 * KWH] * 4, {3})}
    meters, span = meters_of([MAIN], read, 4), (0, 4 * CELL_NS)
    readings = {(0, 5 * CELL_NS): Fraction(39 * KWH)}
    fills = bridge_gaps(filled([MAIN], read, 4), meters, {"main": 1}, read.__getitem__, readings, span)
    assert fills["main"].cells[3 * CELL_NS].basis == MEAN


ENERGIES = st.lists(st.tuples(st.integers(0, 4 * KWH), st.integers(0, KWH), st.integers(0, KWH)), min_size=8, max_size=40)


@given(ENERGIES, st.sets(st.integers(0, 39), max_size=20), st.sets(st.integers(0, 39), max_size=20), st.booleans())
def test_parts_sum_to_the_total_and_bounds_contain_the_value(
    loads: list[tuple[int, int, int]], unread: set[int], blind: set[int], bridged: bool
) -> None:
    """A feed with a UPS below and a roof next to it, read at random; any cut of the window sums to it, and so do the cells."""
    count, span = len(loads), (0, len(loads) * CELL_NS)
    truth = [ups + rest for ups, rest, _ in loads]
    read = {
        "main": cells(truth, unread),
        "ups": cells([ups for ups, *_ in loads], blind),
        "roof": cells([roof_uj for *_, roof_uj in loads]),
    }
    facts = [MAIN, UPS, ROOF]
    meters, terms = meters_of(facts, read, count), {"main": 1}
    fills = fill_gaps(meters, ["main", "roof"], read.__getitem__, {"main": [span], "roof": [span]})
    if bridged:
        fills = bridge_gaps(fills, meters, terms, read.__getitem__, {span: Fraction(sum(truth))}, span)
    if not meters["main"].measured_ns:
        assert not fills
        return
    amount = energy(with_fills(meters, fills, span), terms)
    assert amount.value is not None
    assert amount.low is not None
    assert amount.high is not None
    assert amount.low <= amount.value <= amount.high
    assert sum(signed_cells(terms, read.__getitem__, fills).values()) == amount.value
    assert sum(grid_cells(terms, read.__getitem__, fills, int(amount.value)).values()) == amount.value
    assert amount.low <= sum(truth) or not unread
    if bridged and "main" in fills and any(cell.basis == READINGS for cell in fills["main"].cells.values()):
        assert amount.value == amount.low == amount.high == sum(truth)
    cut = [0, (count // 3) * CELL_NS, (2 * count // 3) * CELL_NS, span[1]]
    parts = [fills["main"].within(*each).uj for each in pairwise(cut)] if "main" in fills else [0]
    assert sum(parts) == (fills["main"].within(*span).uj if "main" in fills else 0)
    for n in set(range(count)) - unread:
        assert "main" not in fills or n * CELL_NS not in fills["main"].cells
