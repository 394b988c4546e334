"""Drawn engines and GPUs: within their documented ranges, the same for the same seed, and physical."""

from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.replay.serving.drawn import EDGES, EngineParameters, GpuParameters, describe, random_engine, random_gpu

SEEDS = st.integers(0, 100_000)


def test_every_parameter_has_meaning_unit_range_and_basis() -> None:
    rows = describe()
    assert len(rows) == len(fields(EngineParameters)) + len(fields(GpuParameters))
    for row in rows:
        low, high = row["range"]
        assert low < high, row
        assert row["meaning"], row
        assert row["unit"], row
        assert str(row["basis"]).split(":")[0] in ("measured", "fitted", "assumed"), row


@given(SEEDS)
def test_a_seed_draws_one_engine_within_the_ranges(seed: int) -> None:
    engine = random_engine(seed)
    assert engine == random_engine(seed)
    assert engine.edges in EDGES
    values = asdict(engine.parameters) | asdict(engine.gpu.its)
    for row in describe():
        low, high = row["range"]
        assert low - 15 * (row["scale"] == "clock") <= values[row["name"]] <= high + 15 * (row["scale"] == "clock"), row["name"]


@given(SEEDS)
def test_a_lower_clock_takes_longer_and_less_power(seed: int) -> None:
    gpu = random_gpu(seed)
    for boundness in (0.0, 0.4, 1.0):
        stretch = [gpu.stretch(mhz, boundness) for mhz in gpu.settings]
        assert stretch == sorted(stretch, reverse=True)
        assert stretch[-1] == pytest.approx(1.0)
    power = [gpu.run(mhz, 0.9, 0.5)[1] for mhz in gpu.settings]
    assert power == sorted(power)
    assert power[-1] <= gpu.limit_w
    assert list(gpu.settings) == sorted(set(gpu.settings))


@given(SEEDS)
def test_boundness_falls_with_the_batch_and_with_speculation(seed: int) -> None:
    engine = random_engine(seed)
    bound = [engine.decode_boundness(batch) for batch in (1, 4, 16, 64, 256)]
    assert bound == sorted(bound, reverse=True)
    assert bound[0] >= 0.7
    assert bound[-1] <= 0.1
    low = engine.gpu.settings[2]
    assert engine.speculate(4).rates(low).decode_stretch[4] >= engine.speculate(0).rates(low).decode_stretch[4]


def test_below_the_knee_memory_bound_work_slows_too() -> None:
    gpu = random_gpu(3)
    knee = gpu.its.knee_ratio * gpu.its.f_max_mhz
    assert gpu.stretch(1.01 * knee, 1.0) == pytest.approx(1.0)
    assert gpu.stretch(0.8 * knee, 1.0) == pytest.approx(1.25)
