"""The inference dashboard: joules a token by boundary, prefill and decode, latency against its limits, batch, clocks."""

from dashboards.board import Board, Variable, node_choices, recorded
from dashboards.rows_latency import latency, load
from dashboards.rows_serving import now, split, tokens_energy
from dashboards.rows_serving_gpus import by_workload, gpus
from energy_agent.core.signals import metric

_TTFT_LIMITS = {"500 ms": "0.5", "100 ms": "0.1", "200 ms": "0.2", "1 s": "1", "2 s": "2", "5 s": "5", "10 s": "10"}
_ITL_LIMITS = {
    "50 ms": "0.05",
    "10 ms": "0.01",
    "20 ms": "0.02",
    "30 ms": "0.03",
    "100 ms": "0.1",
    "200 ms": "0.2",
    "500 ms": "0.5",
}
_PERCENTILES = {"95th": "0.95", "50th": "0.5", "90th": "0.9", "99th": "0.99"}


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
            Variable("percentile", "Percentile", values=_PERCENTILES),
            Variable("ttft_slo", "Limit of the first token", values=_TTFT_LIMITS),
            Variable("itl_slo", "Limit between tokens", values=_ITL_LIMITS),
        ),
        rows=(now(), tokens_energy(), split(), latency(), load(), gpus(), by_workload()),
    )
