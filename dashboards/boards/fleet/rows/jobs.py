"""The row of jobs: energy and idle energy of the largest batch jobs over all their nodes, Slurm jobs included."""

from dashboards.dashboard import DashboardRows, Panel, PanelQuery, PanelRow, banded
from dashboards.promql.sums import over_fleet
from dashboards.rules.fleet import FACT_POWER, FACT_POWER_ERROR
from dashboards.rules.model import bound

MOST = 10
JOBS = 'owner=~".*Job/.+|JobSet/.+|RayCluster/.+|PodGroup/.+"'
"""Owners that are jobs: Job, TrainJob, PyTorchJob, RayJob and others, Volcano's and Slurm's jobs; no services."""
_BY = "cluster, namespace, owner"
_NONE = "no job is known, or the recording rules are not loaded"


def jobs() -> PanelRow:
    """The largest jobs, and their power."""
    energy, idle = (f"sum by ({_BY}) ({over_fleet(FACT_POWER, JOBS, *of)})" for of in ((), ('state="idle"',)))
    error = f"sum by ({_BY}) ({over_fleet(FACT_POWER_ERROR, JOBS)})"
    most = f"topk({MOST}, {energy} > 0)"
    return PanelRow(
        "Jobs",
        (
            Panel(
                f"Top {MOST} jobs by energy",
                "GPU energy of a job over all its nodes and pods in the selected range, replaced ones included "
                "(workload_energy_joules_total by workload_info), with bounds from the sensors' systematic error, and its part "
                "while GPUs were allocated and no kernel ran. `wattlens job` prints J/step, J/token and nodes.",
                "joule",
                (
                    *banded(lambda band: bound(most, f"on ({_BY}) {error}", band), column="energy"),
                    PanelQuery(f"{idle} and on ({_BY}) {most}", "idle"),
                    PanelQuery(f"{idle} / on ({_BY}) {most}", "idle share", "percentunit"),
                ),
                kind="table",
                width=24,
                no_value=_NONE,
            ),
        ),
    )


SPEC = DashboardRows({55: jobs})
