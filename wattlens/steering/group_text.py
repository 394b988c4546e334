"""Status of steered groups as JSON, as returned by GET /v1/dvfs/groups, and as text. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dvfs.types import Mode
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import DvfsDevice
from energy_agent.core.steering import WINDOWS, BudgetStatus, GroupStatus, PolicyDecision
from energy_agent.core.units import HZ_PER_MHZ, NS_PER_S, UJ_PER_J
from wattlens.top.text import quantity

_UNITS = {"sm_clock_max_hertz": ("sm_clock_max_mhz", HZ_PER_MHZ), "power_limit_milliwatts": ("power_limit_w", 1000)}
_WINDOWS = dict(zip(WINDOWS, ("last 1,000 requests", "last hour"), strict=True))
_ENOUGH = 100  # requests, before a share of them is shown
_LATENCIES = {"ttft": "time to first token", "itl": "time between tokens"}


def plain_setting(setting: Mapping[str, int]) -> dict[str, float]:
    """A setting in the units that people use."""
    return {_UNITS[name][0]: value / _UNITS[name][1] for name, value in setting.items()}


def interval_json(interval: ConfidenceInterval) -> dict[str, float]:
    """A ratio with its bounds."""
    return {"ratio": interval.value, "lower": interval.low, "upper": interval.high}


def describe_groups(views: Sequence[DvfsDevice]) -> list[dict[str, Any]]:
    """The groups of these devices, by name."""
    by_group: dict[str, list[DvfsDevice]] = {}
    for view in views:
        if view.status is not None:
            by_group.setdefault(view.facts.get("group", ""), []).append(view)
    return [_group(name, devices) for name, devices in sorted(by_group.items()) if name]


def _group(name: str, devices: Sequence[DvfsDevice]) -> dict[str, Any]:
    first, status = devices[0], devices[0].status or GroupStatus()
    group: dict[str, Any] = {"group": name, "workload": first.facts["workload"], "mode": first.mode}
    group |= {"devices": [view.device for view in devices], "lease": all(view.lease_active for view in devices)}
    group["settings"] = {
        view.device: {"applied": plain_setting(view.setting), "wanted": plain_setting(view.wanted)} for view in devices
    }
    if reasons := {view.exempt[1] for view in devices if view.exempt is not None}:
        group["exempt"] = sorted(reasons)
    group["current"] = [_decision(one) for one in status.current]
    group["decisions"] = [_decision(one) for one in status.decisions]
    group["error_budget"] = {latency: _budget(budget) for latency, budget in status.budgets.items()}
    saved = [view.own_saved_uj for view in devices if view.own_saved_uj is not None]
    if first.saving is not None:
        group["proven"] = {"saving": interval_json(first.saving), "saved_joules": sum(saved) / UJ_PER_J}
        if first.slowdown is not None:
            group["proven"] |= {"slowdown": interval_json(first.slowdown), "slowdown_of": first.slowdown_of}
    elif first.mode == Mode.ENFORCE:
        group["proven"] = {"reason": "no analysis of paired blocks has been closed yet (dvfs.blocks)"}
    else:
        group["proven"] = {"reason": f"nothing is applied in mode {first.mode}"}
    if first.mode == Mode.SHADOW:
        group["shadow"] = shadow_json(status)
    return group


def _decision(decision: PolicyDecision) -> dict[str, Any]:
    time = datetime.fromtimestamp(decision.t_ns // NS_PER_S, UTC).isoformat().replace("+00:00", "Z")
    action = {"policy": decision.policy, "action": decision.action, "reason": decision.reason}
    return {"time": time, **action, "setting": plain_setting(decision.setting)}


def _budget(budget: BudgetStatus) -> dict[str, Any]:
    described: dict[str, Any] = {"limit_ms": 1000 * budget.limit_s, "attainment": budget.attainment_ratio}
    for window in WINDOWS:
        missed, remainder = budget.windows[window], budget.remainder(window)
        described[window] = {"observations": missed.observations, "missed_lower": missed.low, "missed_upper": missed.high}
        described[window] |= (
            {"reason": remainder} if isinstance(remainder, str) else {"left": {"lower": remainder.low, "upper": remainder.high}}
        )
    return described


def shadow_json(status: GroupStatus) -> dict[str, Any]:
    """What each policy would have done so far in mode shadow."""
    joules = None if status.shadow_uj is None else status.shadow_uj / UJ_PER_J
    policies = []
    for name, outlook in status.shadow.items():
        policy: dict[str, Any] = {"policy": name}
        if outlook.saving is None:
            policy["saving_reason"] = outlook.saving_reason
        else:
            policy["saving"] = interval_json(outlook.saving)
            if joules is not None:
                policy["saved_joules"] = {key: joules * ratio for key, ratio in policy["saving"].items() if key != "ratio"}
        policy["missed"] = {
            latency: {
                "observations": share.observations,
                "lower": share.low / share.observations,
                "upper": share.high / share.observations,
            }
            for latency, share in outlook.missed.items()
            if share.observations
        }
        policies.append(policy | ({"missed_reason": outlook.missed_reason} if outlook.missed_reason else {}))
    return {"seconds": status.shadow_s, "joules": joules, "policies": policies}


def shadow_lines(shadow: Mapping[str, Any]) -> list[str]:
    """The same as text, a line per policy."""
    used = "" if shadow["joules"] is None else f", {quantity(shadow['joules'], 'J')} used"
    lines = []
    for policy in shadow["policies"]:
        if "saving" in policy:
            joules = policy.get("saved_joules")
            amount = "" if joules is None else f", {quantity(joules['lower'], 'J')} to {quantity(joules['upper'], 'J')}"
            low, high = (100 * policy["saving"][bound] for bound in ("lower", "upper"))
            text = f"would have saved {low:.1f} to {high:.1f} %{amount}"
        else:
            text = f"saving unknown: {policy['saving_reason']}"
        for latency, share in policy["missed"].items():
            if share["observations"] < _ENOUGH:
                text += f"; {_LATENCIES[latency]}: {share['observations']} of {_ENOUGH} requests seen"
                continue
            text += f"; {_LATENCIES[latency]}: {100 * share['lower']:.2f} to {100 * share['upper']:.2f} % over the limit"
        reason = policy.get("missed_reason", "")
        text += f"; latencies unknown: {reason}" if reason and reason != policy.get("saving_reason") else ""
        lines.append(f"{policy['policy']}: {text}")
    return [f"{shadow['seconds'] / 60:.0f} min in mode shadow{used}", *lines]


def interval_text(interval: Mapping[str, float]) -> str:
    """A ratio with its bounds in per cent."""
    return f"{100 * interval['ratio']:.1f} % ({100 * interval['lower']:.1f} to {100 * interval['upper']:.1f})"


def summary_rows(groups: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A table of all groups: how each is steered, and the energy that is proven."""
    rows: list[tuple[str, ...]] = [("GROUP", "WORKLOAD", "MODE", "POLICY", "SETTING", "REASON", "PROVEN SAVING")]
    for group in groups:
        proven, current = group["proven"], group["current"]
        saving = proven.get("reason", "")
        if "saving" in proven:
            saving = f"{interval_text(proven['saving'])}, {quantity(proven['saved_joules'], 'J')} at least"
        names, reasons = ([one[key] for one in current] or ["-"] for key in ("policy", "reason"))
        what = "wanted" if group["mode"] == Mode.SHADOW else "applied"
        setting = " or ".join(sorted({_setting_text(one[what]) for one in group["settings"].values()}))
        why = "; ".join(group.get("exempt", ())) or (reasons[0] if len(set(reasons)) == 1 else "+".join(reasons))
        rows.append((group["group"], group["workload"] or "-", group["mode"], "+".join(names), setting, why, saving))
    return rows


def budget_rows(group: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A table of a group's error budgets."""
    rows: list[tuple[str, ...]] = [("LATENCY", "LIMIT", "WITHIN", "WINDOW", "OBSERVED", "MISSED", "BUDGET LEFT")]
    for latency, budget in group["error_budget"].items():
        for window, title in _WINDOWS.items():
            counts = budget[window]
            remainder = f"unknown: {counts['reason']}" if "reason" in counts else _bounds(**counts["left"])
            low, high = counts["missed_lower"], counts["missed_upper"]
            missed = f"{high}" if low == high else f"{low} to {high}"
            limits = f"{budget['limit_ms']:g} ms", f"{100 * budget['attainment']:g} %"
            rows.append((latency.upper(), *limits, title, str(counts["observations"]), missed, remainder))
    return rows


def _bounds(lower: float, upper: float) -> str:
    return f"{100 * lower:.0f} %" if lower == upper else f"{100 * lower:.0f} to {100 * upper:.0f} %"


def decision_rows(group: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A table of a group's last decisions, the newest first."""
    rows: list[tuple[str, ...]] = [("TIME", "POLICY", "DECISION", "SETTING", "REASON")]
    for one in reversed(group["decisions"]):
        rows.append((one["time"], one["policy"], one["action"], _setting_text(one["setting"]), one["reason"]))
    return rows


def _setting_text(setting: Mapping[str, float]) -> str:
    units = {"sm_clock_max_mhz": "MHz", "power_limit_w": "W"}
    return ", ".join(f"{value:g} {units[name]}" for name, value in setting.items()) or "-"
