"""One reader for all servers: their names by version, engines, ranks, the simulated engine, and pages that are not one."""

import contextlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.config.tokens import TokenMapping
from energy_agent.core import plugin
from energy_agent.core.workloads.tokens import Latencies
from energy_agent.sim.workloads import models
from energy_agent.sim.workloads.engine import ITL_BUCKETS, TTFT_BUCKETS, BatchingEngine, SimulatedRequest
from energy_agent.sim.workloads.serving import render
from energy_agent.tokens import servers
from energy_agent.tokens.reading import EndpointError
from energy_agent.tokens.response_parser import read
from energy_agent.tokens.server_spec import FIELDS, TokenServer
from energy_agent.tokens.servers import mapping
from energy_agent.tokens.servers.sglang import SPEC as SGLANG
from energy_agent.tokens.servers.vllm import SPEC as VLLM
from tests.support import examples

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
# TYPE vllm:prompt_tokens_by_source_total counter
vllm:prompt_tokens_by_source_total{engine="0",model_name="a",source="local_compute"} 970.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="a",source="local_cache_hit"} 30.0
# TYPE vllm:prompt_tokens_cached_total counter
vllm:prompt_tokens_cached_total{engine="0",model_name="a"} 30.0
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a"} 4.0
# TYPE vllm:request_success_total counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="a"} 5.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="a"} 2.0
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="a"} 33.0
vllm:iteration_tokens_total_count{engine="0",model_name="a"} 33.0
vllm:iteration_tokens_total_sum{engine="0",model_name="a"} 1100.0
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
vllm:time_per_output_token_seconds_bucket{model_name="a",le="0.1"} 90.0
vllm:time_per_output_token_seconds_bucket{model_name="a",le="+Inf"} 99.0
vllm:time_per_output_token_seconds_count{model_name="a"} 99.0
vllm:time_per_output_token_seconds_sum{model_name="a"} 1.5
"""


def test_every_server_file_has_at_least_generated_tokens():
    token_servers = plugin.discover(servers)
    assert set(token_servers) >= {"vllm", "sglang", "llama_cpp", "dynamo", "tensorrt_llm", "ray_serve", "mapping"}
    for name, spec in token_servers.items():
        assert isinstance(spec, TokenServer)
        assert spec.generation or name == "mapping"
        assert spec.checked
        assert all(getattr(spec, value) == () or all(n.name for n in getattr(spec, value)) for value in FIELDS)


def test_each_engine_of_each_model_is_read_by_itself():
    a, b = read(VLLM, NEW, 42)
    assert (a.model, a.t_ns, b.model) == ("a", 42, "b")
    first, second = a.engines
    assert first.counts == {
        "prompt": 1000, "cached": 30, "computed": 970, "generation": 100, "requests": 7, "steps": 33,
    }  # fmt: skip
    assert first.gauges == {"running": 4}
    assert first.latencies == {"itl": Latencies((0.01,), (80, 19), 1.5)}
    assert (first.engine, first.started_s) == ("0", 1.7e9)
    assert (second.engine, second.counts, second.started_s) == ("1", {"generation": 50}, 1.7000001e9)
    assert b.engines[0].counts == {"generation": 7}


def test_older_names():
    [a] = read(VLLM, OLD, 1)
    assert a.engines[0].counts == {"generation": 100, "cached": 12}
    assert a.engines[0].latencies == {"itl": Latencies((0.1,), (90, 9), 1.5)}
    assert a.names["cached"] == "vllm:gpu_prefix_cache_hits_total"


def test_during_a_rename_both_names_are_there_and_count_once():
    both = OLD + OLD.replace("time_per_output_token", "inter_token_latency").partition("12.0\n")[2]
    [a] = read(VLLM, both, 1)
    assert a.engines[0].latencies["itl"].count == 99


def test_the_simulated_engine_is_read_as_it_is():
    engine = BatchingEngine(
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
        engine.arrive(SimulatedRequest(now_ns, random.randrange(1, 900), random.randrange(1, 60), random.randrange(0, 300)))
    for _ in range(60):
        step = engine.plan(3)
        now_ns += round(step.reference_s * 1e9)
        engine.finish(step, now_ns)
    counters = engine.counters
    assert engine.running
    assert engine.waiting
    [reading] = read(VLLM, render(engine, 'odd "name"\\', 1234.5), 9)
    assert reading.model == 'odd "name"\\'
    [got] = reading.engines
    assert got.counts == {
        "prompt": counters.prompt,
        "cached": counters.cached,
        "computed": counters.prompt - counters.cached,
        "generation": counters.generation,
        "requests": counters.finished,
        "steps": counters.steps,
    }
    assert got.gauges == {"running": len(engine.running), "waiting": len(engine.waiting)}
    assert got.latencies["ttft"] == Latencies(TTFT_BUCKETS, tuple(counters.ttft.counts), counters.ttft.sum)
    assert got.latencies["itl"] == Latencies(ITL_BUCKETS, tuple(counters.itl.counts), counters.itl.sum)
    assert got.started_s == 1234.5
    assert not got.unreadable


def sglang(**ranks: str) -> str:
    labels = "".join(f',{k}="{v}"' for k, v in ranks.items())
    return "".join(
        f'sglang:realtime_tokens_total{{model_name="m"{labels},mode="{mode}"}} {n}\n'
        for mode, n in (("prefill_compute", 70), ("prefill_cache", 30), ("decode", 500))
    )


def test_ranks_that_count_the_same_work_count_once_and_data_parallel_ones_each():
    page = "".join(sglang(tp_rank=str(tp), pp_rank=str(pp)) for tp in range(4) for pp in range(2))
    [m] = read(SGLANG, page, 1)
    assert m.engines[0].counts == {"prompt": 100, "cached": 30, "computed": 70, "generation": 500}
    # With data-parallel attention the ranks that count are 0 and 2 of four, each for its own half.
    page = "".join(sglang(tp_rank=str(tp), pp_rank="0", dp_rank=str(tp // 2)) for tp in range(4))
    [m] = read(SGLANG, page, 1)
    assert [(e.engine, e.counts["generation"]) for e in m.engines] == [("0", 500), ("1", 500)]


def test_a_counter_that_moves_at_the_end_of_a_request_is_not_added_to_the_live_one():
    late = 'sglang:generation_tokens_total{model_name="m",is_streaming="true"} 480\n'
    [m] = read(SGLANG, sglang(tp_rank="0") + late, 1)
    assert m.engines[0].counts["generation"] == 500
    [m] = read(SGLANG, late, 1)
    assert m.engines[0].counts == {"generation": 480}


def test_names_of_the_configuration():
    server = mapping.of(
        TokenMapping(
            generation='my_tokens{kind="out"}', prompt='my_tokens{kind="in"}', itl="my_itl_ms", unit="ms", engine_label="shard"
        )
    )
    page = (
        'my_tokens{kind="out",shard="x"} 5\nmy_tokens{kind="in",shard="x"} 9\nmy_tokens{kind="other",shard="x"} 1\n'
        'my_itl_ms_bucket{shard="x",le="10"} 3\nmy_itl_ms_bucket{shard="x",le="+Inf"} 4\nmy_itl_ms_sum{shard="x"} 50\n'
    )
    [m] = read(server, page, 1, "given")
    assert m.model == "given"
    assert m.engines[0].counts == {"generation": 5, "prompt": 9}
    assert m.engines[0].latencies["itl"] == Latencies((0.01,), (3, 1), 0.05)


def test_a_server_that_generates_nothing_has_requests_alone():
    server = mapping.of(TokenMapping(requests='embed_requests_total{status="ok"}', model_label="model"))
    [m] = read(
        server, 'embed_requests_total{status="ok",model="bge"} 7\nembed_requests_total{status="failed",model="bge"} 1\n', 1
    )
    assert (m.model, m.engines[0].counts) == ("bge", {"requests": 7})
    with pytest.raises(EndpointError, match="response has no metric embed_requests_total;"):
        read(server, "up 1\n", 1)
    with pytest.raises(ValueError, match="expected generation, or requests"):
        TokenMapping(prompt="in_total")


TWICE = 'vllm:gpu_prefix_cache_hits_total{model_name="a"} 12.0\n'


@pytest.mark.parametrize("text", [*(OLD.replace("12.0", value) for value in ("NaN", "+Inf", "-1", "1e300")), OLD + TWICE])
def test_a_senseless_value_or_a_series_that_is_there_twice_is_unreadable_and_silences_no_other(text):
    [a] = read(VLLM, text, 1)
    assert a.engines[0].counts == {"generation": 100}
    assert a.engines[0].unreadable == {"cached"}


BUCKET = 'vllm:time_per_output_token_seconds_bucket{model_name="a",le="0.1"} 90.0\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('le="0.1"} 90', 'le="0.1"} 100'),  # falls
        ('le="+Inf"', 'le="5"'),  # has no end
        ('le="0.1"', 'le="-1"'),
        ('le="0.1"', 'le="x"'),
        ('le="0.1"', 'le="NaN"'),
        ('le="0.1"', 'le="1e-320"'),
        (BUCKET, BUCKET + BUCKET.replace("0.1", "0.1000000000000001")),  # the same as 0.1 to 12 digits
        ('le="0.1"} 90.0', 'le="0.1"} NaN'),
        ("_sum{", "_other{"),
        ('_sum{model_name="a"} 1.5', '_sum{model_name="a"} -1'),
    ],
)
def test_a_histogram_that_is_none(old, new):
    assert old in OLD
    [a] = read(VLLM, OLD.replace(old, new), 1)
    assert a.engines[0].latencies == {}
    assert a.engines[0].unreadable == {"itl"}
    assert a.engines[0].counts["generation"] == 100


@pytest.mark.parametrize("page", ["", "<html>no</html>", "up 1\n", "{{{", 'vllm:generation_tokens_total{model_name="a} 1'])
def test_a_page_that_is_not_one(page):
    with pytest.raises(EndpointError) as caught:
        read(VLLM, page, 1)
    assert str(caught.value).startswith("response ")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("label", "what"), [("model_name", "64 models"), ("engine", "256 engines")])
def test_too_many(label, what):
    page = "".join(f'vllm:generation_tokens_total{{{label}="m{i}"}} 1\n' for i in range(257))
    with pytest.raises(EndpointError, match=f"more than {what}"):
        read(VLLM, page, 1)


def test_long_names_are_cut():
    [a] = read(VLLM, f'vllm:generation_tokens_total{{model_name="{"x" * 5000}"}} 1\n', 1)
    assert a.model == "x" * 256


@settings(max_examples=examples(300))
@given(st.integers(0, len(NEW)), st.integers(0, 40), st.text(max_size=12))
def test_a_damaged_page_is_read_or_refused(at, cut, put):
    with contextlib.suppress(EndpointError):
        for reading in read(VLLM, NEW[:at] + put + NEW[at + cut :], 1):
            for engine in reading.engines:
                assert all(isinstance(n, int) and n >= 0 for n in (*engine.counts.values(), *engine.gauges.values()))
                assert all(min(h.counts) >= 0 and h.sum_s >= 0 for h in engine.latencies.values())
