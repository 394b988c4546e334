"""The interval of a comparison: its coverage, its t points against known ones."""

import random

import pytest

from wattlens.comparison import compare, student95


def test_equal_runs_are_told_apart_in_at_most_about_one_of_twenty():
    rng = random.Random(1)
    shown = sum(
        compare([rng.lognormvariate(5, 0.05) for _ in range(4)], [rng.lognormvariate(5, 0.05) for _ in range(4)]).shown
        for _ in range(2000)
    )
    assert 0.02 < shown / 2000 < 0.06


def test_a_true_ratio_lies_in_the_interval():
    rng = random.Random(2)
    held = 0
    for _ in range(1000):
        a, b = [rng.lognormvariate(5, 0.03) for _ in range(5)], [rng.lognormvariate(5, 0.1) * 0.8 for _ in range(3)]
        found = compare(a, b)
        held += found.low <= 0.8 <= found.high
    assert held >= 930


def test_points_of_student():
    assert student95(1) == 12.706
    assert student95(4.9) == 2.776
    for freedom, exact in ((40, 2.021), (60, 2.000), (120, 1.980)):
        assert exact <= student95(freedom) < exact + 0.01


@pytest.mark.parametrize("sides", [([1.0], [1.0, 2.0]), ([0.0, 1.0], [1.0, 2.0])])
def test_too_little_is_refused(sides):
    with pytest.raises(ValueError):
        compare(*sides)
