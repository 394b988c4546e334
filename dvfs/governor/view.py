"""Snapshot data of a steered device. Pure."""

from collections.abc import Mapping

from dvfs.governor.group import GovernedGroup, SteeredDevice
from dvfs.proof.estimate import Verdict
from dvfs.types import Mode, Setting
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import DvfsDevice
from energy_agent.core.units import HZ_PER_MHZ


def describe_device(uuid: str, name: str, group: GovernedGroup, counted: SteeredDevice, verdict: Verdict | None) -> DvfsDevice:
    """A device of group `name`, with the counters of all groups that ever had it; `verdict` is the group's last analysis."""
    verdict = verdict if group.here else None
    facts = {"group": name, "workload": group.workload, "policy": "+".join(group.policies)}
    # Of several policies the first that expects to save anything.
    promise = next((wanted.promise for wanted in group.policies.values() if wanted.promise is not None), None)
    return DvfsDevice(
        uuid,
        (group.mode if group.here else Mode.OBSERVE).value,
        group.lease is not None,
        setting_values(group.devices[uuid].applied if uuid in group.devices else None),
        counted.decisions,
        counted.ineffective,
        predicted=None if promise is None else ConfidenceInterval(promise.saving_ratio, promise.low, promise.high),
        facts=facts if group.here else {},
        wanted=setting_values(group.wanted.get(uuid)),
        slowdown_ratio=group.slowdown_ratio,
        saving=verdict.saving_ratio if verdict else None,
        slowdown=verdict.slowdown_ratio if verdict else None,
        slowdown_of=verdict.slowdown_of if verdict else "",
    )


def setting_values(setting: Setting | None) -> Mapping[str, int]:
    """Values of a setting, as `DvfsDevice` has them."""
    clock, power = (None, None) if setting is None else (setting.sm_clock_max_mhz, setting.power_limit_mw)
    values = {"sm_clock_max_hertz": None if clock is None else clock * HZ_PER_MHZ, "power_limit_milliwatts": power}
    return {name: value for name, value in values.items() if value is not None}
