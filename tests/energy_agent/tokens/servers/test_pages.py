"""Pages that servers' own code wrote (pages/ORIGIN.md), read as what had been done; for the others pages by their names."""

from pathlib import Path

import pytest

from energy_agent.core import plugin
from energy_agent.tokens import servers
from energy_agent.tokens.response_parser import read

PAGES = Path(__file__).parent / "pages"


def reading(server: str, text: str, model: str = ""):
    [model_reading] = read(plugin.load(servers, server), text, 1, model)
    assert not any(engine.unreadable for engine in model_reading.engines)
    return model_reading


def page(name: str) -> str:
    return (PAGES / name).read_text()


def test_vllm():
    model_reading = reading("vllm", page("vllm-0.32.0.txt"))
    assert model_reading.model == "meta-llama/Llama-3.1-8B-Instruct"
    first, second = model_reading.engines
    assert first.counts == {
        "prompt": 420, "cached": 50, "computed": 370, "generation": 48, "requests": 2, "steps": 40,
    }  # fmt: skip
    assert (second.counts["generation"], second.counts["steps"]) == (38, 30)
    assert (first.gauges, second.gauges) == ({"running": 2, "waiting": 0}, {"running": 3, "waiting": 1})
    ttft, itl = first.latencies["ttft"], first.latencies["itl"]
    assert (ttft.count, ttft.sum_s) == (2, pytest.approx(0.3))
    assert {edge for edge, n in zip(ttft.edges, ttft.counts, strict=False) if n} == {0.06, 0.25}
    assert (itl.count, itl.sum_s) == (46, pytest.approx(46 * 0.011))
    assert itl.counts[itl.edges.index(0.025)] == 46
    assert first.started_s > 1.7e9


@pytest.mark.parametrize(("server", "prefix"), [("vllm", "vllm:"), ("ray_serve", "ray_vllm_")])
def test_requests_of_vllm_that_wait_for_a_kv_transfer_are_not_waiting(server: str, prefix: str) -> None:
    labels = 'engine="0",model_name="m"'
    old = f"{prefix}num_requests_waiting{{{labels}}} 7\n"
    reasons = {"capacity": 2, "deferred": 5}
    new = "".join(f'{prefix}num_requests_waiting_by_reason{{{labels},reason="{why}"}} {n}\n' for why, n in reasons.items())
    assert reading(server, old).engines[0].gauges == {"waiting": 7}
    assert reading(server, old + new).engines[0].gauges == {"waiting": 2}


def test_sglang_counts_one_of_its_four_ranks():
    model_reading = reading("sglang", page("sglang-0.5.23.txt"))
    [engine] = model_reading.engines
    # Two first tokens came with their prompts: the live counter leaves them out.
    assert engine.counts == {
        "prompt": 420, "cached": 50, "computed": 370, "generation": 46, "requests": 2, "steps": 40,
    }  # fmt: skip
    assert engine.gauges == {"running": 1, "waiting": 0}
    assert (engine.latencies["ttft"].count, engine.latencies["ttft"].sum_s) == (2, pytest.approx(0.3))
    assert engine.latencies["itl"].counts[engine.latencies["itl"].edges.index(0.015)] == 46


def test_llama_cpp():
    model_reading = reading("llama_cpp", page("llama_cpp-b10434.txt"), "tiny")
    assert model_reading.model == "tiny"
    assert model_reading.engines[0].counts == {
        "computed": 31, "cached": 26, "generation": 24, "steps": 24, "drafts": 0, "accepted": 0,
    }  # fmt: skip
    assert model_reading.engines[0].gauges == {"running": 0, "waiting": 0}


def histogram(name: str, labels: str, edges: dict[str, int], total: float) -> str:
    lines = [f'{name}_bucket{{{labels},le="{edge}"}} {n}' for edge, n in edges.items()]
    return "\n".join([*lines, f"{name}_sum{{{labels}}} {total}", f"{name}_count{{{labels}}} {edges['+Inf']}", ""])


def test_dynamo():
    model_reading = reading("dynamo", page("dynamo-1.6.1.txt"))
    assert model_reading.model == "tiny"
    [engine] = model_reading.engines
    assert engine.counts == {"prompt": 369, "cached": 192, "generation": 2555, "requests": 6, "aborted": 1}
    assert engine.gauges == {"running": 0, "waiting": 0}
    assert (engine.latencies["ttft"].count, engine.latencies["ttft"].sum_s) == (6, pytest.approx(0.334757983))
    assert engine.latencies["itl"].count == 2549
    assert engine.latencies["generation_per_request"].count == 6


def test_older_versions_of_dynamo_count_tokens_per_request():
    model = 'model="m"'
    text = histogram("dynamo_frontend_output_sequence_tokens", model, {"64": 1, "+Inf": 2}, 70)
    [engine] = reading("dynamo", text + f"dynamo_frontend_inflight_requests{{{model}}} 1\n").engines
    assert (engine.counts, engine.gauges) == ({"generation": 70}, {"running": 1})


def test_tensorrt_llm_counts_when_requests_end_and_one_of_its_two_ranks():
    model_reading = reading("tensorrt_llm", page("tensorrt_llm-050f80d.txt"))
    assert model_reading.model == "tiny"
    [engine] = model_reading.engines
    assert engine.counts == {
        "prompt": 420, "cached": 50, "generation": 50, "requests": 2, "drafts": 57, "accepted": 39,
    }  # fmt: skip
    assert engine.gauges == {"running": 3, "waiting": 2}
    assert (engine.latencies["ttft"].count, engine.latencies["ttft"].sum_s) == (2, pytest.approx(0.3))
    assert "itl" not in engine.latencies  # its time per output token is one mean per request
    assert (engine.latencies["tpot"].count, engine.latencies["tpot"].sum_s) == (2, pytest.approx(0.023))


def test_versions_of_tensorrt_llm_without_the_size_of_the_batch():
    labels = 'engine_type="pytorch",model_name="m",pid="7"'
    text = f"trtllm_num_requests_running{{{labels}}} 2\ntrtllm_num_requests_waiting{{{labels}}} 1\n"
    assert reading("tensorrt_llm", text).engines[0].gauges == {"running": 2, "waiting": 1}


def test_nim():
    """Five requests of 109 prompt and 174 generated tokens, as Datadog captured them (pages/ORIGIN.md)."""
    model = 'model_name="meta/llama-3.1-8b-instruct"'
    counts = {"prompt_tokens_total": 109.0, "generation_tokens_total": 174.0, "request_success_total": 5.0}
    counts |= {"request_failure_total": 0.0, "num_requests_running": 1.0, "num_requests_waiting": 0.0}
    text = "".join(f"{name}{{{model}}} {n}\n" for name, n in counts.items())
    text += f'request_finish_total{{finished_reason="length",{model}}} 5.0\n'
    text += histogram(
        "time_to_first_token_seconds", model, {"0.01": 0, "0.02": 2, "0.04": 4, "0.75": 5, "+Inf": 5}, 0.6119842529296875
    )
    text += histogram(
        "time_per_output_token_seconds", model, {"0.01": 0, "0.025": 168, "0.075": 169, "+Inf": 169}, 1.856855869293213
    )
    text += histogram("request_prompt_tokens", model, {"2.0": 0, "5.0": 3, "20.0": 3, "50.0": 5, "+Inf": 5}, 109.0)
    text += histogram("request_generation_tokens", model, {"10.0": 0, "20.0": 3, "50.0": 3, "100.0": 5, "+Inf": 5}, 174.0)
    model_reading = reading("nim", text)
    assert model_reading.model == "meta/llama-3.1-8b-instruct"
    [engine] = model_reading.engines
    assert engine.counts == {"prompt": 109, "generation": 174, "requests": 5, "aborted": 0}
    assert engine.gauges == {"running": 1, "waiting": 0}
    assert engine.latencies["ttft"].count == 5
    assert engine.latencies["itl"].count == 174 - 5  # gaps between two tokens, not means of requests
    assert engine.latencies["generation_per_request"].count == 5


def test_triton_with_tensorrt_llm_counts_each_request_once():
    model_reading = reading("triton", page("triton-2.51.0.txt"), "Qwen/Qwen3-32B")
    assert model_reading.model == "Qwen/Qwen3-32B"
    [engine] = model_reading.engines
    assert engine.counts == {"prompt": 288, "generation": 704, "requests": 5}
    assert engine.gauges == {"running": 0}
    lengths = engine.latencies["generation_per_request"]
    assert (lengths.count, lengths.counts[lengths.edges.index(200)]) == (5, 3)
    assert engine.latencies["prompt_per_request"].count == 5


def test_drafts_aborted_requests_and_means_of_requests_where_a_server_has_them():
    labels = 'engine="0",model_name="m"'
    drafts = "".join(f"spec_decode_num_{name}_tokens_total{{{labels}}} {n}\n" for name, n in (("draft", 120), ("accepted", 90)))
    aborts = f'vllm:request_success_total{{finished_reason="abort",{labels}}} 0\n'
    for server, prefix in (("vllm", "vllm:"), ("ray_serve", "ray_vllm_")):
        text = "".join(f"{prefix}{line}\n" for line in drafts.splitlines())
        [engine] = reading(server, text + (aborts if server == "vllm" else "")).engines
        assert (engine.counts["drafts"], engine.counts["accepted"]) == (120, 90)
        means = histogram(f"{prefix}request_time_per_output_token_seconds", labels, {"0.025": 3, "+Inf": 4}, 0.1)
        assert reading(server, means).engines[0].latencies["tpot"].counts == (3, 1)
        assert "aborted" not in engine.counts  # that 0 is no count: vLLM leaves out requests that clients cancel
    [engine] = reading("sglang", 'sglang:num_aborted_requests_total{engine_type="unified",model_name="m"} 7\n').engines
    assert engine.counts == {"aborted": 7}


def test_ray_serve_has_an_engine_for_each_replica_and_no_exact_sums():
    model_reading = reading("ray_serve", page("ray-2.60.0.txt"))
    assert model_reading.model == "tiny"
    once, twice = model_reading.engines
    assert once.counts == {"prompt": 420, "cached": 50, "computed": 370, "generation": 80, "steps": 40}
    assert twice.counts == {key: 2 * n for key, n in once.counts.items()}
    assert once.gauges == {"running": 2, "waiting": 1}
    itl = once.latencies["itl"]
    assert (itl.count, itl.counts[itl.edges.index(0.025)]) == (39, 39)
    assert not itl.is_sum_exact  # 39 times 0.0175 s, the middle of the bucket, and not 0.011 s
