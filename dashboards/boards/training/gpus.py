"""Rows of the GPUs of training runs: number over time, their power and that of the host; and the cost of steering."""

from dashboards.boards.training.steps import NONE, OF_MOST
from dashboards.panels import GrafanaRow, band, graph, link, row, third, wide_table
from dashboards.promql.runs import RUN, by_run, gpus, largest, lost, of_runs, of_selected_workloads, power
from dashboards.promql.selectors import recorded
from dashboards.rules.runs import RUN_NODES
from dashboards.rules.steering import of_group

_TO_GPU = link("This GPU", "wattlens-gpu", "instance", "gpu")
_TO_STEERING = link("Steering of these GPUs", "wattlens-dvfs")
_NOT_STEERED = "DVFS is not configured, or steers no GPU of these runs"


def build_gpu_row() -> GrafanaRow:
    """Number of GPUs, their power, lost GPUs."""
    active = power(energy="active")
    return row(
        "GPUs of the runs",
        third(
            f"GPUs and nodes{OF_MOST}",
            "Number of GPUs allocated to a run, lost ones included (GPU time per second, workload_gpu_seconds_total), and "
            "number of their nodes: the size of an elastic run over time.",
            "short",
            {
                "{{run}} GPUs": largest(gpus()),
                "{{run}} nodes": largest(recorded(RUN_NODES, scope="job")),
            },
            no_value=NONE,
        ),
        third(
            f"Power{OF_MOST}",
            "Power of a run's GPUs over five minutes, with a running kernel and without one "
            "(workload_energy_joules_total). Empty while the energy of any of its workloads is unknown.",
            "watt",
            {"{{run}} active": largest(active), "{{run}} idle": largest(f"clamp_min({power()} - {active}, 0)")},
            stacked=True,
            no_value=NONE,
        ),
        third(
            f"Non-GPU share{OF_MOST}",
            "Non-GPU energy of a run (workload_nongpu_energy_joules_total) as a share of its GPU and non-GPU energy. A "
            "whole-node meter covers all non-GPU energy; otherwise only processors and memory are included.",
            "percentunit",
            # Two rules one after the other: a scrape that arrives between them is in the second alone.
            {"{{run}}": largest(f"(1 - {power()} / on ({RUN}) ({power(boundary='node')} > 0) >= 0)")},
            no_value="the ledger records no node meter (sources.node.ledger)",
        ),
        wide_table(
            "GPUs lost during a run",
            "Unresponsive GPUs (gpu_up) that a workload of a selected run used in the last 15 minutes. Their energy since "
            "then is a gap with an upper bound, and the run has no joules per step. The GPU's own dashboard has the "
            "reason.",
            "none",
            {
                "lost GPU": of_selected_workloads(f"group by ({RUN}, instance, workload, gpu) {of_runs(lost())}"),
            },
            height=4,
            no_value="every GPU of these runs responds, or no training run is known",
            links=_TO_GPU,
        ),
    )


def steering() -> GrafanaRow:
    """What steering takes of a run's speed."""

    def steered(signal: str, *, operation: str = "max", scale: str = "") -> str:
        return largest(f"{scale}{by_run(operation, recorded(of_group(signal, operation), scope='node'))}")

    return row(
        "DVFS of the runs",
        graph(
            f"Slowdown and budget of runs{OF_MOST}",
            "How much longer a run's work takes under steering, from paired blocks with and without it, with its 95 % "
            "interval (dvfs_slowdown_ratio), and the owners' budget for the whole run, dashed "
            "(dvfs_slowdown_budget_ratio).",
            "percent",
            {
                **band(lambda end: steered(f"dvfs_slowdown_ratio{end}", scale="100 * "), "{{run}}"),
                "{{run}} limit": steered("dvfs_slowdown_budget_ratio", scale="100 * "),
            },
            decimals=1,
            no_value=_NOT_STEERED,
            links=_TO_STEERING,
            minimum=None,
        ),
        graph(
            f"SM clock and DVFS limit{OF_MOST}",
            "Highest and lowest clock of a run's steered GPUs (gpu_sm_clock_hertz), and the lowest clock limit applied to "
            "them, if any (dvfs_clock_limit_hertz). One slow rank slows all.",
            "hertz",
            {
                "{{run}} highest": steered("gpu_sm_clock_hertz"),
                "{{run}} lowest": steered("gpu_sm_clock_hertz", operation="min"),
                "{{run}} limit": steered("dvfs_clock_limit_hertz", operation="min"),
            },
            no_value=_NOT_STEERED,
            links=_TO_STEERING,
        ),
    )


SPEC = {40: build_gpu_row, 50: steering}
