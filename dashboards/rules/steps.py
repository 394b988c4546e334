"""Recording rules for Prometheus: joules per step of training, with their band, from the joule and step counters.

The ranks of a job on one node take a step together, and each node counts it: the rule is for each node, and joules per step of
a job are the sum over its nodes. Energy of evaluation and checkpoints is in it; their steps are not.
"""

from collections.abc import Iterator

from dashboards.rules.model import BANDS, WINDOW, WORKLOAD_POWER, WORKLOAD_POWER_ERROR, Rule, banded
from energy_agent.core.catalogue.node import metric

STEP_RATE = f"instance_workload_phase:wattlens_steps:rate{WINDOW}"


def joules_per_step(band: str = "") -> str:
    """Name of the rule; `band` is "", "_low" or "_high"."""
    if band not in BANDS:
        raise LookupError(f"no joules per step with band {band!r}")
    return f"instance_workload:wattlens_joules_per_step{band}:ratio_rate{WINDOW}"


def step_rules() -> Iterator[Rule]:
    """The rules, after those that record the power of workloads."""
    yield Rule(STEP_RATE, f"rate({metric('steps_total')}[{WINDOW}])")
    steps = f'{STEP_RATE}{{phase="training"}}'
    for band in BANDS:
        watts = banded(WORKLOAD_POWER, WORKLOAD_POWER_ERROR, band, 'boundary="gpu"')
        yield Rule(
            joules_per_step(band), f"{watts} / ignoring (boundary, energy) group_left () (sum without (phase) ({steps}) > 0)"
        )
