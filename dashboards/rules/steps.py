"""Recording rules for Prometheus: joules per step of training, with their band, from the joule and step counters.

The ranks of a job on one node take a step together, and each node counts it: the rule is for each node, and joules per step of
a job are the sum over its nodes. Energy of evaluation and checkpoints is in it; their steps are not.
"""

from collections.abc import Iterator

from dashboards.rules.model import BANDS, WINDOW, WORKLOAD_POWER, WORKLOAD_POWER_ERROR, Rule, bound, end_of
from energy_agent.core.catalogue.node import metric

JOULES_PER_STEP = f"instance_workload:wattlens_joules_per_step:ratio_rate{WINDOW}"
STEP_RATE = f"instance_workload_phase:wattlens_steps:rate{WINDOW}"


def step_rules() -> Iterator[Rule]:
    """The rules, after those that record the power of workloads."""
    yield Rule(STEP_RATE, f"rate({metric('steps_total')}[{WINDOW}])")
    gpu, steps = '{boundary="gpu"}', f'{STEP_RATE}{{phase="training"}}'
    for band in BANDS:
        watts = bound(WORKLOAD_POWER + gpu, WORKLOAD_POWER_ERROR + gpu, band)
        expr = f"{watts} / ignoring (boundary, energy) group_left () (sum without (phase) ({steps}) > 0)"
        yield Rule(end_of(JOULES_PER_STEP, band), expr)
