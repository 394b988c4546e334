"""The row of whose GPUs they are: the power and energy of the workloads that hold them."""

from dashboards.dashboard import RATE, DashboardRows, Link, Panel, PanelQuery, PanelRow, increase, series

_ROWS = 20


def workloads() -> PanelRow:
    """The row; a workload's use of its energy is on the inference and training dashboards."""
    energy = increase("workload_energy_joules_total", scope="workload")
    power = f"sum by (workload, state) (rate({series('workload_energy_joules_total', scope='workload')}[{RATE}]))"
    here = {"workload": "workload", "instance": "instance"}
    return PanelRow(
        "Workloads",
        (
            Panel(
                f"Power by workload, top {_ROWS}",
                "Power of each workload, with a running kernel (active) and without one (idle) (workload_energy_joules_total).",
                "watt",
                (PanelQuery(f"topk({_ROWS}, {power})", "{{workload}} {{state}}"),),
                minimum=0,
                stacked=True,
            ),
            Panel(
                f"Energy by workload, top {_ROWS}",
                "Energy of each workload on the GPUs of a node by state (workload_energy_joules_total). Each row links to the "
                "workload's inference and training dashboards.",
                "joule",
                (PanelQuery(f"topk({_ROWS}, sum by (cluster, job, instance, workload, state) ({energy}))", "energy"),),
                kind="table",
                links=(Link("Inference", "wattlens-inference", here), Link("Training", "wattlens-training", here)),
            ),
        ),
    )


SPEC = DashboardRows({60: workloads})
