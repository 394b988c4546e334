"""Rows of the GPUs of training runs: number over time, their power and that of the host; and the cost of steering."""

from dashboards.boards.training.rows.steps import NONE, OF_MOST
from dashboards.boards.training.runs import RUN, by_run, gpus, largest, lost, of_runs, of_selected_workloads, power
from dashboards.dashboard import DashboardRows, Link, Panel, PanelQuery, PanelRow, banded, recorded, third
from dashboards.rules.runs import RUN_NODES
from dashboards.rules.steering import of_group

_TO_GPU = Link("This GPU", "wattlens-gpu", {"instance": "instance", "gpu": "gpu"})
_TO_STEERING = (Link("Steering of these GPUs", "wattlens-dvfs"),)
_NOT_STEERED = "DVFS is not configured, or steers no GPU of these runs"


def build_gpu_row() -> PanelRow:
    """Number of GPUs, their power, lost GPUs."""
    # Two rules one after the other: a scrape that arrives between them is in the second alone.
    around = f"(1 - {power()} / on ({RUN}) ({power(boundary='node')} > 0) >= 0)"
    active = power(energy="active")
    idle = f"clamp_min({power()} - {active}, 0)"
    return PanelRow(
        "GPUs of the runs",
        (
            third(
                f"GPUs and nodes{OF_MOST}",
                "Number of GPUs allocated to a run, lost ones included (GPU time per second, workload_gpu_seconds_total), and "
                "number of their nodes: the size of an elastic run over time.",
                "short",
                (
                    PanelQuery(largest(gpus()), "{{run}} GPUs"),
                    PanelQuery(largest(recorded(RUN_NODES, scope="job")), "{{run}} nodes"),
                ),
                no_value=NONE,
            ),
            third(
                f"Power{OF_MOST}",
                "Power of a run's GPUs over five minutes, with a running kernel and without one "
                "(workload_energy_joules_total). Empty while the energy of any of its workloads is unknown.",
                "watt",
                (PanelQuery(largest(active), "{{run}} active"), PanelQuery(largest(idle), "{{run}} idle")),
                stacked=True,
                no_value=NONE,
            ),
            third(
                f"Non-GPU share{OF_MOST}",
                "Non-GPU energy of a run (workload_nongpu_energy_joules_total) as a share of its GPU and non-GPU energy. A "
                "whole-node meter covers all non-GPU energy; otherwise only processors and memory are included.",
                "percentunit",
                (PanelQuery(largest(around), "{{run}}"),),
                maximum=1,
                no_value="the ledger records no node meter (sources.node.ledger)",
            ),
            Panel(
                "GPUs lost during a run",
                "Unresponsive GPUs (gpu_up) that a workload of a selected run used in the last 15 minutes. Their energy since "
                "then is a gap with an upper bound, and the run has no joules per step. The GPU's own dashboard has the "
                "reason.",
                "none",
                (
                    PanelQuery(
                        of_selected_workloads(f"group by ({RUN}, instance, workload, gpu) {of_runs(lost())}"),
                        "lost GPU",
                    ),
                ),
                kind="table",
                width=24,
                height=4,
                no_value="every GPU of these runs responds, or no training run is known",
                links=(_TO_GPU,),
            ),
        ),
    )


def steering() -> PanelRow:
    """What steering takes of a run's speed."""

    def steered(signal: str, *, operation: str = "max", scale: str = "") -> str:
        return largest(f"{scale}{by_run(operation, recorded(of_group(signal, operation), scope='node'))}")

    return PanelRow(
        "DVFS of the runs",
        (
            Panel(
                f"Slowdown and budget of runs{OF_MOST}",
                "How much longer a run's work takes under steering, from paired blocks with and without it, with its 95 % "
                "interval (dvfs_slowdown_ratio), and the owners' budget for the whole run, dashed "
                "(dvfs_slowdown_budget_ratio).",
                "percent",
                (
                    *banded(lambda band: steered(f"dvfs_slowdown_ratio{band}", scale="100 * "), "{{run}}"),
                    PanelQuery(steered("dvfs_slowdown_budget_ratio", scale="100 * "), "{{run}} limit"),
                ),
                decimals=1,
                no_value=_NOT_STEERED,
                links=_TO_STEERING,
            ),
            Panel(
                f"SM clock and DVFS limit{OF_MOST}",
                "Highest and lowest clock of a run's steered GPUs (gpu_sm_clock_hertz), and the lowest clock limit applied to "
                "them, if any (dvfs_clock_limit_hertz). One slow rank slows all.",
                "hertz",
                (
                    PanelQuery(steered("gpu_sm_clock_hertz"), "{{run}} highest"),
                    PanelQuery(steered("gpu_sm_clock_hertz", operation="min"), "{{run}} lowest"),
                    PanelQuery(steered("dvfs_clock_limit_hertz", operation="min"), "{{run}} limit"),
                ),
                minimum=0,
                no_value=_NOT_STEERED,
                links=_TO_STEERING,
            ),
        ),
    )


SPEC = DashboardRows({40: build_gpu_row, 50: steering})
