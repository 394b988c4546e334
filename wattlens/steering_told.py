"""What a workload is told of the steering of its own GPUs. Pure."""

from collections.abc import Mapping, Sequence

from energy_agent.core.snapshot import DvfsDevice
from energy_agent.core.units import HZ_PER_MHZ, UJ_PER_J
from wattlens.steering_asks import Ask

_UNITS = {"sm_clock_max_hertz": ("sm_clock_max_mhz", HZ_PER_MHZ), "power_limit_milliwatts": ("power_limit_w", 1000)}


def told(workload: str, views: Sequence[DvfsDevice], reasons: Mapping[str, str], ask: Ask | None) -> dict[str, object]:
    """The answer to GET /v1/dvfs.

    `mode` is that of the group; `reason` says why it is not steered. A device's `setting` is in force under the actuator's
    lease, `wanted` is what the policy wants: in mode shadow it is all there is. `slowdown` is the share that the terms allow.
    """
    own = [view for view in views if workload and workload in view.facts.get("members", "").split("+")]
    said: dict[str, object] = {"workload": workload}
    reason = next((text for name, text in reasons.items() if text and workload in name.removeprefix("job:").split("+")), "")
    if reason:
        said["reason"] = reason
    elif not own:
        said["reason"] = "no group of this workload is steered"
    if own:
        first = own[0]
        said |= {"mode": first.mode, "group": first.facts.get("group", ""), "policy": first.facts.get("policy", "")}
        if first.slowdown_ratio is not None:
            said["slowdown"] = first.slowdown_ratio
        said["devices"] = [
            {"uuid": view.device, "setting": _plain(view.setting), "wanted": _plain(view.wanted)} for view in own
        ]
        if first.predicted is not None:
            said["predicted_saving"] = {
                "ratio": first.predicted.saving_ratio, "low": first.predicted.low, "high": first.predicted.high,
            }  # fmt: skip
        saved = [view.own_saved_uj for view in own if view.own_saved_uj is not None]
        if saved:
            said["saved_joules"] = sum(saved) / UJ_PER_J
    if ask is not None:
        said["asked"] = ask.setting.as_json() if ask.setting is not None else {}
    return said


def _plain(setting: Mapping[str, int]) -> dict[str, float]:
    return {_UNITS[name][0]: value / _UNITS[name][1] for name, value in setting.items()}
