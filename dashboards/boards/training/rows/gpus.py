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
    around = f"(1 - {power()} / on ({RUN}) ({power(boundary='node')} > 0))"
    active = power(energy="active")
    # Two rules one after the other: a scrape that arrives between them is in the second alone.
    idle = f"clamp_min({power()} - {active}, 0)"
    return PanelRow(
        "GPUs of the runs",
        (
            third(
                f"GPUs and nodes{OF_MOST}",
                "GPUs that a run holds (GPU time per second, workload_gpu_seconds_total), lost ones too, and the nodes on "
                "which it holds any: its size as an elastic run grows and shrinks.",
                "short",
                (
                    PanelQuery(largest(gpus()), "{{run}} GPUs"),
                    PanelQuery(largest(recorded(RUN_NODES, scope="job")), "{{run}} nodes"),
                ),
                no_value=NONE,
            ),
            third(
                f"Power{OF_MOST}",
                "Power of a run's GPUs over five minutes, while a kernel ran and while they were only held "
                "(workload_energy_joules_total). None while the energy of any of its workloads is not known.",
                "watt",
                (PanelQuery(largest(active), "{{run}} active"), PanelQuery(largest(idle), "{{run}} idle")),
                stacked=True,
                no_value=NONE,
            ),
            third(
                f"Non-GPU share{OF_MOST}",
                "A run's share of the energy around its GPUs (workload_nongpu_energy_joules_total), by that and the energy of "
                "its GPUs together. Where a meter reads the whole node it is all the rest; else processors and memory alone.",
                "percentunit",
                (PanelQuery(largest(around), "{{run}}"),),
                maximum=1,
                no_value="no meter of the node is booked (sources.node.ledger)",
            ),
            Panel(
                "GPUs lost during a run",
                "GPUs that do not answer (gpu_up) and that a workload of a chosen run held in the last quarter of an hour. Its "
                "energy since is a gap with a bound, and the run has no joules per step. The GPU's own dashboard has the "
                "reason.",
                "none",
                (
                    PanelQuery(
                        of_selected_workloads(f"group by ({RUN}, instance, workload, gpu) {of_runs(lost())}"),
                        "lost under a run",
                    ),
                ),
                kind="table",
                width=24,
                height=4,
                no_value="every GPU of these runs answers, or no training run is known",
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
                "How much longer a run's work takes under steering, by paired blocks with and without it, with its 95 % "
                "interval (dvfs_slowdown_ratio), and how much longer its owners let the whole run take, dashed "
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
                "Highest and lowest clock among the GPUs of a run that are steered (gpu_sm_clock_hertz), and the lowest clock "
                "that steering allows, where it is in force (dvfs_clock_limit_hertz). One slow rank slows all.",
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
