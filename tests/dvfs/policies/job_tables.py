"""Tables of training jobs from GPU physics: test input for policies that is independent of published measurement files.

A job is one to four phases, each with a share of the time, a memory-boundness m and an intensity, and sometimes a share in
which the host works. A phase's time follows m + (1 - m) f_max / f, its power the GPU's curve; a power limit lowers the clock
until it is met. Curves are those of the simulator (energy_agent/sim/gpu/boards.json; basis in energy_agent/sim/README.md), V100
assumed.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from dvfs.tables import SettingRow, SettingTable


@dataclass(frozen=True, slots=True)
class PowerCurve:
    """P(f) = p0 + b f (1 + s max(0, f - knee))^2 at full intensity, up to `limit_w`."""

    p0_w: float
    b_w_per_mhz: float
    knee_mhz: float
    s_per_mhz: float
    top_mhz: float
    limit_w: float

    def power_w(self, clock_mhz: float, boundness: float, intensity: float) -> float:
        """Power of a phase at a clock."""
        voltage = min(1 + self.s_per_mhz * max(0.0, clock_mhz - self.knee_mhz), 1.45)
        dynamic = (1 - 0.5 * boundness) * self.b_w_per_mhz * clock_mhz * voltage**2
        return self.p0_w + intensity * (dynamic + boundness * 0.15 * self.limit_w)


BOARDS = {
    "A100": PowerCurve(52.8, 0.1331, 1020, 0.00104, 1410, 400),
    "H100": PowerCurve(62.3, 0.2232, 1005, 0.00072, 1980, 700),
    "A40": PowerCurve(82.9, 0.136, 1260, 0.0022, 1740, 300),
    "V100": PowerCurve(40.0, 0.1, 945, 0.001, 1530, 300),
}


def job(gpu: str, knob: str, count: int, seed: int) -> SettingTable:
    """One job's table."""
    curve, draw = BOARDS[gpu], random.Random(f"{gpu}/{seed}")
    weights = [draw.random() for _ in range(draw.randint(1, 4))]
    host = draw.choice((0.0, 0.0, 0.1, 0.3))
    phases = [(w / sum(weights) * (1 - host), draw.uniform(0, 1), draw.uniform(0.3, 1.05)) for w in weights]
    clocks = knob == "sm_clock_mhz"
    low, high = (curve.knee_mhz, curve.top_mhz) if clocks else (0.4 * curve.limit_w, curve.limit_w)
    rows = []
    for i in range(count):
        setting = float(round(low + (high - low) * i / (count - 1)))
        clock, limit = (setting, curve.limit_w) if clocks else (curve.top_mhz, setting)
        rows.append(_row(curve, setting, clock, limit, phases, host))
    return SettingTable(f"{gpu}/{knob}/{count}/{seed}", knob, tuple(rows))


def _row(
    curve: PowerCurve, setting: float, clock: float, limit: float, phases: Sequence[tuple[float, float, float]], host: float
) -> SettingRow:
    time_s, energy_j = host, host * (curve.p0_w + 20)
    for share, boundness, intensity in phases:
        at = clock
        while curve.power_w(at, boundness, intensity) > limit and at > 200:
            at -= 5
        took = share * (boundness + (1 - boundness) * curve.top_mhz / at)
        time_s += took
        energy_j += took * curve.power_w(at, boundness, intensity)
    return SettingRow(setting, time_s, energy_j / time_s)
