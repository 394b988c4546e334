"""Recording rules for Prometheus: joules per step of training, and training runs over all their nodes.

A run is the job that its workloads name, joined for one owner only (label `run` of workload_info), or a workload without such a
job, of which at least one counts steps. Recorded, as to
name the run of every workload of a fleet at every step of a graph takes seconds. A run has power only while that of each of its
workloads is known; its error adds up over them, as the systematic part of the sensors' does. All nodes of a run take the same
steps and each counts them, so its steps are those of the node that counts most.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.model import TOKEN_RATE, WINDOW, WORKLOAD_POWER, WORKLOAD_POWER_ERROR, RecordingRule
from energy_agent.core.catalogue.node import metric

MEMBER: Final = "instance_workload_run:wattlens_training:info"
"""1 for each workload of a run, with the run's name."""
JOULES_PER_STEP: Final = f"instance_workload:wattlens_joules_per_step:ratio_rate{WINDOW}"
STEP_RATE: Final = f"instance_workload_phase:wattlens_training_steps:rate{WINDOW}"
RUN_POWER: Final = f"run:wattlens_workload_energy_joules:rate{WINDOW}"
RUN_POWER_ERROR: Final = f"run:wattlens_workload_energy_uncertainty_joules:rate{WINDOW}"
RUN_STEPS: Final = f"run_phase:wattlens_training_steps:rate{WINDOW}"
RUN_TOKENS: Final = f"run:wattlens_training_tokens:rate{WINDOW}"
RUN_GPUS: Final = "run_state:wattlens_workload_gpu_seconds:rate1m"
"""GPU time per second: how many GPUs the run holds, lost ones too."""
RUN_NODES: Final = "run:wattlens_nodes:count1m"
ENERGY: Final = "uuid_workload:wattlens_workload_energy_joules_total"
GPU_TIME: Final = "instance_workload:wattlens_workload_gpu_seconds_total"
"""Counters of any workload, also before its first step; each GPU or workload for itself, as a sum would fall when one ends."""
_AT: Final = "cluster, job, instance"
_RUN: Final = "cluster, job, run"


def step_rules() -> Iterator[RecordingRule]:
    """Joules per step of training, after the rules that record the power of workloads.

    The ranks of a job on one node take a step together, and each node counts it: the rule is for each node, and joules per
    step of a job are the sum over its nodes. Energy of evaluation and checkpoints is in it; their steps are not.
    """
    yield RecordingRule(STEP_RATE, f"rate({metric('training_steps_total')}[{WINDOW}])")
    watts, steps = f'{WORKLOAD_POWER}{{boundary="gpu"}}', f'sum without (phase) ({STEP_RATE}{{phase="training"}})'
    yield RecordingRule(JOULES_PER_STEP, f"{watts} / ignoring (boundary, energy) group_left () ({steps} > 0)")


def run_rules() -> Iterator[RecordingRule]:
    """Runs, from the last values that the group of joules per token recorded."""
    info = metric("workload_info")
    unnamed_runs = f'label_replace({info}{{run=""}}, "run", "$1", "workload", "(.+)")'
    named = f'group by ({_AT}, workload, run) ({info}{{run!=""}} or {unnamed_runs})'
    stepping = f"group by ({_AT}, workload) (present_over_time({metric('training_steps_total')}[1m]))"
    yield RecordingRule(MEMBER, f"{named} and on ({_RUN}) group by ({_RUN}) ({named} and on ({_AT}, workload) {stepping})")
    for whole, of_workload in ((RUN_POWER, WORKLOAD_POWER), (RUN_POWER_ERROR, WORKLOAD_POWER_ERROR)):
        members = _joined(of_workload)
        complete_runs = (
            f"count by ({_RUN}, boundary, energy) ({members}) == on ({_RUN}) group_left () count by ({_RUN}) ({MEMBER})"
        )
        yield RecordingRule(whole, f"sum by ({_RUN}, boundary, energy) ({members}) and ({complete_runs})")
    yield RecordingRule(RUN_STEPS, f"max by ({_RUN}, phase) (sum by ({_AT}, run, phase) ({_joined(STEP_RATE)}))")
    training = f'{TOKEN_RATE}{{tokens="training"}}'
    yield RecordingRule(RUN_TOKENS, f"sum by ({_RUN}) ({_joined(training)})")
    gpu_time = _joined(f"rate({metric('workload_gpu_seconds_total')}[1m])")
    yield RecordingRule(RUN_GPUS, f"sum by ({_RUN}, state) ({gpu_time})")
    yield RecordingRule(ENERGY, f"sum without (namespace, pod, state, method) ({metric('workload_energy_joules_total')})")
    yield RecordingRule(GPU_TIME, f"sum without (namespace, pod, state) ({metric('workload_gpu_seconds_total')})")
    yield RecordingRule(RUN_NODES, f"count by ({_RUN}) (sum by ({_AT}, run) ({gpu_time}) > 0)")


def _joined(expr: str) -> str:
    return f"{expr} * on ({_AT}, workload) group_left (run) {MEMBER}"
