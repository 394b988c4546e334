"""Rows of GPUs: what they are, their power, energy with its error, clocks and load.

The dashboard opens with one node. A graph with a line per GPU shows only those with the highest means, so that it stays
readable with hundreds of selected GPUs.
"""

from dashboards.panels import BLUE, GPU, ORANGE, GrafanaRow, graph, link, row, stat, table, third
from dashboards.promql.selectors import busiest, busiest_power, gpu_power, of_node, series

MOST, _TABLE = 16, 64
_THESE = "and on (cluster, job, instance, uuid)"
_TO_GPU = link("Only this GPU", "wattlens-gpu", "instance", "gpu")
_QUANTILES = ((0, "minimum"), (0.5, "median"), (1, "maximum"))


def _energy(band: str = "") -> str:
    """Energy of each GPU over the range; "-" and "+" are the ends of its band: gain, and an edge at both ends of the range."""
    energy = f"sum without (method) (increase({series('gpu_energy_joules_total')}[$__range]))"
    if not band:
        return energy
    gain = f"last_over_time({series('gpu_energy_gain_uncertainty_ratio')}[$__range])"
    edge = f"last_over_time({series('gpu_energy_edge_uncertainty_joules')}[$__range])"
    return f"clamp_min({energy} * (1 {band} {gain}) {band} 2 * {edge}, 0)"


def now() -> GrafanaRow:
    """The selected GPUs together."""
    up = series("gpu_up")
    simulated = of_node("node_info", 'simulated="true"')
    return row(
        "Now",
        stat(
            "GPUs",
            "GPUs that responded to the last poll, and all known GPUs (gpu_up). The table of missing readings below has "
            "the reasons.",
            "none",
            {"responsive": f"sum({up})", "known": f"count({up})"},
        ),
        stat(
            "Hardware",
            "Whether any selected node runs on simulated hardware (node_info). Figures of simulated nodes are not "
            "measurements.",
            "none",
            {"simulated nodes": f"count({simulated}) or 0 * count({of_node('node_info')})"},
            states={"0": ("real", BLUE), "1+": ("SIMULATED", ORANGE)},
            minimum=None,
        ),
        stat(
            "Power",
            "Power of all selected GPUs that respond (gpu_power_watts).",
            "watt",
            {"power": f"sum({gpu_power()})"},
        ),
        stat(
            "Energy in the selected range",
            "Energy of all selected GPUs in the selected range, from their energy counters, with bounds: each GPU's "
            "systematic error, which adds up, and twice its edge error (gpu_energy_*).",
            "joule",
            {
                "estimate": f"sum({_energy()})",
                "at least": f"sum({_energy('-')})",
                "at most": f"sum({_energy('+')})",
            },
            width=8,
        ),
        stat(
            "Idle share",
            "Share of the energy in the selected range that went to unallocated GPUs (gpu_unallocated_energy_joules_total).",
            "percentunit",
            {"idle share": f"sum(increase({series('gpu_unallocated_energy_joules_total')}[$__range])) / sum({_energy()})"},
        ),
    )


def power() -> GrafanaRow:
    """Power of each GPU, and use of its energy."""
    drawn, limit = busiest_power(MOST), series("gpu_power_limit_watts")
    workload_power = f"rate({series('workload_energy_joules_total', scope='workload')}[$__rate_interval])"
    idle, unknown = (
        f"rate({series(f'gpu_{owner}_energy_joules_total')}[$__rate_interval])" for owner in ("unallocated", "unattributed")
    )
    most = f"topk({_TABLE}, {_energy()})"
    return row(
        "Power and energy",
        graph(
            f"Power and limit, top {MOST}",
            "Power and power limit of each GPU, for the GPUs with the highest mean power in the selected range "
            "(gpu_power_watts, gpu_power_limit_watts).",
            "watt",
            {GPU: drawn, f"{GPU} limit": f"{limit} {_THESE} {drawn}"},
            links=_TO_GPU,
        ),
        graph(
            "Power distribution of the selected GPUs",
            "Minimum, median and maximum power of the selected GPUs (gpu_power_watts). Readable even with hundreds of GPUs.",
            "watt",
            {text: f"quantile({q}, {gpu_power()})" for q, text in _QUANTILES},
            dashed=(),
        ),
        graph(
            "Energy breakdown",
            "Power by use: workloads with a running kernel (active) and without one (idle), unallocated GPUs, and "
            "unattributed energy. The parts are disjoint: their sum is the power of the GPUs.",
            "watt",
            {
                "workloads, {{state}}": f"sum by (state) ({workload_power})",
                "unallocated": f"sum({idle})",
                "unattributed: {{reason}}": f"sum by (reason) ({unknown})",
            },
            stacked=True,
        ),
        table(
            f"Energy by GPU with bounds, top {_TABLE}",
            "From the energy counters. At least and at most: bounds from the systematic error of the GPU and the error at "
            "both edges of the selected range.",
            "joule",
            {
                "estimate": most,
                **{text: f"{_energy(sign)} {_THESE} {most}" for sign, text in (("-", "at least"), ("+", "at most"))},
            },
            links=_TO_GPU,
        ),
        graph(
            "Power by measurement method",
            "Power by method: the hardware counter, integrated power, a gap that the counter bridged, or a model. "
            "Unmeasured is the upper bound of energy that no sensor measured; the other methods do not include it "
            "(gpu_energy_gap_bound_joules_total).",
            "watt",
            {
                "{{method}}": f"sum by (method) (rate({series('gpu_energy_joules_total')}[$__rate_interval]))",
                "unmeasured, at most": f"sum(rate({series('gpu_energy_gap_bound_joules_total')}[$__rate_interval]))",
            },
            width=24,
        ),
    )


def clocks() -> GrafanaRow:
    """Clocks, and the reasons for lower ones."""
    reasons = f"avg by (reason) (rate({series('gpu_clock_event_seconds_total')}[$__rate_interval]))"
    clock, set_ = busiest(series("gpu_sm_clock_hertz"), MOST), series("dvfs_clock_limit_hertz")
    return row(
        "Clocks",
        graph(
            f"SM clock, maximum and DVFS limit, top {MOST}",
            "SM clock, the maximum clock of the GPU and the limit set by DVFS, if any, for the GPUs with the highest mean "
            "clocks in the selected range (gpu_sm_clock_hertz, gpu_sm_clock_max_hertz, dvfs_clock_limit_hertz).",
            "hertz",
            {
                GPU: clock,
                f"{GPU} maximum": f"{series('gpu_sm_clock_max_hertz')} {_THESE} {clock}",
                f"{GPU} DVFS limit": f"{set_} {_THESE} {clock}",
            },
            links=_TO_GPU,
        ),
        graph(
            "Clock event reasons",
            "Share of time in which the driver reported a reason for lower clocks, averaged over the selected GPUs "
            "(gpu_clock_event_seconds_total). Reasons overlap. Thermal and brake reasons are sampled.",
            "percentunit",
            {"{{reason}}": f"clamp_max({reasons}, 1)"},
        ),
    )


def load() -> GrafanaRow:
    """Utilization, temperature and memory."""
    used, total = series("gpu_memory_used_bytes"), series("gpu_memory_total_bytes")
    temperature = busiest(series("gpu_temperature_celsius"), MOST)
    return row(
        "Load",
        third(
            f"Utilization, top {MOST}",
            "Share of time in which a kernel ran (gpu_utilization_ratio). A GPU at 100 % may still be mostly empty.",
            "percentunit",
            {GPU: busiest(series("gpu_utilization_ratio"), MOST)},
        ),
        third(
            f"Temperature, top {MOST}",
            "Temperature of each GPU and, if the GPU reports it, of its memory (gpu_temperature_celsius, "
            "gpu_memory_temperature_celsius).",
            "celsius",
            {
                GPU: temperature,
                f"{GPU} memory": f"{series('gpu_memory_temperature_celsius')} {_THESE} {temperature}",
            },
            minimum=None,
        ),
        third(
            f"GPU memory used, top {MOST}",
            "Share of device memory in use (gpu_memory_used_bytes of gpu_memory_total_bytes).",
            "percentunit",
            {GPU: f"{busiest(used, MOST)} / {total}"},
        ),
    )


SPEC = {10: now, 20: power, 40: clocks, 50: load}
