"""Rows of how fast serving is: first tokens and times between tokens against their limits, and the load that they met."""

from dashboards.boards.inference.serving import NAME, NOT_WITHIN, TO_TRACE
from dashboards.panels import GrafanaPanel, GrafanaRow, Query, graph, row, third
from dashboards.promql.latency import MODEL, attainment, limit, mean, quantile
from dashboards.promql.selectors import MOST, series
from dashboards.rules.model import STEP
from dashboards.rules.serving import ITL, TTFT

_WHAT = {TTFT: ("Time to first token", "first tokens"), ITL: ("Inter-token latency", "inter-token latencies")}


def latency() -> GrafanaRow:
    """Percentiles, means, limits and attainment."""
    return row(
        "Latency and its limits",
        *(_times(f) for f in _WHAT),
        *(_attained(f) for f in _WHAT),
    )


def load() -> GrafanaRow:
    """What runs, waits and comes."""

    def rate(name: str, by: str, *matchers: str) -> str:
        return f"sum by ({by}) (rate({series(name, MODEL, *matchers, scope='workload')}[$__rate_interval]))"

    running, waiting = (series(f"requests_{which}", MODEL, scope="workload") for which in ("running", "waiting"))
    steps, generated = rate("engine_steps_total", "model"), rate("tokens_total", "model", 'phase="generation"')
    return row(
        "Load",
        third(
            "Requests running and waiting",
            "Requests that the inference servers of each model process, and requests that wait for them (requests_running, "
            "requests_waiting). Waiting adds to the time to first token.",
            "short",
            {
                "{{model}} running": f"sum by (model) ({running})",
                "{{model}} waiting": f"sum by (model) ({waiting})",
            },
            no_value="no inference server reports its requests, or none responds",
        ),
        third(
            "Tokens per second",
            "Tokens by model and phase (tokens_total): generated, computed from prompts, or reused from a cache.",
            "short",
            {"{{model}} {{phase}}": rate("tokens_total", "model, phase", 'phase!="training"')},
            no_value="no workload reports tokens",
            step=STEP,
        ),
        third(
            "Requests per second and tokens per step",
            "Completed requests (requests_total), and generated tokens per engine step, which is the decode batch size "
            "(tokens_total divided by engine_steps_total).",
            "short",
            {
                "{{model}} requests/s": rate("requests_total", "model"),
                "{{model}} tokens/step": f"{generated} / ({steps} > 0)",
            },
            no_value="no inference server counts its requests or steps",
            step=STEP,
        ),
    )


def _times(family: str) -> GrafanaPanel:
    title, what = _WHAT[family]
    return graph(
        f"{title}, {MOST} slowest",
        f"Percentile of {what} selected above, over five minutes, interpolated within a bucket of the histogram ({family}), "
        "their mean (sum divided by count), and the limit selected above, dashed. No metric has a limit: you choose it for "
        "comparison.",
        "s",
        {
            NAME + " percentile": f"topk({MOST}, {quantile(family)})",
            NAME + " mean": f"topk({MOST}, {mean(family)})",
            "limit": Query(limit(family), linked=False),
        },
        no_value="no requests now, no inference server reports its latencies, or the recording rules are not loaded",
        links=TO_TRACE,
    )


def _attained(family: str) -> GrafanaPanel:
    title, what = _WHAT[family]
    return graph(
        f"{title}: share within the limit, {MOST} lowest",
        f"Share of {what} within the limit selected above, which is an edge of the histograms ({family}). A workload whose "
        "histogram does not have this edge is omitted: select the workload to see its own edges.",
        "percentunit",
        {NAME: f"bottomk({MOST}, {attainment(family)})"},
        no_value=NOT_WITHIN,
        links=TO_TRACE,
    )


SPEC = {40: latency, 50: load}
