"""The limits that a sweep visits, and the measurements that its windows yield. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from energy_agent.sdk.zeus.power_limit import WindowEnergy
from energy_agent.sdk.zeus.responses import OriginalLimits
from energy_agent.sdk.zeus.selection import OptimumSelector, PowerLimitMeasurement, ZeusCost


@dataclass(frozen=True, slots=True)
class LimitResult:
    """A limit that was measured: its time on the slowest rank, and the energy of this rank's GPUs to come."""

    limit_w: int
    time_s: float
    spent: WindowEnergy


def limits_w(originals: Sequence[OriginalLimits], step_w: float) -> list[float]:
    """The limits to request, from the original limit down.

    No GPU is raised above its original limit: that limit may be set by the GPU's owner.
    """
    top, least, floor = (
        max(f.limit_w for f in originals),
        min(f.least_limit_w for f in originals),
        max(f.floor_w for f in originals),
    )
    lower = (top - k * step_w for k in range(1, int((top - floor) / step_w + 1e-6) + 1))
    return [top, *(limit for limit in lower if limit <= least)]


def measured(window: LimitResult, parts: Sequence[Any]) -> PowerLimitMeasurement | str:
    """A window with its energy, of which each rank brings that of its GPUs; or why it is not known.

    Ranks in one pod see the same GPUs: each is counted once.
    """
    joules: dict[str, tuple[float, float]] = {}
    for part in parts:
        if not isinstance(part, dict):
            return str(part or "the agent did not report it in time")
        joules |= part
    energy, half = (sum(each[i] for each in joules.values()) for i in (0, 1))
    if energy <= 0:
        return "no GPU of the job used energy"
    return PowerLimitMeasurement(window.limit_w, energy, window.time_s, half)


def selected(
    selector: OptimumSelector | None, measurements: Sequence[PowerLimitMeasurement], originals: Sequence[OriginalLimits]
) -> int:
    """The limit that a selector picks, in W; by default Zeus's cost for all GPUs of the job. Raises what the selector does."""
    uuids = {uuid for one in originals for uuid in one.uuids}
    choice = (selector or ZeusCost(0.5, max(1, len(uuids)))).select(list(measurements))
    return min(round(choice), int(max(one.limit_w for one in originals)))
