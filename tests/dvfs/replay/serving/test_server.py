"""Boards, models and what a step takes: monotone in the clock, calibrated where it says so, and clear about wrong files."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.replay.serving import boards, models
from dvfs.replay.serving.server import BOUNDNESS, decode_intensity, server
from energy_agent.core.errors import UsageError

ALL = boards.load()
LLAMA = models.find("llama-8b")


@pytest.mark.parametrize("key", sorted(ALL))
@pytest.mark.parametrize("word", sorted(BOUNDNESS))
def test_a_higher_clock_is_never_slower_and_never_draws_less(key: str, word: str) -> None:
    board = ALL[key]
    one = server(board, LLAMA, gpus=2, boundness=BOUNDNESS[word], max_num_seqs=64)
    rates = [one.rates(clock) for clock in range(board.f_min_mhz, board.f_max_mhz + 1, 15 * board.f_step_mhz)]
    for low, high in pairwise(rates):
        assert all(a >= b * (1 - 1e-9) for a, b in zip(low.decode_stretch, high.decode_stretch, strict=True))
        assert low.prefill_stretch >= high.prefill_stretch * (1 - 1e-9)
        assert all(a <= b * (1 + 1e-9) for a, b in zip(low.decode_w, high.decode_w, strict=True))
        assert low.held_w <= high.held_w
        assert high.held_w < min(high.decode_w[1], high.prefill_w)
    top = one.rates(None)
    assert max(top.decode_w[1:]) <= 2 * board.limit_default_w
    assert top.lock_mhz == board.f_max_mhz


@given(st.floats(345, 1980), st.floats(0, 1), st.floats(0.3, 1.2), st.floats(200, 700))
def test_the_limiter_finds_the_clock_that_draws_the_limit(
    lock: float, boundness: float, intensity: float, limit: float
) -> None:
    board = ALL["h100-sxm"]
    clock = board.limited_mhz(round(lock), boundness, intensity, limit)
    drawn = board.power_w(clock, boundness, intensity)
    if clock < round(lock) and clock > board.f_min_mhz + 1:
        assert drawn == pytest.approx(limit, rel=1e-6)
    else:
        assert drawn <= limit * (1 + 1e-6) or clock <= board.f_min_mhz + 1


def test_power_at_the_highest_clock_is_the_leaderboards_whatever_the_boundness() -> None:
    """The anchors that server.py names: 486, 560, 669 and 691 W at batch 8, 32, 128 and 256 on an H100 SXM."""
    for word in BOUNDNESS:
        rates = server(ALL["h100-sxm"], LLAMA, boundness=BOUNDNESS[word]).rates(None)
        for batch, watts in ((8, 486.0), (32, 560.0), (128, 669.0), (256, 691.0)):
            assert rates.decode_w[batch] == pytest.approx(watts, rel=0.02), (word, batch)


def test_latency_of_an_engine_without_host_is_near_the_leaderboards() -> None:
    """Inter-token latencies that server.py names: 7.3, 8.9, 16.5, 26 and 47 ms at batch 8 to 512; contexts of 500 tokens."""
    lean = server(ALL["h100-sxm"], LLAMA, engine="lean", max_num_seqs=512)
    rates = lean.rates(None)
    for batch, itl_s in ((8, 7.3e-3), (32, 8.9e-3), (128, 16.5e-3), (256, 26e-3), (512, 47e-3)):
        assert lean.decode_s(batch, 500 * batch) * rates.decode_stretch[batch] == pytest.approx(itl_s, rel=0.25), batch


def test_boundness_is_all_that_changes_and_gpus_are_as_the_model_says() -> None:
    one = server(ALL["h100-sxm"], LLAMA, boundness=BOUNDNESS["low"])
    decode, prefill = BOUNDNESS["high"]
    assert replace(one, decode_boundness=decode, prefill_boundness=prefill) == server(
        ALL["h100-sxm"], LLAMA, boundness=BOUNDNESS["high"]
    )
    assert [server(ALL[key], models.find("llama-70b")).gpus for key in ("h100-sxm", "h200", "a100-sxm-40gb")] == [4, 2, 8]


def test_intensity_is_linear_between_anchors_and_constant_outside() -> None:
    assert [decode_intensity(n) for n in (0, 1, 20, 9999)] == [0.65, 0.65, pytest.approx(0.7625), 1.04]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: boards.find("h900"), "--gpu: expected one of h100-sxm, "),
        (lambda: models.find("gpt"), "--model: expected one of llama-8b, llama-70b, qwen-32b or a file"),
        (lambda: server(ALL["h100-sxm"], LLAMA, engine="x"), "--engine: expected one of vllm-2024, lean"),
        (lambda: server(ALL["h100-sxm"], models.find("llama-70b"), gpus=1), r"llama-70b does not fit on 1 x .* use --gpus 2"),
    ],
)
def test_unknown_names_list_the_known(call: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        call()


def test_every_value_has_its_basis() -> None:
    sized = [field.name for field in fields(boards.GpuPowerModel)[2:-3]]
    for board in ALL.values():
        assert {basis for _, basis in board.bases} <= {"measured", "fitted", "assumed"}
        assert sorted(name for name, _ in board.bases) == sorted(sized)
        assert all(0 <= getattr(board, name) < 1e15 for name in sized)
    for model in models.load().values():
        assert dict(model.bases).keys() == {"parameters_b", "kv_b_per_token", "layers", "width"}


LLAMA_ROW = json.loads(models.TABLE.read_text())["models"]["llama-8b"]


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"models": {"mine": LLAMA_ROW}}))
    assert replace(models.find(str(path)), key="llama-8b") == LLAMA


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"layers": [0, "measured"]}, "layers.0: "),
        ({"layers": [32, "guessed"]}, "layers.1: "),
        ({"width": 4096}, "width: "),
        ({"host": [{"board": "*"}]}, "host.0.step_s: "),
        ({"tensor_parallel": {"*": True}}, r"tensor_parallel.\*: "),
        ({"parameters_b": [float("nan"), "measured"]}, "parameters_b.0: "),
    ],
)
def test_what_is_wrong_with_a_model_file_is_named(tmp_path: Path, change: dict[str, object], where: str) -> None:
    path = tmp_path / "m.json"
    for text in ("{", "[]", "[" * 100_000, '{"models": {}}'):
        path.write_text(text)
        with pytest.raises(UsageError, match=f"^{path}: " + ("expected one model, got 0" if "models" in text else "")):
            models.find(str(path))
    path.write_text(json.dumps({"models": {"m": LLAMA_ROW | change}}))
    with pytest.raises(UsageError, match=f"^{path}: models.m.{where}"):
        models.find(str(path))
