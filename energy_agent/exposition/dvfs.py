"""Samples of the steering of one device, and of the groups that are steered as one. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import DvfsDevice
from energy_agent.core.steering import WINDOWS, BudgetStatus, ShadowOutlook
from energy_agent.core.units import UJ_PER_J, decimal

_MODES = ("observe", "shadow", "enforce")
_MILLI = 1000


def samples(view: DvfsDevice) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    """Yield (name, labels after those of the GPU, value), with the value None for an absent sample."""
    for mode in _MODES:
        yield "dvfs_mode", (mode,), "1" if mode == view.mode else "0"
    if view.facts:
        yield "dvfs_group_info", tuple(view.facts.get(name, "") for name in ("group", "workload", "policy")), "1"
    if view.exempt is not None:
        yield "dvfs_exempt_info", view.exempt, "1"
    yield "dvfs_lease_active", (), "1" if view.lease_active else "0"
    yield from _limits("dvfs", view.setting)
    yield from _limits("dvfs_requested", view.wanted)
    for (policy, action, reason), count in view.decisions.items():
        yield "dvfs_decisions_total", (policy, action, reason), str(count)
    for reason, count in view.ineffective.items():
        yield "dvfs_ineffective_total", (reason,), str(count)
    yield "dvfs_saved_joules", (), _joules(view.saved_uj)
    yield "dvfs_extra_joules", (), _joules(view.extra_uj)
    yield from _measured("dvfs_predicted_saving_ratio", (), view.predicted)
    yield from _measured("dvfs_proven_saving_ratio", (), view.saving)
    yield from _measured("dvfs_slowdown_ratio", (view.slowdown_of,), view.slowdown)
    if view.slowdown_ratio is not None and view.facts:
        yield "dvfs_slowdown_budget_ratio", (), f"{view.slowdown_ratio:.4f}"


def group_samples(views: Iterable[DvfsDevice]) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    """Yield the same of groups: their error budgets, and what each policy would have done in mode shadow."""
    groups = {view.facts["group"]: view for view in views if view.status is not None and view.facts}
    for group, view in groups.items():
        status, name = view.status, (group, view.facts.get("workload", ""))
        if status is None:
            continue
        for latency, budget in status.budgets.items():
            yield from _budget((*name, latency), budget)
        for policy, outlook in status.shadow.items():
            yield from _outlook((*name, policy), outlook)


def _budget(labels: tuple[str, ...], budget: BudgetStatus) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    yield "dvfs_slo_limit_seconds", labels, f"{budget.limit_s:.6g}"
    yield "dvfs_slo_attainment_ratio", labels, f"{budget.attainment_ratio:.6g}"
    counts = {"observations": budget.total.seen, "missed": budget.total.high, "surely_missed": budget.total.low}
    for name, count in counts.items() if budget.total.seen or not budget.reason else ():
        yield f"dvfs_slo_{name}_total", labels, str(count)
    for window in WINDOWS:
        left = budget.remainder(window)
        if isinstance(left, str):
            yield "dvfs_slo_budget_absent_info", (*labels, window, left), "1"
        else:
            yield from _measured(f"dvfs_slo_budget_left_{window}_ratio", labels, left, ends=("_lower", "_upper"))


def _outlook(labels: tuple[str, ...], outlook: ShadowOutlook) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    yield from _measured("dvfs_shadow_saving_ratio", labels, outlook.saving)
    for latency, missed in outlook.missed.items():
        if missed.seen:
            yield "dvfs_shadow_missed_ratio_lower", (*labels, latency), f"{missed.low / missed.seen:.6f}"
            yield "dvfs_shadow_missed_ratio_upper", (*labels, latency), f"{missed.high / missed.seen:.6f}"
    for reason in sorted({outlook.saving_reason, outlook.missed_reason} - {""}):
        yield "dvfs_shadow_absent_info", (*labels, reason), "1"


def _measured(
    name: str, labels: tuple[str, ...], interval: ConfidenceInterval | None, ends: tuple[str, ...] = ("", "_lower", "_upper")
) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    if interval is not None:
        values = {"": interval.value, "_lower": interval.low, "_upper": interval.high}
        for end in ends:
            yield name + end, labels, f"{values[end]:.4f}"


def _limits(prefix: str, settings: Mapping[str, int]) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    clock, power = settings.get("sm_clock_max_hertz"), settings.get("power_limit_milliwatts")
    yield f"{prefix}_clock_limit_hertz", (), None if clock is None else str(clock)
    yield f"{prefix}_power_limit_watts", (), None if power is None else decimal(power, _MILLI)


def _joules(uj: int | None) -> str | None:
    return None if uj is None else decimal(uj, UJ_PER_J)
