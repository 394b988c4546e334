"""The boards that the plant can be: `boards.json`, where every number is next to its basis.

Basis: `measured` on a board or given by its vendor, `fitted` to measurements, `assumed`. energy_agent/sim/README.md has meaning
and sources.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from energy_agent.core.errors import UsageError

CounterModel = Literal["full", "sampled"]


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A board as data. `values` are the plant's parameters by name, `basis` says where each one comes from."""

    sku: str
    name: str
    note: str
    values: Mapping[str, float]
    basis: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BoardSpec:
    """One GPU of a simulated node.

    Attributes:
        sku: a key of `boards.json`.
        counter_model: `full` integrates all energy, `sampled` sums power samples times the tick (which is real is unpublished).
        gain: what the sensors read for each true watt; None draws it from the node's seed, within +-5 %.
        offset_w: what the sensors read at 0 W.
        tick_ms: period of the sensors; None keeps the board's.
        tick_jitter_ms: largest shift of a tick; None keeps the board's.
        uuid: None draws it from the node's seed.
        name: product name that NVML reports; None keeps the board's.
        capture: file of `wattlens doctor --sensors GPU --out FILE` whose measured parameters replace the board's.
        overrides: other parameters of the board by name, such as those of energy_agent.sim.gpu.sensors.
    """

    sku: str
    counter_model: CounterModel = "full"
    gain: float | None = None
    offset_w: float = 0.0
    tick_ms: int | None = None
    tick_jitter_ms: int | None = None
    uuid: str | None = None
    name: str | None = None
    capture: Path | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)


@cache
def boards() -> Mapping[str, GpuModel]:
    """Every known board by SKU."""
    data = json.loads((files("energy_agent.sim.gpu") / "boards.json").read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            sku: GpuModel(
                sku=sku,
                name=entry["name"],
                note=entry["note"],
                values=MappingProxyType({k: float(v[0]) for k, v in entry["values"].items()}),
                basis=MappingProxyType({k: str(v[1]) for k, v in entry["values"].items()}),
            )
            for sku, entry in data.items()
        }
    )


def board(sku: str) -> GpuModel:
    """The board of this SKU.

    Raises:
        UsageError: no such SKU; names those that there are.
    """
    try:
        return boards()[sku]
    except KeyError:
        raise UsageError(f"unknown GPU board {sku!r}; available: {', '.join(boards())}") from None
