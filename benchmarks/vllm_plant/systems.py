"""GPUs, models and systems: what a cell can run on.

Origin of the numbers:

- *data sheet*: FLOP/s of dense BF16 and FP8, memory bandwidth and size, highest clock and power limit of a GPU;
- *model card*: parameters, layers, widths, experts and KV bytes per token of a model;
- *vLLM's defaults* or usual settings: limits of the batch;
- *assumed*, not measured: everything else. That is the share of a data sheet's rates that kernels reach, power parts, knees of
  memory and voltage, how far compute and memory overlap, the limiter's waste, times of launch, all-reduce and CPU, noise,
  stalls, and acceptance and cost of drafts. The sums of the power parts are near published rows of the ML.ENERGY leaderboard.
"""

from dataclasses import dataclass
from typing import Literal

from benchmarks.vllm_plant.engine import BLOCK_TOKENS, EngineParams

Role = Literal["both", "prefill", "decode"]


@dataclass(frozen=True, slots=True)
class ServingGpu:
    """A GPU."""

    flop_per_s: float  # BF16 rate of the data sheet times the assumed share
    bytes_per_s: float  # bandwidth of the data sheet times the assumed share
    fp8_speedup: int  # FP8 over BF16 rate; 1 without FP8 units
    low_mhz: int  # lowest setting, near the knee of the memory bandwidth
    top_mhz: int  # highest setting
    memory_knee_mhz: int  # see EngineParams, as for all fields below
    voltage_knee_mhz: int
    lowest_voltage_ratio: float
    idle_w: int
    clock_w: int
    memory_w: int
    compute_w: int
    limit_w: int
    limiter_waste_ratio: float
    overlap_norm: int


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A language model; see EngineParams. `hidden` is the width of the residual stream, which all-reduce transfers."""

    active_params: float
    dense_params: float
    expert_params: float
    expert_share: float
    kv_bytes_per_token: int
    layers: int
    attention_width: int
    hidden: int


@dataclass(frozen=True, slots=True)
class System:
    """A model on a group of GPUs."""

    gpu: str  # key of GPUS
    gpus: int  # tensor parallelism
    model: str  # key of MODELS
    weight_bytes: int  # 2 for BF16, 1 for FP8
    memory_bytes: float  # memory per GPU
    cpu_step_s: float  # CPU time per step
    batched_tokens: int  # max_num_batched_tokens
    running_limit: int  # max_num_seqs
    drafts: tuple[int, float, float] = (0, 0.0, 0.0)  # depth, acceptance and cost of speculative decoding


GPUS = {
    "H100": ServingGpu(
        flop_per_s=989e12 * 0.6, bytes_per_s=3.35e12 * 0.85, fp8_speedup=2, low_mhz=1005, top_mhz=1980,
        memory_knee_mhz=1100, voltage_knee_mhz=1050, lowest_voltage_ratio=0.70, idle_w=75, clock_w=150, memory_w=130,
        compute_w=480, limit_w=700, limiter_waste_ratio=0.03, overlap_norm=3,
    ),
    "A100": ServingGpu(
        flop_per_s=312e12 * 0.65, bytes_per_s=2.04e12 * 0.85, fp8_speedup=1, low_mhz=1020, top_mhz=1410,
        memory_knee_mhz=1000, voltage_knee_mhz=1000, lowest_voltage_ratio=0.78, idle_w=55, clock_w=70, memory_w=90,
        compute_w=230, limit_w=400, limiter_waste_ratio=0.01, overlap_norm=1,
    ),
    "L40S": ServingGpu(
        flop_per_s=362e12 * 0.6, bytes_per_s=0.864e12 * 0.85, fp8_speedup=2, low_mhz=1305, top_mhz=2520,
        memory_knee_mhz=1400, voltage_knee_mhz=1500, lowest_voltage_ratio=0.68, idle_w=36, clock_w=70, memory_w=60,
        compute_w=280, limit_w=350, limiter_waste_ratio=0.05, overlap_norm=4,
    ),
}  # fmt: skip
MODELS = {
    "8B": LanguageModel(8.03e9, 8.03e9, 0, 0, 131072, 32, 4096, 4096),
    "32B": LanguageModel(32.8e9, 32.8e9, 0, 0, 262144, 64, 8192, 5120),
    "70B": LanguageModel(70.6e9, 70.6e9, 0, 0, 327680, 80, 8192, 8192),
    "30B-A3B": LanguageModel(3.3e9, 1.5e9, 29e9, 8 / 128, 98304, 48, 4096, 2048),
}
SYSTEMS = {
    "H100-8B": System("H100", 1, "8B", 2, 80e9, 1.5e-3, 8192, 256),
    "H100x4-70B": System("H100", 4, "70B", 2, 80e9, 2.5e-3, 8192, 256),
    "H100-30BA3B": System("H100", 1, "30B-A3B", 2, 80e9, 3e-3, 8192, 256),
    "H100-8B-spec": System("H100", 1, "8B", 2, 80e9, 2.5e-3, 8192, 128, drafts=(3, 0.65, 0.06)),
    "A100-8B": System("A100", 1, "8B", 2, 80e9, 2.5e-3, 2048, 256),
    "A100x2-32B": System("A100", 2, "32B", 2, 80e9, 3e-3, 4096, 128),
    "L40S-8B": System("L40S", 1, "8B", 2, 48e9, 2e-3, 2048, 128),
    "L40S-32Bfp8": System("L40S", 1, "32B", 1, 48e9, 3e-3, 2048, 64),
}
_CLOCKS = 12
_CLOCK_STEP_MHZ = 15


def clock_settings(system: str) -> list[int]:
    """The clocks in MHz that a policy can choose from, lowest first."""
    gpu = GPUS[SYSTEMS[system].gpu]
    span_mhz = gpu.top_mhz - gpu.low_mhz
    clocks = (gpu.low_mhz + span_mhz * i / (_CLOCKS - 1) for i in range(_CLOCKS))
    return sorted({round(mhz / _CLOCK_STEP_MHZ) * _CLOCK_STEP_MHZ for mhz in clocks})


def engine_params(name: str, role: Role) -> EngineParams:
    """Parameters of an engine, or of one engine of a prefill or decode pool."""
    system = SYSTEMS[name]
    gpu, model, gpus = GPUS[system.gpu], MODELS[system.model], system.gpus
    weights_bytes = (model.dense_params + model.expert_params) * system.weight_bytes
    cache_bytes = gpus * (system.memory_bytes * 0.9 - 2e9) - weights_bytes  # gpu_memory_utilization 0.9; 2 GB activations
    draft_tokens, draft_acceptance, draft_cost_ratio = system.drafts
    is_parallel = gpus > 1
    return EngineParams(
        active_params=model.active_params, dense_params=model.dense_params, expert_params=model.expert_params,
        expert_share=model.expert_share, weight_bytes=system.weight_bytes, kv_bytes_per_token=model.kv_bytes_per_token,
        layers=model.layers, attention_width=model.attention_width,
        flop_per_s=gpu.flop_per_s * gpus * (gpu.fp8_speedup if system.weight_bytes == 1 else 1),
        bytes_per_s=gpu.bytes_per_s * gpus, top_mhz=gpu.top_mhz, memory_knee_mhz=gpu.memory_knee_mhz,
        voltage_knee_mhz=gpu.voltage_knee_mhz, lowest_voltage_ratio=gpu.lowest_voltage_ratio, idle_w=gpu.idle_w * gpus,
        clock_w=gpu.clock_w * gpus, memory_w=gpu.memory_w * gpus, compute_w=gpu.compute_w * gpus,
        limit_w=gpu.limit_w * gpus, limiter_waste_ratio=gpu.limiter_waste_ratio, overlap_norm=gpu.overlap_norm,
        launch_s=model.layers * 14e-6, all_reduce_s=model.layers * 2 * 9e-6 if is_parallel else 0,
        all_reduce_bytes_per_token=model.layers * 4 * model.hidden * 2 if is_parallel else 0, link_bytes_per_s=300e9,
        cpu_step_s=system.cpu_step_s, cpu_prompt_s=2e-3, cpu_sequence_s=8e-6, batched_tokens=system.batched_tokens,
        running_limit=system.running_limit, kv_blocks=cache_bytes // (BLOCK_TOKENS * model.kv_bytes_per_token),
        draft_tokens=draft_tokens, draft_acceptance=draft_acceptance, draft_cost_ratio=draft_cost_ratio, noise_ratio=0.03,
        stall_probability=5e-4, stall_s=0.04, frontend_s=0.004, is_decode_pool=role == "decode",
    )  # fmt: skip
