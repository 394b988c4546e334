"""Integer energy: splits that sum exactly, text that loses no digit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core import units


@given(st.integers(0, 10**24), st.lists(st.integers(0, 10**18), min_size=1, max_size=20))
def test_parts_sum_to_the_total_and_lie_within_one_of_their_share(total, weights):
    parts = units.split_integer(total, weights)
    assert sum(parts) == total
    base = sum(weights) or len(weights)
    for part, weight in zip(parts, weights if sum(weights) else [1] * len(weights), strict=True):
        assert abs(part * base - total * weight) < base


@given(st.integers(0, 10**12), st.lists(st.integers(1, 100), min_size=2, max_size=6))
def test_a_part_without_weight_gets_nothing(total, weights):
    assert units.split_integer(total, [0, *weights])[0] == 0


@pytest.mark.parametrize(("total", "weights"), [(1, []), (1, [-1]), (-1, [1])])
def test_what_cannot_be_split_is_an_error(total, weights):
    with pytest.raises(ValueError, match="cannot split"):
        units.split_integer(total, weights)


@given(st.integers(-(10**30), 10**30), st.sampled_from([1, 1_000, 10**6, 10**9]))
def test_decimal_text_is_exact_and_short(value, scale):
    text = units.decimal(value, scale)
    assert Fraction(text) * scale == value
    assert "." not in text or text[-1] not in ".0"
    assert "e" not in text.lower()


def test_a_kilowatt_hour():
    assert units.joules(units.UJ_PER_KWH) == 3.6e6
