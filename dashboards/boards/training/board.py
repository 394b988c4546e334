"""The training dashboard: joules per step and token, progress, phases, GPUs over time, slowdown against its budget."""

from dashboards.boards.training import rows
from dashboards.dashboard import Dashboard, Variable, build_rows, node_choices, recorded
from energy_agent.core.catalogue.node import metric


def board() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="wattlens-training",
        title="Wattlens / Training",
        description="Cost of a training run over all its nodes: joules per step and token with bounds, phases, number of GPUs, "
        "and slowdown by steering. A run is the group that its workloads name, or one workload.",
        variables=(
            *node_choices("training_steps_total"),
            Variable("workload", "Workload", recorded(metric("training_steps_total"), scope="node")),
        ),
        rows=build_rows(rows),
    )
