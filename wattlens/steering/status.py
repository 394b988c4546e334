"""The steering status of devices, for the workloads that use them and for /metrics. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from dvfs.governor.view import setting_values
from dvfs.types import Mode
from energy_agent.core.snapshot import DvfsDevice
from energy_agent.core.units import UJ_PER_J
from energy_agent.owners.lone_processes import is_shared
from wattlens.steering.group_text import interval_json, plain_setting
from wattlens.steering.groups import OTHERS, SteeringGroup
from wattlens.steering.requests import SteeringRequest


def with_exempt(
    views: Sequence[DvfsDevice], groups: Sequence[SteeringGroup], unlimited: Mapping[str, str] = MappingProxyType({})
) -> tuple[DvfsDevice, ...]:
    """The views, and one of each device that is not steered by design or not limited by the node's budget, with the reason."""
    exempt = {
        view.info.uuid: (group.name, group.exempt.removeprefix("not steered: "))
        for group in groups
        if group.exempt
        for view in group.devices
    }
    by_device = {uuid: DvfsDevice(uuid, Mode.OBSERVE.value, lease_active=False) for uuid in (*exempt, *unlimited)}
    by_device |= {view.device: view for view in views}
    for uuid, why in unlimited.items():
        group_name, reason = exempt.get(uuid) or (by_device[uuid].facts.get("group", OTHERS), why)
        exempt[uuid] = group_name, f"{reason}; budget_w counts its whole power limit"
    for uuid, reasons in exempt.items():
        by_device[uuid] = replace(by_device[uuid], exempt=reasons)
    return tuple(view for _, view in sorted(by_device.items()))


def describe_steering(
    workload: str,
    views: Sequence[DvfsDevice],
    users: Mapping[str, Sequence[str]],
    groups: Sequence[SteeringGroup],
    ask: SteeringRequest | None,
) -> dict[str, object]:
    """Steering status of a workload's GPUs, as returned by GET /v1/dvfs.

    `mode` is that of the group; `reason` says why it is not steered. A device's `setting` is applied under the actuator's
    lease; `wanted` is the setting that the policy requests, and the only one in mode shadow. `slowdown` is the ratio that the
    steering policy settings allow.
    """
    devices = {uuid for uuid, workloads in users.items() if workload and not is_shared(workload) and workload in workloads}
    own = [view for view in views if view.device in devices and view.facts.get("group", OTHERS) != OTHERS]
    status: dict[str, object] = {"workload": workload}
    reasons = (group.reason for group in groups if any(view.info.uuid in devices for view in group.devices))
    if reason := next(filter(None, reasons), ""):
        status["reason"] = reason
    elif not own:
        status["reason"] = "no group of this workload is steered"
    if own:
        first = own[0]
        if first.mode == Mode.OBSERVE:
            status.setdefault("reason", "the mode is observe, as one of its owners set it or outside of a schedule")
        alone = all(len(users[view.device]) == 1 for view in own)
        status |= {"mode": first.mode, "group": first.facts["group"] if alone else "", "policy": first.facts.get("policy", "")}
        if first.slowdown_ratio is not None:
            status["slowdown"] = first.slowdown_ratio
        status["devices"] = [
            {"uuid": view.device, "setting": plain_setting(view.setting), "wanted": plain_setting(view.wanted)} for view in own
        ]
        if first.predicted is not None:
            status["predicted_saving"] = interval_json(first.predicted)
        saved = [view.own_saved_uj for view in own if view.own_saved_uj is not None]
        if saved:
            status["saved_joules"] = sum(saved) / UJ_PER_J
    if ask is not None:
        status["asked"] = plain_setting(setting_values(ask.setting))
    return status
