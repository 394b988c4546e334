"""What steering a group saved, from its counters: paired blocks as they pass, the verdict, and what is booked of it."""

import math
from dataclasses import replace

from dvfs.governor.group import Device, Group
from dvfs.proof.block_meter import progress_readings
from dvfs.proof.estimate import Ratio, Reading, Saving, estimate
from dvfs.types import Observation
from energy_agent.core.units import split_integer

ENDED_GROUPS = "(ended groups)"
"""Name of the saving of all groups that are not kept any more."""


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


def saving_of(group: Group) -> Saving | None:
    """The verdict of the last interim analysis; before the first one, what the pairs so far show. None without a plan."""
    if group.verdict is not None or group.meter is None:
        return group.verdict
    if group.estimated[0] != group.meter.passed:
        group.estimated = group.meter.passed, verdict(group)
    return group.estimated[1]


def join_savings(one: Saving | None, other: Saving | None) -> Saving | None:
    """The savings of two groups in one: energies add up, bounds linearly; the slowdown is the larger one."""
    if one is None or one.saved_uj is None:
        return other if other is not None and other.saved_uj is not None else None
    if other is None or other.saved_uj is None:
        return one
    slower = max((one, other), key=lambda saving: saving.slowdown_ratio.value if saving.slowdown_ratio else -math.inf)
    saved, added = one.saved_uj, other.saved_uj
    return Saving(
        one.pairs + other.pairs,
        one.unmatched + other.unmatched,
        None,
        slower.slowdown_ratio,
        slower.slowdown_of,
        Ratio(saved.value + added.value, saved.low + added.low, saved.high + added.high),
        one.claimable_uj + other.claimable_uj,
        one.extra_uj + other.extra_uj,
        spoiled=one.spoiled + other.spoiled,
    )


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
