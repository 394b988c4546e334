"""Rows of steered inference servers: error budgets of their latency limits, and what mode shadow expects of each policy."""

from dashboards.panels import GrafanaRow, band, graph, link, row, stat, wide_table
from dashboards.promql.selectors import AT, MOST, of_node

_ROWS = 20
_WINDOWS = {"requests": "1,000 requests", "hour": "1 hour"}
_NAME = "{{group}} {{latency}}"
_CHOSEN = 'group=~"$group"'
_TO_WORKLOAD = link("Latencies of this workload", "wattlens-inference", "workload")
_NO_LIMIT = "no steered group has a latency limit (slo), or its budget is unknown: see the table"
_NO_SHADOW = "no group is in mode shadow, or nothing is known yet: see the table"


def _of(name: str) -> str:
    return of_node(name, _CHOSEN)


def budgets() -> GrafanaRow:
    """Error budgets."""
    missed, observed = (f"increase({_of(f'dvfs_slo_{name}_total')}[$__rate_interval])" for name in ("missed", "observations"))
    return row(
        "Error budgets",
        stat(
            "Lowest error budget left",
            "Share of the error budget left, of the group with the least (dvfs_slo_budget_left_requests_ratio_lower, "
            "dvfs_slo_budget_left_hour_ratio_lower): the lower bound. The budget is the share of requests that may miss "
            "the limit, 1 % at an attainment of 99 %. Below 0 it is overspent.",
            "percent",
            {
                f"{{{{latency}}}}, {text}": f"100 * min by (latency) ({_of(f'dvfs_slo_budget_left_{window}_ratio_lower')})"
                for window, text in _WINDOWS.items()
            },
            width=24,
            minimum=None,
            no_value=_NO_LIMIT,
        ),
        wide_table(
            f"Unknown error budgets, top {_ROWS}",
            "Latency limits whose error budget is unknown, with the reason (dvfs_slo_budget_absent_info).",
            "none",
            {"absent": f"topk({_ROWS}, max by ({AT}, group, latency, window, reason) ({_of('dvfs_slo_budget_absent_info')}))"},
            height=5,
            no_value="every error budget is known, or no steered group has a latency limit",
        ),
        graph(
            f"Error budget left over the last 1,000 requests, {MOST} lowest",
            "Share of the error budget left, with its bounds (dvfs_slo_budget_left_requests_ratio). The bounds differ if "
            "the limit is not an edge of the histogram. Below 0 it is overspent.",
            "percent",
            {
                f"{_NAME}, {text}": f"bottomk({MOST}, 100 * {_of(f'dvfs_slo_budget_left_requests_ratio{end}')})"
                for end, text in (("_lower", "at least"), ("_upper", "at most"))
            },
            maximum=100,
            no_value=_NO_LIMIT,
            links=_TO_WORKLOAD,
            minimum=None,
        ),
        graph(
            f"Latencies above the limit, {MOST} most frequent",
            "Share of latencies above the limit, at most (dvfs_slo_missed_total divided by "
            "dvfs_slo_observations_total), and the permitted share, dashed (1 - dvfs_slo_attainment_ratio).",
            "percentunit",
            {
                _NAME: f"topk({MOST}, {missed} / ({observed} > 0))",
                _NAME + " limit": f"topk({MOST}, 1 - {_of('dvfs_slo_attainment_ratio')})",
            },
            no_value="no requests now, or no steered group has a latency limit (slo)",
            links=_TO_WORKLOAD,
        ),
    )


def shadow() -> GrafanaRow:
    """What each policy would have done."""
    return row(
        "Mode shadow",
        graph(
            f"Predicted saving by policy, top {MOST}",
            "Energy per unit of work that each policy would have saved since the group entered mode shadow, with its 95 % "
            "interval (dvfs_shadow_saving_ratio). Not proven.",
            "percent",
            band(lambda end: f"topk({MOST}, 100 * {_of(f'dvfs_shadow_saving_ratio{end}')})", "{{group}} {{policy}}"),
            no_value=_NO_SHADOW,
            minimum=None,
        ),
        graph(
            f"Predicted latencies above the limit by policy, top {MOST}",
            "Share of latencies above the limit since the group entered mode shadow: as measured, and if all of their time "
            "had grown as the policy's clock is lower (dvfs_shadow_missed_ratio). Longer queues are not included.",
            "percentunit",
            {
                f"{{{{policy}}}} {_NAME}, {text}": f"topk({MOST}, {_of(f'dvfs_shadow_missed_ratio{end}')})"
                for end, text in (("_lower", "at least"), ("_upper", "at most"))
            },
            no_value=_NO_SHADOW,
        ),
        wide_table(
            f"Unknown predictions, top {_ROWS}",
            "Policies in mode shadow whose saving or latencies are unknown, with the reason (dvfs_shadow_absent_info).",
            "none",
            {"absent": f"topk({_ROWS}, max by ({AT}, group, policy, reason) ({_of('dvfs_shadow_absent_info')}))"},
            height=5,
            no_value="every prediction is known, or no group is in mode shadow",
        ),
    )


SPEC = {45: budgets, 47: shadow}
