"""Recording rules for Prometheus: steering by group and node, and the GPUs of each workload.

All GPUs of a group are steered as one, and those of an engine are as fast as the slowest, so dashboards show minimum and
maximum among them. These are recorded because joining 8,000 GPUs to their groups at every step of a graph would take seconds. A
decision applies to all GPUs of a group and is counted once.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.model import BANDS, WINDOW, RecordingRule
from energy_agent.core.catalogue.node import metric

GPUS: Final = "instance_group:wattlens_gpus:count"
MODE: Final = "instance_group:wattlens_dvfs_mode:state"
"""0 observe, 1 shadow, 2 enforce."""
IN_FORCE: Final = "instance_group:wattlens_dvfs_limits:state"
"""0 the original settings, 1 a limit is requested, 2 one is applied."""
DECISIONS: Final = "instance:wattlens_dvfs_decisions:increase1m"
INEFFECTIVE: Final = "instance:wattlens_dvfs_ineffective:increase1m"
EVENTS: Final = f"instance:wattlens_leased_clock_event_seconds:rate{WINDOW}"
LEASED: Final = "instance:wattlens_dvfs_lease_active:sum"
HELD: Final = "uuid_workload:wattlens_held:info"
"""1 for each GPU that gained energy for a workload in two minutes: what ended stays on the page, but gains none."""
SAVED: Final = "uuid:wattlens_dvfs_saved_joules:last"
EXTRA: Final = "uuid:wattlens_dvfs_extra_joules:last"
"""What the last closed analysis says of a GPU, kept once a minute; it may fall (see `change`)."""
UNDONE: Final = "uuid:wattlens_dvfs_ineffective_total"
"""A counter of a GPU, kept once a minute.

These three begin at 0 where steering may act, since the agent shows them from their first event on alone: so what comes first
counts in full, and a Prometheus that is younger credits nothing that was there before it.
"""
PROVEN: Final = "uuid:wattlens_dvfs_proven:info"
"""1 for each GPU of which an analysis was ever closed, whatever it found."""

_AT: Final = "cluster, job, instance"
_OUTAGE: Final = "1h"  # so long before a window its start is looked for
_HELD_WINDOW: Final = "2m"
_POWER: Final = f"({metric('gpu_power_watts')} or {metric('gpu_power_instant_watts')})"
"""Power of each GPU: the average, or the instant reading of a board that reports no average."""
_OF_GROUP: Final = (
    ("dvfs_lease_active", "min"),
    ("dvfs_requested_clock_limit_hertz", "min"),
    ("dvfs_requested_power_limit_watts", "min"),
    ("dvfs_clock_limit_hertz", "min"),
    ("dvfs_power_limit_watts", "min"),
    ("gpu_sm_clock_hertz", "max"),
    ("gpu_sm_clock_hertz", "min"),
    ("gpu_power_watts", "max"),
    ("gpu_power_limit_watts", "min"),
    ("gpu_temperature_celsius", "max"),
    ("dvfs_slowdown_budget_ratio", "max"),
    *((f"dvfs_{what}_ratio{end}", "max") for what in ("predicted_saving", "proven_saving", "slowdown") for end in BANDS),
)
"""Signal and operation over the GPUs of a group."""
_OF_WORKLOAD: Final = (
    ("gpu_sm_clock_hertz", "max"),
    ("gpu_sm_clock_hertz", "min"),
    ("gpu_sm_clock_max_hertz", "min"),
    ("dvfs_clock_limit_hertz", "min"),
    ("gpu_power_watts", "sum"),
    ("gpu_power_limit_watts", "sum"),
)
"""The same over the GPUs that a workload holds."""


def of_group(signal: str, operation: str) -> str:
    """Name of the rule of a group."""
    return f"instance_group:{metric(signal)}:{operation}"


def of_workload(signal: str, operation: str) -> str:
    """Name of the rule of a workload."""
    return f"instance_workload:{metric(signal)}:{operation}"


def change(claimed: str, window: str) -> str:
    """By how much a claim, SAVED or EXTRA, changed within a window: below 0 where a later analysis took some of it back.

    Its ends are compared, since `increase` would take a fall for a restart. An agent that is down at the start has its last
    value of the hour before; a series that is younger counts from its lowest value, which is 0 where steering began.
    """
    start = f"last_over_time({claimed}[{_OUTAGE}] offset {window}) or min_over_time({claimed}[{window}])"
    return f"(last_over_time({claimed}[{window}]) - ({start}))"


def group_rules() -> Iterator[RecordingRule]:
    """Steering by group."""
    info = metric("dvfs_group_info")
    yield RecordingRule(GPUS, f"count by ({_AT}, group, workload) ({info})")
    mode = metric("dvfs_mode")
    states = f'{mode}{{mode="shadow"}} or 2 * {mode}{{mode="enforce"}} or 0 * {mode}'
    yield RecordingRule(MODE, _joined("max", f"sum without (mode) ({states})"))
    requested, applied = (
        f"({metric(f'{prefix}_clock_limit_hertz')} or {metric(f'{prefix}_power_limit_watts')}) > bool 0"
        for prefix in ("dvfs_requested", "dvfs")
    )
    yield RecordingRule(IN_FORCE, _joined("max", f"(2 * ({applied}) or {requested} or 0 * {metric('dvfs_lease_active')})"))
    for signal, operation in _OF_GROUP:
        yield RecordingRule(of_group(signal, operation), _joined(operation, _of_gpu(signal)))


def _joined(operation: str, expr: str) -> str:
    joined = f"{expr} * on ({_AT}, uuid) group_left (group, workload) {metric('dvfs_group_info')}"
    return f"{operation} without (gpu, uuid) ({joined})"


def _of_gpu(signal: str) -> str:
    return _POWER if signal == "gpu_power_watts" else metric(signal)


def event_rules() -> Iterator[RecordingRule]:
    """Decisions and settings without effect, of a minute."""
    decisions = f"max without (gpu, uuid) ({_gained(metric('dvfs_decisions_total'))})"
    yield RecordingRule(DECISIONS, decisions)
    yield RecordingRule(INEFFECTIVE, f"sum without (gpu, uuid) ({_gained(metric('dvfs_ineffective_total'))})")


def leased_node_rules() -> Iterator[RecordingRule]:
    """Leases and clock events by node."""
    lease, events = metric("dvfs_lease_active"), metric("gpu_clock_event_seconds_total")
    yield RecordingRule(LEASED, f"sum without (gpu, uuid) ({lease})")
    yield RecordingRule(EVENTS, f"sum without (gpu, uuid) (rate({events}[{WINDOW}]) and on ({_AT}, uuid) ({lease} == 1))")


def _gained(counter: str) -> str:
    """Increase over a minute of a counter that appears with its first event, which `increase` alone leaves out.

    Prometheus treats the first sample of a series as its start. A series that did not exist a minute ago counts in full if its
    GPU was scraped in that minute without it: a Prometheus that is younger than the counter has no such scrape.
    """
    of_gpu = f"on ({_AT}, uuid) group_left () count_over_time({metric('dvfs_lease_active')}[1m])"
    began = f"{counter} unless {counter} offset 1m and (count_over_time({counter}[1m]) < {of_gpu})"
    return f"({began} or increase({counter}[1m]))"


def workload_rules() -> Iterator[RecordingRule]:
    """The GPUs of each workload."""
    energy = f"rate({metric('workload_energy_joules_total')}[{_HELD_WINDOW}])"
    yield RecordingRule(HELD, f"clamp(sum by ({_AT}, workload, uuid) ({energy}) > 0, 1, 1)")
    for signal, operation in _OF_WORKLOAD:
        joined = f"{HELD} * on ({_AT}, uuid) group_left () {_of_gpu(signal)}"
        yield RecordingRule(of_workload(signal, operation), f"{operation} by ({_AT}, workload) ({joined})")


def claim_rules() -> Iterator[RecordingRule]:
    """Claims and counters of GPUs."""
    begun = f'0 * sum without (mode) ({metric("dvfs_mode")}{{mode="enforce"}} == 1)'
    undone = f"sum without (reason) ({metric('dvfs_ineffective_total')})"
    saved, extra = metric("dvfs_saved_joules"), metric("dvfs_extra_joules")
    for name, total in ((SAVED, saved), (EXTRA, extra), (UNDONE, undone)):
        yield RecordingRule(name, f"{total} or {begun}")
    yield RecordingRule(PROVEN, f"clamp({saved}, 1, 1)")
