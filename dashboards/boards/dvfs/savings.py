"""Rows of expected savings, proven savings, and their cost in speed."""

from dashboards.boards.dvfs.steering import NAME, OF_MOST
from dashboards.panels import GrafanaRow, band, graph, link, row, stat, third, wide_table
from dashboards.promql.latency import mean, quantile
from dashboards.promql.selectors import AT, GROUP, MOST, gpu_power, largest_groups, proven, series, steered_workloads
from dashboards.rules.serving import ITL, TTFT
from dashboards.rules.steering import EXTRA, SAVED, of_group

_ROWS = 20
_ANY = 'model!=""'
_NO_PROOF = "not proven: paired blocks are off (dvfs.blocks), none is analysed yet, or no agent is scraped"
_NO_PREDICTION = "no prediction: no group is in mode shadow, or no predictive policy has measured its workload yet"


def _percent(signal: str) -> str:
    return f"100 * {largest_groups(of_group(signal, 'max'))}"


def saved() -> GrafanaRow:
    """Expected, and proven."""
    watts = gpu_power()

    def expected(end: str) -> str:
        ratio = series(f"dvfs_predicted_saving_ratio{end}")
        join = f"on ({AT}, uuid) group_left () {watts}"
        return f"100 * sum({ratio} * {join}) / (sum(clamp({ratio}, 1, 1) * {join}) > 0)"

    return row(
        "Savings",
        stat(
            "Predicted saving",
            "Saving that the policies expect, as a share of the current power of these GPUs, from measurements without "
            "steering, with its 95 % interval (dvfs_predicted_saving_ratio weighted by gpu_power_watts). Shadow mode has "
            "no other figure. A prediction is never proven and never claimed.",
            "percent",
            band(expected),
            width=12,
            minimum=None,
            decimals=1,
            no_value=_NO_PREDICTION,
        ),
        stat(
            "Proven saving in the selected range",
            "Change of the claimable saving, from closed analyses of paired blocks: saved (lower 95 % bound), lost "
            "(estimate) and net. Each analysis restates its quarter, so a figure may fall; it is below 0 where a later "
            "analysis withdrew an earlier claim. Time that no analysis covers yet is not included (dvfs_saved_joules, "
            "dvfs_extra_joules).",
            "joule",
            {
                "saved, at least": proven(SAVED),
                "lost": proven(EXTRA),
                "net": proven(SAVED, less=EXTRA),
            },
            width=12,
            minimum=None,
            no_value=_NO_PROOF,
        ),
        wide_table(
            f"Proven saving by group, top {_ROWS}",
            "As above, by the group that has the GPUs now. Figures may fall. Only the saved energy may be claimed: losses "
            "are never subtracted from it, and net is for information.",
            "joule",
            {
                "saved, at least": f"topk({_ROWS}, {proven(SAVED, GROUP)})",
                "lost": f"topk({_ROWS}, {proven(EXTRA, GROUP)})",
                "net": f"topk({_ROWS}, {proven(SAVED, GROUP, less=EXTRA)})",
            },
            height=6,
            no_value=_NO_PROOF,
            links=link("Only this group", "wattlens-dvfs", "group", "instance"),
        ),
        graph(
            f"Predicted saving{OF_MOST}",
            "Saving that a group's policies expect, in energy per unit of work, with its 95 % interval "
            "(dvfs_predicted_saving_ratio). Never proven: compare it with the measured saving.",
            "percent",
            band(lambda end: _percent(f"dvfs_predicted_saving_ratio{end}"), NAME),
            no_value=_NO_PREDICTION,
            minimum=None,
        ),
        graph(
            f"Measured saving{OF_MOST}",
            "Energy per unit of work that a group saves, from paired blocks with and without steering in the last "
            "analysis, with its 95 % interval (dvfs_proven_saving_ratio). Proven if the whole interval is above 0; below "
            "0, steering costs energy.",
            "percent",
            band(lambda end: _percent(f"dvfs_proven_saving_ratio{end}"), NAME),
            no_value=_NO_PROOF,
            minimum=None,
        ),
    )


def cost() -> GrafanaRow:
    """The cost in speed, next to the savings."""
    info = steered_workloads()
    return row(
        "Performance impact",
        third(
            f"Slowdown and budget{OF_MOST}",
            "How much longer a group's work takes under steering, from paired blocks in the last analysis, with its 95 % "
            "interval: time between tokens of an inference server, otherwise time per step (dvfs_slowdown_ratio). Dashed: "
            "the owners' budget for a whole training run (dvfs_slowdown_budget_ratio). Inference servers have latency "
            "limits instead.",
            "percent",
            {
                **band(lambda end: _percent(f"dvfs_slowdown_ratio{end}"), NAME),
                NAME + " limit": _percent("dvfs_slowdown_budget_ratio"),
            },
            minimum=None,
            no_value=_NO_PROOF,
        ),
        *(
            third(
                f"{title} under DVFS",
                f"95th percentile and mean of steered workloads, the {MOST} slowest ({family}). Marks show changes by "
                "steering. The Inference dashboard compares them with their limits.",
                "s",
                {
                    "{{workload}} 95th": f"topk({MOST}, {quantile(family, '0.95', of=_ANY)} and on ({AT}, workload) {info})",
                    "{{workload}} mean": f"topk({MOST}, {mean(family, of=_ANY)} and on ({AT}, workload) {info})",
                },
                no_value="no steered workload serves, or no inference server responds",
                links=link("Comparison with the limits", "wattlens-inference", "workload"),
            )
            for family, title in ((TTFT, "Time to first token"), (ITL, "Inter-token latency"))
        ),
    )


SPEC = {50: saved, 60: cost}
