"""Rows of what training runs cost and do: joules per step and token, steps, phases."""

from dashboards.boards.training.runs import (
    RUN,
    TRAINING,
    energy_in,
    gpu_time_in,
    gpus,
    largest,
    lost,
    members,
    of_runs,
    of_selected_workloads,
    power,
    steps,
    steps_in,
    tokens,
    tokens_in,
)
from dashboards.dashboard import RANGE, DashboardRows, Link, Panel, PanelQuery, PanelRow, banded, figure, recorded, third
from dashboards.promql.joins import MOST
from dashboards.rules.runs import RUN_STEPS
from dashboards.rules.steps import JOULES_PER_STEP

NONE = "no training run: no workload reports steps (docs/training.md), or the recording rules are not loaded"
OF_MOST = f", {MOST} largest runs"
_NOT_NOW = "not measurable now: no steps in the last five minutes, a GPU is lost, or the recording rules are not loaded"
_ROWS = 20


def now() -> PanelRow:
    """All chosen runs together."""
    known, held = of_selected_workloads(members()), of_selected_workloads(gpus())
    under = f"group by ({RUN}, instance, uuid) {of_runs(lost())}"
    return PanelRow(
        "Now",
        (
            figure(
                "Runs",
                "Training runs with a step in the last five minutes, and all known runs (training_steps_total). A run stays "
                "known for 15 minutes after its end.",
                "none",
                (
                    PanelQuery(f"count({of_selected_workloads(f'({steps()} > 0)')}) or 0 * count({known})", "running"),
                    PanelQuery(f"count({known})", "known"),
                ),
                no_value=NONE,
            ),
            figure(
                "GPUs",
                "GPUs allocated to the runs now, lost ones included (GPU time per second, workload_gpu_seconds_total), and "
                "unresponsive GPUs (gpu_up) that a workload of a run used in the last 15 minutes.",
                "none",
                (
                    PanelQuery(f"sum({held})", "allocated"),
                    PanelQuery(f"count({of_selected_workloads(under)}) or 0 * count({known})", "lost"),
                ),
                decimals=0,
                no_value=NONE,
            ),
            figure(
                "Power",
                "GPU power of all runs, idle included, over five minutes (workload_energy_joules_total). Runs with a lost GPU "
                "are excluded because their power is unknown.",
                "watt",
                (PanelQuery(f"sum({of_selected_workloads(power())})", "power"),),
                no_value=NONE,
            ),
            figure(
                "Energy in the selected range",
                "GPU energy of all runs in the selected range, idle, evaluation and checkpoints included, with bounds from the "
                "sensors' systematic error (workload_energy_joules_total).",
                "joule",
                banded(lambda band: f"sum({of_selected_workloads(energy_in(RANGE, band))})"),
                width=8,
                no_value=NONE,
            ),
            figure(
                "Tokens/s",
                "Training tokens per second of all runs, over five minutes (tokens_total, phase training).",
                "short",
                (PanelQuery(f"sum({of_selected_workloads(tokens())})", "tokens"),),
                no_value="no run reports its tokens, or the recording rules are not loaded",
            ),
        ),
    )


def work() -> PanelRow:
    """Joules by unit of work."""

    def per(done: str) -> tuple[PanelQuery, ...]:
        return banded(lambda band: largest(f"{power(band)} / ({done} > 0)"), "{{run}}")

    node = recorded(JOULES_PER_STEP, 'energy="active_idle"')
    return PanelRow(
        "Energy per step and token",
        (
            Panel(
                f"Energy per step{OF_MOST}",
                "Energy of all GPUs of a run on all its nodes, idle, evaluation and checkpoints included, divided by its "
                "training steps over five minutes, for the runs with the most GPU time. At least and at most: bounds from the "
                "sensors' systematic error. Empty without steps, and while the energy of any of its workloads is unknown.",
                "suffix:J/step",
                per(steps(TRAINING)),
                minimum=0,
                no_value=_NOT_NOW,
                links=(Link("Steering", "wattlens-dvfs"),),
            ),
            Panel(
                f"Energy per token{OF_MOST}",
                "The same energy divided by the training tokens of all ranks (tokens_total, phase training). GPUs only: no "
                "host, no cooling.",
                "suffix:J/token",
                per(tokens()),
                minimum=0,
                no_value="not measurable now: no tokens reported in the last five minutes, a GPU is lost, or the recording "
                "rules are not loaded",
            ),
            third(
                f"Steps per second{OF_MOST}",
                "Training steps per second, from the node with the highest count, over five minutes (training_steps_total).",
                "suffix:steps/s",
                (PanelQuery(largest(steps(TRAINING)), "{{run}}"),),
                no_value=NONE,
            ),
            third(
                f"Tokens per second{OF_MOST}",
                "Training tokens per second of all ranks of a run, over five minutes (tokens_total, phase training).",
                "short",
                (PanelQuery(largest(tokens()), "{{run}}"),),
                no_value="no run reports its tokens, or the recording rules are not loaded",
            ),
            third(
                f"Energy per step by node, top {MOST}",
                "Energy per step of each node, idle included (workload_energy_joules_total divided by training_steps_total, "
                "over five minutes). All nodes of a run take the same steps, so check a node that needs more energy than the "
                "others.",
                "suffix:J/step",
                (PanelQuery(f"topk({MOST}, {node})", "{{instance}} {{workload}}"),),
                no_value=_NOT_NOW,
                links=(Link("GPUs of the node", "wattlens-gpu", {"instance": "instance"}),),
            ),
        ),
    )


def progress() -> PanelRow:
    """Work in the selected time range, and its phases."""

    def most(expr: str) -> str:
        return f"{of_selected_workloads(expr)} and on ({RUN}) topk({_ROWS}, {of_selected_workloads(gpu_time_in(RANGE))})"

    busy = gpus('state="active"')
    done = f"({steps_in(RANGE)} > 0)"
    return PanelRow(
        "Progress",
        (
            Panel(
                f"Top {_ROWS} runs by GPU time",
                "Steps, energy with bounds from the sensors' systematic error, joules per step and token, and allocated GPU "
                "time, all in the selected range (training_steps_total, tokens_total, workload_energy_joules_total, "
                "workload_gpu_seconds_total). A run is listed until 15 minutes after its end.",
                "joule",
                (
                    PanelQuery(most(steps_in(RANGE)), "steps", "short"),
                    *banded(lambda band: most(energy_in(RANGE, band)), "energy"),
                    PanelQuery(most(f"{energy_in(RANGE)} / {done}"), "J/step", "suffix:J/step"),
                    PanelQuery(most(f"{energy_in(RANGE)} / ({tokens_in(RANGE)} > 0)"), "J/token", "suffix:J/token"),
                    PanelQuery(most(gpu_time_in(RANGE)), "GPU time", "s"),
                ),
                kind="table",
                width=24,
                height=6,
                no_value=NONE,
            ),
            Panel(
                f"Steps by phase{OF_MOST}",
                "Steps per second by phase: training, evaluation and other phases that the run reports (training_steps_total), "
                "over five minutes, from the node with the highest count. Waiting, such as for checkpoints, appears as idle "
                "GPU time.",
                "suffix:steps/s",
                (PanelQuery(largest(recorded(RUN_STEPS, scope="job")), "{{run}} {{phase}}"),),
                minimum=0,
                no_value=NONE,
            ),
            Panel(
                f"Active GPU time{OF_MOST}",
                "GPU time of a run with a running kernel, as a share of its allocated GPU time (workload_gpu_seconds_total, "
                "state active). The rest is time spent on waiting: data, checkpoints, other ranks.",
                "percentunit",
                (PanelQuery(largest(f"clamp_max({busy} / ({gpus()} > 0), 1)"), "{{run}}"),),
                minimum=0,
                maximum=1,
                no_value=NONE,
            ),
        ),
    )


SPEC = DashboardRows({10: now, 20: work, 30: progress})
