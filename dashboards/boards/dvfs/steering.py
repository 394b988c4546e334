"""Rows on active steering: modes, leases, requested, applied and actual settings, decisions and errors."""

from dashboards.panels import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    GrafanaRow,
    Queries,
    Query,
    graph,
    lights,
    link,
    row,
    stat,
    third,
    wide_table,
)
from dashboards.promql.selectors import AT, MOST, gain_of, largest_groups, proven, recorded, series
from dashboards.rules.steering import DECISIONS, EVENTS, EXTRA, IN_FORCE, INEFFECTIVE, LEASED, MODE, SAVED, UNDONE, of_group

OFF = "DVFS is not configured here, or no group has a GPU"
OF_MOST = f", {MOST} largest groups"
NAME = "{{instance}} {{group}}"
TO_GPU = link("These GPUs", "wattlens-gpu", "instance")
_ROWS = 20
_LIMITS = ("requested", "applied", "reported")
_APPLIED = ("dvfs_clock_limit_hertz", "dvfs_power_limit_watts")


def _limited() -> str:
    return f"({' or '.join(map(series, _APPLIED))})"


def _orphans() -> tuple[str, str]:
    """As the alert WattlensLeaseOrphaned has it: a setting without a lease, and a lease whose agent went away."""
    lease = series("dvfs_lease_active")
    before = f"max by ({AT}) (max_over_time({lease}[15m])) == 1"
    return (
        f"{_limited()} unless on ({AT}, uuid) ({lease} == 1)",
        f"{recorded('up', scope='node')} == 0 and on ({AT}) ({before})",
    )


def _mode(name: str) -> str:
    return series("dvfs_mode", f'mode="{name}"')


def now() -> GrafanaRow:
    """How many GPUs are steered, and how."""
    lease, zero = series("dvfs_lease_active"), f"sum({series('dvfs_lease_active')} * 0)"
    unheld, gone = _orphans()
    return row(
        "Now",
        stat(
            "GPUs by mode",
            "GPUs by mode: steering acts (enforce), decides without acting (shadow) or only watches (observe) (dvfs_mode).",
            "none",
            {name: f"sum({_mode(name)}) or {zero}" for name in ("enforce", "shadow", "observe")},
            width=8,
            no_value=OFF,
        ),
        stat(
            "Leased GPUs",
            "GPUs with a lease, without which nothing is set (dvfs_lease_active), and GPUs with an applied setting "
            f"({', '.join(_APPLIED)}).",
            "none",
            {
                "leased": f"sum({lease})",
                "applied": f"count({_limited()}) or {zero}",
            },
            no_value=OFF,
        ),
        stat(
            "Orphaned leases",
            "GPUs with a setting but no lease, and agents that disappeared while they had a lease: their settings may stay "
            "applied. See WattlensLeaseOrphaned in docs/alerts.md.",
            "none",
            {
                "settings": f"count({unheld}) or {zero}",
                "agents": f"count({gone}) or {zero}",
            },
            states={"0": ("none", BLUE), "1+": ("ORPHANED, see the table below", ORANGE)},
            minimum=None,
            width=6,
            no_value=OFF,
        ),
        stat(
            "Ineffective settings",
            "Governor rounds in the selected range in which a GPU did not follow its setting (dvfs_ineffective_total): "
            "another program changed it, or a power or thermal limit was stricter. See "
            "WattlensSettingIneffective in docs/alerts.md.",
            "short",
            {"rounds": f"{gain_of(UNDONE)} or {zero}"},
            decimals=0,
            width=6,
            no_value=OFF,
        ),
    )


def states() -> GrafanaRow:
    """Of each group over time."""
    return row(
        "Groups over time",
        lights(
            f"Mode{OF_MOST}",
            "Mode of each group: observe (only watch), shadow (decide without acting) or enforce (dvfs_mode). Steering "
            "acts on all GPUs of a group or on none.",
            "none",
            {NAME: largest_groups(MODE)},
            states={"0": ("observe", GREY), "1": ("shadow", PURPLE), "2": ("enforce", BLUE)},
            no_value=OFF,
            links=TO_GPU,
        ),
        lights(
            f"Lease{OF_MOST}",
            "Whether all GPUs of a group have a lease; without a lease nothing is set (dvfs_lease_active).",
            "none",
            {NAME: largest_groups(of_group("dvfs_lease_active", "min"))},
            states={"0": ("no lease", GREY), "1": ("leased", BLUE)},
            no_value=OFF,
            links=TO_GPU,
        ),
        lights(
            f"Applied settings{OF_MOST}",
            "Whether the policies request a limit for any GPU of a group (dvfs_requested_clock_limit_hertz, "
            "dvfs_requested_power_limit_watts), and whether one is applied (dvfs_clock_limit_hertz, "
            "dvfs_power_limit_watts). In shadow mode no limit is applied.",
            "none",
            {NAME: largest_groups(IN_FORCE)},
            states={"0": ("original", GREY), "1": ("requested, not applied", PURPLE), "2": ("applied", BLUE)},
            no_value=OFF,
            links=TO_GPU,
        ),
    )


def settings() -> GrafanaRow:
    """Requested, set and actual settings."""

    def lines(*of: tuple[str, str, str]) -> Queries:
        return {f"{NAME} {text}": largest_groups(of_group(signal, end)) for signal, end, text in of}

    return row(
        "Requested and applied settings",
        graph(
            f"SM clock{OF_MOST}",
            "The lowest requested (dvfs_requested_clock_limit_hertz) and the lowest applied clock limit "
            "(dvfs_clock_limit_hertz) of a group's GPUs, and their highest and lowest clock (gpu_sm_clock_hertz). A clock "
            "above the applied limit means that the setting has no effect.",
            "hertz",
            lines(
                ("dvfs_requested_clock_limit_hertz", "min", "requested"),
                ("dvfs_clock_limit_hertz", "min", "applied"),
                ("gpu_sm_clock_hertz", "max", "highest"),
                ("gpu_sm_clock_hertz", "min", "lowest"),
            ),
            dashed=_LIMITS,
            no_value=OFF,
            links=TO_GPU,
        ),
        graph(
            f"Power{OF_MOST}",
            "The lowest requested (dvfs_requested_power_limit_watts) and the lowest applied power limit "
            "(dvfs_power_limit_watts) of a group's GPUs, the lowest limit that the GPUs report (gpu_power_limit_watts), "
            "and the highest draw of one GPU (gpu_power_watts).",
            "watt",
            lines(
                ("dvfs_requested_power_limit_watts", "min", "requested"),
                ("dvfs_power_limit_watts", "min", "applied"),
                ("gpu_power_limit_watts", "min", "reported"),
                ("gpu_power_watts", "max", "highest draw"),
            ),
            dashed=_LIMITS,
            no_value=OFF,
            links=TO_GPU,
        ),
    )


def decisions() -> GrafanaRow:
    """Decisions of the policies, with reasons."""

    def top_decisions(matcher: str) -> str:
        return f"topk({MOST}, sum by (policy, action, reason) ({recorded(DECISIONS, matcher, scope='node')}))"

    return row(
        "Decisions",
        third(
            f"Setting changes, {MOST} most frequent",
            "Decisions to set or release in the last minute, by policy and reason, counted once for all GPUs of a node "
            "(dvfs_decisions_total). All graphs of this dashboard mark them.",
            "short",
            {"{{policy}} {{action}}: {{reason}}": top_decisions('action!="hold"')},
            no_value="no setting was changed, or DVFS is not configured here",
        ),
        third(
            f"Reasons for no change, {MOST} most frequent",
            "Decisions to hold in the last minute, by policy and reason, counted once for all GPUs of a node "
            "(dvfs_decisions_total). Each governor round adds to them.",
            "short",
            {"{{policy}}: {{reason}}": top_decisions('action="hold"')},
            no_value=OFF,
        ),
        third(
            "Ineffective settings over time",
            "Governor rounds in the last minute in which a GPU did not follow its setting, by observed reason "
            "(dvfs_ineffective_total). A setting without effect saves nothing.",
            "short",
            {"{{reason}}": f"sum by (reason) ({recorded(INEFFECTIVE, scope='node')})"},
            no_value="every setting took effect, or DVFS is not configured here",
        ),
    )


def trouble() -> GrafanaRow:
    """Temperature and power while a setting is applied, and conditions that need attention."""
    leased = f"(sum({recorded(LEASED, scope='node')}) > 0)"
    share = f"sum by (reason) ({recorded(EVENTS, scope='node')}) / on () group_left () {leased}"
    unheld, gone = _orphans()
    by_gpu = f"{AT}, gpu"
    loses = f"{proven(EXTRA, by_gpu, less=SAVED)} > 0 and {proven(EXTRA, by_gpu)} > 0"  # a claim that fell is no loss

    def with_alert(alert: str, condition: str, expr: str) -> str:
        named = f'label_replace(topk({_ROWS}, {expr}), "condition", "{condition}", "", "")'
        return f'label_replace({named}, "alertname", "Wattlens{alert}", "", "")'

    looked_at = (
        with_alert("LeaseOrphaned", "set without a lease", f"count by ({AT}, gpu) ({unheld})"),
        with_alert("LeaseOrphaned", "agent disappeared with a lease", f"count by ({AT}) ({gone})"),
        with_alert("SettingIneffective", "setting without effect", f"{gain_of(UNDONE, by_gpu)} > 0"),
        with_alert("SteeringLoses", "costs more than it saves", loses),
    )
    return row(
        "Temperature, power and faults",
        graph(
            "Clock event reasons while leased",
            "Share of time in which the driver reported a reason for lower clocks, averaged over leased GPUs "
            "(gpu_clock_event_seconds_total). Policies release their settings on thermal and brake events. A power cap "
            "event is the expected effect of a power limit. Reasons overlap.",
            "percentunit",
            {"{{reason}}": f"clamp_max({share}, 1)"},
            no_value="no GPU has a lease",
        ),
        graph(
            f"Hottest GPU{OF_MOST}",
            "The highest temperature among the GPUs of a group (gpu_temperature_celsius).",
            "celsius",
            {NAME: largest_groups(of_group("gpu_temperature_celsius", "max"))},
            no_value=OFF,
            links=TO_GPU,
            minimum=None,
        ),
        wide_table(
            f"Groups that need attention, top {_ROWS} per kind",
            "GPUs with a setting but no lease, agents that disappeared while they had a lease, and GPUs on which, in the "
            "selected range, a setting had no effect or steering cost more than it saved. docs/alerts.md has the runbook "
            "of each alert.",
            "none",
            {"rounds or J": Query(" or ".join(looked_at), unit="short")},
            height=6,
            no_value="no group needs attention, or DVFS is not configured here",
            links=TO_GPU,
        ),
    )


SPEC = {10: now, 20: states, 30: settings, 40: decisions, 70: trouble}
