"""Recording rules for Prometheus: joules per step of training, from the joule and step counters.

The ranks of a job on one node take a step together, and each node counts it: the rule is for each node, and joules per step of
a job are the sum over its nodes. Energy of evaluation and checkpoints is in it; their steps are not.
"""

from collections.abc import Iterator

from dashboards.rules.model import WINDOW, WORKLOAD_POWER, RecordingRule
from energy_agent.core.catalogue.node import metric

JOULES_PER_STEP = f"instance_workload:wattlens_joules_per_step:ratio_rate{WINDOW}"
STEP_RATE = f"instance_workload_phase:wattlens_training_steps:rate{WINDOW}"


def step_rules() -> Iterator[RecordingRule]:
    """The rules, after those that record the power of workloads."""
    yield RecordingRule(STEP_RATE, f"rate({metric('training_steps_total')}[{WINDOW}])")
    watts, steps = f'{WORKLOAD_POWER}{{boundary="gpu"}}', f'sum without (phase) ({STEP_RATE}{{phase="training"}})'
    yield RecordingRule(JOULES_PER_STEP, f"{watts} / ignoring (boundary, energy) group_left () ({steps} > 0)")
