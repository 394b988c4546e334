"""Rows of the GPUs that serve: clocks, limits and power by workload, and a table of all workloads."""

from dashboards.panels import GrafanaRow, Queries, Query, band, graph, link, row, wide_table
from dashboards.promql.latency import attainment_in_range, worst_quantile
from dashboards.promql.selectors import AT, MOST, recorded
from dashboards.rules.model import TOKEN_RATE, joules_per_token
from dashboards.rules.serving import BY, ITL, TTFT
from dashboards.rules.steering import of_workload

_BY_WORKLOAD = f"{AT}, workload"
_ROWS = 20
_TO_GPUS = link("GPUs", "wattlens-gpu", "instance")
_NO_GPU = "no serving workload has a responsive GPU, or the recording rules are not loaded"


def gpus() -> GrafanaRow:
    """Clocks, limits and draw of the GPUs that each workload holds."""
    serves = recorded(TOKEN_RATE, 'tokens="generation",model=~"$model"')
    most = f"topk({MOST}, sum by ({_BY_WORKLOAD}) (sum_over_time({serves}[$__range] @ end())))"

    def ends(*of: tuple[str, str, str]) -> Queries:
        limits = ((recorded(of_workload(signal, end)), text) for signal, end, text in of)
        return {"{{workload}} " + text: f"{each} and on ({_BY_WORKLOAD}) {most}" for each, text in limits}

    return row(
        "GPUs of the workloads",
        graph(
            f"SM clock, top {MOST} workloads by tokens",
            "Highest and lowest clock of a workload's GPUs, the limit set by DVFS, if any, and the maximum clock of the "
            "GPUs (gpu_sm_clock_hertz, dvfs_clock_limit_hertz, gpu_sm_clock_max_hertz). One slow GPU slows the whole "
            "engine.",
            "hertz",
            ends(
                ("gpu_sm_clock_hertz", "max", "highest"),
                ("gpu_sm_clock_hertz", "min", "lowest"),
                ("dvfs_clock_limit_hertz", "min", "DVFS limit"),
                ("gpu_sm_clock_max_hertz", "min", "maximum"),
            ),
            no_value=_NO_GPU,
            links=_TO_GPUS,
        ),
        graph(
            f"Power and limit, top {MOST} workloads by tokens",
            "Power of all GPUs of a workload, shared GPUs counted as a whole, and the sum of their power limits "
            "(gpu_power_watts, gpu_power_limit_watts). The Node and GPUs dashboard shows the reasons for lower clocks.",
            "watt",
            ends(("gpu_power_watts", "sum", "power"), ("gpu_power_limit_watts", "sum", "limit")),
            no_value=_NO_GPU,
            links=_TO_GPUS,
        ),
    )


def by_workload() -> GrafanaRow:
    """All workloads in one table."""
    chosen = 'boundary="gpu",energy="active_idle",tokens="generation",model=~"$model"'
    rates = recorded(TOKEN_RATE, 'tokens="generation",model=~"$model"')

    def plain(expr: str) -> str:
        """One series per row: only the labels that identify the row."""
        return f"sum by ({BY}) ({expr}) and on ({BY}) topk({_ROWS}, sum by ({BY}) ({rates}))"

    return row(
        "Workloads",
        wide_table(
            f"Top {_ROWS} workloads by generated tokens",
            "Joules per generated token with bounds, and tokens per second, over five minutes; the worst five minutes in "
            "the selected range at the percentile selected above; and the share of latencies in the selected range within "
            "the limits. Each row links to the workload's own figures, its GPUs and its steering.",
            "s",
            {
                **band(
                    lambda end: plain(recorded(joules_per_token("instance_workload_model", end), chosen)),
                    column="J/token",
                    unit="suffix:J/token",
                ),
                "tokens/s": Query(plain(rates), unit="short"),
                "TTFT, worst": plain(worst_quantile(TTFT)),
                "ITL, worst": plain(worst_quantile(ITL)),
                "TTFT within": Query(plain(attainment_in_range(TTFT)), unit="percentunit"),
                "ITL within": Query(plain(attainment_in_range(ITL)), unit="percentunit"),
            },
            height=9,
            no_value="not measurable now: no workload generates tokens, or the recording rules are not loaded",
            links=link("Only this workload", "wattlens-inference", "workload", "instance")
            + _TO_GPUS
            + link("Steering", "wattlens-dvfs", "instance"),
        ),
    )


SPEC = {60: gpus, 70: by_workload}
