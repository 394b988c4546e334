"""Bridges: effects sum to the change, do not depend on order, and are what a calculation by hand gives."""

from dataclasses import replace
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.figures.bridge import (  # fmt: skip
    EFFICIENCY,
    GRID,
    MIX,
    PUE,
    VOLUME,
    Bridge,
    Side,
    co2e_bridge,
    energy_bridge,
    mix_adjusted,
    node_bridge,
    shapley,
)

KWH_UJ = 3_600_000_000_000


def test_two_factors_by_hand() -> None:
    """Volume 100 -> 150, 2 -> 1 kWh each, PUE 1 both times: 200 -> 150 kWh.

    Volume: mean of (150-100) x 2 and (150-100) x 1 = 75. Efficiency: mean of 100 x (1-2) and 150 x (1-2) = -125. Sum -50.
    """
    before = Side({"": 100}, {"": 200 * KWH_UJ}, Fraction(1))
    after = Side({"": 150}, {"": 150 * KWH_UJ}, Fraction(1))
    bridge = energy_bridge(before, after)
    assert (bridge.before, bridge.after) == (200 * KWH_UJ, 150 * KWH_UJ)
    assert dict(bridge.effects) == {VOLUME: 75 * KWH_UJ, EFFICIENCY: -125 * KWH_UJ, PUE: 0}


def test_four_factors_of_co2e_by_hand() -> None:
    """1 -> 2 tokens, 1 -> 1/2 kWh each, PUE 2 -> 2, grid 100 -> 300 g/kWh: 200 -> 600 g.

    PUE is the constant 2 and drops out as a factor. Of v e g with v 1 -> 2, e 1 -> 1/2, g 100 -> 300 each effect is
    dx (2 y z + 2 Y Z + y Z + Y z) / 6, y, z before and Y, Z after:
    v: 1 (2x100 + 2x150 + 300 + 50) / 6 = 850/6; e: -1/2 (2x100 + 2x600 + 300 + 200) / 6 = -950/6;
    g: 200 (2x1 + 2x1 + 1/2 + 2) / 6 = 1300/6; sum 1200/6 = 200; times PUE 2 = 400.
    """
    before = Side({"": 1}, {"": KWH_UJ}, Fraction(2), Fraction(100))
    after = Side({"": 2}, {"": KWH_UJ}, Fraction(2), Fraction(300))
    bridge = co2e_bridge(before, after)
    assert (bridge.before, bridge.after) == (200, 600)
    assert dict(bridge.effects) == {
        VOLUME: Fraction(850, 3), EFFICIENCY: Fraction(-950, 3), PUE: 0, GRID: Fraction(1300, 3),
    }  # fmt: skip


def test_other_traffic_is_mix_and_not_efficiency() -> None:
    """Each model takes what it took; large one 3 kWh, small one 1 kWh; 50:50 becomes 25:75 of 100: 200 -> 150 kWh."""
    before = Side({"large": 50, "small": 50}, {"large": 150 * KWH_UJ, "small": 50 * KWH_UJ})
    after = Side({"large": 25, "small": 75}, {"large": 75 * KWH_UJ, "small": 75 * KWH_UJ})
    assert dict(node_bridge(before, after).effects) == {VOLUME: 0, MIX: -50 * KWH_UJ, EFFICIENCY: 0}
    adjusted = mix_adjusted(before, after)
    assert (adjusted.before, adjusted.after, adjusted.left_out) == (2 * KWH_UJ, 2 * KWH_UJ, ())


def test_a_model_that_comes_or_goes_is_mix() -> None:
    """50 of "old" at 2 kWh go, 50 of "new" at 4 kWh come, "same" stays with 50 at 1 kWh: 150 -> 250 kWh, all of it mix."""
    before = Side({"old": 50, "same": 50}, {"old": 100 * KWH_UJ, "same": 50 * KWH_UJ})
    after = Side({"new": 50, "same": 50}, {"new": 200 * KWH_UJ, "same": 50 * KWH_UJ})
    assert dict(node_bridge(before, after).effects) == {VOLUME: 0, MIX: 100 * KWH_UJ, EFFICIENCY: 0}
    assert mix_adjusted(before, after).left_out == ("new", "old")


def test_mix_adjusted_by_hand() -> None:
    """Mix before 3:1; a 2 -> 1 kWh, b 4 -> 6 kWh: (3x2 + 4)/4 = 2.5 -> (3x1 + 6)/4 = 2.25, whatever the mix is now."""
    before = Side({"a": 30, "b": 10}, {"a": 60 * KWH_UJ, "b": 40 * KWH_UJ})
    after = Side({"a": 1, "b": 100}, {"a": KWH_UJ, "b": 600 * KWH_UJ})
    intensity = mix_adjusted(before, after)
    assert (intensity.before, intensity.after) == (Fraction(5, 2) * KWH_UJ, Fraction(9, 4) * KWH_UJ)


def test_nothing_in_common_has_no_mix_adjusted_intensity() -> None:
    intensity = mix_adjusted(Side({"a": 1}, {"a": 1}), Side({"b": 1}, {"b": 1}))
    assert (intensity.before, intensity.reason) == (None, "nothing was served in both periods")


WHOLE = Side({"": 10}, {"": 10}, Fraction(1), Fraction(1))


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        (replace(WHOLE, pue=None, absent={"pue": "no meter of role total"}), "no PUE: no meter of role total"),
        (replace(WHOLE, g_per_kwh=None), "no location-based intensity"),
        (replace(WHOLE, volumes={}, node_uj={}), "no volume"),
        (replace(WHOLE, volumes={"": 0}), "no volume"),
        (replace(WHOLE, node_uj={"": 5, "training": 5}), "training used energy but has no volume"),
    ],
)
def test_what_one_period_lacks_leaves_the_bridge_absent(side: Side, reason: str) -> None:
    assert co2e_bridge(WHOLE, side) == Bridge(None, None, (), f"after: {reason}")
    assert co2e_bridge(side, WHOLE) == Bridge(None, None, (), f"before: {reason}")
    both = co2e_bridge(side, side)
    assert both.reason == f"before: {reason}; after: {reason}"


def test_an_energy_bridge_needs_no_grid_and_a_node_bridge_no_pue() -> None:
    bare = Side({"": 10}, {"": 10})
    assert energy_bridge(replace(bare, pue=Fraction(1)), replace(bare, pue=Fraction(2))).after == 20
    assert node_bridge(bare, bare).reason == ""


def test_too_many_factors_are_refused() -> None:
    with pytest.raises(ValueError, match="11 factors"):
        shapley(lambda _: Fraction(0), 11)


numbers = st.fractions(min_value=0, max_value=1000, max_denominator=50)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
def test_the_mean_over_all_orders_is_what_it_is(factors: list[tuple[Fraction, Fraction]]) -> None:
    """Against the definition: the mean of what each factor does when it changes in its turn, over every order."""

    def product(after: list[bool]) -> Fraction:
        result = Fraction(1)
        for (old, new), changed in zip(factors, after, strict=True):
            result *= new if changed else old
        return result

    n = len(factors)
    orders = list(permutations(range(n)))
    expected = [Fraction(0)] * n
    for order in orders:
        state = [False] * n
        for i in order:
            was = product(state)
            state[i] = True
            expected[i] += (product(state) - was) / len(orders)
    assert shapley(product, n) == expected


positive = st.fractions(min_value=Fraction(1, 50), max_value=1000, max_denominator=50)
works = st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(1, 10**12), st.integers(0, 10**18)), min_size=1)


@st.composite
def sides(draw: st.DrawFn) -> Side:
    work = draw(works)
    return Side({k: v for k, (v, _) in work.items()}, {k: uj for k, (_, uj) in work.items()}, draw(positive), draw(positive))


@given(sides(), sides())
def test_effects_sum_to_the_change_and_turn_their_sign(before: Side, after: Side) -> None:
    bridge, back = co2e_bridge(before, after), co2e_bridge(after, before)
    assert before.pue is not None
    assert before.g_per_kwh is not None
    assert bridge.before == sum(before.node_uj.values()) * before.pue * before.g_per_kwh / KWH_UJ
    assert bridge.after is not None
    assert sum(effect for _, effect in bridge.effects) == bridge.after - bridge.before
    assert dict(back.effects) == {name: -effect for name, effect in bridge.effects}


@given(sides(), sides())
def test_what_did_not_change_has_no_effect(before: Side, after: Side) -> None:
    assert dict(co2e_bridge(before, replace(after, pue=before.pue)).effects)[PUE] == 0
    assert dict(co2e_bridge(before, replace(after, g_per_kwh=before.g_per_kwh)).effects)[GRID] == 0
    assert not any(effect for _, effect in co2e_bridge(before, before).effects)
    twice = Side({k: 2 * v for k, v in before.volumes.items()}, {k: 2 * uj for k, uj in before.node_uj.items()})
    effects = dict(node_bridge(before, twice).effects)
    assert effects.pop(VOLUME) == sum(before.node_uj.values())
    assert not any(effects.values())
