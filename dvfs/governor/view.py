"""Snapshot data of a steered device. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from dvfs.governor.group import GovernedGroup
from dvfs.proof.estimate import Verdict
from dvfs.types import Setting
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import DvfsDevice
from energy_agent.core.units import HZ_PER_MHZ


def describe_device(view: DvfsDevice, name: str, group: GovernedGroup, verdict: Verdict | None) -> DvfsDevice:
    """`view` with the steering of group `name`; `verdict` is the group's last analysis."""
    # Of several policies the first that expects to save anything.
    promise = next((wanted.promise for wanted in group.policies.values() if wanted.promise is not None), None)
    return replace(
        view,
        mode=group.terms.mode.value,
        lease_active=group.lease is not None,
        setting=setting_values(group.devices[view.device].applied),
        predicted=None if promise is None else ConfidenceInterval(promise.saving_ratio, promise.low, promise.high),
        facts={"group": name, "workload": group.workload, "policy": "+".join(group.policies)},
        wanted=setting_values(group.wanted.get(view.device)),
        slowdown_ratio=group.terms.slowdown_ratio,
        saving=verdict.saving_ratio if verdict else None,
        slowdown=verdict.slowdown_ratio if verdict else None,
        slowdown_of=verdict.slowdown_of if verdict else "",
    )


def setting_values(setting: Setting | None) -> Mapping[str, int]:
    """Values of a setting, as `DvfsDevice` has them."""
    clock, power = (None, None) if setting is None else (setting.sm_clock_max_mhz, setting.power_limit_mw)
    values = {"sm_clock_max_hertz": None if clock is None else clock * HZ_PER_MHZ, "power_limit_milliwatts": power}
    return {name: value for name, value in values.items() if value is not None}
