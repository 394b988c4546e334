"""Rows of steering at work: modes, leases, what is wanted, set and done, decisions, and what goes wrong."""

from dashboards.alerts import RUNBOOKS
from dashboards.board import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    RATE,
    Link,
    Panel,
    Query,
    Row,
    figure,
    lights,
    recorded,
    series,
    third,
)
from dashboards.counted import counted
from dashboards.joins import AT, GROUP, MOST, largest_groups, of_groups

OFF = "DVFS is not configured here, or no group has a GPU"
OF_MOST = f", {MOST} largest groups"
NAME = "{{instance}} {{group}}"
TO_GPU = Link("These GPUs", "wattlens-gpu", {"instance": "instance"})
_ROWS = 20
_LIMITS = ("wanted", "set", "in force")


def by_group(operation: str, expr: str) -> str:
    """An aggregate of a series of GPUs over each group, of those with most GPUs."""
    return largest_groups(f"{operation} by ({GROUP}) {of_groups(expr)}")


def _orphans() -> tuple[str, str]:
    """As the alert WattlensLeaseOrphaned has it: a setting without a lease, and a lease whose agent went away."""
    lease = series("dvfs_lease_active")
    unheld = f"{series('dvfs_setting')} unless on ({AT}, uuid) ({lease} == 1)"
    before = f"max by ({AT}) (max_over_time({lease}[15m])) == 1"
    return unheld, f"{recorded('up', scope='node')} == 0 and on ({AT}) ({before})"


def _mode(name: str) -> str:
    return series("dvfs_mode", f'mode="{name}"')


def now() -> Row:
    """How many GPUs are steered, and how."""
    lease, known = series("dvfs_lease_active"), f"sum({series('dvfs_lease_active')} * 0)"
    unheld, gone = _orphans()
    return Row(
        "Now",
        (
            figure(
                "GPUs by mode",
                "GPUs on which steering acts (enforce), decides without acting (shadow) or only watches (observe) (dvfs_mode).",
                "none",
                tuple(Query(f"sum({_mode(name)})", name) for name in ("enforce", "shadow", "observe")),
                width=8,
                no_value=OFF,
            ),
            figure(
                "Leased",
                "GPUs whose settings are held by a lease, without which nothing is set (dvfs_lease_active), and those with a "
                "setting in force (dvfs_setting).",
                "none",
                (
                    Query(f"sum({lease})", "leased"),
                    Query(f"count(count by ({AT}, uuid) ({series('dvfs_setting')})) or {known}", "set"),
                ),
                no_value=OFF,
            ),
            figure(
                "Orphaned leases",
                "GPUs with a setting but no lease, and agents that went away while they held one: they may run on settings "
                f"that nobody holds. As the alert of the same name: [what to do]({RUNBOOKS}/WattlensLeaseOrphaned).",
                "none",
                (
                    Query(f"count({unheld}) or {known}", "settings"),
                    Query(f"count({gone}) or {known}", "agents"),
                ),
                states={"0": ("none", BLUE), "1+": ("ORPHANED, see the table below", ORANGE)},
                minimum=None,
                width=6,
                no_value=OFF,
            ),
            figure(
                "Without effect",
                "Rounds of the chosen time in which a GPU did not do what was set (dvfs_ineffective_total): another changed "
                f"it, or power or heat bound the board anyway. [What to do]({RUNBOOKS}/WattlensSettingIneffective).",
                "short",
                (Query(f"sum({counted('dvfs_ineffective_total')}) or {known}", "rounds"),),
                decimals=0,
                width=6,
                no_value=OFF,
            ),
        ),
    )


def states() -> Row:
    """Of each group over time."""
    mode = f"sum without (mode) ({_mode('shadow')} or 2 * {_mode('enforce')})"
    wanted, setting = (
        f"(count without (setting) ({series(name)}) > bool 0)" for name in ("dvfs_wanted_setting", "dvfs_setting")
    )
    none = f"0 * {series('dvfs_lease_active')}"
    return Row(
        "Groups over time",
        (
            lights(
                f"Mode{OF_MOST}",
                "What steering may do with each group: observe, shadow (decide without acting) or enforce (dvfs_mode). All "
                "GPUs of a group are steered, or none.",
                "none",
                (Query(by_group("max", mode), NAME),),
                states={"0": ("observe", GREY), "1": ("shadow", PURPLE), "2": ("enforce", BLUE)},
                no_value=OFF,
                links=(TO_GPU,),
            ),
            lights(
                f"Lease{OF_MOST}",
                "Whether all GPUs of a group are leased, or any is not; without a lease nothing is set (dvfs_lease_active).",
                "none",
                (Query(by_group("min", series("dvfs_lease_active")), NAME),),
                states={"0": ("not held", GREY), "1": ("held", BLUE)},
                no_value=OFF,
                links=(TO_GPU,),
            ),
            lights(
                f"What is in force{OF_MOST}",
                "Whether the policies want a setting of any GPU of a group (dvfs_wanted_setting), and whether one is in force "
                "(dvfs_setting). In shadow a wish is never made so.",
                "none",
                (Query(by_group("max", f"({setting} * 2 or {wanted} or {none})"), NAME),),
                states={"0": ("as found", GREY), "1": ("wanted, not set", PURPLE), "2": ("set", BLUE)},
                no_value=OFF,
                links=(TO_GPU,),
            ),
        ),
    )


def settings() -> Row:
    """Wanted, set, done."""

    def lines(setting: str, *done: Query) -> tuple[Query, ...]:
        wanted, made = (series(f"dvfs_{what}", f'setting="{setting}"') for what in ("wanted_setting", "setting"))
        return (
            Query(by_group("min", wanted), f"{NAME} wanted"),
            Query(by_group("min", made), f"{NAME} set"),
            *done,
        )

    clock, drawn = series("gpu_clock_hertz", 'domain="sm"'), series("gpu_power_watts", 'kind="instant"')
    limit = series("gpu_power_limit_watts", 'kind="current"')
    return Row(
        "Wanted, set, done",
        (
            Panel(
                f"SM clock{OF_MOST}",
                "The lowest clock limit that is wanted for any GPU of a group (dvfs_wanted_setting) and that is set "
                "(dvfs_setting), and the highest and lowest clock among its GPUs (gpu_clock_hertz). A clock above what is set "
                "is a setting without effect.",
                "hertz",
                lines(
                    "sm_clock_max_hertz",
                    Query(by_group("max", clock), f"{NAME} highest"),
                    Query(by_group("min", clock), f"{NAME} lowest"),
                ),
                minimum=0,
                dashed=_LIMITS,
                no_value=OFF,
                links=(TO_GPU,),
            ),
            Panel(
                f"Power{OF_MOST}",
                "The lowest power limit that is wanted for any GPU of a group and that is set, the lowest that the boards "
                "report (gpu_power_limit_watts), and the highest draw among its GPUs (gpu_power_watts).",
                "watt",
                lines(
                    "power_limit_watts",
                    Query(by_group("min", limit), f"{NAME} in force"),
                    Query(by_group("max", drawn), f"{NAME} highest draw"),
                ),
                minimum=0,
                dashed=_LIMITS,
                no_value=OFF,
                links=(TO_GPU,),
            ),
        ),
    )


def decisions() -> Row:
    """What the policies decided, and why."""

    def made(matcher: str) -> str:
        by = "policy, action, reason"
        return f"topk({MOST}, sum by ({by}) ({counted('dvfs_decisions_total', matcher, window=RATE)}))"

    no_effect = counted("dvfs_ineffective_total", window=RATE)
    return Row(
        "Decisions and their reasons",
        (
            third(
                f"Changes, {MOST} most frequent",
                "Decisions to set or to release, by policy and reason, in each step of the graph, once for each GPU of a group "
                "(dvfs_decisions_total). They are the marks on all graphs of this board.",
                "short",
                (Query(made('action!="hold"'), "{{policy}} {{action}}: {{reason}}"),),
                no_value="no setting was changed, or DVFS is not configured here",
            ),
            third(
                f"Why it held, {MOST} most frequent",
                "Decisions to hold, by policy and reason, in each step of the graph, once for each GPU of a group "
                "(dvfs_decisions_total). They count on in every round of the governor.",
                "short",
                (Query(made('action="hold"'), "{{policy}}: {{reason}}"),),
                no_value=OFF,
            ),
            third(
                "Settings without effect",
                "Rounds in which a GPU did not do what was set, by what was seen instead, in each step of the graph "
                "(dvfs_ineffective_total). Such time saves nothing.",
                "short",
                (Query(f"sum by (reason) ({no_effect})", "{{reason}}"),),
                no_value="every setting took effect, or DVFS is not configured here",
            ),
        ),
    )


def trouble() -> Row:
    """Heat and power while something is in force, and what has to be looked at."""
    leased = f"on ({AT}, uuid) ({series('dvfs_lease_active')} == 1)"
    events = f"rate({series('gpu_clock_event_seconds_total')}[{RATE}])"
    hot = series("gpu_temperature_celsius", 'sensor="gpu"')
    unheld, gone = _orphans()
    no_effect = f"sum without (reason) ({counted('dvfs_ineffective_total')})"
    loses = f"{counted('dvfs_extra_joules_total')} - {counted('dvfs_saved_joules_total')}"

    def told(alert: str, what: str, expr: str) -> str:
        named = f'label_replace(topk({_ROWS}, {expr}), "what", "{what}", "", "")'
        return f'label_replace({named}, "alertname", "Wattlens{alert}", "", "")'

    looked_at = (
        told("LeaseOrphaned", "set without a lease", f"count by ({AT}, gpu) ({unheld})"),
        told("LeaseOrphaned", "agent gone with a lease", f"count by ({AT}) ({gone})"),
        told("SettingIneffective", "a setting has no effect", f"sum by ({AT}, gpu) ({no_effect}) > 0"),
        told("SteeringLoses", "costs more than it saves", f"sum by ({AT}, gpu) ({loses}) > 0"),
    )
    return Row(
        "Heat, power and trouble",
        (
            Panel(
                "Why clocks are low while leased",
                "Share of time in which the driver named a reason for lower clocks, averaged over the GPUs under a lease "
                "(gpu_clock_event_seconds_total). Policies let go on thermal and brake events; a power cap that binds is what "
                "a power limit is for. Reasons overlap.",
                "percentunit",
                (Query(f"avg by (reason) ({events} and {leased})", "{{reason}}"),),
                minimum=0,
                maximum=1,
                no_value="no GPU is under a lease",
            ),
            Panel(
                f"Hottest GPU{OF_MOST}",
                "The highest temperature among the GPUs of a group (gpu_temperature_celsius).",
                "celsius",
                (Query(by_group("max", hot), NAME),),
                no_value=OFF,
                links=(TO_GPU,),
            ),
            Panel(
                f"What to look at, the first {_ROWS} of each kind",
                "GPUs with a setting and no lease, agents that went away while they held one, and in the chosen time GPUs on "
                "which a setting had no effect or steering cost more than it saved. Each leads to the runbook of its alert.",
                "none",
                (Query(" or ".join(looked_at), "what"),),
                kind="table",
                width=24,
                height=6,
                no_value="nothing to look at, or DVFS is not configured here",
                links=(TO_GPU, Link("What to do", page=f"{RUNBOOKS}/", choices={"page": "alertname"})),
            ),
        ),
    )
