"""Rows of the GPUs that serve: clocks, limits and power by workload, and a table of all workloads."""

from dashboards.board import RANGE, RATE, Link, Panel, Query, Row, recorded, series, third
from dashboards.joins import AT, MOST, of_holders
from dashboards.latency import BY, ITL, TTFT, attainment, edge, quantile
from dashboards.rules import TOKEN_RATE, joules_per_token

_BY_WORKLOAD = f"{AT}, workload"
_ROWS = 20


def gpus() -> Row:
    """Clocks, limits and draw of the GPUs that each workload holds."""
    serves = recorded(TOKEN_RATE, 'tokens="generation",model=~"$model"')

    def over(operation: str, selector: str) -> str:
        found = f"{operation} by ({_BY_WORKLOAD}) {of_holders(selector)}"
        return f"topk({MOST}, {found} and on ({_BY_WORKLOAD}) ({serves}))"

    clock, most = (
        series("gpu_clock_hertz", 'domain="sm"', scope="node"),
        series("gpu_clock_max_hertz", 'domain="sm"', scope="node"),
    )
    setting = series("dvfs_setting", 'setting="sm_clock_max_hertz"', scope="node")
    limit, drawn = (
        series("gpu_power_limit_watts", 'kind="current"', scope="node"),
        series("gpu_power_watts", 'kind="instant"', scope="node"),
    )
    events = f"rate({series('gpu_clock_event_seconds_total', scope='node')}[{RATE}])"
    return Row(
        "GPUs of the workloads",
        (
            third(
                f"SM clock, {MOST} workloads",
                "Highest and lowest clock among the GPUs that a workload holds, the clock that DVFS allows, where it does, and "
                "the highest that the boards can run (gpu_clock_hertz, dvfs_setting, gpu_clock_max_hertz). One slow GPU slows "
                "all of an engine.",
                "hertz",
                (
                    Query(over("max", clock), "{{workload}} highest"),
                    Query(over("min", clock), "{{workload}} lowest"),
                    Query(over("min", setting), "{{workload}} DVFS limit"),
                    Query(over("min", most), "{{workload}} maximum"),
                ),
                no_value="no workload that serves holds a GPU that answers",
            ),
            third(
                f"Power and limit, {MOST} workloads",
                "Instant power of all GPUs that a workload holds, shared ones as a whole, and the sum of their power limits "
                "(gpu_power_watts, gpu_power_limit_watts).",
                "watt",
                (
                    Query(over("sum", drawn), "{{workload}} power"),
                    Query(over("sum", limit), "{{workload}} limit"),
                ),
                no_value="no workload that serves holds a GPU that answers",
            ),
            third(
                "Why their clocks are lowered",
                "Share of time in which the driver named a reason for lower clocks, averaged over the GPUs that workloads hold "
                "which serve (gpu_clock_event_seconds_total). Reasons overlap.",
                "percentunit",
                (
                    Query(
                        f"avg by (reason) ({_holders_of(events)} and on ({_BY_WORKLOAD}) ({serves}))",
                        "{{reason}}",
                    ),
                ),
                maximum=1,
                no_value="no workload that serves holds a GPU that answers",
            ),
        ),
    )


def _holders_of(expr: str) -> str:
    """A series of GPUs by a further label, once for each GPU that any chosen workload holds."""
    held = of_holders(series("gpu_up", scope="node"))
    return f"({held} * on ({AT}, uuid) group_right (workload) {expr})"


def by_workload() -> Row:
    """All workloads in one table."""
    chosen = 'boundary="gpu",energy="active_idle",tokens="generation",model=~"$model"'
    rates = recorded(TOKEN_RATE, 'tokens="generation",model=~"$model"')
    over = ("increase", RANGE)

    def plain(expr: str) -> str:
        """One series a row: what tells a row, and nothing else."""
        return f"sum by ({BY}) ({expr}) and on ({BY}) topk({_ROWS}, sum by ({BY}) ({rates}))"

    return Row(
        "Workloads",
        (
            Panel(
                f"The {_ROWS} workloads that generate most tokens",
                "Joules a generated token with the ends of its band and tokens a second over five minutes; percentiles and the "
                "shares within the limits over the chosen time, with the edges of the histograms at which the shares are "
                "counted. A row leads to the workload's own figures, its GPUs and its steering.",
                "s",
                (
                    *(
                        Query(
                            plain(recorded(joules_per_token("instance_workload_model", band), chosen)),
                            text,
                            unit="suffix:J/token",
                        )
                        for band, text in (("", "J/token"), ("_low", "at least"), ("_high", "at most"))
                    ),
                    Query(plain(rates), "tokens/s", unit="short"),
                    Query(plain(quantile(TTFT, "$percentile", *over)), "first token"),
                    Query(plain(quantile(ITL, "$percentile", *over)), "between tokens"),
                    Query(plain(attainment(TTFT, *over)), "first token within", unit="percentunit"),
                    Query(plain(attainment(ITL, *over)), "between tokens within", unit="percentunit"),
                ),
                kind="table",
                width=24,
                height=9,
                no_value="not measurable now: no workload generates tokens, or the recording rules are not loaded",
                links=(
                    Link("This workload alone", "wattlens-inference", {"workload": "workload", "instance": "instance"}),
                    Link("Its GPUs", "wattlens-gpu", {"instance": "instance"}),
                    Link("Its steering", "wattlens-dvfs", {"instance": "instance"}),
                ),
            ),
            Panel(
                f"Where the limits are counted, of {_ROWS} workloads",
                "The largest edge of each workload's histograms that is not above the limit chosen above (ttft_seconds, "
                "itl_seconds). The nearer it is to the limit, the nearer is the share that is shown to the true one.",
                "s",
                (Query(plain(edge(TTFT)), "edge of the first token"), Query(plain(edge(ITL)), "edge between tokens")),
                kind="table",
                width=24,
                height=6,
                no_value="no edge of the histograms is within the limit, or no token server tells its latencies",
            ),
        ),
    )
