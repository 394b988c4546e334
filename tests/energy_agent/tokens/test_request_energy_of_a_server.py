"""Energy of requests from the metrics endpoint of a simulated server, each of whose requests is known."""

from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from random import Random

import pytest

from energy_agent.core.energy import Entry, Method, State
from energy_agent.core.workloads.request_quantiles import MEDIAN, NO_COMPUTED, NO_HISTOGRAMS, P95, request_quantile
from energy_agent.core.workloads.token_price import EngineHour, RequestTokens
from energy_agent.core.workloads.tokens import TokenDelta
from energy_agent.sim.workloads import models
from energy_agent.sim.workloads.engine import BatchingEngine, SimulatedRequest
from energy_agent.sim.workloads.serving import render
from energy_agent.tokens.account import EndpointAccount
from energy_agent.tokens.price_hours import HOUR_NS, PriceHours
from energy_agent.tokens.response_parser import read
from energy_agent.tokens.servers.vllm import SPEC

START_NS = 100 * HOUR_NS
SECOND_NS = 10**9


def served(seed: int, cached: int) -> tuple[list[SimulatedRequest], list[TokenDelta]]:
    """Requests of one hour that all ended in it, and what the agent read of them once per second."""
    random = Random(seed)
    engine = BatchingEngine(
        models.step_cost("meta-llama/Llama-3.1-8B-Instruct", ("H100-SXM5-80GB",)), max_num_seqs=64, max_batched_tokens=8192,
        kv_tokens=10**6, decode_memory_boundness=0.9, prefill_memory_boundness=0.1,
    )  # fmt: skip
    requests = [
        SimulatedRequest(START_NS, random.randint(2, 6_000), ceil(random.lognormvariate(5, 1)), cached) for _ in range(300)
    ]
    account = EndpointAccount("chat", "chat page", live=True)
    deltas: list[TokenDelta] = []
    waiting, t_ns = list(requests), START_NS

    def scrape() -> None:
        deltas.extend(account.feed(read(SPEC, render(engine, "m", 1.0), t_ns), t_ns, 1.0))

    scrape()
    scraped_ns = t_ns
    while waiting or engine.waiting or engine.running:
        if waiting and random.random() < 0.1:
            engine.arrive(waiting.pop())
        step = engine.plan()
        if step is None:
            continue
        t_ns += round(step.reference_s * SECOND_NS)
        engine.finish(step, t_ns)
        if t_ns - scraped_ns >= SECOND_NS:
            scrape()
            scraped_ns = t_ns
    t_ns += SECOND_NS
    scrape()
    return requests, deltas


def hour_of(deltas: list[TokenDelta]) -> EngineHour:
    hours = PriceHours()
    entry = Entry(START_NS, START_NS + SECOND_NS, "GPU-0", "chat", State.ACTIVE, Method.COUNTER, 7_654_321_000, SECOND_NS)
    hours.add([entry], deltas, {"chat": "chat"})
    hours.settle(START_NS + HOUR_NS + 61 * SECOND_NS, (), {})
    (hour,) = hours.views({})
    return hour


def without(deltas: list[TokenDelta], *names: str) -> Iterator[TokenDelta]:
    return (replace(delta, **dict.fromkeys(names)) for delta in deltas)


@pytest.mark.parametrize(("seed", "cached"), [(1, 0), (2, 50)])
def test_bounds_hold_the_shares_of_known_requests(seed: int, cached: int) -> None:
    requests, deltas = served(seed, cached)
    hour = hour_of(deltas)
    shares = sorted(hour.energy_uj(RequestTokens(r.prompt - r.cached, r.cached, r.generated)) for r in requests)
    assert sum(shares) == hour.active_uj
    assert hour.requests == len(requests)
    mean = hour.mean()
    assert mean is not None
    assert mean[0] == pytest.approx(float(sum(shares)) / len(shares) / 1e6)
    for quantile in (MEDIAN, P95):
        true = float(shares[ceil(quantile * len(shares)) - 1]) / 1e6
        figure = request_quantile(
            replace(hour, prompt_share_low=hour.prompt_share, prompt_share_high=hour.prompt_share), quantile
        )
        assert not isinstance(figure, str)
        assert figure[1] <= true <= figure[2]
        assert figure[2] <= 3 * true
        whole = request_quantile(hour, quantile)  # no fit of prefill and decode: every division is possible
        assert not isinstance(whole, str)
        assert whole[1] <= figure[1]
        assert whole[2] >= figure[2]


def test_a_server_without_histograms_has_a_mean_alone() -> None:
    _, deltas = served(2, 50)
    hour = hour_of(list(without(deltas, "prompt_per_request", "computed_per_request", "generation_per_request")))
    assert request_quantile(hour, MEDIAN) == NO_HISTOGRAMS
    assert hour.mean() is not None
    prompts_alone = hour_of(list(without(deltas, "computed_per_request")))
    assert request_quantile(prompts_alone, MEDIAN) == NO_COMPUTED


def test_prompts_serve_as_computed_ones_while_nothing_is_cached() -> None:
    _, deltas = served(1, 0)
    whole = hour_of(deltas)
    assert request_quantile(hour_of(list(without(deltas, "computed_per_request"))), P95) == request_quantile(whole, P95)
