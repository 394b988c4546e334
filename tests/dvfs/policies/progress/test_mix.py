"""The lower hull and what is taken in turns on it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.policies.progress._mix import SettingTradeoff, hull, least_energy, shares

POINTS = st.lists(st.tuples(st.floats(0.001, 0.5), st.floats(0.3, 1.2)), max_size=8).map(
    lambda found: [SettingTradeoff(0.0, 1.0, 1000.0), *(SettingTradeoff(s, e, float(i)) for i, (s, e) in enumerate(found))]
)


@given(POINTS, st.floats(0, 0.6))
def test_no_mix_of_any_two_points_needs_less(points: list[SettingTradeoff], slowdown: float) -> None:
    line = hull(points)
    taken = shares(line, slowdown)
    by_setting = {p.setting: p for p in points}
    assert sum(taken.values()) == pytest.approx(1)
    assert sum(part * by_setting[s].slowdown for s, part in taken.items()) <= slowdown + 1e-9
    least = least_energy(line, slowdown)
    for a, b in itertools.product(points, points):
        for part in (0.0, 0.25, 0.5, 0.9):
            if (1 - part) * a.slowdown + part * b.slowdown <= slowdown:
                assert least <= (1 - part) * a.energy + part * b.energy + 1e-9


@given(POINTS)
def test_along_the_hull_energy_falls_as_slowdown_rises(points: list[SettingTradeoff]) -> None:
    line = hull(points)
    assert line[0].slowdown == 0
    slopes = [(b.energy - a.energy) / (b.slowdown - a.slowdown) for a, b in itertools.pairwise(line)]
    assert all(slope < 0 for slope in slopes)
    assert slopes == sorted(slopes)
