"""Time and power of a step of a modelled LLM server, by SM clock, batch and prompt chunk. Pure.

A step has three parts, one after another: the host's, the decode's and the prefill's. At the highest clock, with n GPUs:

    host    = h0 + h1 * sequences
    decode  = weights / (n * bandwidth * 0.70) + keys and values of the batch / (n * bandwidth * 0.70)
              + 2 * parameters * batch / (n * peak * 0.50)
    prefill = (2 * parameters * tokens + 4 * layers * width * tokens * (tokens before them)) / (n * peak * 0.50)

and at clock f the decode takes `GpuPowerModel.stretch(f, decode boundness)` times as long and the prefill
`GpuPowerModel.stretch(f, prefill boundness)` times; the host does not change. The shares of bandwidth and peak that are reached
are fitted to the inter-token latencies of the ML.ENERGY leaderboard (commit 0cd52da, Llama 3.1 8B, one H100 SXM: 7.3, 8.9,
16.5, 26 and 47 ms at batch 8 to 512).
Power at the highest clock is calibrated for each batch to the same source, whatever the boundness. Boundness changes the
response to the clock. It is assumed: public sweeps measure values from 0 to 1, by batch, model and GPU (benchmarks/README.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dvfs.replay.serving.boards import GpuPowerModel
from dvfs.replay.serving.models import ServedModel
from dvfs.replay.serving.spec import EngineSpec, Rates
from energy_agent.core.errors import UsageError

BANDWIDTH_SHARE = 0.70
PEAK_SHARE = 0.50
MEMORY_SHARE = 0.90  # of the board's memory that the engine takes, as vLLM's default
BOUNDNESS: Mapping[str, tuple[float, float]] = {"low": (0.5, 0.0), "mid": (0.75, 0.1), "high": (0.95, 0.25)}
"""Memory-boundness of decode and of prefill: assumed, three times."""

# Intensity of decode by batch, so that an H100 SXM of decode boundness 0.9 draws 486, 560, 669 and 691 W at batch 8, 32, 128
# and 256 at its highest clock; prefill saturates a board. As in energy_agent/sim/workloads/models.py [fitted]. A GPU that was
# measured has anchors of its own in boards.json.
_INTENSITY = ((1.0, 0.65), (8.0, 0.70), (32.0, 0.825), (128.0, 1.005), (256.0, 1.04))
_INTENSITY_BOUNDNESS = 0.9
_PREFILL_INTENSITY, _PREFILL_BOUNDNESS = 1.0, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec(EngineSpec):
    """One replica of `gpus` GPUs that work as one."""

    gpu: GpuPowerModel
    model: ServedModel
    gpus: int
    engine: str
    decode_boundness: float
    prefill_boundness: float

    def decode_s(self, batch: int, kept: float) -> float:
        """Decode part of a step of `batch` sequences that keep `kept` tokens together, in s at the highest clock."""
        return self.weights_s + self.sequence_s * batch + self.kv_s * kept

    def prompt_s(self, prompt: int) -> float:
        """Prefill of a whole prompt, in s at the highest clock."""
        return prompt * (self.prefill_s + self.attention_s * prompt / 2)

    def rates(self, lock_mhz: int | None) -> Rates:
        """Under a lock, or without one."""
        gpu, limit_w = self.gpu, self.gpu.limit_default_w
        lock = gpu.f_max_mhz if lock_mhz is None else max(gpu.f_min_mhz, min(lock_mhz, gpu.f_max_mhz))
        stretch, watts, clocks = [], [], []
        anchors = gpu.decode_intensity or _INTENSITY
        for batch in range(self.max_num_seqs + 1):
            intensity = _scaled(gpu, decode_intensity(batch, anchors), _INTENSITY_BOUNDNESS, self.decode_boundness)
            mhz = gpu.limited_mhz(lock, self.decode_boundness, intensity, limit_w)
            clocks.append(mhz)
            stretch.append(gpu.stretch(mhz, self.decode_boundness))
            watts.append(min(limit_w, gpu.power_w(mhz, self.decode_boundness, intensity)) * self.gpus)
        intensity = _scaled(gpu, _PREFILL_INTENSITY, _PREFILL_BOUNDNESS, self.prefill_boundness)
        mhz = gpu.limited_mhz(lock, self.prefill_boundness, intensity, limit_w)
        return Rates(
            lock,
            tuple(stretch),
            tuple(watts),
            tuple(clocks),
            gpu.stretch(mhz, self.prefill_boundness),
            min(limit_w, gpu.power_w(mhz, self.prefill_boundness, intensity)) * self.gpus,
            mhz,
            gpu.held_w(lock) * self.gpus,
        )


def server(
    gpu: GpuPowerModel,
    model: ServedModel,
    *,
    gpus: int | None = None,
    engine: str = "vllm-2024",
    boundness: tuple[float, float] = BOUNDNESS["mid"],
    max_num_seqs: int = 256,
    max_batched_tokens: int = 512,
) -> ReplicaSpec:
    """A replica of `model` on `gpus` of `gpu` (None: as the model's row says).

    Raises:
        UsageError: the weights leave no room for a context, or the engine is not known.
    """
    n = gpus if gpus is not None else model.gpus(gpu.key)
    free_b = MEMORY_SHARE * gpu.memory_b * n - model.parameters_b * 2e9
    kv_tokens = int(free_b // model.kv_b_per_token)
    if kv_tokens < 4096:
        needed = int(-(-(model.parameters_b * 2e9 + 4096 * model.kv_b_per_token) // (MEMORY_SHARE * gpu.memory_b)))
        raise UsageError(f"{model.key} does not fit on {n} x {gpu.key}, it needs {needed}: use --gpus {needed}")
    host = model.host_of(gpu.key, engine)
    bytes_s = n * gpu.bandwidth_tb_s * 1e12 * BANDWIDTH_SHARE
    flop_s = n * gpu.peak_tflops * 1e12 * PEAK_SHARE
    return ReplicaSpec(
        gpu=gpu,
        model=model,
        gpus=n,
        engine=engine,
        decode_boundness=boundness[0],
        prefill_boundness=boundness[1],
        max_num_seqs=max_num_seqs,
        max_batched_tokens=max_batched_tokens,
        kv_tokens=kv_tokens,
        host_step_s=host.step_s,
        host_sequence_s=host.sequence_s,
        weights_s=model.parameters_b * 2e9 / bytes_s,
        kv_s=model.kv_b_per_token / bytes_s,
        sequence_s=2e9 * model.parameters_b / flop_s,
        prefill_s=2e9 * model.parameters_b / flop_s,
        attention_s=4.0 * model.layers * model.width / flop_s,
    )


def decode_intensity(batch: float, anchors: Sequence[tuple[float, float]] = _INTENSITY) -> float:
    """Of a decode step, relative to a saturating load: linear between the anchors, constant outside."""
    x = min(max(batch, anchors[0][0]), anchors[-1][0])
    for (x0, y0), (x1, y1) in pairwise(anchors):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    raise AssertionError("x is within the anchors")


def _scaled(gpu: GpuPowerModel, intensity: float, anchored: float, boundness: float) -> float:
    """The intensity that draws at the highest clock with `boundness` what `intensity` draws with `anchored`."""
    top = gpu.f_max_mhz
    return intensity * gpu.power_shape_w(top, anchored) / gpu.power_shape_w(top, boundness)
