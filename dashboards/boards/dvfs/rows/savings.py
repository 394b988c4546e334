"""Rows of expected savings, proven savings, and their cost in speed."""

from dashboards.boards.dvfs.rows.steering import NAME, OF_MOST
from dashboards.dashboard import DashboardRows, Link, Panel, PanelQuery, PanelRow, banded, figure, gpu_power, series, third
from dashboards.promql.joins import AT, GROUP, MOST, largest_groups, proven, steered_workloads
from dashboards.promql.latency import mean, quantile
from dashboards.rules.latency import ITL, TTFT
from dashboards.rules.steering import EXTRA, SAVED, of_group

_ROWS = 20
_ANY = 'model!=""'
_NO_PROOF = "nothing is proven: it takes paired blocks (dvfs.blocks) at matched load and an analysis; or no agent is scraped"


def _percent(signal: str) -> str:
    return f"100 * {largest_groups(of_group(signal, 'max'))}"


def saved() -> PanelRow:
    """Expected, and proven."""
    watts = gpu_power()

    def expected(end: str) -> str:
        ratio = series(f"dvfs_predicted_saving_ratio{end}")
        join = f"on ({AT}, uuid) group_left () {watts}"
        return f"100 * sum({ratio} * {join}) / (sum(clamp({ratio}, 1, 1) * {join}) > 0)"

    return PanelRow(
        "Savings",
        (
            figure(
                "Predicted saving",
                "What the policies expect to save of the power that these GPUs draw now, by what they measured without "
                "steering, with its 95 % interval (dvfs_predicted_saving_ratio by gpu_power_watts). In shadow it is all there "
                "is. It is never proven and never claimed.",
                "percent",
                banded(expected),
                width=12,
                minimum=None,
                decimals=1,
                no_value="no policy that predicts has measured its work yet, or DVFS is not configured here",
            ),
            figure(
                "Proven saving in the selected range",
                "By how much the closed analyses of paired blocks changed what may be claimed: the lower 95 % bound (saved), "
                "the estimate of losses (lost) and both together (net). Each analysis states its quarter again, so a figure "
                "may fall: it is below 0 where one took back what an earlier one had claimed. What no analysis has covered yet "
                "is not in it (dvfs_saved_joules, dvfs_extra_joules).",
                "joule",
                (
                    PanelQuery(proven(SAVED), "saved, at least"),
                    PanelQuery(proven(EXTRA), "lost"),
                    PanelQuery(proven(SAVED, less=EXTRA), "net"),
                ),
                width=12,
                minimum=None,
                no_value=_NO_PROOF,
            ),
            Panel(
                f"Proven saving by group, top {_ROWS}",
                "As above, of closed analyses in the selected range, by the group that has the GPUs now. It may fall. Saved is "
                "what may be claimed, losses are never set off against it, net is only shown.",
                "joule",
                (
                    PanelQuery(f"topk({_ROWS}, {proven(SAVED, GROUP)})", "saved, at least"),
                    PanelQuery(f"topk({_ROWS}, {proven(EXTRA, GROUP)})", "lost"),
                    PanelQuery(f"topk({_ROWS}, {proven(SAVED, GROUP, less=EXTRA)})", "net"),
                ),
                kind="table",
                width=24,
                height=6,
                no_value=_NO_PROOF,
                links=(Link("This group alone", "wattlens-dvfs", {"group": "group", "instance": "instance"}),),
            ),
            Panel(
                f"Predicted saving{OF_MOST}",
                "What a group's policies expect to save of its energy per work, with its 95 % interval "
                "(dvfs_predicted_saving_ratio). Never proven: compare with what paired blocks measure.",
                "percent",
                banded(lambda end: _percent(f"dvfs_predicted_saving_ratio{end}"), NAME),
                no_value="no policy that predicts has measured its work yet, or DVFS is not configured here",
            ),
            Panel(
                f"Measured saving{OF_MOST}",
                "Energy per work that a group saves, by paired blocks with and without steering at the last analysis, with its "
                "95 % interval (dvfs_proven_saving_ratio). Proven where all of it is above 0; below 0 steering costs energy.",
                "percent",
                banded(lambda end: _percent(f"dvfs_proven_saving_ratio{end}"), NAME),
                no_value=_NO_PROOF,
            ),
        ),
    )


def cost() -> PanelRow:
    """The cost in speed, next to the savings."""
    info = steered_workloads()
    slowdown = banded(lambda end: _percent(f"dvfs_slowdown_ratio{end}"), NAME)
    budget = _percent("dvfs_slowdown_budget_ratio")
    return PanelRow(
        "Performance impact",
        (
            third(
                f"Slowdown and budget{OF_MOST}",
                "How much longer a group's work takes under steering, by paired blocks at the last analysis, with its 95 "
                "% interval: time between tokens of a server, else time per step (dvfs_slowdown_ratio). Dashed, what the "
                "owners allow a whole training run (dvfs_slowdown_budget_ratio); a server goes by the limits of its latencies.",
                "percent",
                (*slowdown, PanelQuery(budget, NAME + " limit")),
                minimum=None,
                no_value=_NO_PROOF,
            ),
            *(
                third(
                    f"{title} under DVFS",
                    f"The 95th percentile and the mean of workloads that are steered, the {MOST} slowest ({family}); the marks "
                    "are the changes that steering made. The dashboard of inference has them against their limits.",
                    "s",
                    (
                        PanelQuery(
                            f"topk({MOST}, {quantile(family, '0.95', of=_ANY)} and on ({AT}, workload) {info})",
                            "{{workload}} 95th",
                        ),
                        PanelQuery(
                            f"topk({MOST}, {mean(family, of=_ANY)} and on ({AT}, workload) {info})", "{{workload}} mean"
                        ),
                    ),
                    no_value="no workload that is steered serves, or none answers now",
                    links=(Link("Compared with its limits", "wattlens-inference", {"workload": "workload"}),),
                )
                for family, title in ((TTFT, "Time to first token"), (ITL, "Inter-token latency"))
            ),
        ),
    )


SPEC = DashboardRows({50: saved, 60: cost})
