"""What steering a group saved, from its counters: paired blocks as they pass, the verdict, and what is booked of it."""

from dataclasses import replace

from dvfs.block_meter import progress_readings
from dvfs.governor_group import Device, Group
from dvfs.savings import Reading, Saving, estimate
from dvfs.types import Observation
from energy_agent.core.units import split_integer


def account(group: Group, observation: Observation) -> None:
    """Take the readings of a round: energy of each device, and what the blocks make of it."""
    energies = []
    for one in observation.devices:
        device = group.devices[one.uuid]
        gained = 0
        if one.energy_uj is not None:
            gained = max(0, one.energy_uj - device.energy_uj) if device.energy_uj is not None else 0
            device.energy_uj = one.energy_uj
            energies.append(one.energy_uj)
        if device.applied is not None:
            device.enforced_uj += gained
            _book(group, device, gained)
    if group.meter is None or group.meter.done:
        return
    readings = progress_readings(observation.progress)
    if energies and len(energies) == len(observation.devices):
        readings["energy_uj"] = Reading(max(d.boot_ns for d in observation.devices), sum(energies))
    if group.meter.feed(readings, observation.boot_ns, group.steered):
        looked(group)


def looked(group: Group) -> None:
    """A pair is over: where the plan has a look now, book what is proven. Counters never fall; between looks they go on by the
    proven ratio.
    """
    meter = group.meter
    chance = meter.plan.chance(meter.passed) if meter is not None else None
    if chance is None:
        return
    devices = list(group.all_devices.values())
    enforced = [d.enforced_uj for d in devices]
    found = verdict(group, chance)
    if found is None or found.reason:
        return
    group.verdict = found
    saved, extra = split_integer(found.claimable_uj, enforced), split_integer(found.extra_uj, enforced)
    for device, saved_uj, extra_uj in zip(devices, saved, extra, strict=True):
        device.saved_uj, device.extra_uj = max(device.saved_uj or 0, saved_uj), max(device.extra_uj or 0, extra_uj)


def verdict(group: Group, chance: float = 0.025) -> Saving | None:
    """What the blocks measured so far prove; None where there is no plan."""
    if group.meter is None:
        return None
    found = estimate(group.meter.blocks, sum(d.enforced_uj for d in group.all_devices.values()), chance)
    return replace(found, spoiled=group.meter.spoiled)


def _book(group: Group, device: Device, gained_uj: int) -> None:
    saving = group.verdict.saving_ratio if group.verdict else None
    if saving is None or device.saved_uj is None or device.extra_uj is None:
        return
    # saving = 1 - exp(d), so energy saved per energy spent is exp(-d) - 1 = saving / (1 - saving).
    if saving.low > 0:
        device.saved_uj += int(gained_uj * saving.low / (1 - saving.low))
    elif saving.value < 0:
        device.extra_uj += int(gained_uj * -saving.value / (1 - saving.value))
