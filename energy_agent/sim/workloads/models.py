"""How long an LLM engine's steps take and what they ask of the GPU, by model, board and batch. Pure; the basis is next to.

Decode is calibrated to the ML.ENERGY leaderboard (commit 0cd52da): Llama 3.1 8B in bf16 on one H100 SXM has a median
inter-token latency of 7.3, 8.9, 16.5, 26 and 47 ms at batch 8, 32, 128, 256 and 512 [measured]. Between them, linear [assumed].
Other models and degrees of tensor parallelism scale by the weights that each GPU reads per step [fitted]: that gives 14.9 ms
for Qwen 3 32B on two H100 at batch 8 and 16.0 ms for Llama 3.3 70B on four, against 15 and 17 ms measured. Other boards scale
by memory bandwidth [assumed]. Prefill runs at half the dense bf16 peak of the data sheet [assumed].
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

_ITL_ANCHORS_S = ((1.0, 0.0068), (8.0, 0.0073), (32.0, 0.0089), (128.0, 0.0165), (256.0, 0.026), (512.0, 0.047))

# The plant's intensity at each batch, so that a simulated H100 SXM draws the measured 486, 560, 669 and 691 W at batch 8, 32,
# 128 and 256 (the same source) with the default memory boundness [fitted]. Boards without anchors below share it [assumed].
_INTENSITY_ANCHORS = ((1.0, 0.65), (8.0, 0.70), (32.0, 0.825), (128.0, 1.005), (256.0, 1.04))

INTENSITIES = {
    "H200-SXM": ((1.0, 0.604), (2.0, 0.843), (8.0, 0.86), (64.0, 0.826), (256.0, 0.961)),
    "B200": ((1.0, 0.755), (2.0, 0.771), (8.0, 0.792), (64.0, 0.922), (256.0, 1.002)),
}
"""Intensity by batch, fitted to GEMMs of at least 1e8 weights (benchmarks/data/aiconfigurator)."""

_ANCHOR_PARAMETERS_B = 8.03
_ANCHOR_BANDWIDTH_TB_S = 3.35
_PREFILL_UTILIZATION = 0.5


@dataclass(frozen=True, slots=True)
class LlmModel:
    """`parameters_b` in 1e9, stored in bf16; `kv_b_per_token` is keys and values of all layers in bf16 (model cards)."""

    parameters_b: float
    kv_b_per_token: int


MODELS = {
    "meta-llama/Llama-3.1-8B-Instruct": LlmModel(8.03, 131_072),
    "Qwen/Qwen3-32B": LlmModel(32.8, 262_144),
    "meta-llama/Llama-3.3-70B-Instruct": LlmModel(70.6, 327_680),
}


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of one board, by the maker's data sheet: memory bandwidth and dense bf16 peak."""

    bandwidth_tb_s: float
    peak_tflops: float


THROUGHPUTS = {
    "A100-SXM4-80GB": Throughput(2.039, 312.0),
    "A100-PCIE-40GB": Throughput(1.555, 312.0),
    "H100-SXM5-80GB": Throughput(3.35, 989.0),
    "H100-PCIE-80GB": Throughput(2.0, 756.0),
    "H200-SXM": Throughput(4.8, 989.0),
    "A40": Throughput(0.696, 150.0),
    "V100-SXM2-16GB": Throughput(0.9, 125.0),  # fp16: it has no bf16
    "B200": Throughput(8.0, 2250.0),
    "L40S": Throughput(0.864, 362.0),
}


@dataclass(frozen=True, slots=True)
class StepCost:
    """Times of one engine's steps at the reference clock."""

    decode_scale: float
    prefill_s_per_token: float
    intensities: Sequence[tuple[float, float]] = _INTENSITY_ANCHORS

    def decode_s(self, batch: int) -> float:
        """Time of one decode step of `batch` sequences."""
        return _between(_ITL_ANCHORS_S, batch) * self.decode_scale

    def prefill_s(self, tokens: int) -> float:
        """Time to compute `tokens` of prompts."""
        return tokens * self.prefill_s_per_token

    def decode_intensity(self, batch: int) -> float:
        """The plant's intensity of a decode step of `batch` sequences."""
        return _between(self.intensities, min(batch, 256))


def step_cost(model: str, skus: Sequence[str]) -> StepCost:
    """The cost of `model`, tensor parallel over boards of these SKUs; the slowest board sets the pace, the first one power."""
    boards = [THROUGHPUTS[sku] for sku in skus]
    bandwidth = min(b.bandwidth_tb_s for b in boards)
    peak = min(b.peak_tflops for b in boards)
    share_b = MODELS[model].parameters_b / len(boards)
    return StepCost(
        decode_scale=share_b / _ANCHOR_PARAMETERS_B * _ANCHOR_BANDWIDTH_TB_S / bandwidth,
        prefill_s_per_token=2.0 * share_b * 1e9 / (peak * 1e12 * _PREFILL_UTILIZATION),
        intensities=INTENSITIES.get(skus[0], _INTENSITY_ANCHORS),
    )


def kv_tokens(model: str, memory_b: int, gpus: int) -> int:
    """Tokens whose keys and values fit next to the weights, when the engine holds `memory_b` on each GPU; at least 4096."""
    model_spec = MODELS[model]
    free_b = memory_b * gpus - int(model_spec.parameters_b * 2e9)
    return max(4096, free_b // model_spec.kv_b_per_token)


def _between(anchors: Sequence[tuple[float, float]], x: float) -> float:
    """Linear between anchors, the first value before them, the last slope after them."""
    if x <= anchors[0][0]:
        return anchors[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(anchors):
        if x <= x1 or x1 == anchors[-1][0]:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    raise AssertionError("the last anchor ends the loop")
