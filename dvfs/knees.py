"""The knee table: per SKU the SM clock of least energy per work, each row with its basis and source."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("knees.json")
_STEP_MHZ = 15  # of the clocks of every supported GPU


@dataclass(frozen=True, slots=True)
class Knee:
    """One row. `match` are parts of NVML's device name; the first row that matches holds, so special parts come first."""

    sku: str
    match: tuple[str, ...]
    knee_mhz: int
    basis: str  # measured | fitted | assumed
    source: str


def load() -> tuple[Knee, ...]:
    """The table."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["knees"]
    return tuple(Knee(row["sku"], tuple(row["match"]), row["knee_mhz"], row["basis"], row["source"]) for row in rows)


def find(knees: Sequence[Knee], sku: str) -> Knee | None:
    """The row for NVML's device name `sku`, or None if the table does not list it."""
    name = sku.upper()
    return next((k for k in knees if any(m.upper() in name for m in k.match)), None)


def clock_grid(knee_mhz: int, highest_mhz: int, levels: int) -> tuple[int, ...]:
    """Clocks from the knee to the highest one, at equal distance, on steps of 15 MHz."""
    wide = highest_mhz - knee_mhz
    clocks = {round((knee_mhz + wide * i / (levels - 1)) / _STEP_MHZ) * _STEP_MHZ for i in range(1, levels - 1)}
    return (knee_mhz, *sorted(f for f in clocks if knee_mhz < f < highest_mhz), highest_mhz)
