"""Figures of training runs over all their nodes, as PromQL.

A run is the group that its workloads name, or a workload that names none. All its nodes take the same steps and each counts
them, so its steps are those of the node that counts most, and its joules the sum over all workloads. Where the energy of any
of them is not known, as on a GPU that was lost, the run has no joules a step.
"""

from dashboards.board import RATE, recorded, series
from dashboards.joins import AT, MOST
from dashboards.rules import TOKEN_RATE, WORKLOAD_POWER, WORKLOAD_POWER_ERROR
from dashboards.rules_steps import STEP_RATE

RUN = "cluster, job, run"
"""Labels that tell a run."""
BANDS = (("", ""), ("-", ", at least"), ("+", ", at most"))
TRAINING = 'phase="training"'


def of_runs(expr: str) -> str:
    """A series of workloads with the run that each belongs to."""
    return f"({expr} * on ({AT}, workload) group_left (run) {_named(series('workload_info', scope='node'))})"


def by_run(operation: str, expr: str) -> str:
    """An aggregate over the workloads of each run."""
    return f"{operation} by ({RUN}) {of_runs(expr)}"


def members() -> str:
    """How many workloads a run has."""
    return f"count by ({RUN}) ({_named(series('workload_info', scope='node'))})"


def power(band: str = "", *, boundary: str = "gpu", energy: str = "active_idle") -> str:
    """Power of a run's GPUs, idle included unless said; "-" and "+" are the ends of its band."""
    chosen = f'boundary="{boundary}",energy="{energy}"'
    watts = recorded(WORKLOAD_POWER, chosen, scope="node")
    if band:
        watts = f"({watts} {band} {recorded(WORKLOAD_POWER_ERROR, chosen, scope='node')})"
    return f"({by_run('sum', watts)} and {by_run('count', watts)} == {members()})"


def steps(*matchers: str) -> str:
    """Steps a second of a run, of those phases that the matchers leave."""
    return f"max by ({RUN}) (sum by ({AT}, run) {of_runs(recorded(STEP_RATE, *matchers, scope='node'))})"


def steps_in(window: str) -> str:
    """Steps of training that a run took."""
    taken = f"increase({series('steps_total', TRAINING, scope='node')}[{window}])"
    return f"max by ({RUN}) (sum by ({AT}, run) {of_runs(taken)})"


def tokens() -> str:
    """Tokens a second that a run trains on, those of all its ranks."""
    return by_run("sum", recorded(TOKEN_RATE, 'tokens="training"', scope="node"))


def tokens_in(window: str) -> str:
    """Tokens that a run trained on."""
    return by_run("sum", f"increase({series('tokens_total', TRAINING, scope='node')}[{window}])")


def energy_in(window: str, band: str = "") -> str:
    """Energy of a run's GPUs; the ends of its band are from the sensors' systematic error, which adds up over GPUs.

    That error is a share of the energy, taken from the power and its error as recorded over the window.
    """
    energy = by_run("sum", f"increase({series('workload_energy_joules_total', scope='node')}[{window}])")
    if not band:
        return energy
    of_gpus = 'boundary="gpu",energy="active_idle"'
    error, watts = (
        by_run("sum", f"sum_over_time({recorded(name, of_gpus, scope='node')}[{window}])")
        for name in (WORKLOAD_POWER_ERROR, WORKLOAD_POWER)
    )
    return f"{energy} * (1 {band} {error} / ({watts} > 0))"


def gpus(*matchers: str) -> str:
    """How many GPUs a run holds: its GPU time a second, which counts lost GPUs too."""
    return by_run("sum", f"rate({series('workload_gpu_seconds_total', *matchers, scope='node')}[{RATE}])")


def gpu_time_in(window: str) -> str:
    """GPU time that a run held."""
    return by_run("sum", f"increase({series('workload_gpu_seconds_total', scope='node')}[{window}])")


def lost() -> str:
    """GPUs that do not answer and that a workload held in the last quarter of an hour."""
    held = series("workload_energy_joules_total", 'state="active"', scope="node")
    seen = f"group by ({AT}, workload, uuid) (present_over_time({held}[15m]))"
    return f"({seen} * on ({AT}, uuid) group_left (gpu) ({series('gpu_up', scope='node')} == 0))"


def chosen(expr: str) -> str:
    """Of a series of runs those that train and have a chosen workload."""
    named = f"group by ({RUN}) ({_named(series('workload_info', scope='workload'))})"
    return f"({expr} and on ({RUN}) {steps()} and on ({RUN}) {named})"


def largest(expr: str) -> str:
    """Of those the ones that hold most GPUs."""
    return f"{expr} and on ({RUN}) topk({MOST}, {chosen(gpus())})"


def _named(info: str) -> str:
    named = f'label_replace({info}, "run", "$1", "workload", "(.+)")'
    return f'group by ({AT}, workload, run) (label_replace({named}, "run", "$1", "group", "(.+)"))'
