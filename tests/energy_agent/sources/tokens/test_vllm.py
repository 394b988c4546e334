"""vLLM's page: names of its versions, the simulated engine's page, and pages that are not one."""

import contextlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core import plugin
from energy_agent.sim.workloads import models
from energy_agent.sim.workloads.engine import Engine, Request
from energy_agent.sim.workloads.metrics_page import render
from energy_agent.sources import tokens
from energy_agent.sources.tokens._reading import TokenPageError, TokenReading, TokenServer
from energy_agent.sources.tokens.vllm import read

NEW = """\
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="a"} 100.0
vllm:generation_tokens_total{engine="1",model_name="a"} 50.0
vllm:generation_tokens_total{engine="0",model_name="b"} 7.0
# TYPE vllm:generation_tokens_created gauge
vllm:generation_tokens_created{engine="0",model_name="a"} 1.7e+09
vllm:generation_tokens_created{engine="1",model_name="a"} 1.7000001e+09
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="a"} 1000.0
# TYPE vllm:prompt_tokens_cached_total counter
vllm:prompt_tokens_cached_total{engine="0",model_name="a"} 30.0
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a"} 4.0
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.01",model_name="a"} 80.0
vllm:inter_token_latency_seconds_bucket{engine="0",le="+Inf",model_name="a"} 99.0
vllm:inter_token_latency_seconds_count{engine="0",model_name="a"} 99.0
vllm:inter_token_latency_seconds_sum{engine="0",model_name="a"} 1.5
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.0e+09
"""
OLD = """\
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{model_name="a"} 100.0
# TYPE vllm:gpu_prefix_cache_hits_total counter
vllm:gpu_prefix_cache_hits_total{model_name="a"} 12.0
# TYPE vllm:time_per_output_token_seconds histogram
vllm:time_per_output_token_seconds_count{model_name="a"} 99.0
vllm:time_per_output_token_seconds_sum{model_name="a"} 1.5
"""


def test_it_is_found_and_what_the_servers_share_is_not_taken_for_one():
    found = plugin.discover(tokens)
    assert found["vllm"].read is read
    assert all(isinstance(spec, TokenServer) for spec in found.values())


def test_current_names_summed_over_engines_apart_by_model():
    a, b = read(NEW, 42)
    assert a == TokenReading(42, "a", 1000, 150, 30, 4, None, None, None, 1.5, 99, 1.7000001e9)
    assert b == TokenReading(42, "b", generation=7)


def test_older_names():
    assert read(OLD, 1) == [TokenReading(1, "a", generation=100, cached=12, itl_sum_s=1.5, itl_count=99)]


def test_during_a_rename_both_names_are_there_and_count_once():
    [reading] = read(OLD + OLD.replace("time_per_output_token", "inter_token_latency").split("12.0\n")[1], 1)
    assert reading.itl_count == 99


def test_the_simulated_engine_is_read_as_it_is():
    engine = Engine(
        models.step_cost("Qwen/Qwen3-32B", ("A40",) * 4),
        max_num_seqs=8,
        max_batched_tokens=512,
        kv_tokens=4096,
        decode_memory_boundness=0.9,
        prefill_memory_boundness=0.1,
    )
    random = Random(1)
    now_ns = 0
    for _ in range(60):
        engine.arrive(Request(now_ns, random.randrange(1, 900), random.randrange(1, 60), random.randrange(0, 300)))
    for _ in range(60):
        step = engine.plan(3)
        now_ns += round(step.reference_s * 1e9)
        engine.finish(step, now_ns)
    counters = engine.counters
    assert engine.running
    assert engine.waiting
    [reading] = read(render(engine, 'odd "name"\\', 1234.5), 9)
    assert reading == TokenReading(
        9, 'odd "name"\\', counters.prompt, counters.generation, counters.cached, len(engine.running), len(engine.waiting),
        counters.ttft.sum, sum(counters.ttft.counts), counters.itl.sum, sum(counters.itl.counts), 1234.5,
    )  # fmt: skip


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e300"])
def test_a_senseless_value_is_absent_and_silences_no_other(value):
    [reading] = read(OLD.replace("12.0", value), 1)
    assert reading.cached is None
    assert reading.generation == 100


@pytest.mark.parametrize(
    "page", ["", "<html>no</html>", "up 1\n", "{{{", 'vllm:generation_tokens_total{model_name="a} 1', OLD + "x{"]
)
def test_a_page_that_is_not_one(page):
    with pytest.raises(TokenPageError) as caught:
        read(page, 1)
    assert str(caught.value).startswith("metrics page")


def test_too_many_models():
    page = "".join(f'vllm:generation_tokens_total{{model_name="m{i}"}} 1\n' for i in range(65))
    with pytest.raises(TokenPageError, match="more than 64 models"):
        read(page, 1)


@settings(max_examples=300)
@given(st.integers(0, len(NEW)), st.integers(0, 40), st.text(max_size=12))
def test_a_damaged_page_is_read_or_refused(at, cut, put):
    with contextlib.suppress(TokenPageError):
        for reading in read(NEW[:at] + put + NEW[at + cut :], 1):
            assert all(v is None or v >= 0 for v in (reading.prompt, reading.generation, reading.cached, reading.itl_sum_s))
