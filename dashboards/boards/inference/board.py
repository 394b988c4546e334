"""The inference dashboard: joules per token by boundary, prefill and decode, latency against its limits, batch, clocks."""

from dashboards.boards.inference import rows
from dashboards.dashboard import Dashboard, Variable, build_rows, node_choices, recorded
from dashboards.promql.latency import choices
from energy_agent.core.catalogue.node import metric


def board() -> Dashboard:
    """The dashboard."""
    generated = recorded(metric("tokens_total"), 'phase="generation"', scope="node")
    return Dashboard(
        uid="wattlens-inference",
        title="Wattlens / Inference",
        description="Cost and speed of serving a model: joules per token by boundary with bounds, prefill and decode, time to "
        "first token and inter-token latency against the limits selected above, batch size, clocks.",
        variables=(
            *node_choices("tokens_total"),
            Variable("workload", "Workload", generated),
            Variable("model", "Model", recorded(metric("tokens_total"), 'phase="generation"')),
            *choices(),
        ),
        rows=build_rows(rows),
    )
