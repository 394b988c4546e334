"""Figures of training runs over all their nodes, as PromQL: what `dashboards.rules.runs` records of them, and sums of counters.

Choosing a node or a workload chooses the runs that have one there, and these are shown whole.
"""

from dashboards.promql.selectors import AT, MOST, of_node, recorded
from dashboards.rules.model import bound
from dashboards.rules.runs import ENERGY, GPU_TIME, MEMBER, RUN_GPUS, RUN_POWER, RUN_POWER_ERROR, RUN_STEPS, RUN_TOKENS

RUN = "cluster, job, run"
"""Labels that identify a run."""
TRAINING = 'phase="training"'


def of_runs(expr: str) -> str:
    """A series of workloads with the run that each belongs to."""
    return f"({expr} * on ({AT}, workload) group_left (run) {recorded(MEMBER, scope='node')})"


def by_run(operation: str, expr: str) -> str:
    """An aggregate over the workloads of each run."""
    return f"{operation} by ({RUN}) {of_runs(expr)}"


def members() -> str:
    """How many workloads a run has."""
    return f"count by ({RUN}) ({recorded(MEMBER, scope='node')})"


def power(band: str = "", *, boundary: str = "gpu", energy: str = "active_idle") -> str:
    """Power of a run's GPUs, idle included by default, or an end of its band."""
    chosen = f'boundary="{boundary}",energy="{energy}"'
    watts, error = (recorded(name, chosen, scope="job") for name in (RUN_POWER, RUN_POWER_ERROR))
    return f"max by ({RUN}) ({bound(watts, error, band)})"


def steps(*matchers: str) -> str:
    """Steps per second of a run, of those phases that the matchers leave."""
    return f"sum by ({RUN}) ({recorded(RUN_STEPS, *matchers, scope='job')})"


def range_steps() -> str:
    """Steps of training that a run took."""
    taken = f"increase({of_node('training_steps_total', TRAINING)}[$__range])"
    return f"max by ({RUN}) (sum by ({AT}, run) {of_runs(taken)})"


def tokens() -> str:
    """Tokens per second that a run trains on, those of all its ranks."""
    return recorded(RUN_TOKENS, scope="job")


def range_tokens() -> str:
    """Tokens that a run trained on."""
    return by_run("sum", f"increase({of_node('tokens_total', TRAINING)}[$__range])")


def range_energy(band: str = "") -> str:
    """Energy of a run's GPUs; the ends of its band are from the sensors' systematic error, which adds up over GPUs.

    That error is a share of the energy, taken from the power and its error as recorded over the window.
    """
    energy = by_run("sum", f"increase({recorded(ENERGY, scope='node')}[$__range])")
    of_gpus = 'boundary="gpu",energy="active_idle"'
    error, watts = (
        f"sum by ({RUN}) (sum_over_time({recorded(name, of_gpus, scope='job')}[$__range]))"
        for name in (RUN_POWER_ERROR, RUN_POWER)
    )
    return f"{energy} * {bound('1', f'{error} / ({watts} > 0)', band)}" if band else energy


def gpus(*matchers: str) -> str:
    """How many GPUs a run holds: its GPU time per second, which counts lost GPUs too."""
    return f"sum by ({RUN}) ({recorded(RUN_GPUS, *matchers, scope='job')})"


def range_gpu_time() -> str:
    """Allocated GPU time of a run."""
    return by_run("sum", f"increase({recorded(GPU_TIME, scope='node')}[$__range])")


def lost() -> str:
    """Unresponsive GPUs that a workload used in the last quarter of an hour."""
    active_energy = of_node("workload_energy_joules_total", 'state="active"')
    active_gpus = f"group by ({AT}, workload, uuid) (present_over_time({active_energy}[15m]))"
    return f"({active_gpus} * on ({AT}, uuid) group_left (gpu) ({of_node('gpu_up')} == 0))"


def of_selected_workloads(expr: str) -> str:
    """Of a series of runs those that have a chosen workload."""
    return f"({expr} and on ({RUN}) group by ({RUN}) ({recorded(MEMBER, scope='workload')}))"


def largest(expr: str) -> str:
    """The runs with the most GPU time in the selected time range: the same ones for the whole graph."""
    gpu_time = f"sum by ({RUN}) (sum_over_time({recorded(RUN_GPUS, scope='job')}[$__range] @ end()))"
    members = f"group by ({RUN}) (last_over_time({recorded(MEMBER, scope='workload')}[$__range] @ end()))"
    return f"{expr} and on ({RUN}) topk({MOST}, {gpu_time} and on ({RUN}) {members})"
