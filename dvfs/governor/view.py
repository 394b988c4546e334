"""What a snapshot shows of a device that is steered. Pure."""

from dataclasses import dataclass

from dvfs.governor.group import Device, Group
from dvfs.proof.estimate import Ratio, Verdict
from dvfs.types import Mode, Setting
from energy_agent.core.snapshot import DvfsDevice, Measured, Predicted
from energy_agent.core.units import HZ_PER_MHZ


@dataclass(frozen=True, slots=True)
class Saved:
    """Proven savings of a device, in uJ. None before the first analysis.

    Args:
        claimed_uj: claimed saving, by all groups that ever had the device.
        lost_uj: estimated loss, by the same groups.
        own_uj: claimed saving, by the current group.
        verdict: last analysis of the current group.
    """

    claimed_uj: int | None = None
    lost_uj: int | None = None
    own_uj: int | None = None
    verdict: Verdict | None = None


def describe_device(uuid: str, name: str, group: Group, counted: Device, saved: Saved) -> DvfsDevice:
    """A device of group `name`, with the counters of all groups that ever had it."""
    verdict = saved.verdict if group.here else None
    facts = {"group": name, "workload": group.workload, "policy": "+".join(group.policies)}
    return DvfsDevice(
        uuid,
        (group.mode if group.here else Mode.OBSERVE).value,
        group.lease is not None,
        _setting(group.devices[uuid].applied if uuid in group.devices else None),
        counted.decisions,
        counted.ineffective,
        saved.claimed_uj,
        saved.lost_uj,
        _promise(group),
        facts if group.here else {},
        _setting(group.wanted.get(uuid)),
        group.slowdown_ratio,
        saved.own_uj if group.here and uuid in group.devices else None,
        _measured(verdict.saving_ratio if verdict else None),
        _measured(verdict.slowdown_ratio if verdict else None),
        verdict.slowdown_of if verdict else "",
    )


def _measured(ratio: Ratio | None) -> Measured | None:
    return None if ratio is None else Measured(ratio.value, ratio.low, ratio.high)


def _promise(group: Group) -> Predicted | None:
    """What the group's policies expect to save; of several the first that expects anything."""
    found = next((w.promise for w in group.policies.values() if w.promise is not None), None)
    return None if found is None else Predicted(found.saving_ratio, found.low, found.high)


def _setting(setting: Setting | None) -> dict[str, int]:
    if setting is None:
        return {}
    told = {}
    if setting.sm_clock_max_mhz is not None:
        told["sm_clock_max_hertz"] = setting.sm_clock_max_mhz * HZ_PER_MHZ
    if setting.power_limit_mw is not None:
        told["power_limit_milliwatts"] = setting.power_limit_mw
    return told
