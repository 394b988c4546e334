"""Rows on active steering: modes, leases, requested, applied and actual settings, decisions and errors."""

from dashboards.dashboard import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    figure,
    lights,
    recorded,
    series,
    third,
)
from dashboards.promql.joins import AT, MOST, gain_of, largest_groups, proven
from dashboards.rules.alerts import RUNBOOKS
from dashboards.rules.steering import DECISIONS, EVENTS, EXTRA, IN_FORCE, INEFFECTIVE, LEASED, MODE, SAVED, UNDONE, of_group

OFF = "DVFS is not configured here, or no group has a GPU"
OF_MOST = f", {MOST} largest groups"
NAME = "{{instance}} {{group}}"
TO_GPU = Link("These GPUs", "wattlens-gpu", {"instance": "instance"})
_ROWS = 20
_LIMITS = ("wanted", "set", "in force")
_APPLIED = ("dvfs_clock_limit_hertz", "dvfs_power_limit_watts")


def _limited() -> str:
    return f"({' or '.join(map(series, _APPLIED))})"


def _orphans() -> tuple[str, str]:
    """As the alert WattlensLeaseOrphaned has it: a setting without a lease, and a lease whose agent went away."""
    lease = series("dvfs_lease_active")
    unheld = f"{_limited()} unless on ({AT}, uuid) ({lease} == 1)"
    before = f"max by ({AT}) (max_over_time({lease}[15m])) == 1"
    return unheld, f"{recorded('up', scope='node')} == 0 and on ({AT}) ({before})"


def _mode(name: str) -> str:
    return series("dvfs_mode", f'mode="{name}"')


def now() -> PanelRow:
    """How many GPUs are steered, and how."""
    lease, known = series("dvfs_lease_active"), f"sum({series('dvfs_lease_active')} * 0)"
    unheld, gone = _orphans()
    return PanelRow(
        "Now",
        (
            figure(
                "GPUs by mode",
                "GPUs on which steering acts (enforce), decides without acting (shadow) or only watches (observe) (dvfs_mode).",
                "none",
                tuple(PanelQuery(f"sum({_mode(name)})", name) for name in ("enforce", "shadow", "observe")),
                width=8,
                no_value=OFF,
            ),
            figure(
                "Leased GPUs",
                "GPUs whose settings are held by a lease, without which nothing is set (dvfs_lease_active), and those with a "
                f"setting in force ({', '.join(_APPLIED)}).",
                "none",
                (
                    PanelQuery(f"sum({lease})", "leased"),
                    PanelQuery(f"count({_limited()}) or {known}", "set"),
                ),
                no_value=OFF,
            ),
            figure(
                "Orphaned leases",
                "GPUs with a setting but no lease, and agents that went away while they held one: they may run on settings "
                f"that nobody holds. As the alert of the same name: [what to do]({RUNBOOKS}/WattlensLeaseOrphaned).",
                "none",
                (
                    PanelQuery(f"count({unheld}) or {known}", "settings"),
                    PanelQuery(f"count({gone}) or {known}", "agents"),
                ),
                states={"0": ("none", BLUE), "1+": ("ORPHANED, see the table below", ORANGE)},
                minimum=None,
                width=6,
                no_value=OFF,
            ),
            figure(
                "Ineffective settings",
                "Rounds of the selected range in which a GPU did not do what was set (dvfs_ineffective_total): another changed "
                f"it, or power or heat bound the board anyway. [What to do]({RUNBOOKS}/WattlensSettingIneffective).",
                "short",
                (PanelQuery(f"{gain_of(UNDONE)} or {known}", "rounds"),),
                decimals=0,
                width=6,
                no_value=OFF,
            ),
        ),
    )


def states() -> PanelRow:
    """Of each group over time."""
    return PanelRow(
        "Groups over time",
        (
            lights(
                f"Mode{OF_MOST}",
                "What steering may do with each group: observe, shadow (decide without acting) or enforce (dvfs_mode). All "
                "GPUs of a group are steered, or none.",
                "none",
                (PanelQuery(largest_groups(MODE), NAME),),
                states={"0": ("observe", GREY), "1": ("shadow", PURPLE), "2": ("enforce", BLUE)},
                no_value=OFF,
                links=(TO_GPU,),
            ),
            lights(
                f"Lease{OF_MOST}",
                "Whether all GPUs of a group are leased, or any is not; without a lease nothing is set (dvfs_lease_active).",
                "none",
                (PanelQuery(largest_groups(of_group("dvfs_lease_active", "min")), NAME),),
                states={"0": ("not held", GREY), "1": ("held", BLUE)},
                no_value=OFF,
                links=(TO_GPU,),
            ),
            lights(
                f"Applied settings{OF_MOST}",
                "Whether the policies request a limit of any GPU of a group (dvfs_requested_clock_limit_hertz, "
                "dvfs_requested_power_limit_watts), and whether one is applied (dvfs_clock_limit_hertz, "
                "dvfs_power_limit_watts). In shadow no limit is applied.",
                "none",
                (PanelQuery(largest_groups(IN_FORCE), NAME),),
                states={"0": ("original", GREY), "1": ("requested, not applied", PURPLE), "2": ("applied", BLUE)},
                no_value=OFF,
                links=(TO_GPU,),
            ),
        ),
    )


def settings() -> PanelRow:
    """Requested, set and actual settings."""

    def lines(*of: tuple[str, str, str]) -> tuple[PanelQuery, ...]:
        return tuple(PanelQuery(largest_groups(of_group(signal, end)), f"{NAME} {text}") for signal, end, text in of)

    return PanelRow(
        "Requested and applied settings",
        (
            Panel(
                f"SM clock{OF_MOST}",
                "The lowest clock limit that is wanted for any GPU of a group (dvfs_requested_clock_limit_hertz) and that is "
                "set (dvfs_clock_limit_hertz), and the highest and lowest clock among its GPUs (gpu_sm_clock_hertz). A clock "
                "above what is set is a setting without effect.",
                "hertz",
                lines(
                    ("dvfs_requested_clock_limit_hertz", "min", "wanted"),
                    ("dvfs_clock_limit_hertz", "min", "set"),
                    ("gpu_sm_clock_hertz", "max", "highest"),
                    ("gpu_sm_clock_hertz", "min", "lowest"),
                ),
                minimum=0,
                dashed=_LIMITS,
                no_value=OFF,
                links=(TO_GPU,),
            ),
            Panel(
                f"Power{OF_MOST}",
                "The lowest power limit that is wanted for any GPU of a group (dvfs_requested_power_limit_watts) and that is "
                "set (dvfs_power_limit_watts), the lowest that the boards report (gpu_power_limit_watts), and the highest "
                "draw among its GPUs (gpu_power_watts).",
                "watt",
                lines(
                    ("dvfs_requested_power_limit_watts", "min", "wanted"),
                    ("dvfs_power_limit_watts", "min", "set"),
                    ("gpu_power_limit_watts", "min", "in force"),
                    ("gpu_power_watts", "max", "highest draw"),
                ),
                minimum=0,
                dashed=_LIMITS,
                no_value=OFF,
                links=(TO_GPU,),
            ),
        ),
    )


def decisions() -> PanelRow:
    """Decisions of the policies, with reasons."""

    def top_decisions(matcher: str) -> str:
        return f"topk({MOST}, sum by (policy, action, reason) ({recorded(DECISIONS, matcher, scope='node')}))"

    return PanelRow(
        "Decisions",
        (
            third(
                f"Setting changes, {MOST} most frequent",
                "Decisions to set or to release, by policy and reason, of the last minute, once for all GPUs of a node "
                "(dvfs_decisions_total). They are the marks on all graphs of this dashboard.",
                "short",
                (PanelQuery(top_decisions('action!="hold"'), "{{policy}} {{action}}: {{reason}}"),),
                no_value="no setting was changed, or DVFS is not configured here",
            ),
            third(
                f"Reasons for no change, {MOST} most frequent",
                "Decisions to hold, by policy and reason, of the last minute, once for all GPUs of a node "
                "(dvfs_decisions_total). They count on in every round of the governor.",
                "short",
                (PanelQuery(top_decisions('action="hold"'), "{{policy}}: {{reason}}"),),
                no_value=OFF,
            ),
            third(
                "Ineffective settings over time",
                "Rounds in which a GPU did not do what was set, by what was seen instead, in the last minute "
                "(dvfs_ineffective_total). Such time saves nothing.",
                "short",
                (PanelQuery(f"sum by (reason) ({recorded(INEFFECTIVE, scope='node')})", "{{reason}}"),),
                no_value="every setting took effect, or DVFS is not configured here",
            ),
        ),
    )


def trouble() -> PanelRow:
    """Temperature and power while a setting is applied, and conditions that need attention."""
    leased = f"(sum({recorded(LEASED, scope='node')}) > 0)"
    share = f"sum by (reason) ({recorded(EVENTS, scope='node')}) / on () group_left () {leased}"
    unheld, gone = _orphans()
    by_gpu = f"{AT}, gpu"
    loses = f"{proven(EXTRA, by_gpu, less=SAVED)} > 0 and {proven(EXTRA, by_gpu)} > 0"  # a claim that fell is no loss

    def with_alert(alert: str, what: str, expr: str) -> str:
        named = f'label_replace(topk({_ROWS}, {expr}), "what", "{what}", "", "")'
        return f'label_replace({named}, "alertname", "Wattlens{alert}", "", "")'

    looked_at = (
        with_alert("LeaseOrphaned", "set without a lease", f"count by ({AT}, gpu) ({unheld})"),
        with_alert("LeaseOrphaned", "agent gone with a lease", f"count by ({AT}) ({gone})"),
        with_alert("SettingIneffective", "a setting has no effect", f"{gain_of(UNDONE, by_gpu)} > 0"),
        with_alert("SteeringLoses", "costs more than it saves", loses),
    )
    return PanelRow(
        "Temperature, power and faults",
        (
            Panel(
                "Clock event reasons while leased",
                "Share of time in which the driver named a reason for lower clocks, averaged over the GPUs under a lease "
                "(gpu_clock_event_seconds_total). Policies let go on thermal and brake events; a power cap that binds is what "
                "a power limit is for. Reasons overlap.",
                "percentunit",
                (PanelQuery(f"clamp_max({share}, 1)", "{{reason}}"),),
                minimum=0,
                maximum=1,
                no_value="no GPU is under a lease",
            ),
            Panel(
                f"Hottest GPU{OF_MOST}",
                "The highest temperature among the GPUs of a group (gpu_temperature_celsius).",
                "celsius",
                (PanelQuery(largest_groups(of_group("gpu_temperature_celsius", "max")), NAME),),
                no_value=OFF,
                links=(TO_GPU,),
            ),
            Panel(
                f"Groups that need attention, top {_ROWS} per kind",
                "GPUs with a setting and no lease, agents that went away while they held one, and in the selected range GPUs "
                "on which a setting had no effect or steering cost more than it saved. Each leads to the runbook of its alert.",
                "none",
                (PanelQuery(" or ".join(looked_at), "rounds or J", unit="short"),),
                kind="table",
                width=24,
                height=6,
                no_value="nothing to look at, or DVFS is not configured here",
                links=(TO_GPU, Link("What to do", page=f"{RUNBOOKS}/", choices={"page": "alertname"})),
            ),
        ),
    )


SPEC = DashboardRows({10: now, 20: states, 30: settings, 40: decisions, 70: trouble})
