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

_NO_METER = "no meter of the node is configured (sources.node), or none answers: the table of what is absent has the reason"
_NOT_BOOKED = "nothing around the GPUs is metered: no meter of the node is configured (sources.node), or none was read twice"


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
                "What the ledger of the node has: the GPU boards alone, processors and memory by RAPL as well, or all that "
                "the node draws, by a meter of the whole node (energy_boundary_info).",
                "none",
                (PanelQuery(f"sum without (boundary) ({inside})", "{{instance}}"),),
                states={"1": ("GPUs alone", ORANGE), "2": ("GPUs, processors, memory", PURPLE), "3": ("whole node", BLUE)},
            ),
            figure(
                "Node energy",
                "GPUs, and what is metered around them, with the ends of the band of their sensors. Added up from power of "
                "every minute (gpu_energy_joules_total, node_nongpu_energy_joules_total).",
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
                "Energy of the GPUs over that of all that is metered of the node, in the selected range. Where no meter sees "
                "the whole node, the rest is missing, and the share too high.",
                "percentunit",
                (PanelQuery(f"{_over_time(NODE_POWER, GPUS)} / ({energy} > 0)", "GPUs"),),
                width=8,
                height=8,
                maximum=1,
                no_value="no data: the agent is not scraped, or the recording rules are not loaded",
            ),
            Panel(
                "Power by node meter",
                "Power by each meter of the node, whatever it contains: the whole node, a module, a processor package, "
                "memory. They overlap and are not to be summed (node_power_watts).",
                "watt",
                (PanelQuery(_node("node_power_watts"), "{{instance}} {{source}} {{domain}}"),),
                minimum=0,
                no_value=_NO_METER,
            ),
            Panel(
                "Energy by node meter",
                "As each meter counted it; they overlap and are not to be summed (node_energy_joules_total).",
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
                "Node power without GPUs by owner",
                "Power of the node without its GPUs: shares of the ten largest workloads by the GPU time that they held, "
                "GPUs that nobody held, and what is not attributed, by reason (workload_nongpu_energy_joules_total, "
                "node_nongpu_*_energy_joules_total). Disjoint: with ten workloads or less their sum is what the meters saw "
                "around the GPUs.",
                "watt",
                (
                    PanelQuery(f"{around} and {most}", "{{workload}}"),
                    PanelQuery(f"sum({idle})", "nobody held the GPU", linked=False),
                    PanelQuery(f"sum by (reason) ({unknown})", "not attributed: {{reason}}", linked=False),
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
                "GPU power and node power without GPUs",
                "Mean power over five minutes of the GPUs of a node, and of what its meters saw around them "
                "(gpu_energy_joules_total, node_nongpu_energy_joules_total).",
                "watt",
                (
                    PanelQuery(f"sum by (instance) ({recorded(NODE_POWER, GPUS, scope='node')})", "{{instance}}: GPUs"),
                    PanelQuery(
                        f"sum by (instance) ({recorded(NODE_POWER, bucket(HOST), scope='node')})", "{{instance}}: around them"
                    ),
                ),
                minimum=0,
                stacked=True,
                no_value="no data: the agent is not scraped, or the recording rules are not loaded",
            ),
        ),
    )


SPEC = DashboardRows({30: node})
