"""The row of a node: its meters, compared with the GPUs, the owners of that energy, and the scope of the sums."""

from dashboards.dashboard import (
    BLUE,
    ORANGE,
    PURPLE,
    RANGE,
    RATE,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    figure,
    lights,
    recorded,
    series,
)
from dashboards.promql.sums import GPUS, bucket
from dashboards.rules.fleet import HOST, NODE_POWER, NODE_POWER_ERROR, integral

_NO_METER = "no node meter is configured (sources.node), or none responds: see the table of missing readings"
_NOT_BOOKED = "only the GPUs are metered: no node meter is configured (sources.node), or none has two readings yet"


def _node(name: str, *matchers: str) -> str:
    return series(name, *matchers, scope="node")


def _over_time(name: str, *matchers: str) -> str:
    return f"sum({integral(recorded(name, *matchers, scope='node'), RANGE)})"


def node() -> PanelRow:
    """The row."""
    shares = _node("workload_nongpu_energy_joules_total")
    around = f"sum by (workload) (rate({shares}[{RATE}]))"
    most = f"topk(10, sum by (workload) (rate({shares}[{RANGE}] @ end())))"
    idle, unknown = (f"rate({_node(f'node_nongpu_{n}_energy_joules_total')}[{RATE}])" for n in ("unallocated", "unattributed"))
    boundaries = (('"gpu"', 1), ('"gpu+cpu"', 2), ('"node"', 3))
    inside = " or ".join(f"{mark} * {_node('energy_boundary_info', f'boundary={of}')}" for of, mark in boundaries)
    energy, error = _over_time(NODE_POWER), _over_time(NODE_POWER_ERROR)
    return PanelRow(
        "Node",
        (
            lights(
                "Energy boundary",
                "Coverage of the node's ledger: GPUs only, processors and memory by RAPL as well, or the whole node by a "
                "whole-node meter (energy_boundary_info).",
                "none",
                (PanelQuery(f"sum without (boundary) ({inside})", "{{instance}}"),),
                states={"1": ("GPUs only", ORANGE), "2": ("GPUs, processors, memory", PURPLE), "3": ("whole node", BLUE)},
            ),
            figure(
                "Node energy",
                "GPU and metered non-GPU energy, with bounds from their sensors. Summed from the power of each minute "
                "(gpu_energy_joules_total, node_nongpu_energy_joules_total).",
                "joule",
                (
                    PanelQuery(energy, "estimate"),
                    PanelQuery(f"clamp_min({energy} - {error}, 0)", "at least"),
                    PanelQuery(f"{energy} + {error}", "at most"),
                ),
                width=8,
                height=8,
                no_value="no data: the agent is not scraped, or the recording rules are not loaded",
                links=(Link("Fleet", "wattlens-fleet"),),
            ),
            figure(
                "GPU share of node energy",
                "GPU energy divided by all metered energy of the node, in the selected range. Without a whole-node meter the "
                "non-GPU energy is incomplete, and the share too high.",
                "percentunit",
                (PanelQuery(f"{_over_time(NODE_POWER, GPUS)} / ({energy} > 0)", "GPUs"),),
                width=8,
                height=8,
                maximum=1,
                no_value="no data: the agent is not scraped, or the recording rules are not loaded",
            ),
            Panel(
                "Power by node meter",
                "Power by each node meter, whatever it contains: the whole node, a module, a processor package, memory. Meters "
                "overlap, so do not sum them (node_power_watts).",
                "watt",
                (PanelQuery(_node("node_power_watts"), "{{instance}} {{source}} {{domain}}"),),
                minimum=0,
                no_value=_NO_METER,
            ),
            Panel(
                "Energy by node meter",
                "Energy by each node meter. Meters overlap, so do not sum them (node_energy_joules_total).",
                "joule",
                (
                    PanelQuery(
                        f"sum by (instance, source, domain) (increase({_node('node_energy_joules_total')}[{RANGE}]))", "energy"
                    ),
                ),
                kind="table",
                no_value=_NO_METER,
            ),
            Panel(
                "Non-GPU power of the node by workload",
                "Non-GPU power of the node: shares of the ten largest workloads by their GPU time, unallocated GPUs, and "
                "unattributed power by reason (workload_nongpu_energy_joules_total, node_nongpu_*_energy_joules_total). The "
                "parts are disjoint: with at most ten workloads their sum is the metered non-GPU power.",
                "watt",
                (
                    PanelQuery(f"{around} and {most}", "{{workload}}"),
                    PanelQuery(f"sum({idle})", "unallocated", linked=False),
                    PanelQuery(f"sum by (reason) ({unknown})", "unattributed: {{reason}}", linked=False),
                ),
                minimum=0,
                stacked=True,
                no_value=_NOT_BOOKED,
                links=(
                    Link("Inference", "wattlens-inference", {"workload": "workload"}),
                    Link("Training", "wattlens-training", {"workload": "workload"}),
                ),
            ),
            Panel(
                "GPU and non-GPU power of the node",
                "Mean GPU and metered non-GPU power of a node over five minutes (gpu_energy_joules_total, "
                "node_nongpu_energy_joules_total).",
                "watt",
                (
                    PanelQuery(f"sum by (instance) ({recorded(NODE_POWER, GPUS, scope='node')})", "{{instance}}: GPUs"),
                    PanelQuery(
                        f"sum by (instance) ({recorded(NODE_POWER, bucket(HOST), scope='node')})", "{{instance}}: non-GPU"
                    ),
                ),
                minimum=0,
                stacked=True,
                no_value="no data: the agent is not scraped, or the recording rules are not loaded",
            ),
        ),
    )


SPEC = DashboardRows({30: node})
