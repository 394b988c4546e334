"""The criteria of acceptance: which figures a node must reach. Pure; a result file is checked against the same function."""

from collections.abc import Iterator
from typing import Final

from wattlens.doctor.acceptance.result import AcceptanceResult, Criterion, EngineResult, GpuResult, reason_text

ENERGY_RATIO: Final = 0.005
"""Maximum difference of the agent's energy from the raw counter, beyond the counter's own resolution in time."""
TOKENS_RATIO: Final = 0.01
"""The same of J/token; the counter's and the engine's readings bound the rest."""
SILENT_S: Final = 10.0
CPU_RATIO: Final = 0.05
"""Of one core: what the Kubernetes manifest requests."""
MEMORY_B: Final = 192 << 20
"""The memory limit of the Kubernetes manifest."""
SWEEP_S: Final = 0.25
IDLE_ADDED_W: Final = 1.0
"""Per GPU: a larger increase keeps a GPU out of its lowest power state."""


def judge(result: AcceptanceResult) -> tuple[Criterion, ...]:
    """Every criterion with its expected and actual value."""
    return (*_energy(result), *_continuity(result), *_tokens(result), *_overhead(result))


def _energy(result: AcceptanceResult) -> Iterator[Criterion]:
    absent = [gpu for gpu in result.gpus if gpu.reason]
    compared = [gpu for gpu in result.gpus if not gpu.reason]
    actual = f"{len(compared)} of {len(result.gpus)}"
    if absent:
        actual += f"; GPU {absent[0].index}: {absent[0].reason}"
    yield Criterion("GPUs compared", "all", reason_text(actual), not absent)
    if not compared:
        return
    worst = max(compared, key=lambda gpu: (_excess_ratio(gpu), abs(_difference_ratio(gpu))))
    yield Criterion(
        "energy",
        f"within {ENERGY_RATIO:.1%} of the raw counter on each GPU",
        f"GPU {worst.index}: {worst.difference_j or 0.0:+.3f} J of {worst.counter_j.value or 0.0:.1f} J "
        f"({_difference_ratio(worst):+.4%})",
        all(_excess_ratio(gpu) <= ENERGY_RATIO for gpu in compared),
    )
    intervals, covered = sum(gpu.intervals for gpu in compared), sum(gpu.covered for gpu in compared)
    miss_j = max(gpu.miss_j for gpu in compared)
    yield Criterion(
        "intervals",
        "the bounds of each interval contain the raw counter's difference",
        f"{covered} of {intervals}" + (f"; largest miss {miss_j:.3f} J" if covered < intervals else ""),
        0 < intervals == covered and all(gpu.intervals for gpu in compared),
    )


def _difference_ratio(gpu: GpuResult) -> float:
    return (gpu.difference_j or 0.0) / gpu.counter_j.value if gpu.counter_j.value else 0.0


def _excess_ratio(gpu: GpuResult) -> float:
    """How far the agent's energy is outside of the raw counter's bounds, as a share of the counter's difference."""
    counter = gpu.counter_j
    if counter.value is None or counter.lower is None or counter.upper is None:
        return float("inf")
    outside_j = max(0.0, counter.lower - gpu.agent_j, gpu.agent_j - counter.upper)
    return outside_j / counter.value if counter.value > 0 else (float("inf") if outside_j else 0.0)


def _continuity(result: AcceptanceResult) -> Iterator[Criterion]:
    agent = result.agent
    worst = max(result.gpus, key=lambda gpu: gpu.silent_s)
    yield Criterion(
        "readings",
        f"each GPU has a new reading at least every {SILENT_S:g} s",
        f"longest pause: {worst.silent_s:.1f} s (GPU {worst.index}); {agent.failed} of {agent.responses + agent.failed} "
        "responses failed",
        worst.silent_s <= SILENT_S,
    )
    gap_j = sum(gpu.gap_j for gpu in result.gpus)
    yield Criterion("gaps", "0 J", f"{gap_j:.3f} J", gap_j == 0)
    resets = sum(gpu.resets for gpu in result.gpus)
    yield Criterion("counter resets", "0", str(resets), resets == 0)
    yield Criterion(
        "restarts",
        "0 of the agent, 0 of its reader",
        f"{agent.restarts} of the agent, {agent.reader_restarts} of its reader",
        agent.restarts == agent.reader_restarts == 0,
    )


def _tokens(result: AcceptanceResult) -> Iterator[Criterion]:
    expected = f"within {TOKENS_RATIO:.0%} of the raw counters over the engine's own count"
    if not result.engines:
        yield Criterion("J per token", expected, reason_text(result.engines_reason or "no engine"), None)
    for engine in result.engines:
        yield _one_engine(engine, expected)


def _one_engine(engine: EngineResult, expected: str) -> Criterion:
    agent, engine_estimate = engine.agent, engine.engine
    if engine_estimate.value is None or engine_estimate.lower is None or engine_estimate.upper is None:
        return Criterion("J per token", expected, engine_estimate.reason, None)
    if agent.value is None:
        return Criterion("J per token", expected, agent.reason, False)
    fits = engine_estimate.lower * (1 - TOKENS_RATIO) <= agent.value <= engine_estimate.upper * (1 + TOKENS_RATIO)
    bounds = f"{engine_estimate.lower:.5f} to {engine_estimate.upper:.5f}"
    actual = f"{engine.server}: agent {agent.value:.5f} J, engine {engine_estimate.value:.5f} J ({bounds})"
    return Criterion("J per token", expected, actual, fits)


def _overhead(result: AcceptanceResult) -> Iterator[Criterion]:
    agent = result.agent
    yield Criterion("CPU", f"at most {CPU_RATIO:.0%} of a core", f"{agent.cpu_ratio:.2%}", agent.cpu_ratio <= CPU_RATIO)
    memory = f"{agent.memory_b / (1 << 20):.0f} MiB"
    yield Criterion("memory", f"at most {MEMORY_B >> 20} MiB", memory, agent.memory_b <= MEMORY_B)
    sweep = f"{agent.sweep_s * 1e3:.1f} ms"
    yield Criterion("NVML time per sweep", f"at most {SWEEP_S * 1e3:.0f} ms", sweep, agent.sweep_s <= SWEEP_S)
    expected = f"the 95% interval of added power starts at most at {IDLE_ADDED_W:g} W per GPU"
    measured = [(gpu.index, added) for gpu in result.gpus if (added := gpu.idle_added_w).value is not None]
    if not measured:
        reason = next((gpu.idle_added_w.reason for gpu in result.gpus if gpu.idle_added_w.reason), "not measured")
        yield Criterion("power of idle GPUs", expected, reason, None)
        return
    index, worst = max(measured, key=lambda item: item[1].lower or 0.0)
    actual = f"GPU {index}: {worst.value:+.3f} W ({worst.lower or 0.0:+.3f} to {worst.upper or 0.0:+.3f} W)"
    yield Criterion("power of idle GPUs", expected, actual, (worst.lower or 0.0) <= IDLE_ADDED_W)
