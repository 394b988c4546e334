"""Traces, systems and the grid of cells."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.vllm_plant.cells import LOADS, LONG_LOADS, ServingCell, draw_cells, draw_long_cells
from benchmarks.vllm_plant.systems import GPUS, SYSTEMS, clock_settings, engine_params
from benchmarks.vllm_plant.traces import CODE, draw_requests, read_trace
from energy_agent.core.errors import UsageError


def test_cells_of_a_seed_cover_systems_traces_loads_and_special_cases() -> None:
    cells = draw_cells(1)
    assert len(cells) == 44
    assert len({cell.name for cell in cells}) == 44
    assert {cell.system for cell in cells} == set(SYSTEMS)
    assert {cell.trace for cell in cells} == {"conv", "code", "moon", "moonsyn"}
    assert {cell.load for cell in cells} == set(LOADS)
    assert Counter(cell.role for cell in cells) == {"both": 38, "prefill": 3, "decode": 3}
    assert {cell.period_s for cell in cells} == {0.2, 1.0, 5.0}
    assert {cell.limits for cell in cells} == {"near", "edge", "between", "unmet"}


def test_long_cells_are_two_gpus_and_two_traces_at_each_load() -> None:
    cells = draw_long_cells(1)
    assert len({cell.name for cell in cells}) == 24
    assert Counter(cell.load for cell in cells) == dict.fromkeys(LONG_LOADS, 4)
    assert Counter((SYSTEMS[cell.system].gpu, cell.trace) for cell in cells) == {
        (gpu, trace): 6 for gpu in ("H100", "A100") for trace in ("conv", "code")
    }
    assert {cell.requests for cell in cells} == {100_000}


@pytest.mark.parametrize("draw", [draw_cells, draw_long_cells])
def test_cells_depend_on_the_seed_alone(draw: Callable[[int], list[ServingCell]]) -> None:
    assert draw(5) == draw(5) != draw(6)


@pytest.mark.parametrize("name", SYSTEMS)
def test_settings_are_twelve_clocks_up_to_the_highest(name: str) -> None:
    gpu, settings = GPUS[SYSTEMS[name].gpu], clock_settings(name)
    assert len(settings) == 12
    assert (settings[0], settings[-1]) == (gpu.low_mhz, gpu.top_mhz)
    assert all(mhz % 15 == 0 for mhz in settings)


def test_parameters_of_a_group_are_those_of_all_its_gpus() -> None:
    params = engine_params("H100x4-70B", "both")
    assert params.limit_w == 4 * 700
    assert params.flop_per_s == pytest.approx(4 * 0.6 * 989e12)
    # 4 * (0.9 * 80e9 - 2e9) bytes, less 70.6e9 BF16 parameters, in blocks of 16 tokens.
    assert params.kv_blocks == (280e9 - 141.2e9) // (16 * 327680)


def test_code_excerpt_is_as_its_source_describes() -> None:
    trace = read_trace("code", CODE.parent)
    assert len(trace.gap_s) == 440
    assert (trace.prompt[0], trace.output[0], trace.prompt[-1], trace.output[-1]) == (4808, 10, 193, 11)
    assert trace.gap_s.max() == 10  # of 144 s
    assert trace.gap_s.min() >= 0


@pytest.mark.parametrize("name", ["conv", "moon", "moonsyn"])
def test_a_trace_has_gaps_prompts_and_outputs(name: str, data: Path) -> None:
    trace = read_trace(name, data)
    assert list(trace.prompt[:2]) == [300, 331]
    assert list(trace.output[:2]) == [5, 6]
    assert np.all(trace.gap_s >= 0)
    assert trace.gap_s.sum() == pytest.approx({"conv": 60, "moonsyn": 57}.get(name, 58.5), abs=2)


def test_missing_trace_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Azure/AzurePublicDataset"):
        read_trace("conv", tmp_path)


@given(st.integers(1, 600), st.integers(0, 2**32), st.integers(500, 100_000), st.sampled_from([0.0, 0.3, 1.0]))
def test_drawn_requests_fit_the_kv_cache_and_the_prefix_cache(count: int, seed: int, kv_tokens: int, hit_share: float) -> None:
    drawn = draw_requests(read_trace("code", CODE.parent), count, seed, kv_tokens, hit_share)
    assert len(drawn.gap_s) == len(drawn.prompt) == len(drawn.output) == len(drawn.cached) == count
    assert np.all(drawn.prompt <= 0.7 * kv_tokens)
    assert np.all((drawn.cached >= 0) & (drawn.cached < drawn.prompt))
    assert np.all(drawn.gap_s > 0)
    if hit_share == 0:
        assert not np.any(drawn.cached)
