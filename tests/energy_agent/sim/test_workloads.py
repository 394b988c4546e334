"""The workloads in lockstep with the plant: what a slower clock does to them, and the LLM engine's own laws."""

import os
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from statistics import fmean, pvariance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.sim import scenario_model
from energy_agent.sim.gpu.boards import boards
from energy_agent.sim.workloads import arrivals, levels, models, training
from energy_agent.sim.workloads.engine import BatchingEngine, SimulatedRequest
from energy_agent.sim.workloads.worker import Spec, WorkloadStop, WorkloadWorker
from tests.doubles.gpus import H100
from tests.support import examples, refusal

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
F_MAX, KNEE = 1980, 1005


@pytest.fixture
def worker(tmp_path, gpus):
    """Makes a worker of this process on a lockstep H100, whose clock is locked at the given MHz (0: free)."""

    def make(lock_mhz: int = 0, **parameters: object) -> WorkloadWorker:
        rig = gpus(H100, seed=1)
        if lock_mhz:
            rig.nvml.set_locked_sm_clocks_mhz(rig.devices[0], 345, lock_mhz)
        spec = Spec("w", str(tmp_path / "plant"), str(tmp_path / "w.json"), (0,), (H100,), 10**9, 5, os.getppid(), parameters)
        worker = WorkloadWorker(spec, rig.plant)
        worker.attach()
        return worker

    return make


def train_s(worker: WorkloadWorker) -> float:
    """Plant time a training run takes."""
    began_ns = worker.plant.now_ns()
    training.run(worker)
    return (worker.plant.now_ns() - began_ns) / 1e9


def training_parameters(**more: object) -> dict[str, object]:
    about = {"name": "t", "kind": "training", "gpus": [0], "jitter": 0.0, "host_every_steps": 0, "checkpoint_every_s": 0}
    return scenario_model.Training.model_validate(about | {"steps": 40} | more).model_dump(mode="json")


def engine_of(max_num_seqs: int = 512, max_batched_tokens: int = 8192, kv_tokens: int = 10**6) -> BatchingEngine:
    return BatchingEngine(
        models.step_cost(LLAMA, (H100,)), max_num_seqs=max_num_seqs, max_batched_tokens=max_batched_tokens,
        kv_tokens=kv_tokens, decode_memory_boundness=0.9, prefill_memory_boundness=0.1,
    )  # fmt: skip


def test_training_slows_with_the_clock_by_its_boundness(worker):
    """Every phase follows T = T_ref (m + (1 - m) f_ref / f); half intensity keeps the free clock off the power cap."""
    parameters = training_parameters(intensity=0.5)
    free_s, locked_s = train_s(worker(**parameters)), train_s(worker(KNEE, **parameters))
    slower = F_MAX / KNEE
    expected = 0.86 * (0.25 + 0.75 * slower) + 0.10 * (0.85 + 0.15 * slower) + 0.04 * (0.95 + 0.05 * slower)
    assert free_s == pytest.approx(40 * 0.5, rel=0.01)
    assert locked_s / free_s == pytest.approx(expected, rel=0.01)


def test_training_stops_for_the_host_and_for_checkpoints(worker):
    pauses = {"host_every_steps": 5, "host_s": 1.0, "checkpoint_every_s": 5, "checkpoint_s": 3.0}
    run = worker(**training_parameters(intensity=0.5, step_s=0.5, steps=20, **pauses))
    took_s = train_s(run)
    run.flush()
    state = Path(run.spec.state).read_text()
    assert all(f'"{key}": {count}' in state for key, count in (("host_stalls", 4), ("checkpoints", 2), ("work_units", 1280)))
    assert took_s == pytest.approx(20 * 0.5 + 4 * 1.0 + 2 * 3.0, rel=0.02)
    assert run.plant.truth(0).busy_ns / 1e9 == pytest.approx(10.0, rel=0.03)  # it really left the GPU alone


def decode(worker: WorkloadWorker, batch: int, seconds: float) -> tuple[float, float]:
    """Mean inter-token latency in s and mean true power in W of pure decode at a steady batch."""
    engine = engine_of()
    for _ in range(batch):
        engine.arrive(SimulatedRequest(worker.plant.now_ns(), prompt=8, output=10**5))

    def step() -> None:
        planned = engine.plan(max_repeats=4)
        assert planned is not None
        worker.work(planned.reference_s, planned.memory_boundness, planned.intensity)
        engine.finish(planned, worker.plant.now_ns())

    step()
    while worker.elapsed_s() < 10:  # warm
        step()
    before, sum_s, count = worker.plant.truth(0), engine.counters.itl.sum, sum(engine.counters.itl.counts)
    while worker.elapsed_s() < 10 + seconds:
        step()
    after = worker.plant.truth(0)
    watts = (after.true_uj - before.true_uj) * 1e3 / (after.t_ns - before.t_ns)
    return (engine.counters.itl.sum - sum_s) / (sum(engine.counters.itl.counts) - count), watts


@pytest.mark.parametrize(
    ("batch", "itl_ms", "watts"), [(8, 7.3, 486), (32, 8.9, 560), (128, 16.5, 669), (256, 26.0, 691), (512, 47.0, 688)]
)
def test_decode_is_as_fast_and_hungry_as_measured(worker, batch, itl_ms, watts):
    """The leaderboard's H100 rows of Llama 3.1 8B; plant power includes the leakage of a warm board."""
    itl_s, drawn_w = decode(worker(), batch, 5)
    assert itl_s * 1000 == pytest.approx(itl_ms, rel=0.06)
    assert drawn_w == pytest.approx(watts, rel=0.05)


def test_every_board_has_its_throughput_and_other_models_scale_to_what_was_measured():
    """Leaderboard: Qwen 3 32B on two H100 15 ms, Llama 3.3 70B on four 17 ms, both at batch 8."""
    assert set(models.THROUGHPUTS) == set(boards())
    assert models.step_cost("Qwen/Qwen3-32B", (H100,) * 2).decode_s(8) == pytest.approx(0.015, rel=0.07)
    assert models.step_cost("meta-llama/Llama-3.3-70B-Instruct", (H100,) * 4).decode_s(8) == pytest.approx(0.017, rel=0.07)


requests = st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 400), st.integers(0, 5000)), min_size=1, max_size=40)


@settings(max_examples=examples(60))
@given(requests, st.integers(1, 16), st.integers(64, 4096), st.integers(1024, 8000), st.integers(1, 50))
def test_the_engine_finishes_every_request_whatever_comes(drawn, seqs, budget, kv_tokens, repeats):
    """Each request gets all its tokens, one latency per token except the first, and the cache never exceeds its capacity."""
    engine = engine_of(seqs, budget, kv_tokens)
    now_ns = 10**9
    all_requests = [SimulatedRequest(now_ns, prompt, output, cached) for prompt, output, cached in drawn]
    for request in all_requests:
        engine.arrive(request)
    begun_ns = now_ns
    while (step := engine.plan(repeats)) is not None:
        now_ns += round(step.reference_s * 1e9)
        engine.finish(step, now_ns)
        assert len(engine.running) <= seqs
        assert engine.kv_usage_ratio <= 1
        assert 0 <= step.memory_boundness <= 1
    counters = engine.counters
    assert not engine.running
    assert not engine.waiting
    assert engine.kv_usage_ratio == 0
    assert counters.finished == len(all_requests) == sum(counters.ttft.counts) == sum(counters.e2e.counts)
    assert counters.generation == sum(r.output for r in all_requests)
    assert counters.prompt == sum(r.prompt for r in all_requests)
    assert counters.cached == sum(r.cached for r in all_requests)
    assert sum(counters.itl.counts) == counters.generation - len(all_requests)
    # Latencies add up to the lives of the requests.
    assert counters.ttft.sum + counters.itl.sum == pytest.approx(counters.e2e.sum, rel=1e-6)
    assert sum(counters.tpot.counts) == sum(r.output > 1 for r in all_requests)
    means = [(r.last_token_ns - r.first_token_ns) / 1e9 / (r.output - 1) for r in all_requests if r.output > 1]
    assert counters.tpot.sum == pytest.approx(sum(means), rel=1e-6)
    assert counters.e2e.sum <= len(all_requests) * (now_ns - begun_ns) / 1e9 * (1 + 1e-9)


def test_arrivals_have_the_configured_rate_lengths_and_bursts():
    lengths, spread = arrivals.Lengths(1020, 0.5, 129, 0.99), {}
    for draw in (arrivals.poisson, arrivals.bursty):
        drawn = list(islice(draw(Random(3), 5.0, lengths), 40_000))
        assert drawn[:9] == list(islice(draw(Random(3), 5.0, lengths), 9))
        assert [a.at_s for a in drawn] == sorted(a.at_s for a in drawn)
        assert len(drawn) / drawn[-1].at_s == pytest.approx(5.0, rel=0.08)
        # Mean lengths of the trace: prompts 1155, answers 211; the cut at 1000 costs the answers some of theirs.
        assert fmean(a.prompt for a in drawn) == pytest.approx(1155, rel=0.03)
        assert fmean(a.output for a in drawn) == pytest.approx(211, rel=0.10)
        counts = Counter(int(a.at_s / 5) for a in drawn)
        windows = [counts[i] for i in range(int(drawn[-1].at_s / 5))]
        spread[draw] = pvariance(windows) / fmean(windows)  # of the requests in windows of 5 s: 1 for Poisson
    assert spread[arrivals.poisson] < 1.5
    assert spread[arrivals.bursty] > 5


def test_a_trace_is_replayed_again_and_again_and_a_wrong_one_refused(tmp_path):
    path, head = tmp_path / "trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    path.write_text(head + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n")
    drawn = list(islice(arrivals.trace(path), 4))
    assert [(a.prompt, a.output) for a in drawn] == [(374, 44), (396, 109)] * 2
    assert [a.at_s for a in drawn] == pytest.approx([0.0, 4.314579, 5.314579, 9.629158])
    for text in ("", "a,b\n1,2\n", head + "noon,1,1\n", head + "2023-11-16 18:15:46,0,1\n"):
        path.write_text(text)
        assert "trace.csv" in refusal(next, arrivals.trace(path))
    assert "cannot be read" in refusal(next, arrivals.trace(tmp_path / "none.csv"))


@pytest.mark.parametrize("in_step", [True, False])
def test_levels_follow_each_other_without_a_pause_and_hold_as_long_as_drawn(tmp_path, gpus, in_step):
    about = {"name": "l", "kind": "levels", "gpus": [0, 1], "in_step": in_step, "hold_max_s": 0.5, "intensity_max": 0.8}
    parameters = scenario_model.Levels.model_validate(about).model_dump(mode="json")
    rig = gpus(*[H100] * 2, seed=1)
    spec = Spec("l", str(tmp_path / "plant"), str(tmp_path / "l.json"), (0, 1), (H100,) * 2, 0, 5, os.getppid(), parameters)
    run, powers, busy_ms = WorkloadWorker(spec, rig.plant), [], 0
    run.attach()

    def rest(seconds: float) -> None:  # that of the worker, looked at every ms
        nonlocal busy_ms
        for _ in range(round(seconds * 1000)):
            before = [rig.truth(gpu).true_uj for gpu in range(2)]
            rig.step(0.001)
            powers.append([rig.truth(gpu).true_uj - before[gpu] for gpu in range(2)])
        if run.elapsed_s() > 5:
            busy_ms = rig.truth(0).busy_ns / 1e6
            raise WorkloadStop

    run.rest = rest  # type: ignore[method-assign]
    with pytest.raises(WorkloadStop):
        levels.run(run)
    assert busy_ms == len(powers)
    settled = [pair for n, pair in enumerate(powers) if n > 100]  # the clock has risen
    assert all(abs(a - b) < 2 for a, b in settled) == in_step  # uJ per ms
    edges = [n for n in range(1, len(settled)) if abs(settled[n][0] - settled[n - 1][0]) > 3000]  # 3 W: not the temperature
    holds = [b - a for a, b in pairwise(edges)]
    assert len(holds) > 20
    assert 9 <= min(holds) < 40
    assert max(holds) > 200


def test_worker_detaches_on_request(worker):
    new_worker = worker()
    assert [s.pid for s in new_worker.plant.truth(0).slots if s.live] == [os.getpid()]
    new_worker.detach()
    assert not [s for s in new_worker.plant.truth(0).slots if s.live]
