"""The split of a serving engine's energy. Truth: energies made from known costs, and an engine on the simulated plant."""

import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.metering.prefill_decode import ALIKE, LEAST_WINDOWS, NO_STEPS, NO_WORK, TOO_FEW, Window, split
from energy_agent.sim.boards import BoardSpec
from energy_agent.sim.plant import Plant
from energy_agent.sim.workloads import arrivals, models
from energy_agent.sim.workloads.engine import Engine, Request


def _windows(
    random: Random, n: int, prefill: float, step: float, token: float, idle_w: float, noise_j: float = 0.0
) -> list[Window]:
    windows = []
    for _ in range(n):
        computed, idle_s = random.randrange(0, 20_000), random.uniform(0, 5)
        steps = random.randrange(100, 1000)
        generated = round(steps * random.uniform(1, 30))
        joules = prefill * computed + step * steps + token * generated + idle_w * idle_s + random.gauss(0, noise_j)
        windows.append(Window(joules, computed, generated, steps, idle_s))
    return windows


@given(
    st.integers(0, 2**32),
    st.floats(0.01, 0.3),
    st.floats(0.5, 5.0),
    st.floats(0.005, 0.05),
    st.floats(50.0, 150.0),
)
@settings(max_examples=60, deadline=None)
def test_known_costs_are_found_and_the_parts_sum_to_the_energy(
    seed: int, prefill: float, step: float, token: float, idle_w: float
) -> None:
    windows = _windows(Random(seed), 60, prefill, step, token, idle_w)
    found = split(windows)
    computed, generated = sum(w.computed for w in windows), sum(w.generated for w in windows)
    total = sum(w.energy_j for w in windows)
    decode = (step * sum(w.steps or 0 for w in windows) + token * generated) / generated
    if found.prefill is None or found.decode is None:
        # Absent only where one part is small against the whole.
        assert min(prefill * computed, decode * generated) < 0.15 * total
        return
    assert found.prefill.value == pytest.approx(prefill, rel=1e-3)
    assert found.decode.value == pytest.approx(decode, rel=1e-3)
    assert found.prefill.low < prefill < found.prefill.high
    whole = found.prefill.value * computed + found.decode.value * generated + found.idle_j
    assert whole == pytest.approx(total, rel=1e-9)


def test_absent_with_the_reason() -> None:
    windows = _windows(Random(1), 60, 0.1, 2.0, 0.02, 100.0)
    assert split(windows[: LEAST_WINDOWS - 1]).reason == TOO_FEW
    assert split([Window(w.energy_j, w.computed, w.generated, None, w.idle_s) for w in windows]).reason == NO_STEPS
    assert split([Window(w.energy_j, 0, w.generated, w.steps, w.idle_s) for w in windows]).reason == NO_WORK
    assert split([Window(w.energy_j, w.computed, 0, w.steps, w.idle_s) for w in windows]).reason == NO_WORK


def test_a_load_that_never_changes_tells_nothing() -> None:
    random = Random(3)
    windows = [Window(5000 + random.gauss(0, 5), 4000, 6000, 500, 0.0) for _ in range(60)]
    found = split(windows)
    assert (found.prefill, found.decode, found.reason) == (None, None, ALIKE)


def _serve(plant: Plant, seed: int, seconds: int, rate: float, prompt: int, output: int) -> tuple[list[Window], float, float]:
    """Windows of 10 s of an engine on GPU 0, and the true J of prefill and decode: a step's energy by the time of its parts."""
    sku, model, random = "H100-SXM5-80GB", "meta-llama/Llama-3.1-8B-Instruct", Random(seed)
    engine = Engine(
        models.step_cost(model, [sku]),
        max_num_seqs=256,
        max_batched_tokens=8192,
        kv_tokens=400_000,
        decode_memory_boundness=0.9,
        prefill_memory_boundness=0.1,
    )
    slot = plant.attach_process(0, os.getpid(), memory_b=10**9)
    coming = arrivals.bursty(random, rate, arrivals.Lengths(prompt, 0.5, output, 0.8))
    arrival, start_ns = next(coming), plant.now_ns()
    prefill = decode = idle_s = 0.0
    windows, mark, edge_s = list[Window](), (0.0, 0, 0, 0, 0.0), 10.0
    while (now_s := (plant.now_ns() - start_ns) / 1e9) < seconds:
        before_j = plant.truth(0).true_uj / 1e6
        if now_s >= edge_s:
            here = (before_j, engine.counters.prompt, engine.counters.generation, engine.counters.steps, idle_s)
            if edge_s > 10.0:
                d = [b - a for a, b in zip(mark, here, strict=True)]
                windows.append(Window(d[0] + random.gauss(0, 5), int(d[1]), int(d[2]), int(d[3]), d[4]))
            else:
                prefill = decode = 0.0
            mark, edge_s = here, edge_s + 10.0
        while arrival.at_s <= now_s:
            engine.arrive(Request(plant.now_ns(), arrival.prompt, arrival.output))
            arrival = next(coming)
        step = engine.plan(2)
        if step is None:
            wait_s = min(max(arrival.at_s - now_s, 0.001), 1.0)
            plant.advance_to(plant.now_ns() + round(wait_s * 1e9))
            idle_s += wait_s
            continue
        ticket = plant.submit(
            0,
            slot,
            reference_ns=round(step.reference_s * 1e9),
            memory_boundness=step.memory_boundness,
            intensity=step.intensity,
        )
        plant.wait(0, slot, ticket)
        used_j = plant.truth(0).true_uj / 1e6 - before_j
        share = engine.cost.prefill_s(sum(n for _, n in step.chunks)) / step.reference_s
        prefill, decode = prefill + share * used_j, decode + (1 - share) * used_j
        engine.finish(step, plant.now_ns())
    return windows, prefill, decode


@pytest.mark.parametrize(("seed", "rate", "prompt", "output"), [(1, 4.0, 1020, 129), (2, 7.0, 1500, 200), (3, 2.0, 4000, 80)])
def test_an_engine_whose_cost_bends_with_its_batch(tmp_path: Path, seed: int, rate: float, prompt: int, output: int) -> None:
    with Plant.create(tmp_path / "plant", [BoardSpec(sku="H100-SXM5-80GB")], seed=seed, manual=True) as plant:
        windows, prefill_j, decode_j = _serve(plant, seed, 600, rate, prompt, output)
    found = split(windows)
    assert found.prefill is not None
    assert found.decode is not None
    prefill = prefill_j / sum(w.computed for w in windows)
    decode = decode_j / sum(w.generated for w in windows)
    assert found.prefill.value == pytest.approx(prefill, rel=0.1)
    assert found.decode.value == pytest.approx(decode, rel=0.1)
    assert found.prefill.low <= prefill <= found.prefill.high
    assert found.decode.low <= decode <= found.decode.high
