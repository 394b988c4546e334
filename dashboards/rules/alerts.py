"""Alerts for Prometheus: conditions that need attention, each with its runbook in docs/alerts.md.

An alert compares known values. Absent data (an unresponsive GPU, a meter that was never read) raises only the alerts on
absence. If a figure has a band, its ends are compared, so no alert fires on a difference below the error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from dashboards.rules.serving import rose
from dashboards.rules.steering import EXTRA, SAVED, change
from energy_agent.core.catalogue.node import metric

JOB: Final = 'job=~"wattlens.*"'
"""The scrape jobs of agents and site processes."""
RUNBOOKS: Final = "docs/alerts.md"
"""The page with a section per alert, in the repository. `dashboards build --runbooks URL` replaces it by the page's address."""
UNSEEN_SHARE, IDLE_SHARE, THROTTLED_SHARE, COVERED_SHARE = 0.05, 0.5, 0.1, 0.95
WORKLOAD_IDLE_SHARE = 0.9
RISE: Final = 1.1
"""Joules per token against the day before in the same load band, end of band against end of band."""
PUE_RISE: Final = 1.05
CPU_CORES, MEMORY_B = 0.1, 256 << 20

_LONG: Final = re.compile(r"\[\d+[hd]\]")
"""Windows of hours: what they have does not change within minutes, and asking for it costs as much as all else together."""

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert.

    Args:
        name: also that of its runbook.
        expr: PromQL; every series that it gives is an alert.
        pending: for how long it has to hold.
        severity: critical if it requires immediate action.
        summary: one line; may have templates such as {{ $labels.instance }}.
        description: its meaning and the first action.
    """

    name: str
    expr: str
    pending: str
    severity: Severity
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        """Page and section of its runbook."""
        return f"{RUNBOOKS}#{self.name.lower()}"

    def rule(self) -> dict[str, object]:
        """As it stands in a rules file."""
        notes = {"summary": self.summary, "description": self.description, "runbook": self.runbook}
        labels = {"severity": self.severity}
        return {"alert": self.name, "expr": self.expr, "for": self.pending, "labels": labels, "annotations": notes}


def alerts() -> tuple[Alert, ...]:
    """All alerts."""
    return (*_of_the_stack(), *_of_the_ledger(), *_of_waste(), *_of_steering(), *_of_the_site())


def content() -> dict[str, list[dict[str, Any]]]:
    """The alerts, as a rules file of Prometheus and the spec of a PrometheusRule have them."""
    quick = [alert.rule() for alert in alerts() if not _LONG.search(alert.expr)]
    slow = [alert.rule() for alert in alerts() if _LONG.search(alert.expr)]
    return {
        "groups": [
            {"name": "wattlens-alerts", "interval": "1m", "rules": quick},
            {"name": "wattlens-alerts-slow", "interval": "5m", "rules": slow},
        ]
    }


def _of_the_stack() -> Iterator[Alert]:
    lost = metric("gpu_up")
    cpu = f"sum without (process) (rate({metric('process_cpu_seconds_total')}[15m])) > {CPU_CORES}"
    memory = f"sum without (process) ({metric('process_resident_memory_bytes')}) > {MEMORY_B}"
    yield Alert(
        "WattlensAgentDown", f"up{{{JOB}}} == 0", "5m", "warning", "{{ $labels.instance }} is not scraped.",
        "Prometheus cannot scrape it, so the state of its GPUs is unknown. The ledger continues where the agent runs.",
    )  # fmt: skip
    yield Alert(
        "WattlensGpuLost", f"{lost} == 0", "2m", "critical",
        "GPU {{ $labels.gpu }} of {{ $labels.instance }} does not respond.",
        "The driver returns no readings. Energy since then is a gap with an upper bound, and workloads on the GPU have no "
        "joules per token.",
    )  # fmt: skip
    yield Alert(
        "WattlensSourceDown", f"{metric('source_up')} == 0", "15m", "warning",
        "Source {{ $labels.source }} of {{ $labels.instance }} is down.",
        "Its readings are missing, or a fault keeps a group from being steered; wattlens_source_down_info has the reason.",
    )  # fmt: skip
    yield Alert(
        "WattlensConfigRejected", f"{metric('config_last_reload_successful')} == 0", "5m", "warning",
        "{{ $labels.instance }} keeps its previous configuration.",
        "The changed file is invalid, so the previous configuration stays in use; the log names the key.",
    )  # fmt: skip
    yield Alert(
        "WattlensOverhead", f"{cpu} or {memory}", "30m", "warning",
        "{{ $labels.instance }}: the agent uses more CPU or memory than expected.",
        f"More than {CPU_CORES} of a core or {MEMORY_B >> 20} MiB for half an hour. The value is in cores or bytes.",
    )  # fmt: skip


def _of_the_ledger() -> Iterator[Alert]:
    bound, energy = (metric(name) for name in ("gpu_energy_gap_bound_joules_total", "gpu_energy_joules_total"))
    unseen = f"sum without (gpu, uuid) (increase({bound}[6h]))"
    metered_energy = f"sum without (gpu, uuid, method) (increase({energy}[6h]))"
    late = f"time() - {metric('ledger_last_commit_timestamp_seconds')} > 120"
    yield Alert(
        "WattlensLedgerStuck", f"{metric('ledger_writable')} == 0 or {late}", "5m", "critical",
        "{{ $labels.instance }} records no energy.",
        "Its journal cannot be written: the disk is full or broken. Energy waits in memory and is lost with the process.",
    )  # fmt: skip
    yield Alert(
        "WattlensJournalMovedAside", f"{metric('ledger_journals_moved_aside')} > 0", "0s", "warning",
        "{{ $labels.instance }} began a new journal.",
        "Its former journal was damaged, or of another version's format, and is kept in the state folder. Energy between the "
        "last segment and the first new reading is a gap.",
    )  # fmt: skip
    yield Alert(
        "WattlensEnergyUnseen", f"{unseen} > {UNSEEN_SHARE} * ({metered_energy} or 0 * {unseen})", "15m", "warning",
        "{{ $labels.instance }} measured too little of its GPUs' energy for a report.",
        f"The upper bound of its gaps in six hours exceeds {UNSEEN_SHARE:.0%} of the metered energy.",
    )  # fmt: skip


def _of_waste() -> Iterator[Alert]:
    unheld = f"sum without (gpu, uuid) (increase({metric('gpu_unallocated_energy_joules_total')}[6h]))"
    all_of_it = f"sum without (gpu, uuid, method) (increase({metric('gpu_energy_joules_total')}[6h]))"
    workload_energy = metric("workload_energy_joules_total")
    by = "namespace, pod, uuid, state, method"  # until the name of a pod is known, its series lacks namespace and pod
    idle, used = (f"sum without ({by}) (increase({workload_energy}{of}[6h]))" for of in ('{state="idle"}', ""))
    waste = f"{unheld} / {all_of_it} > {IDLE_SHARE} or {idle} / {used} > {WORKLOAD_IDLE_SHARE}"
    slow = '{reason=~"hw_slowdown|hw_thermal_slowdown|sw_thermal_slowdown|hw_power_brake"}'
    events = metric("gpu_clock_event_seconds_total")
    yield Alert(
        "WattlensIdleWaste", waste, "1h", "info",
        "GPUs of {{ $labels.instance }} draw energy {{ with $labels.workload }}for {{ . }}, which does not use them"
        "{{ else }}while unallocated{{ end }}.",
        f"In six hours, more than {IDLE_SHARE:.0%} of the node's GPU energy went to unallocated GPUs, or more than "
        f"{WORKLOAD_IDLE_SHARE:.0%} of a workload's energy to GPUs without a running kernel.",
    )  # fmt: skip
    yield Alert(
        "WattlensJoulesPerTokenRose", rose(RISE), "30m", "warning",
        "{{ $labels.model }} needs more joules per token than a day ago{{ if $labels.servers }} on its new servers{{ end }}, "
        "at {{ $labels.running }} running requests.",
        f"The lower bound over an hour is more than {RISE} times the upper bound of the day that ended a day ago, at the same "
        "number of running requests. New servers are workloads that did not serve the model a day ago.",
    )  # fmt: skip
    yield Alert(
        "WattlensThrottled", f"max without (reason) (rate({events}{slow}[10m])) > {THROTTLED_SHARE}", "15m", "warning",
        "GPU {{ $labels.gpu }} of {{ $labels.instance }} is slowed down by heat or its power supply.",
        f"The driver reported such a reason for more than {THROTTLED_SHARE:.0%} of the time.",
    )  # fmt: skip


def _of_steering() -> Iterator[Alert]:
    lease, without = metric("dvfs_lease_active"), metric("dvfs_ineffective_total")
    limits = f"({metric('dvfs_clock_limit_hertz')} or {metric('dvfs_power_limit_watts')})"
    gone = f"up{{{JOB}}} == 0 and on (instance, job) (max by (instance, job) (max_over_time({lease}[15m])) == 1)"
    saved, lost = (change(claimed, "1d") for claimed in (SAVED, EXTRA))
    yield Alert(
        "WattlensLeaseOrphaned", f"({limits} unless on (instance, uuid) ({lease} == 1)) or ({gone})", "2m", "critical",
        "{{ $labels.instance }} may have GPU settings without a lease.",
        "A clock or power limit is set without a lease, or the agent disappeared while it had one.",
    )  # fmt: skip
    yield Alert(
        "WattlensSettingIneffective", f"increase({without}[30m]) > 0 or {without} unless {without} offset 30m", "0s", "warning",
        "GPU {{ $labels.gpu }} of {{ $labels.instance }} does not follow its setting.",
        "The driver accepted a setting that has no effect; the group releases the GPU.",
    )  # fmt: skip
    yield Alert(
        "WattlensSteeringLoses", f"{lost} > clamp_min({saved}, 0)", "1h", "warning",
        "Steering GPU {{ $labels.gpu }} of {{ $labels.instance }} costs more than it saves.",
        "In the analyses of a day, losses grew more than savings. Steering continues: stop it or widen its budget.",
    )  # fmt: skip


def _of_the_site() -> Iterator[Alert]:
    low, high = (metric(f"pue_ratio_{end}") for end in ("lower", "upper"))
    drift = f'{low}{{window="24h"}} > ignoring (window) ({PUE_RISE} * {high}{{window="30d"}})'
    yield Alert(
        "WattlensPueDrifted", drift, "1h", "warning", "The PUE of {{ $labels.site }} rose.",
        f"Its lower bound over a day exceeds {PUE_RISE} times its upper bound over 30 days.",
    )  # fmt: skip
    yield Alert(
        "WattlensMeterUnread", f'{metric("pue_coverage_ratio")}{{window="24h"}} < {COVERED_SHARE}', "1h", "warning",
        "A meter of {{ $labels.site }} was not read for part of the day.",
        f"The least covered meter has less than {COVERED_SHARE:.0%} of the last day; missing time counts at its mean power.",
    )  # fmt: skip
