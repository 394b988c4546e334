"""Metrics of the steering of each GPU, and of the groups that are steered as one. Pure."""

from collections.abc import Mapping
from functools import partial
from operator import methodcaller
from typing import Any, Final

from energy_agent.core.catalogue.gpu import GPU, present_ids
from energy_agent.core.catalogue.metric import Labels, Row, Scrape, Signal, Source, band, derive, each, flag
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import DvfsDevice, Snapshot
from energy_agent.core.steering import WINDOWS, BudgetStatus, ShadowOutlook
from energy_agent.core.workloads.error_budget import MissedShare

_POLICIES: Final = ("group", "workload", "policy")
_CLOCK: Final = methodcaller("get", "sm_clock_max_hertz")
_POWER: Final = methodcaller("get", "power_limit_milliwatts")
_ratio: Final = "{:.4f}".format
_share: Final = "{:.6f}".format
_short: Final = "{:.6g}".format


def _devices(scrape: Scrape[Snapshot]) -> list[Row]:
    present = scrape.of(present_ids)
    return [(present[view.device], view) for view in scrape.snapshot.dvfs if view.device in present]


def _policies(view: DvfsDevice) -> Labels:
    return tuple(view.facts.get(name, "") for name in _POLICIES) if view.facts else ()


def _permitted_slowdown(view: DvfsDevice) -> float | None:
    return view.slowdown_ratio if view.facts else None


def _groups(scrape: Scrape[Snapshot]) -> list[Row]:
    groups = {view.facts["group"]: view for view in scrape.snapshot.dvfs if view.status is not None and view.facts}
    return [((group, view.facts.get("workload", "")), view.status) for group, view in groups.items()]


def _counts(budget: BudgetStatus) -> MissedShare | None:
    return budget.total if budget.total.observations or not budget.reason else None


def _remainders(budget: BudgetStatus) -> dict[str, ConfidenceInterval | str]:
    return {window: budget.remainder(window) for window in WINDOWS}


def _remainder(window: str, remainders: Mapping[str, ConfidenceInterval | str]) -> ConfidenceInterval | None:
    remainder = remainders[window]
    return None if isinstance(remainder, str) else remainder


def _unknown_budgets(remainders: Mapping[str, ConfidenceInterval | str]) -> dict[tuple[str, str], None]:
    return {(window, remainder): None for window, remainder in remainders.items() if isinstance(remainder, str)}


def _missed(outlook: ShadowOutlook) -> dict[str, MissedShare]:
    return {latency: missed for latency, missed in outlook.missed.items() if missed.observations}


def _unknown_outlooks(outlook: ShadowOutlook) -> dict[str, None]:
    return dict.fromkeys(sorted({outlook.saving_reason, outlook.missed_reason} - {""}))


def _slowdown(view: DvfsDevice) -> dict[str, Any]:
    return {view.slowdown_of: view.slowdown}


DEVICES: Final = Source(GPU, _devices)
SETTING: Final = derive(DEVICES, "setting")
REQUEST: Final = derive(DEVICES, "wanted")
GROUPS: Final = Source(("group", "workload"), _groups)
BUDGETS: Final = each(GROUPS, "budgets", "latency")
COUNTS: Final = derive(BUDGETS, _counts)
REMAINDERS: Final = derive(BUDGETS, _remainders)
SHADOW: Final = each(GROUPS, "shadow", "policy")
MISSED: Final = each(SHADOW, _missed, "latency")

_LIMIT: Final = "Appears with the limit and its first reading; counts since the limit was set or the agent started."
_BUDGET: Final = (
    "Absent without requests, without metrics of the inference server, or where the histogram's edges leave open whether the "
    "budget is overspent; dvfs_slo_budget_absent_info has the reason."
)
_SHADOW: Final = "Present in mode shadow; since the group entered it. If unknown, dvfs_shadow_absent_info has the reason."
_PROVEN: Final = (
    "Absent before the first analysis of enough pairs. Sum over all groups and quarters of this GPU, kept over restarts; "
    "each analysis replaces the part of its group and quarter, so the value may fall."
)
_ANALYSED: Final = "Absent before the first analysis of enough pairs; then the result of the last analysis of the GPU's group."

DVFS: Final = (
    Signal("dvfs_mode",
           "Mode of DVFS on this GPU: always 1, with the mode as a label: observe, shadow or enforce.",
           "One series, for the current mode; present while DVFS is configured.",
           each(DEVICES, lambda view: {view.mode: True}, "mode"), text=flag),
    Signal("dvfs_lease_active", "1 while a lease on this GPU's settings is active.", "Present while DVFS is configured.",
           DEVICES, "lease_active", text=flag),
    Signal("dvfs_clock_limit_hertz", "SM clock limit applied under the lease.", "Present only while it is applied.", SETTING,
           _CLOCK, text=str),
    Signal("dvfs_power_limit_watts", "Power limit applied under the lease.", "Present only while it is applied.", SETTING,
           _POWER),
    Signal("dvfs_group_info", "Steering group of a GPU, with its workload and its policies.",
           "Always 1; present while the GPU belongs to a group.", DEVICES, _policies, _POLICIES),
    Signal("dvfs_exempt_info", "Why a GPU is exempt from steering, such as MIG mode. This is not an error.",
           "Always 1; present while its group is exempt.", DEVICES, "exempt", ("group", "reason")),
    Signal("dvfs_requested_clock_limit_hertz", "SM clock limit that the policies request; not applied in mode shadow.",
           "Present only while one is requested.", REQUEST, _CLOCK, text=str),
    Signal("dvfs_requested_power_limit_watts", "Power limit that the policies request; not applied in mode shadow.",
           "Present only while one is requested.", REQUEST, _POWER),
    *band("dvfs_predicted_saving_ratio",
          "Predicted saving of energy per unit of work by steering{}, from measurements without steering.",
          "Present once a predicting policy has measured the workload; not proven, see dvfs_saved_joules.", DEVICES,
          "predicted", _ratio),
    Signal("dvfs_decisions_total", "Governor decisions.", "Appears with the first decision; counts since the agent started.",
           each(DEVICES, "decisions", "policy", "action", "reason")),
    Signal("dvfs_ineffective_total", "Settings that the driver accepted without effect.",
           "Appears with the first one; counts since the agent started.", each(DEVICES, "ineffective", "reason")),
    Signal("dvfs_saved_joules",
           "Proven energy saving of DVFS, which may be claimed: the lower bound of the last closed analysis of paired blocks.",
           _PROVEN, DEVICES, "saved_uj"),
    Signal("dvfs_extra_joules",
           "Additional energy due to DVFS: the estimate of the last closed analysis of paired blocks, if it is a loss.",
           _PROVEN, DEVICES, "extra_uj"),
    *band("dvfs_proven_saving_ratio",
          "Saving of energy per unit of work by steering{}, from paired blocks; negative if steering uses more energy.",
          _ANALYSED, DEVICES, "saving", _ratio),
    *band("dvfs_slowdown_ratio",
          "Slowdown of the work by steering{}, from paired blocks: inter-token latency (latency), or time per step or token "
          "(time_per_work).", _ANALYSED, each(DEVICES, _slowdown, "of"), write=_ratio),
    Signal("dvfs_slowdown_budget_ratio", "Slowdown that the steering policy settings allow for a whole training run.",
           "Present while the GPU belongs to a group.", DEVICES, _permitted_slowdown, text=_ratio),
    Signal("dvfs_slo_limit_seconds", "Latency limit of a steering group, ttft or itl.",
           "Present while the group has the limit.", BUDGETS, "limit_s", text=_short),
    Signal("dvfs_slo_attainment_ratio", "Share of requests that have to be within the limit.",
           "Present while the group has the limit.", BUDGETS, "attainment_ratio", text=_short),
    Signal("dvfs_slo_observations_total",
           "Observed latencies: of first tokens (ttft), and mean times between tokens of requests (itl). Of servers without "
           "a histogram of these means, gaps between tokens, judged by their mean over each reading.",
           _LIMIT, COUNTS, "observations"),
    Signal("dvfs_slo_missed_total", "Latencies above the limit, at most: all of the histogram bucket around the limit count.",
           _LIMIT, COUNTS, "high"),
    Signal("dvfs_slo_surely_missed_total",
           "Latencies above the limit, at least: none of the histogram bucket around the limit counts.", _LIMIT, COUNTS,
           "low"),
    *(
        signal
        for window, words in (("requests", "1,000 requests"), ("hour", "hour"))
        for signal in band(
            f"dvfs_slo_budget_left_{window}_ratio",
            f"Share of the error budget left over the last {words}{{}}; negative if overspent.",
            _BUDGET, REMAINDERS, partial(_remainder, window), _ratio, "",
        )[1:]
    ),
    Signal("dvfs_slo_budget_absent_info", "Why the error budget of a window is unknown.", "Present only while it is unknown.",
           each(REMAINDERS, _unknown_budgets, "window", "reason")),
    *band("dvfs_shadow_saving_ratio", "Share of energy per unit of work that a policy would have saved in mode shadow{}.",
          _SHADOW, SHADOW, "saving", _ratio),
    Signal("dvfs_shadow_missed_ratio_lower",
           "Share of latencies above the limit in mode shadow, as measured: no less if the policy had been applied.", _SHADOW,
           MISSED, lambda missed: missed.low / missed.observations, text=_share),
    Signal("dvfs_shadow_missed_ratio_upper",
           "Share of latencies that would have been above the limit if all of their time had grown as the policy's clock is "
           "lower; longer queues are not included.",
           _SHADOW, MISSED, lambda missed: missed.high / missed.observations, text=_share),
    Signal("dvfs_shadow_absent_info", "Why the saving or the latencies of a policy in mode shadow are unknown.",
           "Present only while they are unknown.", each(SHADOW, _unknown_outlooks, "reason")),
)  # fmt: skip
