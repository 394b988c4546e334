"""From the agent's snapshot to what a policy may look at. Pure.

A configured device that is not up stays in its group, with its readings missing: a policy must see the hole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dvfs.types import DeviceObservation, Observation, Progress
from energy_agent.core.snapshot import DeviceView, Snapshot


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that are steered as one. `devices` are UUIDs or NVML indexes as text; `workload`: whose tokens are the work."""

    name: str
    devices: tuple[str, ...]
    workload: str = ""


def observations(snapshot: Snapshot, groups: Sequence[Group], boot_ns: int) -> list[Observation]:
    """One observation per group; a group of which no device is known is left out, so the governor releases it."""
    found = []
    for group in groups:
        views = [v for v in snapshot.devices if v.info.uuid in group.devices or str(v.info.index) in group.devices]
        if views:
            devices = tuple(_device(v) for v in views)
            progress = _progress(snapshot, group.workload, boot_ns) if group.workload else None
            found.append(Observation(group.name, boot_ns, devices, progress, bool(group.workload), group.workload))
    return found


def _device(view: DeviceView) -> DeviceObservation:
    sample = view.sample if view.up else None
    if sample is None:
        return DeviceObservation(view.info.uuid, view.info.name, 0)
    return DeviceObservation(
        uuid=view.info.uuid,
        sku=view.info.name,
        boot_ns=sample.boot_ns,
        sm_clock_mhz=sample.sm_clock_mhz,
        power_mw=sample.power_mw,
        power_limit_mw=sample.power_limit_mw,
        event_reasons=sample.event_reasons,
        gpu_percent=sample.gpu_percent,
        energy_uj=sum(view.energy_uj.values()),
    )


def _progress(snapshot: Snapshot, workload: str, boot_ns: int) -> Progress | None:
    counts = [t.tokens for t in snapshot.tokens if t.workload == workload]
    return Progress(boot_ns, tokens=sum(counts)) if counts else None
