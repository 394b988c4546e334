"""The inference dashboard: joules a token by boundary, prefill and decode, latency against its limits, batch, clocks."""

from dashboards.boards.inference import rows
from dashboards.dashboard import Board, Variable, build_rows, node_choices, recorded
from dashboards.promql.latency import VARIABLES, limits, percentiles
from dashboards.rules.latency import ITL, TTFT
from energy_agent.core.catalogue.node import metric


def board() -> Board:
    """The dashboard."""
    generated = recorded(metric("tokens_total"), 'phase="generation"', scope="node")
    return Board(
        uid="wattlens-inference",
        title="Wattlens / Inference",
        description="What serving a model costs and how fast it is: joules a token by boundary with their error, prefill and "
        "decode, time to first token and between tokens against the limits chosen above, batch, clocks.",
        variables=(
            *node_choices("tokens_total"),
            Variable("workload", "Workload", generated),
            Variable("model", "Model", recorded(metric("tokens_total"), 'phase="generation"')),
            Variable("percentile", "Percentile", values=percentiles()),
            Variable(VARIABLES[TTFT], "Limit of the first token", values=limits(TTFT)),
            Variable(VARIABLES[ITL], "Limit between tokens", values=limits(ITL)),
        ),
        rows=build_rows(rows),
    )
