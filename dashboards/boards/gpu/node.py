"""The rows of a node: its meters, compared with the GPUs, the owners of that energy, and its workloads."""

from dashboards.panels import BLUE, ORANGE, PURPLE, GrafanaRow, Query, graph, lights, link, row, stat, table
from dashboards.promql.selectors import GPUS, bucket, integral, of_node, recorded, series
from dashboards.rules.fleet import HOST, NODE_POWER, NODE_POWER_ERROR

_NO_METER = "no node meter is configured (sources.node), or none responds: see the table of missing readings"
_NOT_BOOKED = "only the GPUs are metered: no node meter is configured (sources.node), or none has two readings yet"


def _over_time(name: str, *matchers: str) -> str:
    return f"sum({integral(recorded(name, *matchers, scope='node'))})"


def node() -> GrafanaRow:
    """The row."""
    shares = of_node("workload_nongpu_energy_joules_total")
    around = f"sum by (workload) (rate({shares}[$__rate_interval]))"
    most = f"topk(10, sum by (workload) (rate({shares}[$__range] @ end())))"
    idle, unknown = (
        f"rate({of_node(f'node_nongpu_{n}_energy_joules_total')}[$__rate_interval])" for n in ("unallocated", "unattributed")
    )
    boundaries = (('"gpu"', 1), ('"gpu+cpu"', 2), ('"node"', 3))
    inside = " or ".join(f"{mark} * {of_node('energy_boundary_info', f'boundary={of}')}" for of, mark in boundaries)
    energy, error = _over_time(NODE_POWER), _over_time(NODE_POWER_ERROR)
    return row(
        "Node",
        lights(
            "Energy boundary",
            "Coverage of the node's ledger: GPUs only, processors and memory by RAPL as well, or the whole node by a "
            "whole-node meter (energy_boundary_info).",
            "none",
            {"{{instance}}": f"sum without (boundary) ({inside})"},
            states={"1": ("GPUs only", ORANGE), "2": ("GPUs, processors, memory", PURPLE), "3": ("whole node", BLUE)},
        ),
        stat(
            "Node energy",
            "GPU and metered non-GPU energy, with bounds from their sensors. Summed from the power of each minute "
            "(gpu_energy_joules_total, node_nongpu_energy_joules_total).",
            "joule",
            {
                "estimate": energy,
                "at least": f"clamp_min({energy} - {error}, 0)",
                "at most": f"{energy} + {error}",
            },
            width=8,
            height=8,
            no_value="no data: the agent is not scraped, or the recording rules are not loaded",
            links=link("Fleet", "wattlens-fleet"),
        ),
        stat(
            "GPU share of node energy",
            "GPU energy divided by all metered energy of the node, in the selected range. Without a whole-node meter the "
            "non-GPU energy is incomplete, and the share too high.",
            "percentunit",
            {"GPUs": f"{_over_time(NODE_POWER, GPUS)} / ({energy} > 0)"},
            width=8,
            height=8,
            no_value="no data: the agent is not scraped, or the recording rules are not loaded",
        ),
        graph(
            "Power by node meter",
            "Power by each node meter, whatever it contains: the whole node, a module, a processor package, memory. Meters "
            "overlap, so do not sum them (node_power_watts).",
            "watt",
            {"{{instance}} {{source}} {{domain}}": of_node("node_power_watts")},
            no_value=_NO_METER,
        ),
        table(
            "Energy by node meter",
            "Energy by each node meter. Meters overlap, so do not sum them (node_energy_joules_total).",
            "joule",
            {
                "energy": f"sum by (instance, source, domain) (increase({of_node('node_energy_joules_total')}[$__range]))",
            },
            no_value=_NO_METER,
        ),
        graph(
            "Non-GPU power of the node by workload",
            "Non-GPU power of the node: shares of the ten largest workloads by their GPU time, unallocated GPUs, and "
            "unattributed power by reason (workload_nongpu_energy_joules_total, node_nongpu_*_energy_joules_total). The "
            "parts are disjoint: with at most ten workloads their sum is the metered non-GPU power.",
            "watt",
            {
                "{{workload}}": f"{around} and {most}",
                "unallocated": Query(f"sum({idle})", linked=False),
                "unattributed: {{reason}}": Query(f"sum by (reason) ({unknown})", linked=False),
            },
            stacked=True,
            no_value=_NOT_BOOKED,
            links=link("Inference", "wattlens-inference", "workload") + link("Training", "wattlens-training", "workload"),
        ),
        graph(
            "GPU and non-GPU power of the node",
            "Mean GPU and metered non-GPU power of a node over five minutes (gpu_energy_joules_total, "
            "node_nongpu_energy_joules_total).",
            "watt",
            {
                "{{instance}}: GPUs": f"sum by (instance) ({recorded(NODE_POWER, GPUS, scope='node')})",
                "{{instance}}: non-GPU": f"sum by (instance) ({recorded(NODE_POWER, bucket(HOST), scope='node')})",
            },
            stacked=True,
            no_value="no data: the agent is not scraped, or the recording rules are not loaded",
        ),
    )


_ROWS = 20


def workloads() -> GrafanaRow:
    """The row; a workload's use of its energy is on the inference and training dashboards."""
    energy = series("workload_energy_joules_total", scope="workload")
    power = f"sum by (workload, state) (rate({energy}[$__rate_interval]))"
    here = ("workload", "instance")
    return row(
        "Workloads",
        graph(
            f"Power by workload, top {_ROWS}",
            "Power of each workload, with a running kernel (active) and without one (idle) (workload_energy_joules_total).",
            "watt",
            {"{{workload}} {{state}}": f"topk({_ROWS}, {power})"},
            stacked=True,
        ),
        table(
            f"Energy by workload, top {_ROWS}",
            "Energy of each workload on the GPUs of a node by state (workload_energy_joules_total). Each row links to the "
            "workload's inference and training dashboards.",
            "joule",
            {"energy": f"topk({_ROWS}, sum by (cluster, job, instance, workload, state) (increase({energy}[$__range])))"},
            links=link("Inference", "wattlens-inference", *here) + link("Training", "wattlens-training", *here),
        ),
    )


SPEC = {30: node, 60: workloads}
