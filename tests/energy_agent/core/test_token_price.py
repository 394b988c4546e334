"""The price of a token: shares of all requests are the engine's energy exactly, and bounds hold the value."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.workloads.serving import Split
from energy_agent.core.workloads.token_price import KINDS, EngineHour, RequestTokens, prompt_shares

COUNTS = st.integers(0, 10**6)
USAGES = st.lists(st.builds(RequestTokens, COUNTS, COUNTS, COUNTS), min_size=1, max_size=30)
PRICES = st.floats(0, 100)
BANDS = st.tuples(PRICES, PRICES, PRICES).map(sorted).map(lambda v: ConfidenceInterval(v[1], v[0], v[2]))
SPLITS = st.one_of(st.builds(Split, BANDS, BANDS), st.just(Split(None, None)))


def hour(usage: RequestTokens, split: Split, active_uj: int = 10**9, gain: float = 0.0, edge_uj: int = 0) -> EngineHour:
    return EngineHour("chat", "m", 0, 1, active_uj, 0, usage, *prompt_shares(usage, split), gain, edge_uj, final=True)


def total(usages: list[RequestTokens]) -> RequestTokens:
    tokens = RequestTokens()
    for each in usages:
        tokens = tokens.plus(each)
    return tokens


@given(USAGES, SPLITS, st.integers(0, 10**15))
def test_shares_of_all_requests_of_an_hour_are_its_energy_exactly(
    usages: list[RequestTokens], split: Split, active_uj: int
) -> None:
    of_all = total(usages)
    priced = hour(of_all, split, active_uj)
    shared = sum((priced.energy_uj(each) for each in usages), Fraction(0))
    assert shared == (active_uj if of_all.computed or of_all.generated else 0)


@given(USAGES, SPLITS, st.floats(0, 0.5), st.integers(0, 10**8))
def test_bounds_hold_the_value_and_widen_with_every_error(
    usages: list[RequestTokens], split: Split, gain: float, edge_uj: int
) -> None:
    of_all = total(usages)
    value, low, high = hour(of_all, split, gain=gain, edge_uj=edge_uj).joules(usages[0])
    exact = hour(of_all, split).joules(usages[0])
    assert 0 <= low <= exact[1] <= value + 1e-9
    assert value <= exact[2] + 1e-9 <= high + 2e-9


def test_a_worked_example() -> None:
    """8,000 computed tokens at 0.05 J and 1,500 generated ones at 0.4 J are 1,000 J, of which prompts have 400."""
    split = Split(ConfidenceInterval(0.05, 0.04, 0.06), ConfidenceInterval(0.4, 0.4, 0.4))
    priced = hour(RequestTokens(8_000, 5_000, 1_500), split)
    assert priced.prompt_share == Fraction(4, 10)
    assert priced.energy_uj(RequestTokens(800, 10**6, 150)) == 100_000_000
    assert priced.price("prompt") == pytest.approx((0.05, 1000 * 320 / 920 / 8000, 1000 * 480 / 1080 / 8000))
    cached = priced.price("cached")
    assert cached == (0.0, 0.0, 0.0)


def test_without_a_fit_tokens_cost_alike_and_bounds_are_of_every_division() -> None:
    priced = hour(RequestTokens(300, 0, 100), Split(None, None))
    assert priced.price("prompt") == pytest.approx((1000 / 400, 0.0, 1000 / 300))
    assert priced.price("generation") == pytest.approx((1000 / 400, 0.0, 1000 / 100))


def test_tokens_that_the_engine_never_had_have_no_price() -> None:
    priced = hour(RequestTokens(300, 0, 0), Split(None, None))
    assert {kind: priced.price(kind) is None for kind in KINDS} == {"prompt": False, "cached": False, "generation": True}
    with pytest.raises(ValueError, match="no such tokens"):
        priced.energy_uj(RequestTokens(generated=1))


def test_tokens_before_any_energy_is_recorded_have_no_price() -> None:
    priced = replace(hour(RequestTokens(300, 0, 100), Split(None, None)), active_uj=0)
    assert [priced.price(kind) for kind in KINDS] == [None, None, None]
