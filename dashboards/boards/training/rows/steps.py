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
_NOT_NOW = "not measurable now: no steps in the last five minutes, a GPU lost, or the recording rules not loaded"
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
                "Training runs that took a step in the last five minutes, and all that are known (training_steps_total). A run "
                "that ended stays known for 15 minutes.",
                "none",
                (
                    PanelQuery(f"count({of_selected_workloads(f'({steps()} > 0)')}) or 0 * count({known})", "running"),
                    PanelQuery(f"count({known})", "known"),
                ),
                no_value=NONE,
            ),
            figure(
                "GPUs",
                "GPUs that the runs hold now (GPU time per second, workload_gpu_seconds_total), lost ones too, and how many do "
                "not answer (gpu_up) though a workload of a run held them in the last quarter of an hour.",
                "none",
                (
                    PanelQuery(f"sum({held})", "held"),
                    PanelQuery(f"count({of_selected_workloads(under)}) or 0 * count({known})", "lost"),
                ),
                decimals=0,
                no_value=NONE,
            ),
            figure(
                "Power",
                "Power of the GPUs of all runs, idle included, over five minutes (workload_energy_joules_total). Runs with a "
                "lost GPU are left out, as their power is not known.",
                "watt",
                (PanelQuery(f"sum({of_selected_workloads(power())})", "power"),),
                no_value=NONE,
            ),
            figure(
                "Energy in the selected range",
                "Energy of the GPUs of all runs over the selected range, idle, evaluation and checkpoints included, with the "
                "ends of its band from the sensors' systematic error (workload_energy_joules_total).",
                "joule",
                banded(lambda band: f"sum({of_selected_workloads(energy_in(RANGE, band))})"),
                width=8,
                no_value=NONE,
            ),
            figure(
                "Tokens/s",
                "Tokens that all runs train on, over five minutes (tokens_total, phase training).",
                "short",
                (PanelQuery(f"sum({of_selected_workloads(tokens())})", "tokens"),),
                no_value="no run tells its tokens, or the recording rules are not loaded",
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
                "Of the runs that held most GPU time: energy of all GPUs of a run on all its nodes, idle, evaluation and "
                "checkpoints included, by its steps of training over five minutes; at least and at most are the ends of the "
                "band from the sensors' systematic error. Empty without steps, and while the energy of any of its workloads is "
                "not known.",
                "suffix:J/step",
                per(steps(TRAINING)),
                minimum=0,
                no_value=_NOT_NOW,
                links=(Link("Its steering", "wattlens-dvfs"),),
            ),
            Panel(
                f"Energy per token{OF_MOST}",
                "The same energy by the tokens that all ranks trained on (tokens_total, phase training). GPUs alone: no host, "
                "no cooling.",
                "suffix:J/token",
                per(tokens()),
                minimum=0,
                no_value="not measurable now: no tokens told in the last five minutes, a GPU lost, or the rules not loaded",
            ),
            third(
                f"Steps per second{OF_MOST}",
                "Steps of training by the node that counts most, over five minutes (training_steps_total).",
                "suffix:steps/s",
                (PanelQuery(largest(steps(TRAINING)), "{{run}}"),),
                no_value=NONE,
            ),
            third(
                f"Tokens per second{OF_MOST}",
                "Tokens that all ranks of a run train on, over five minutes (tokens_total, phase training).",
                "short",
                (PanelQuery(largest(tokens()), "{{run}}"),),
                no_value="no run tells its tokens, or the recording rules are not loaded",
            ),
            third(
                f"Energy per step by node, top {MOST}",
                "What each node takes for a step, idle included (workload_energy_joules_total by training_steps_total, over "
                "five minutes). All nodes of a run take the same steps, so check one that takes more than the others.",
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
                "Steps, energy with the ends of its band from the sensors' systematic error, joules per step and token, and "
                "the GPU time held, all of the selected range (training_steps_total, tokens_total, "
                "workload_energy_joules_total, workload_gpu_seconds_total). A run that ended is here while it is known, for "
                "15 minutes.",
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
                "Steps per second by what they were: training, evaluation and others that the run tells "
                "(training_steps_total), over five minutes, by the node that counts most. Waits such as checkpoints show as "
                "idle GPU time.",
                "suffix:steps/s",
                (PanelQuery(largest(recorded(RUN_STEPS, scope="job")), "{{run}} {{phase}}"),),
                minimum=0,
                no_value=NONE,
            ),
            Panel(
                f"Active GPU time{OF_MOST}",
                "GPU time of a run while a kernel ran, by all GPU time that it held (workload_gpu_seconds_total, state "
                "active). The rest is paid for waiting: data, checkpoints, other ranks.",
                "percentunit",
                (PanelQuery(largest(f"clamp_max({busy} / ({gpus()} > 0), 1)"), "{{run}}"),),
                minimum=0,
                maximum=1,
                no_value=NONE,
            ),
        ),
    )


SPEC = DashboardRows({10: now, 20: work, 30: progress})
