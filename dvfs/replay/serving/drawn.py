"""Inference engines and GPUs drawn at random, to judge policies on hardware that nobody tuned them for. Pure.

Nothing here is shared with the policies or with the presets of boards.py. At clock f a kernel of memory-boundness m takes

    (m * max(1, knee / f)^q + (1 - m) * (f_max / f)^q)^(1/q)

of its time at the highest clock: below the knee even memory-bound work slows, and q sets how sharply one bound gives way to the
other. Boundness of decode falls with the sequences in the batch, drafts included, from one value alone to another from
`full_batch` on. Power while a kernel runs is

    P = static + core * activity * (f / f_max) * V(f)^2 + memory * traffic * min(1, f / knee)

with V(f) = 1 at f_max, V = low below the voltage knee and a power law between. Above its limit the board runs, at the power of
the limit, the clock at which it would draw (1 - waste) of it (dvfs/replay/limited_board.py).
"""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from math import exp, log, log2
from random import Random
from typing import Any, TypeVar

from dvfs.replay.serving.engine import ITL_EDGES, TTFT_EDGES
from dvfs.replay.serving.spec import EngineSpec, Rates

SGLANG_TTFT_EDGES = (
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
)  # fmt: skip
SGLANG_ITL_EDGES = (
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0,
    4.0, 6.0, 8.0,
)  # fmt: skip
Edges = tuple[tuple[float, ...], tuple[float, ...], bool]
EDGES: dict[str, Edges] = {
    "vllm": (TTFT_EDGES, ITL_EDGES, False),
    "sglang": (SGLANG_TTFT_EDGES, SGLANG_ITL_EDGES, True),
}
"""Bucket edges of both latencies, and whether each token of a step is a gap of its own."""
SETTINGS = 9
_STEP_MHZ = 15
Drawn = TypeVar("Drawn", "EngineParameters", "GpuParameters")


def _range(low: float, high: float, unit: str, basis: str, meaning: str, scale: str = "linear") -> Any:
    return field(metadata={"range": (low, high), "unit": unit, "basis": basis, "meaning": meaning, "scale": scale})


@dataclass(frozen=True, slots=True)
class EngineParameters:
    """What differs between inference engines and models. `describe` prints meaning, unit, range and basis of each."""

    host_step_s: float = _range(0.0, 0.004, "s", "fitted: 0 to 10 ms", "host time per step")
    host_sequence_s: float = _range(0.0, 3e-5, "s", "fitted: up to 100 us", "host time per sequence of a step")
    weights_s: float = _range(0.004, 0.03, "s", "measured: 7 to 47 ms per token", "decode step without sequences", "log")
    ridge_batch: float = _range(
        150, 400, "sequences", "assumed: 210 for bf16 on an H100", "sequences that cost as much as reading the weights", "log"
    )
    kv_tokens_ratio: float = _range(5e4, 5e5, "tokens", "assumed", "kept tokens that cost as much as the weights", "log")
    prompt_ratio: float = _range(0.5, 1.0, "1", "assumed", "prompt token's time relative to a sequence's in decode")
    attention_tokens: float = _range(
        1.5e4, 8e4, "tokens", "assumed: 3e4 to 5e4 for Llama", "tokens before it that double a prompt token's time", "log"
    )
    kv_tokens: float = _range(1e5, 1e6, "tokens", "assumed", "room for kept tokens", "log")
    chunk_tokens: float = _range(512, 8192, "tokens", "measured: defaults of vLLM", "token budget of a step", "power of 2")
    max_sequences: float = _range(64, 256, "sequences", "measured: default 256", "sequences of a step", "power of 2")
    decode_alone: float = _range(0.7, 1.0, "1", "measured: 0.7 to 1.0", "boundness of decode at one sequence")
    decode_full: float = _range(0.0, 0.1, "1", "measured: 0.00 to 0.10 at 64", "boundness of decode from full_batch on")
    full_batch: float = _range(24, 160, "sequences", "measured: 64; range assumed", "batch of the lowest boundness", "log")
    fall_power: float = _range(0.6, 1.6, "1", "assumed", "exponent of the fall over log2 of the batch")
    prefill_boundness: float = _range(0.0, 0.1, "1", "measured: 0.02 to 0.10", "boundness of prefill")
    draft_tokens: float = _range(-4, 4, "tokens", "assumed", "depth of speculation; below 1: off", "integer")
    accept_ratio: float = _range(0.4, 0.85, "1", "measured: 0.5 to 0.8", "chance that a draft token is accepted")
    draft_ratio: float = _range(0.02, 0.15, "1", "assumed", "time of a draft token relative to the weights")


@dataclass(frozen=True, slots=True)
class GpuParameters:
    """What differs between GPUs."""

    f_max_mhz: float = _range(1410, 2430, "MHz", "measured: A100 to RTX PRO 6000", "highest clock", "clock")
    lowest_ratio: float = _range(0.35, 0.5, "1", "assumed", "lowest setting relative to f_max")
    knee_ratio: float = _range(0.45, 0.7, "1", "measured: 0.48 to 0.71", "clock below which memory slows, of f_max")
    sharpness: float = _range(1.0, 3.0, "1", "assumed", "q of the transition between the bounds")
    volts_low: float = _range(0.6, 0.85, "1", "fitted: 0.69 to 0.79", "voltage below its knee, of that at f_max")
    volts_knee_ratio: float = _range(0.45, 0.7, "1", "fitted: 0.5 to 0.72", "clock from which voltage rises, of f_max")
    volts_power: float = _range(1.0, 2.0, "1", "assumed", "exponent of the rise")
    static_w: float = _range(50, 110, "W", "fitted: 53 to 83", "power of an awake board without work")
    core_w: float = _range(200, 650, "W", "fitted: 300 to 600", "core power of a saturating kernel at f_max", "log")
    memory_ratio: float = _range(0.1, 0.4, "1", "fitted: 0.1 to 0.35", "power of full memory traffic relative to core_w")
    alone_activity: float = _range(0.3, 0.6, "1", "fitted", "core activity of decode at one sequence")
    full_activity: float = _range(0.75, 1.0, "1", "fitted", "core activity of decode from 128 sequences on")
    held_ratio: float = _range(0.03, 0.15, "1", "assumed", "core activity between kernels")
    limit_ratio: float = _range(0.75, 1.2, "1", "assumed", "power limit relative to that of prefill at f_max")
    waste_ratio: float = _range(0.0, 0.1, "1", "measured: 0.075 on one H100", "power that the limiter wastes")


def describe() -> list[dict[str, object]]:
    """A row per parameter: name, meaning, unit, range, scale and basis."""
    return [
        {"name": one.name, **{name: one.metadata[name] for name in ("meaning", "unit", "range", "scale", "basis")}}
        for kind in (EngineParameters, GpuParameters)
        for one in fields(kind)
    ]


def _draw(kind: type[Drawn], random: Random) -> Drawn:
    values = {}
    for one in fields(kind):
        (low, high), scale = one.metadata["range"], one.metadata["scale"]
        drawn = random.random()
        value = exp(log(low) + drawn * log(high / low)) if scale in ("log", "power of 2") else low + drawn * (high - low)
        if scale == "power of 2":
            value = 2 ** round(log2(value))
        values[one.name] = (
            round(value) if scale == "integer" else round(value / _STEP_MHZ) * _STEP_MHZ if scale == "clock" else value
        )
    return kind(**values)


@dataclass(frozen=True)
class RandomGpu:
    """A GPU with drawn parameters."""

    its: GpuParameters

    @cached_property
    def settings(self) -> tuple[int, ...]:
        """Clock locks to choose from, rising, in MHz."""
        top, low = self.its.f_max_mhz, self.its.lowest_ratio * self.its.f_max_mhz
        steps = [low + (top - low) * n / (SETTINGS - 1) for n in range(SETTINGS)]
        return tuple(round(mhz / _STEP_MHZ) * _STEP_MHZ for mhz in steps)

    @cached_property
    def limit_w(self) -> float:
        """The power limit."""
        return self.its.limit_ratio * self.power_w(self.its.f_max_mhz, 1.0, 0.5)

    def power_w(self, mhz: float, activity: float, traffic: float) -> float:
        """Power of a kernel without a limit."""
        its, share = self.its, mhz / self.its.f_max_mhz
        rise = max(0.0, share - its.volts_knee_ratio) / (1.0 - its.volts_knee_ratio)
        volts = its.volts_low + (1.0 - its.volts_low) * float(rise**its.volts_power)
        memory = its.memory_ratio * traffic * min(1.0, share / its.knee_ratio)
        return its.static_w + its.core_w * (activity * share * volts * volts + memory)

    def stretch(self, mhz: float, boundness: float) -> float:
        """Time of a kernel at this clock relative to that at the highest one."""
        q = self.its.sharpness
        memory, compute = max(1.0, self.its.knee_ratio * self.its.f_max_mhz / mhz), self.its.f_max_mhz / mhz
        return float((boundness * memory**q + (1.0 - boundness) * compute**q) ** (1.0 / q))

    def run(self, lock_mhz: float, activity: float, traffic: float) -> tuple[float, float]:
        """Clock and power of a kernel under a lock and the power limit."""
        power_w = self.power_w(lock_mhz, activity, traffic)
        if power_w <= self.limit_w:
            return lock_mhz, power_w
        low, high = self.its.f_max_mhz / 10, lock_mhz
        for _ in range(20):
            middle = (low + high) / 2
            within = self.power_w(middle, activity, traffic) <= (1.0 - self.its.waste_ratio) * self.limit_w
            low, high = (middle, high) if within else (low, middle)
        return low, self.limit_w


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomReplica(EngineSpec):
    """A server on one drawn GPU. `edges`: a name of `EDGES`."""

    gpu: RandomGpu
    parameters: EngineParameters
    edges: str = "vllm"

    def decode_boundness(self, sequences: float) -> float:
        """By sequences in the batch, each draft token counted as one."""
        its = self.parameters
        share = min(1.0, log2(max(1.0, sequences)) / log2(its.full_batch))
        return its.decode_alone + (its.decode_full - its.decode_alone) * float(share**its.fall_power)

    def rates(self, lock_mhz: int) -> Rates:
        """Under a lock."""
        gpu, its = self.gpu, self.gpu.its
        stretch, watts, clocks = [], [], []
        for batch in range(self.max_num_seqs + 1):
            sequences = max(1, batch) * (1 + self.draft_tokens)
            boundness = self.decode_boundness(sequences)
            rise = min(1.0, log2(sequences) / 7.0)
            activity = its.alone_activity + (its.full_activity - its.alone_activity) * rise
            mhz, power_w = gpu.run(lock_mhz, activity, 0.4 + 0.6 * boundness)
            clocks.append(mhz)
            stretch.append(gpu.stretch(mhz, boundness))
            watts.append(power_w)
        mhz, power_w = gpu.run(lock_mhz, 1.0, 0.5)
        return Rates(
            lock_mhz,
            tuple(stretch),
            tuple(watts),
            tuple(clocks),
            gpu.stretch(mhz, self.parameters.prefill_boundness),
            power_w,
            mhz,
            gpu.power_w(lock_mhz, its.held_ratio, 0.0),
        )

    def speculate(self, draft_tokens: int) -> "RandomReplica":
        """The same server with another depth of speculation."""
        return replace(self, draft_tokens=draft_tokens)


def random_gpu(seed: int | str) -> RandomGpu:
    """A GPU drawn from the ranges of `GpuParameters`."""
    return RandomGpu(_draw(GpuParameters, Random(f"gpu {seed}")))


def random_engine(seed: int | str, gpu: RandomGpu | None = None) -> RandomReplica:
    """A server drawn from the ranges of `EngineParameters`, on `gpu` or on one drawn with the same seed."""
    random = Random(f"engine {seed}")
    its = _draw(EngineParameters, random)
    sequence_s = its.weights_s / its.ridge_batch
    prefill_s = its.prompt_ratio * sequence_s
    return RandomReplica(
        gpu=gpu if gpu is not None else random_gpu(seed),
        parameters=its,
        edges=random.choice(tuple(EDGES)),
        host_step_s=its.host_step_s,
        host_sequence_s=its.host_sequence_s,
        weights_s=its.weights_s,
        sequence_s=sequence_s,
        kv_s=its.weights_s / its.kv_tokens_ratio,
        prefill_s=prefill_s,
        attention_s=prefill_s / its.attention_tokens,
        max_num_seqs=round(its.max_sequences),
        max_batched_tokens=round(its.chunk_tokens),
        kv_tokens=round(its.kv_tokens),
        draft_tokens=max(0, round(its.draft_tokens)),
        draft_s=its.draft_ratio * its.weights_s,
        accept_ratio=its.accept_ratio,
    )
