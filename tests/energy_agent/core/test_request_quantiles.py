"""Bounds of the median and the 95th percentile of the energy of requests whose shares are known one by one."""

from bisect import bisect_left
from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.workloads.request_quantiles import (
    MEDIAN,
    NO_COMPUTED,
    NO_HISTOGRAMS,
    NO_PRICE,
    NO_REQUESTS,
    P95,
    TOO_FEW,
    request_quantile,
)
from energy_agent.core.workloads.token_price import EngineHour, RequestTokens
from energy_agent.core.workloads.tokens import Latencies

EDGES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
REQUESTS = st.lists(st.tuples(st.integers(0, 250), st.integers(1, 250)), min_size=1, max_size=60)


def histogram(tokens: list[int], edges: tuple[float, ...] = EDGES) -> Latencies:
    counts = [0] * (len(edges) + 1)
    for each in tokens:
        counts[bisect_left(edges, each)] += 1
    return Latencies(edges, tuple(counts), float(sum(tokens)))


def hour_of(requests: list[tuple[int, int]], share: Fraction = Fraction(1, 3), active_uj: int = 10**9) -> EngineHour:
    prompts, outputs = [x for x, _ in requests], [y for _, y in requests]
    share = share if sum(prompts) else Fraction(0)
    return EngineHour(
        "chat", "m", 0, 1, active_uj, 0, RequestTokens(sum(prompts), 7, sum(outputs)), share, share, share,
        requests=len(requests), prompts=histogram(prompts), outputs=histogram(outputs),
    )  # fmt: skip


def true_quantile(hour: EngineHour, requests: list[tuple[int, int]], quantile: float, share: Fraction) -> float:
    exact = replace(hour, prompt_share=share)
    energies = sorted(exact.energy_uj(RequestTokens(x, 0, y)) / 10**6 for x, y in requests)
    return float(energies[ceil(round(quantile * len(energies), 9)) - 1])


@given(REQUESTS, st.sampled_from([MEDIAN, P95]), st.fractions(0, 1), st.fractions(0, 1), st.fractions(0, 1))
def test_the_bounds_hold_for_every_pairing_and_division(
    requests: list[tuple[int, int]], quantile: float, one: Fraction, other: Fraction, between: Fraction
) -> None:
    hour = hour_of(requests)
    if hour.usage.computed:
        low, high = sorted((one, other))
        hour = replace(hour, prompt_share=low, prompt_share_low=low, prompt_share_high=high)
    result = request_quantile(hour, quantile)
    assert not isinstance(result, str)
    estimate, lower, upper = result
    share = hour.prompt_share_low + between * (hour.prompt_share_high - hour.prompt_share_low)
    true = true_quantile(hour, requests, quantile, share)
    assert lower <= true * (1 + 1e-9)
    assert true <= upper * (1 + 1e-9)
    assert lower <= estimate <= upper


@given(REQUESTS, st.sampled_from([MEDIAN, P95]), st.data())
def test_requests_that_a_histogram_lacks_only_widen_the_bounds(
    requests: list[tuple[int, int]], quantile: float, data: st.DataObject
) -> None:
    hour = hour_of(requests)
    kept = data.draw(st.lists(st.sampled_from(range(len(requests))), unique=True))
    fewer = replace(hour, prompts=histogram([requests[i][0] for i in kept]))
    result = request_quantile(fewer, quantile)
    if isinstance(result, str):
        assert result in (TOO_FEW, NO_PRICE)
        return
    true = true_quantile(hour, requests, quantile, hour.prompt_share)
    assert result[1] <= true * (1 + 1e-9)
    assert true <= result[2] * (1 + 1e-9)


def test_buckets_of_one_value_and_equal_prompts_leave_nothing_open() -> None:
    requests = [(4, y) for y in (1, 1, 1, 2, 2, 2, 2, 3, 3, 4)]
    edges = tuple(float(edge) for edge in range(1, 6))
    prompts, outputs = (histogram([r[i] for r in requests], edges) for i in (0, 1))
    hour = replace(hour_of(requests), prompts=prompts, outputs=outputs)
    # 1 kJ: a third to 40 prompt tokens, the rest to 21 generated ones
    price, rate = 1000 / 3 / 40, 2000 / 3 / 21
    for quantile, answer in ((MEDIAN, 2), (P95, 4)):
        result = request_quantile(hour, quantile)
        assert not isinstance(result, str)
        assert result[1:] == pytest.approx((4 * price + answer * rate,) * 2)


def test_the_error_of_the_sensors_widens_the_bounds() -> None:
    hour = hour_of([(3, 5), (30, 50), (70, 8)])
    plain, wide = request_quantile(hour, MEDIAN), request_quantile(replace(hour, gain_ratio=0.05, edge_uj=10**7), MEDIAN)
    assert not isinstance(plain, str)
    assert not isinstance(wide, str)
    assert wide[1:] == pytest.approx((plain[1] * 0.99 / 1.05, plain[2] * 1.01 / 0.95))


@given(REQUESTS, st.sampled_from([MEDIAN, P95]), st.floats(0.1, 2))
def test_bounds_that_are_taken_from_buckets_alone_hold_whatever_the_sum(
    requests: list[tuple[int, int]], quantile: float, wrong: float
) -> None:
    hour = hour_of(requests)
    assert hour.prompts is not None
    assert hour.outputs is not None
    prompts, outputs = (replace(of, sum_s=of.sum_s * wrong, is_sum_exact=False) for of in (hour.prompts, hour.outputs))
    result = request_quantile(replace(hour, prompts=prompts, outputs=outputs), quantile)
    if isinstance(result, str):
        assert result == TOO_FEW
        assert max(map(max, requests)) > EDGES[-1]
        return
    true = true_quantile(hour, requests, quantile, hour.prompt_share)
    assert result[1] <= true * (1 + 1e-9)
    assert true <= result[2] * (1 + 1e-9)


def test_the_sum_bounds_requests_above_the_last_edge() -> None:
    result = request_quantile(hour_of([(0, 100), (0, 100), (0, 400)]), P95)
    assert not isinstance(result, str)
    # The two smaller ones have at least 51 tokens each, so the largest has at most 600 - 102.
    assert result[2] == pytest.approx(1000 * 498 / 600)


def test_reasons() -> None:
    hour = hour_of([(3, 5), (30, 50)])
    assert request_quantile(replace(hour, outputs=None), MEDIAN) == NO_HISTOGRAMS
    assert request_quantile(replace(hour, prompts=None, no_lengths=NO_COMPUTED), MEDIAN) == NO_COMPUTED
    assert request_quantile(replace(hour, active_uj=0), MEDIAN) == NO_REQUESTS
    assert request_quantile(replace(hour, requests=0, prompts=histogram([]), outputs=histogram([])), MEDIAN) == NO_REQUESTS
    assert request_quantile(replace(hour, requests=40), P95) == TOO_FEW
    assert request_quantile(replace(hour, usage=RequestTokens(0, 0, 55)), P95) == NO_PRICE


def test_the_mean_is_the_energy_over_the_requests() -> None:
    hour = hour_of([(3, 5), (30, 50)])
    mean = replace(hour, gain_ratio=0.1).mean()
    assert mean == pytest.approx((500, 500 / 1.1, 500 / 0.9))
    assert (replace(hour, requests=None).mean(), replace(hour, requests=0).mean()) == (None, None)
