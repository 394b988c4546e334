"""Zeus's power-limit optimizer with settings that go through the node's agent, as docs/zeus.md shows."""

from typing import TYPE_CHECKING, Any

from energy_agent.sdk.zeus import optimizer
from energy_agent.sdk.zeus.optimizer import (
    Energy,
    GlobalPowerLimitOptimizer,
    MaxSlowdownConstraint,
    OptimumSelector,
    PowerLimitMeasurement,
    Time,
    ZeusCost,
)

if TYPE_CHECKING:
    HFGlobalPowerLimitOptimizer: Any

__all__ = [
    "Energy",
    "GlobalPowerLimitOptimizer",
    "HFGlobalPowerLimitOptimizer",
    "MaxSlowdownConstraint",
    "OptimumSelector",
    "PowerLimitMeasurement",
    "Time",
    "ZeusCost",
]


def __getattr__(name: str) -> Any:
    """`HFGlobalPowerLimitOptimizer`: transformers is imported on first access."""
    return getattr(optimizer, name)
