"""Work of a measured table on a GPU model: power and throughput under a power cap, and the search for the parameters.

A workload is one kind of step: its memory-boundness, its intensity relative to a saturating load, and its throughput at the
highest clock. With draft tokens both change linearly with the depth of speculation. Pure.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dvfs.replay.serving.boards import GpuPowerModel

CURVE = ("p0_w", "b_w_per_mhz", "knee_mhz", "s_per_mhz", "memory_power_ratio", "bandwidth_knee_mhz")
"""Parameters of a GPU that a fit changes; memory share and voltage ceiling stay as assumed for every GPU."""

Parameters = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Workload:
    """Step of one kind on one GPU.

    Args:
        boundness: memory-boundness without draft tokens.
        intensity: relative to a saturating load, without draft tokens.
        boundness_per_draft, intensity_per_draft: change with each draft token.
        drafts_max: depth above which the two no longer change.
    """

    boundness: float
    intensity: float
    boundness_per_draft: float = 0.0
    intensity_per_draft: float = 0.0
    drafts_max: float = math.inf

    def at(self, depth: int) -> tuple[float, float]:
        """Memory-boundness and intensity at a depth of speculation."""
        drafts = min(depth, self.drafts_max)
        boundness = min(1.0, max(0.0, self.boundness + self.boundness_per_draft * drafts))
        return boundness, max(0.01, self.intensity + self.intensity_per_draft * drafts)


@dataclass(frozen=True, slots=True)
class CappedStep:
    """State under a power cap: power, speed relative to the highest clock, SM clock."""

    power_w: float
    speed: float
    clock_mhz: float


def run_capped(gpu: GpuPowerModel, workload: Workload, cap_w: float, depth: int = 0) -> CappedStep:
    """Run the workload under a power cap, without a lock of the clock."""
    boundness, intensity = workload.at(depth)
    clock_mhz = gpu.limited_mhz(gpu.f_max_mhz, boundness, intensity, cap_w)
    power_w = min(cap_w, gpu.power_w(clock_mhz, boundness, intensity))
    return CappedStep(power_w, 1.0 / gpu.stretch(clock_mhz, boundness), clock_mhz)


def change(gpu: GpuPowerModel, values: Parameters) -> GpuPowerModel:
    """The GPU with other parameters of `CURVE`; clocks are rounded to MHz."""
    rounded = {name: round(value) if name.endswith("_mhz") and "per" not in name else value for name, value in values.items()}
    return replace(gpu, **rounded)


def search(
    loss: Callable[[Parameters], float], start: Parameters, limits: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Minimise `loss` by steps along one parameter at a time; each step is a share of the range in `limits`.

    A parameter without limits stays. Deterministic; finds a local minimum.
    """
    best = dict(start)
    lowest = loss(best)
    step = 0.25
    while step > 1e-3:
        is_better = False
        for name, (low, high) in limits.items():
            for sign in (1.0, -1.0):
                value = min(high, max(low, best[name] + sign * step * (high - low)))
                candidate = loss(best | {name: value})
                if candidate < lowest:
                    lowest, is_better = candidate, True
                    best[name] = value
                    break
        if not is_better:
            step /= 2
    return best
