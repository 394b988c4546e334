"""The engine against hand computations of the roofline and laws of a scheduler."""

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.vllm_plant.engine import EngineMetrics, EngineParams, EngineRequests, VllmEngine, bucket_edges, build_library
from energy_agent.core.errors import UsageError

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

TOP_MHZ, HALF_MHZ = 2000, 1000


def make_params(**changes: float) -> EngineParams:
    """An engine of round numbers without noise."""
    params = EngineParams(
        active_params=1e9,
        dense_params=1e9,
        weight_bytes=2,
        kv_bytes_per_token=1e5,
        layers=10,
        attention_width=1000,
        flop_per_s=1e14,
        bytes_per_s=1e12,
        top_mhz=TOP_MHZ,
        memory_knee_mhz=HALF_MHZ,
        voltage_knee_mhz=HALF_MHZ,
        lowest_voltage_ratio=0.7,
        idle_w=50,
        clock_w=100,
        memory_w=100,
        compute_w=400,
        limit_w=1000,
        overlap_norm=1,
        launch_s=1e-3,
        link_bytes_per_s=1e10,
        cpu_step_s=2e-3,
        cpu_prompt_s=1e-3,
        cpu_sequence_s=1e-4,
        batched_tokens=2048,
        running_limit=8,
        kv_blocks=1000,
        frontend_s=5e-3,
    )
    for name, value in changes.items():
        setattr(params, name, value)
    return params


def make_requests(
    rows: Sequence[tuple[float, int, int]], cached: Sequence[int] | None = None, ready_s: Sequence[float] | None = None
) -> EngineRequests:
    """Requests of (arrival, prompt, output)."""
    arrival_s, prompt, output = zip(*rows, strict=True)
    return EngineRequests(
        np.array(arrival_s, np.float64),
        np.array(prompt, np.int32),
        np.array(output, np.int32),
        np.array(cached or [0] * len(rows), np.int32),
        np.array(ready_s or arrival_s, np.float64),
    )


def play(
    params: EngineParams, requests: EngineRequests, mhz: float = TOP_MHZ, seed: int = 1
) -> tuple[EngineMetrics, list[float], list[float]]:
    """Run to the end; metrics and times of first and last tokens."""
    with VllmEngine(params, requests, seed) as engine:
        now_s = 0.0
        while engine.metrics.requests < len(requests):
            now_s += 1.0
            engine.advance(now_s, mhz)
            assert engine.metrics.running <= params.running_limit
        first_s, last_s = engine.token_times_s()
        return engine.metrics, list(first_s), list(last_s)


# A prompt of 1000 tokens, of which 2e9 parameters' FLOP and 4 * 1000 * 500 * 1000 * 10 of attention: 2.02e12 FLOP, 20.2 ms.
# It reads 2e9 bytes of weights and 1000 * 1e5 of KV cache: 2.1 ms. Launch 1 ms, CPU 2 + 1 + 0.1 ms, frontend 5 ms.
# The token after it: 2e9 + 4 * 1000.5 * 1000 * 10 FLOP: 0.0204002 ms; 2e9 + 1001 * 1e5 bytes: 2.1001 ms; CPU 2 + 0.1 ms.
@pytest.mark.parametrize(
    ("mhz", "ttft_ms", "gap_ms"),
    [
        (TOP_MHZ, 20.2 + 2.1 + 1 + 3.1 + 5, 0.0204002 + 2.1001 + 1 + 2.1),
        (HALF_MHZ, 2 * 20.2 + 2.1 + 2 + 3.1 + 5, 2 * 0.0204002 + 2.1001 + 2 + 2.1),
        (HALF_MHZ / 2, 4 * 20.2 + 2 * 2.1 + 4 + 3.1 + 5, 4 * 0.0204002 + 2 * 2.1001 + 4 + 2.1),
    ],
)
def test_times_of_a_single_request_are_those_of_the_roofline(mhz: float, ttft_ms: float, gap_ms: float) -> None:
    metrics, (first_s,), (last_s,) = play(make_params(), make_requests([(0.5, 1000, 2)]), mhz)
    assert 1000 * (first_s - 0.5) == pytest.approx(ttft_ms)
    assert 1000 * (last_s - first_s) == pytest.approx(gap_ms)
    assert 1000 * metrics.ttft.sum_s == pytest.approx(ttft_ms)
    assert 1000 * metrics.itl.sum_s == pytest.approx(gap_ms)
    assert metrics.steps == 2


def test_a_batch_reads_the_weights_once() -> None:
    _, first_s, last_s = play(make_params(), make_requests([(0, 1000, 2)] * 2))
    assert [1000 * at_s for at_s in first_s] == pytest.approx([40.4 + 2.2 + 1 + 3.2 + 5] * 2)
    assert 1000 * (last_s[0] - first_s[0]) == pytest.approx(2 * 0.0204002 + 2.2002 + 1 + 2.2)


def test_compute_and_memory_overlap_by_the_norm() -> None:
    params = make_params(overlap_norm=2, flop_per_s=2.02e12 / 4e-3, bytes_per_s=2.1e9 / 3e-3)
    _, (first_s,), _ = play(params, make_requests([(0, 1000, 1)]))
    assert 1000 * first_s == pytest.approx(5 + 1 + 3.1 + 5)


@pytest.mark.parametrize(("mhz", "switching", "compute_ms", "launch_ms"), [(TOP_MHZ, 1, 20.2, 1), (HALF_MHZ, 0.245, 40.4, 2)])
def test_energy_is_the_sum_of_power_times_time(mhz: float, switching: float, compute_ms: float, launch_ms: float) -> None:
    # f V^2 at half the clock and 70 % of the voltage: 0.5 * 0.49.
    metrics, _, _ = play(make_params(), make_requests([(0.5, 1000, 1)]), mhz)
    gpu_ms, cpu_ms = compute_ms + 2.1 + launch_ms, 3.1
    busy_w = 50 + 100 * switching + 100 * 2.1 / gpu_ms + 400 * switching * compute_ms / gpu_ms
    host_w, idle_w = 50 + 0.6 * 100 * switching, 50 + 0.5 * 100 * switching
    expected_j = (busy_w * gpu_ms + host_w * cpu_ms + idle_w * (1000 - gpu_ms - cpu_ms)) / 1000
    assert metrics.energy_j == pytest.approx(expected_j)
    assert metrics.gpu_busy_s == pytest.approx(gpu_ms / 1000)


def test_power_limiter_slows_a_step_down_to_the_limit() -> None:
    requests = make_requests([(0, 1000, 1)])
    free, (first_s,), _ = play(make_params(), requests)
    limited, (limited_s,), _ = play(make_params(limit_w=300), requests)
    wasteful, (wasteful_s,), _ = play(make_params(limit_w=300, limiter_waste_ratio=0.5), requests)
    assert free.power_limited_s == 0
    assert limited.power_limited_s == limited.gpu_busy_s > free.gpu_busy_s
    assert limited_s - first_s == pytest.approx(limited.gpu_busy_s - free.gpu_busy_s)
    assert wasteful.gpu_busy_s == pytest.approx(1.5 * limited.gpu_busy_s)
    assert wasteful_s > limited_s
    # The step draws the limit, its CPU time host power and the rest of the second idle power, all at the chosen clock.
    host_j, idle_j = 110 * 3.1e-3, 100 * (1 - limited.gpu_busy_s - 3.1e-3)
    assert limited.energy_j == pytest.approx(300 * limited.gpu_busy_s + host_j + idle_j, rel=1e-3)


def test_experts_are_read_as_far_as_tokens_use_them() -> None:
    params = make_params(expert_params=4e9, expert_share=0.25)
    _, (first_s,), (last_s,) = play(params, make_requests([(0, 1000, 2)]))
    # One token reads a quarter of the experts, 1000 tokens all of them: 2 and 8 ms more than without.
    assert 1000 * (last_s - first_s) == pytest.approx(0.0204002 + 2.1001 + 2 + 1 + 2.1)
    assert 1000 * first_s == pytest.approx(20.2 + 2.1 + 8 + 1 + 3.1 + 5)


def test_all_reduce_takes_its_latency_and_its_bytes() -> None:
    params = make_params(all_reduce_s=1e-3, all_reduce_bytes_per_token=1e5)
    _, (first_s,), _ = play(params, make_requests([(0, 1000, 1)]))
    assert 1000 * first_s == pytest.approx(20.2 + 2.1 + 1 + 3.1 + 5 + 1 + 10)


def test_a_prompt_longer_than_the_budget_takes_several_steps_and_its_cached_part_none() -> None:
    params = make_params(batched_tokens=512)
    metrics, _, _ = play(params, make_requests([(0, 2000, 1)]))
    assert metrics.steps == 4
    metrics, _, _ = play(params, make_requests([(0, 2000, 1)], cached=[1600]))
    assert metrics.steps == 1
    assert metrics.prompt_tokens == 400


def test_gauges_count_running_and_waiting_requests() -> None:
    with VllmEngine(make_params(running_limit=2), make_requests([(0, 100, 50)] * 5), 1) as engine:
        engine.advance(0.05, TOP_MHZ)
        assert (engine.metrics.running, engine.metrics.waiting) == (2, 3)


def test_decode_pool_admits_a_request_when_its_kv_cache_is_there() -> None:
    requests = make_requests([(0, 1000, 20), (0, 1000, 20), (0, 1000, 2)], ready_s=[0, 0, 0.5])
    with VllmEngine(make_params(is_decode_pool=1, running_limit=1), requests, 1) as engine:
        engine.advance(0.05, TOP_MHZ)
        assert (engine.metrics.running, engine.metrics.waiting) == (1, 1)  # the third is in transfer
        engine.advance(1, TOP_MHZ)
        first_s, _ = engine.token_times_s()
        assert engine.metrics.requests == 3
        assert engine.metrics.prompt_tokens == 0
    # One token of a batch of one, with the CPU time of a first step.
    assert 1000 * (first_s[2] - 0.5) == pytest.approx(0.0203998 + 2.1 + 1 + 3.1 + 5)


def test_a_preempted_request_recomputes_prompt_and_output_also_in_a_decode_pool() -> None:
    # 131 blocks hold 1040 tokens of both requests. The 41st output token of each needs another block, but one is free: the
    # second request is preempted until the first has finished. It then computes 1041 tokens in one step and 18 one by one.
    params = make_params(is_decode_pool=1, kv_blocks=131)
    metrics, _, last_s = play(params, make_requests([(0, 1000, 60), (0, 1000, 60)]))
    recomputed_ms = (2e9 * 1041 + 4 * 1041 * 1041 / 2 * 1e4) / 1e11 + (2e9 + 1041e5) / 1e9 + 1 + 3.1
    single_ms = [(2e9 + 4 * (n + 0.5) * 1e4) / 1e11 + (2e9 + (n + 1) * 1e5) / 1e9 + 1 + 2.1 for n in range(1041, 1059)]
    assert metrics.preemptions == 1
    assert 1000 * (last_s[1] - last_s[0]) == pytest.approx(recomputed_ms + sum(single_ms))


def test_drafts_cost_a_share_of_the_model_each() -> None:
    params = make_params(draft_tokens=3, draft_acceptance=1, draft_cost_ratio=0.5)
    metrics, (first_s,), (last_s,) = play(params, make_requests([(0, 1000, 5)]))
    # Four tokens by the model, half as much again by the draft model, which is read three times.
    compute_ms, memory_ms = (1.5 * 8e9 + 4 * 4 * 1002 * 1e4) / 1e11, (2e9 + 1004e5 + 3 * 0.5 * 2e9) / 1e9
    assert metrics.steps == 2
    assert 1000 * (last_s - first_s) == pytest.approx(compute_ms + memory_ms + 1 + 2.1)


def test_drafts_bring_several_tokens_per_step() -> None:
    requests = make_requests([(0, 100, 41)])
    plain, _, (plain_s,) = play(make_params(), requests)
    # All drafts are accepted: 4 tokens per step, the last of which is cut to what is missing.
    perfect, _, (perfect_s,) = play(make_params(draft_tokens=3, draft_acceptance=1), requests)
    hopeless, _, _ = play(make_params(draft_tokens=3, draft_acceptance=0), requests)
    assert plain.steps == hopeless.steps == 41
    assert perfect.steps == 11
    assert perfect_s < plain_s
    assert (perfect.draft_tokens, perfect.accepted_tokens) == (30, 30)
    assert (hopeless.draft_tokens, hopeless.accepted_tokens) == (120, 0)
    assert perfect.generated_tokens == hopeless.generated_tokens == 41


arrivals = st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 150), st.integers(1, 40)), min_size=1, max_size=20).map(sorted)


@given(arrivals, st.integers(1, 5), st.sampled_from([32, 4096]), st.sampled_from([0, 3]), st.integers(0, 2**32))
def test_tokens_and_requests_are_conserved(
    rows: list[tuple[float, int, int]], running_limit: int, budget: int, drafts: int, seed: int
) -> None:
    params = make_params(
        kv_blocks=14,  # too few for two long requests, so that some are preempted
        running_limit=running_limit,
        batched_tokens=budget,
        draft_tokens=drafts,
        draft_acceptance=0.6,
        noise_ratio=0.05,
        stall_probability=0.02,
        stall_s=0.02,
    )
    metrics, first_s, last_s = play(params, make_requests(rows), seed=seed)
    prompts, outputs = sum(row[1] for row in rows), sum(row[2] for row in rows)
    assert metrics.requests == metrics.ttft.count == metrics.request_itl.count == len(rows)
    assert metrics.prompt_tokens == prompts
    assert metrics.generated_tokens == outputs
    assert metrics.running == metrics.waiting == 0
    # Each step brings a request one output; with drafts an output may have several tokens.
    gaps = outputs - len(rows) - metrics.accepted_tokens
    assert metrics.itl.count == gaps if drafts == 0 else gaps <= metrics.itl.count <= outputs - len(rows)
    assert metrics.itl.sum_s == pytest.approx(sum(last_s) - sum(first_s))
    assert metrics.ttft.sum_s == pytest.approx(sum(first_s) - sum(row[0] for row in rows))
    assert all(row[0] < first <= last for row, first, last in zip(rows, first_s, last_s, strict=True))
    assert params.idle_w * metrics.time_s < metrics.energy_j < params.limit_w * metrics.time_s


def test_preempted_requests_keep_their_tokens() -> None:
    rows = [(0.0, 100, 100)] * 4
    metrics, first_s, last_s = play(make_params(kv_blocks=32), make_requests(rows))
    assert metrics.preemptions > 0
    assert metrics.generated_tokens == 400
    assert metrics.itl.count == 396
    assert len({*first_s}) == 1  # all start together
    assert len({*last_s}) > 1  # and those without blocks continue later


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8))
def test_buckets_count_values_up_to_their_edge(prompts: list[int]) -> None:
    metrics, first_s, _ = play(make_params(running_limit=1), make_requests([(0.0, prompt, 1) for prompt in prompts]))
    edges, _ = bucket_edges()
    assert list(metrics.ttft.buckets) == [sum(value_s <= edge for value_s in first_s) for edge in edges]


@given(arrivals, st.sampled_from([14, 1000]))
def test_a_higher_clock_finishes_no_request_later(rows: list[tuple[float, int, int]], kv_blocks: int) -> None:
    # All arrive at once: the batches are the same at every clock. Otherwise a faster engine may start a step just too early.
    requests = make_requests([(0.0, prompt, output) for _, prompt, output in rows])
    params = make_params(kv_blocks=kv_blocks)
    runs = [play(params, requests, mhz) for mhz in (500, 1000, 1500, 2000)]
    for (_, *slow), (_, *fast) in pairwise(runs):
        assert all(f < s for fasts, slows in zip(fast, slow, strict=True) for f, s in zip(fasts, slows, strict=True))


@given(arrivals, st.lists(st.floats(0.001, 0.2), min_size=1, max_size=20))
def test_interruptions_do_not_change_a_run(rows: list[tuple[float, int, int]], cuts: list[float]) -> None:
    params, requests = make_params(noise_ratio=0.05, kv_blocks=14), make_requests(rows)
    with VllmEngine(params, requests, 7) as whole, VllmEngine(params, requests, 7) as parts:
        whole.advance(3, TOP_MHZ)
        for end_s in sorted(cuts):
            parts.advance(end_s, TOP_MHZ)
        parts.advance(3, TOP_MHZ)
        assert np.array_equal(whole.token_times_s(), parts.token_times_s())
        assert parts.metrics.energy_j == pytest.approx(whole.metrics.energy_j)
        assert parts.metrics.steps == whole.metrics.steps


def test_runs_depend_on_the_seed_alone() -> None:
    params, requests = make_params(noise_ratio=0.05), make_requests([(0.01 * i, 100, 20) for i in range(10)])
    one, again, other = (play(params, requests, seed=seed) for seed in (1, 1, 2))
    assert bytes(one[0]) == bytes(again[0])
    assert one[1:] == again[1:]
    assert one[1:] != other[1:]


def test_a_request_that_never_fits_the_kv_cache_is_an_error() -> None:
    with pytest.raises(ValueError, match="170 tokens does not fit the KV cache of 160"):
        VllmEngine(make_params(kv_blocks=10), make_requests([(0, 150, 20)]), 1)


def test_missing_compiler_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="requires a C compiler"):
        build_library()
