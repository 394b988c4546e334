"""Measured tables of a workload: time and power at each setting. Pure."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple


class SettingRow(NamedTuple):
    """One setting: time per work in s, and mean power in W."""

    setting: float
    time_s: float
    power_w: float


@dataclass(frozen=True, slots=True)
class SettingTable:
    """A workload's rows by rising setting; the last one is the default."""

    name: str
    knob: str
    rows: tuple[SettingRow, ...]

    @property
    def default(self) -> SettingRow:
        """The highest setting."""
        return self.rows[-1]

    def isotonic(self) -> "SettingTable":
        """With time that never falls and power that never rises as the setting falls: what noise in a table made otherwise."""
        time_s, power_w, rows = 0.0, math.inf, []
        for row in reversed(self.rows):
            time_s, power_w = max(time_s, row.time_s), min(power_w, row.power_w)
            rows.append(SettingRow(row.setting, time_s, power_w))
        return replace(self, rows=tuple(reversed(rows)))

    def best(self, slowdown: float) -> SettingRow:
        """The row of least energy that is within a slowdown, as somebody would choose it who knows the table."""
        limit = self.default.time_s * (1 + slowdown) * (1 + 1e-9)
        return min((r for r in self.rows if r.time_s <= limit), key=lambda r: r.time_s * r.power_w)
