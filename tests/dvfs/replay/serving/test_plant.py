"""Drawn servers behind routers, in pools and under policies: every request is served once, whatever is drawn."""

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.policies.aimd import SPEC as AIMD
from dvfs.replay.serving.drawn import random_engine
from dvfs.replay.serving.engine import OpenStream, Replica, ReplicaCounters
from dvfs.replay.serving.plant import (
    ROUTERS,
    EngineChange,
    Line,
    RatesCache,
    ServingSite,
    SteeredReplica,
    capacity,
    serve,
)
from dvfs.replay.serving.verdict import SloTarget, best_fixed, is_short, lost_points, under_policy

SEEDS = st.integers(0, 10_000)
SLO = SloTarget(1.0, 0.05)


def arrivals(seed: int, n: int = 60, gap_s: float = 0.3) -> list[tuple[float, int, int]]:
    random, at, rows = Random(seed), 0.0, []
    for _ in range(n):
        at += random.expovariate(1 / gap_s)
        rows.append((at, random.randint(1, 3000), random.randint(1, 200)))
    return rows


@given(SEEDS, st.sampled_from(ROUTERS), st.integers(0, 2), st.integers(1, 3))
def test_every_request_has_both_times(seed: int, router: str, prefill: int, decode: int) -> None:
    site = ServingSite(random_engine(seed), prefill, decode, router)
    rows, top = arrivals(seed), site.spec.gpu.settings[-1]
    outcome = serve(site, rows, top)
    assert len(outcome.ttft_s) == len(rows)
    assert min(outcome.ttft_s) > 0.0
    for (_, _, output), itl_s in zip(rows, outcome.itl_s, strict=True):
        assert (itl_s > 0.0) is (output > 1)
    ends = [
        at + ttft + itl * (output - 1) for (at, _, output), ttft, itl in zip(rows, outcome.ttft_s, outcome.itl_s, strict=True)
    ]
    assert max(ends) == pytest.approx(outcome.seconds)
    assert outcome.mean_mhz == pytest.approx(top)


@given(SEEDS)
def test_drafts_change_the_speed_and_not_the_tokens(seed: int) -> None:
    spec = random_engine(seed)
    for depth in (0, 1, 4):
        server = spec.speculate(depth)
        stream = OpenStream()
        for row in arrivals(seed, 30):
            stream.push(*row)
        replica, counters = Replica(server, stream), ReplicaCounters()
        replica.run(math.inf, server.rates(spec.gpu.settings[-1]), counters)
        assert counters.tokens == pytest.approx(sum(stream.output))
        assert counters.prompt_tokens == sum(stream.prompt)
        assert replica.held_tokens == pytest.approx(0.0, abs=1e-6)
        assert (counters.drafts > 0) is (depth > 0)
        expected = counters.drafts * (server.tokens_per_step - 1) / depth if depth else 0.0
        assert counters.accepted == pytest.approx(expected)


@given(SEEDS, st.lists(st.floats(0.001, 3.0), min_size=1, max_size=10))
def test_a_router_that_watches_does_not_change_what_a_single_replica_does(seed: int, pieces: list[float]) -> None:
    spec, rows, cache = random_engine(seed), arrivals(seed), RatesCache()
    whole, parts = (SteeredReplica(spec, cache, spec.gpu.settings[-1]) for _ in range(2))
    for number, row in enumerate(rows):
        whole.push(number, *row)
    whole.advance(math.inf)
    parts.replica.is_open = True
    for number, row in enumerate(rows):
        parts.advance(row[0])
        parts.push(number, *row)
    parts.replica.is_open = False
    for end_s in pieces:
        parts.advance(parts.replica.now_s + end_s)
    parts.advance(math.inf)
    assert (parts.replica.now_s, parts.replica.energy_j) == pytest.approx((whole.replica.now_s, whole.replica.energy_j))


@pytest.mark.parametrize("period_s", [0.2, 1.0, 5.0])
def test_a_policy_sees_the_protocol_and_steers(period_s: float) -> None:
    site = ServingSite(random_engine(7), 1, 2, "least queue", period_s)
    lines: list[Line] = []

    def make(role: str):  # type: ignore[no-untyped-def]
        def choose(line: Line) -> int:
            lines.append(line | {"role": role})
            return site.spec.gpu.settings[2]

        return choose

    rows = arrivals(7, 200)
    outcome, top = serve(site, rows, make), serve(site, rows, site.spec.gpu.settings[-1])
    assert outcome.energy_j < top.energy_j
    assert outcome.mean_mhz < top.mean_mhz
    assert (outcome.decisions, outcome.clock_changes) == (len(lines), 3)
    for role in ("prefill", "decode"):
        own = [line for line in lines if line["role"] == role]
        assert own
        for line in own:
            assert line["ttft"]["buckets"][-1] == ["+Inf", line["ttft"]["count"]]
    assert max(line["tokens"]["prompt"] for line in lines if line["role"] == "prefill") <= sum(row[1] for row in rows)


def test_counters_restart_when_the_model_does() -> None:
    spec = random_engine(5)
    changes = (EngineChange(30.0, random_engine("other", spec.gpu), restart=True),)
    seen: list[tuple[float, int]] = []

    def make(_role: str):  # type: ignore[no-untyped-def]
        return lambda line: seen.append((line["t_s"], line["tokens"]["generation"])) or spec.gpu.settings[-1]

    serve(ServingSite(spec, changes=changes), arrivals(5, 200), make)
    before = max(tokens for at, tokens in seen if at < 30.0)
    after = min(tokens for at, tokens in seen if at > 31.5)
    assert after < before


def test_a_policy_of_ours_keeps_its_limits_on_an_idle_server() -> None:
    site = ServingSite(random_engine(11))
    first, _ = capacity(site, arrivals(0))
    rows = arrivals(11, 600, gap_s=5.0 / first)
    top = serve(site, rows, site.spec.gpu.settings[-1])
    slo = SloTarget(3.0 * max(top.ttft_s), 3.0 * max(top.itl_s))
    steered = serve(site, rows, under_policy(AIMD, site.spec, slo, site.period_s))
    assert steered.energy_j < top.energy_j
    assert not is_short(slo.attained(steered), slo.attained(top), slo.attainment_ratio)
    clocks, best = best_fixed(site, rows, slo, top, RatesCache())
    assert clocks["both"] < site.spec.gpu.settings[-1]
    assert best.energy_j < top.energy_j


def test_separate_pools_have_a_best_clock_each() -> None:
    site = ServingSite(random_engine(8), 1, 2)
    rows = arrivals(8, 300)
    settings = site.spec.gpu.settings
    top = serve(site, rows, settings[-1])
    slo = SloTarget(1.01 * max(top.ttft_s), 3.0 * max(top.itl_s))
    clocks, best = best_fixed(site, rows, slo, top, RatesCache())
    assert clocks["prefill"] > clocks["decode"]
    assert best == serve(site, rows, clocks)
    both = min(serve(site, rows, clocks["prefill"]).energy_j, top.energy_j)
    assert best.energy_j < both


def test_the_bar_is_the_target_or_what_the_highest_clock_reaches() -> None:
    assert lost_points((0.985, 0.98), (0.995, 0.98), 0.99) == pytest.approx(0.5)
    assert not is_short((0.99, 0.9795), (0.995, 0.98), 0.99)
    assert is_short((0.989, 0.98), (0.995, 0.98), 0.99)
    assert is_short((0.99, 0.978), (0.995, 0.98), 0.99)


def test_the_best_fixed_clock_keeps_the_bar() -> None:
    site = ServingSite(random_engine(2))
    rows = arrivals(2, 300)
    top = serve(site, rows, site.spec.gpu.settings[-1])
    slo = SloTarget(1.3 * max(top.ttft_s), 1.2 * max(top.itl_s))
    _, best = best_fixed(site, rows, slo, top, RatesCache())
    assert not is_short(slo.attained(best), slo.attained(top), slo.attainment_ratio)
    tight = replace(slo, ttft_s=min(top.ttft_s))
    assert best_fixed(site, rows, tight, top, RatesCache())[1].energy_j >= best.energy_j
