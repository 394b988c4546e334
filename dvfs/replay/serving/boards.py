"""GPU power models for simulated LLM servers: power curve, clocks, memory and throughput, from boards.json.

Power while a kernel runs follows energy_agent/sim/README.md:

    V = min(1 + s * max(0, f - knee), ceiling)
    P = p0 + intensity * (x * b * f * V^2 + m * r * tdp * min(1, f / f_bw)),  x = 1 - m * (1 - x_mem)

with m the memory-boundness of the kernel. Between kernels a board with its clocks up draws idle + x_held * b * (f - f_idle).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energy_agent.core.errors import UsageError

TABLE = Path(__file__).with_name("boards.json")


@dataclass(frozen=True, slots=True)
class GpuPowerModel:
    """Power model of one GPU, with the values of boards.json and the basis of each.

    Args:
        key: its name in `--gpu`.
        name: as reported by NVML.
        p0_w, b_w_per_mhz, knee_mhz, s_per_mhz, voltage_ceiling_ratio: curve of a saturating load.
        memory_x, memory_power_ratio: share of the curve, and memory power relative to `tdp_w`, of a fully memory-bound one.
        bandwidth_knee_mhz: below it bandwidth falls with the clock.
        idle_w, held_idle_x, f_idle_mhz: power without a kernel.
        bandwidth_tb_s, peak_tflops: of the data sheet; the peak is dense bf16, without it fp16.
        bases: (value, measured | fitted | assumed) of each.
        decode_intensity: (batch, intensity of a decode step), fitted to this GPU; empty: that of an H100.
        marks: (phase, text) of each phase whose modelled power is more than 10 % off.
    """

    key: str
    name: str
    p0_w: float
    b_w_per_mhz: float
    knee_mhz: int
    s_per_mhz: float
    voltage_ceiling_ratio: float
    memory_x: float
    memory_power_ratio: float
    bandwidth_knee_mhz: int
    tdp_w: float
    idle_w: float
    held_idle_x: float
    f_idle_mhz: int
    f_min_mhz: int
    f_max_mhz: int
    f_step_mhz: int
    limit_default_w: float
    limit_min_w: float
    memory_b: int
    bandwidth_tb_s: float
    peak_tflops: float
    bases: tuple[tuple[str, str], ...] = ()
    decode_intensity: tuple[tuple[float, float], ...] = ()
    marks: tuple[tuple[str, str], ...] = ()

    def power_shape_w(self, f_mhz: float, boundness: float) -> float:
        """Dynamic power in W of a kernel of intensity 1 at this clock."""
        voltage = min(1.0 + self.s_per_mhz * max(0.0, f_mhz - self.knee_mhz), self.voltage_ceiling_ratio)
        x = 1.0 - boundness * (1.0 - self.memory_x)
        bandwidth = min(1.0, f_mhz / self.bandwidth_knee_mhz)
        return x * self.b_w_per_mhz * f_mhz * voltage * voltage + boundness * bandwidth * self.memory_power_ratio * self.tdp_w

    def power_w(self, f_mhz: float, boundness: float, intensity: float) -> float:
        """Power in W while a kernel runs, as if there were no limit."""
        return self.p0_w + intensity * self.power_shape_w(f_mhz, boundness)

    def held_w(self, f_mhz: float) -> float:
        """Power in W while a process holds the board and no kernel runs."""
        return self.idle_w + self.held_idle_x * self.b_w_per_mhz * max(0.0, f_mhz - self.f_idle_mhz)

    def stretch(self, f_mhz: float, boundness: float) -> float:
        """Time of a kernel at this clock, of that at the highest one: m * max(1, f_bw / f) + (1 - m) * f_max / f."""
        memory = max(1.0, self.bandwidth_knee_mhz / f_mhz)
        return boundness * memory + (1.0 - boundness) * self.f_max_mhz / f_mhz

    def limited_mhz(self, lock_mhz: int, boundness: float, intensity: float, limit_w: float) -> float:
        """The clock that a kernel runs at under a lock and a power limit, in MHz: between two steps, as the limiter dithers."""
        low, high = float(self.f_min_mhz), float(min(lock_mhz, self.f_max_mhz))
        if self.power_w(high, boundness, intensity) <= limit_w or high <= low:
            return high
        for _ in range(40):
            middle = (low + high) / 2
            if self.power_w(middle, boundness, intensity) <= limit_w:
                low = middle
            else:
                high = middle
        return low


def load() -> dict[str, GpuPowerModel]:
    """The boards by what `--gpu` calls them."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["boards"]
    return {key: _board(key, row) for key, row in rows.items()}


def find(key: str) -> GpuPowerModel:
    """The GPU model with the `--gpu` name `key`.

    Raises:
        UsageError: unknown name; lists the known ones.
    """
    models = load()
    if key not in models:
        raise UsageError(f"--gpu: expected one of {', '.join(models)}, got {key!r}")
    return models[key]


def _board(key: str, row: dict[str, Any]) -> GpuPowerModel:
    values: dict[str, tuple[Any, str]] = row["values"]
    return GpuPowerModel(
        key,
        row["name"],
        **{field: value for field, (value, _) in values.items()},
        bases=tuple((field, basis) for field, (_, basis) in values.items()),
        decode_intensity=tuple((float(batch), float(value)) for batch, value in row.get("decode_intensity", ())),
        marks=tuple(row.get("marked", {}).items()),
    )
