"""The dashboard of a node and its GPUs: power, energy with its error, clocks, load, owners, steering, health.

It opens with one node. A graph with a line per GPU shows only those with the highest means, so that it stays readable with
hundreds of selected GPUs.
"""

from dashboards.boards.gpu import rows
from dashboards.dashboard import (
    BLUE,
    GPU,
    ORANGE,
    RANGE,
    RATE,
    Dashboard,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    build_rows,
    busiest,
    busiest_power,
    figure,
    gpu_choices,
    gpu_power,
    increase,
    node_choices,
    series,
    third,
)

MOST, _TABLE = 16, 64
_THESE = "and on (cluster, job, instance, uuid)"
_TO_GPU = (Link("Only this GPU", "wattlens-gpu", {"instance": "instance", "gpu": "gpu"}),)
_QUANTILES = ((0, "minimum"), (0.5, "median"), (1, "maximum"))


def _energy(band: str = "") -> str:
    """Energy of each GPU over the range; "-" and "+" are the ends of its band: gain, and an edge at both ends of the range."""
    energy = f"sum without (method) ({increase('gpu_energy_joules_total')})"
    if not band:
        return energy
    gain = f"last_over_time({series('gpu_energy_gain_uncertainty_ratio')}[{RANGE}])"
    edge = f"last_over_time({series('gpu_energy_edge_uncertainty_joules')}[{RANGE}])"
    return f"clamp_min({energy} * (1 {band} {gain}) {band} 2 * {edge}, 0)"


def _now() -> PanelRow:
    up = series("gpu_up")
    simulated = series("node_info", 'simulated="true"', scope="node")
    return PanelRow(
        "Now",
        (
            figure(
                "GPUs",
                "GPUs that responded to the last poll, and all known GPUs (gpu_up). The table of missing readings below has "
                "the reasons.",
                "none",
                (PanelQuery(f"sum({up})", "responsive"), PanelQuery(f"count({up})", "known")),
            ),
            figure(
                "Hardware",
                "Whether any selected node runs on simulated hardware (node_info). Figures of simulated nodes are not "
                "measurements.",
                "none",
                (PanelQuery(f"count({simulated}) or 0 * count({series('node_info', scope='node')})", "simulated nodes"),),
                states={"0": ("real", BLUE), "1+": ("SIMULATED", ORANGE)},
                minimum=None,
            ),
            figure(
                "Power",
                "Power of all selected GPUs that respond (gpu_power_watts).",
                "watt",
                (PanelQuery(f"sum({gpu_power()})", "power"),),
            ),
            figure(
                "Energy in the selected range",
                "Energy of all selected GPUs in the selected range, from their energy counters, with bounds: each GPU's "
                "systematic error, which adds up, and twice its edge error (gpu_energy_*).",
                "joule",
                (
                    PanelQuery(f"sum({_energy()})", "estimate"),
                    PanelQuery(f"sum({_energy('-')})", "at least"),
                    PanelQuery(f"sum({_energy('+')})", "at most"),
                ),
                width=8,
            ),
            figure(
                "Idle share",
                "Share of the energy in the selected range that went to unallocated GPUs "
                "(gpu_unallocated_energy_joules_total).",
                "percentunit",
                (PanelQuery(f"sum({increase('gpu_unallocated_energy_joules_total')}) / sum({_energy()})", "idle share"),),
                maximum=1,
            ),
        ),
    )


def _power() -> PanelRow:
    drawn, limit = busiest_power(MOST), series("gpu_power_limit_watts")
    held = series("workload_energy_joules_total", scope="workload")
    most = f"topk({_TABLE}, {_energy()})"
    return PanelRow(
        "Power and energy",
        (
            Panel(
                f"Power and limit, top {MOST}",
                "Power and power limit of each GPU, for the GPUs with the highest mean power in the selected range "
                "(gpu_power_watts, gpu_power_limit_watts).",
                "watt",
                (PanelQuery(drawn, GPU), PanelQuery(f"{limit} {_THESE} {drawn}", f"{GPU} limit")),
                minimum=0,
                links=_TO_GPU,
            ),
            Panel(
                "Power distribution of the selected GPUs",
                "Minimum, median and maximum power of the selected GPUs (gpu_power_watts). Readable even with hundreds of "
                "GPUs.",
                "watt",
                tuple(PanelQuery(f"quantile({q}, {gpu_power()})", text) for q, text in _QUANTILES),
                minimum=0,
                dashed=(),
            ),
            Panel(
                "Energy breakdown",
                "Power by use: workloads with a running kernel (active) and without one (idle), unallocated GPUs, and "
                "unattributed energy. The parts are disjoint: their sum is the power of the GPUs.",
                "watt",
                (
                    PanelQuery(f"sum by (state) (rate({held}[{RATE}]))", "workloads, {{state}}"),
                    PanelQuery(f"sum(rate({series('gpu_unallocated_energy_joules_total')}[{RATE}]))", "unallocated"),
                    PanelQuery(
                        f"sum by (reason) (rate({series('gpu_unattributed_energy_joules_total')}[{RATE}]))",
                        "unattributed: {{reason}}",
                    ),
                ),
                minimum=0,
                stacked=True,
            ),
            Panel(
                f"Energy by GPU with bounds, top {_TABLE}",
                "From the energy counters. At least and at most: bounds from the systematic error of the GPU and the error at "
                "both edges of the selected range.",
                "joule",
                (
                    PanelQuery(most, "estimate"),
                    *(
                        PanelQuery(f"{_energy(sign)} {_THESE} {most}", text)
                        for sign, text in (("-", "at least"), ("+", "at most"))
                    ),
                ),
                kind="table",
                links=_TO_GPU,
            ),
            Panel(
                "Power by measurement method",
                "Power by method: the hardware counter, integrated power, a gap that the counter bridged, or a model. "
                "Unmeasured is the upper bound of energy that no sensor measured; the other methods do not include it "
                "(gpu_energy_gap_bound_joules_total).",
                "watt",
                (
                    PanelQuery(f"sum by (method) (rate({series('gpu_energy_joules_total')}[{RATE}]))", "{{method}}"),
                    PanelQuery(f"sum(rate({series('gpu_energy_gap_bound_joules_total')}[{RATE}]))", "unmeasured, at most"),
                ),
                width=24,
                minimum=0,
            ),
        ),
    )


def _clocks() -> PanelRow:
    reasons = f"avg by (reason) (rate({series('gpu_clock_event_seconds_total')}[{RATE}]))"
    clock, set_ = busiest(series("gpu_sm_clock_hertz"), MOST), series("dvfs_clock_limit_hertz")
    return PanelRow(
        "Clocks",
        (
            Panel(
                f"SM clock, maximum and DVFS limit, top {MOST}",
                "SM clock, the maximum clock of the GPU and the limit set by DVFS, if any, for the GPUs with the highest mean "
                "clocks in the selected range (gpu_sm_clock_hertz, gpu_sm_clock_max_hertz, dvfs_clock_limit_hertz).",
                "hertz",
                (
                    PanelQuery(clock, GPU),
                    PanelQuery(f"{series('gpu_sm_clock_max_hertz')} {_THESE} {clock}", f"{GPU} maximum"),
                    PanelQuery(f"{set_} {_THESE} {clock}", f"{GPU} DVFS limit"),
                ),
                minimum=0,
                links=_TO_GPU,
            ),
            Panel(
                "Clock event reasons",
                "Share of time in which the driver reported a reason for lower clocks, averaged over the selected GPUs "
                "(gpu_clock_event_seconds_total). Reasons overlap. Thermal and brake reasons are sampled.",
                "percentunit",
                (PanelQuery(f"clamp_max({reasons}, 1)", "{{reason}}"),),
                minimum=0,
                maximum=1,
            ),
        ),
    )


def _load() -> PanelRow:
    used, total = series("gpu_memory_used_bytes"), series("gpu_memory_total_bytes")
    temperature = busiest(series("gpu_temperature_celsius"), MOST)
    return PanelRow(
        "Load",
        (
            third(
                f"Utilization, top {MOST}",
                "Share of time in which a kernel ran (gpu_utilization_ratio). A GPU at 100 % may still be mostly empty.",
                "percentunit",
                (PanelQuery(busiest(series("gpu_utilization_ratio"), MOST), GPU),),
                maximum=1,
            ),
            Panel(
                f"Temperature, top {MOST}",
                "Temperature of each GPU and, if the GPU reports it, of its memory (gpu_temperature_celsius, "
                "gpu_memory_temperature_celsius).",
                "celsius",
                (
                    PanelQuery(temperature, GPU),
                    PanelQuery(f"{series('gpu_memory_temperature_celsius')} {_THESE} {temperature}", f"{GPU} memory"),
                ),
                width=8,
            ),
            third(
                f"GPU memory used, top {MOST}",
                "Share of device memory in use (gpu_memory_used_bytes of gpu_memory_total_bytes).",
                "percentunit",
                (PanelQuery(f"{busiest(used, MOST)} / {total}", GPU),),
                maximum=1,
            ),
        ),
    )


def board() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="wattlens-gpu",
        title="Wattlens / Node and GPUs",
        description="A node and its GPUs: every joule counted once, every number with its error.",
        variables=(*node_choices("gpu_up", one=True), *gpu_choices()),  # a site process is no node
        rows=build_rows(rows, DashboardRows({10: _now, 20: _power, 40: _clocks, 50: _load})),
    )
