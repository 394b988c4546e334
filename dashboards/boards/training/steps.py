"""Rows of what training runs cost and do: joules per step and token, steps, phases."""

from dashboards.panels import GrafanaRow, Queries, Query, band, graph, link, row, stat, third, wide_table
from dashboards.promql.runs import (
    RUN,
    TRAINING,
    gpus,
    largest,
    lost,
    members,
    of_runs,
    of_selected_workloads,
    power,
    range_energy,
    range_gpu_time,
    range_steps,
    range_tokens,
    steps,
    tokens,
)
from dashboards.promql.selectors import MOST, recorded
from dashboards.rules.runs import JOULES_PER_STEP, RUN_STEPS

NONE = "no training run: no workload reports steps (docs/training.md), or the recording rules are not loaded"
OF_MOST = f", {MOST} largest runs"
_NOT_NOW = "not measurable now: no steps in the last five minutes, a GPU is lost, or the recording rules are not loaded"
_ROWS = 20


def now() -> GrafanaRow:
    """All chosen runs together."""
    all_runs, run_gpus = of_selected_workloads(members()), of_selected_workloads(gpus())
    under = f"group by ({RUN}, instance, uuid) {of_runs(lost())}"
    return row(
        "Now",
        stat(
            "Runs",
            "Training runs with a step in the last five minutes, and all known runs (training_steps_total). A run stays "
            "known for 15 minutes after its end.",
            "none",
            {
                "running": f"count({of_selected_workloads(f'({steps()} > 0)')}) or 0 * count({all_runs})",
                "known": f"count({all_runs})",
            },
            no_value=NONE,
        ),
        stat(
            "GPUs",
            "GPUs allocated to the runs now, lost ones included (GPU time per second, workload_gpu_seconds_total), and "
            "unresponsive GPUs (gpu_up) that a workload of a run used in the last 15 minutes.",
            "none",
            {
                "allocated": f"sum({run_gpus})",
                "lost": f"count({of_selected_workloads(under)}) or 0 * count({all_runs})",
            },
            decimals=0,
            no_value=NONE,
        ),
        stat(
            "Power",
            "GPU power of all runs, idle included, over five minutes (workload_energy_joules_total). Runs with a lost GPU "
            "are excluded because their power is unknown.",
            "watt",
            {"power": f"sum({of_selected_workloads(power())})"},
            no_value=NONE,
        ),
        stat(
            "Energy in the selected range",
            "GPU energy of all runs in the selected range, idle, evaluation and checkpoints included, with bounds from the "
            "sensors' systematic error (workload_energy_joules_total).",
            "joule",
            band(lambda end: f"sum({of_selected_workloads(range_energy(end))})"),
            width=8,
            no_value=NONE,
        ),
        stat(
            "Tokens/s",
            "Training tokens per second of all runs, over five minutes (tokens_total, phase training).",
            "short",
            {"tokens": f"sum({of_selected_workloads(tokens())})"},
            no_value="no run reports its tokens, or the recording rules are not loaded",
        ),
    )


def work() -> GrafanaRow:
    """Joules by unit of work."""

    def per(done: str) -> Queries:
        return band(lambda end: largest(f"{power(end)} / ({done} > 0)"), "{{run}}")

    node = recorded(JOULES_PER_STEP, 'energy="active_idle"')
    return row(
        "Energy per step and token",
        graph(
            f"Energy per step{OF_MOST}",
            "Energy of all GPUs of a run on all its nodes, idle, evaluation and checkpoints included, divided by its "
            "training steps over five minutes, for the runs with the most GPU time. At least and at most: bounds from the "
            "sensors' systematic error. Empty without steps, and while the energy of any of its workloads is unknown.",
            "suffix:J/step",
            per(steps(TRAINING)),
            no_value=_NOT_NOW,
            links=link("Steering", "wattlens-dvfs"),
        ),
        graph(
            f"Energy per token{OF_MOST}",
            "The same energy divided by the training tokens of all ranks (tokens_total, phase training). GPUs only: no "
            "host, no cooling.",
            "suffix:J/token",
            per(tokens()),
            no_value="not measurable now: no tokens reported in the last five minutes, a GPU is lost, or the recording "
            "rules are not loaded",
        ),
        third(
            f"Steps per second{OF_MOST}",
            "Training steps per second, from the node with the highest count, over five minutes (training_steps_total).",
            "suffix:steps/s",
            {"{{run}}": largest(steps(TRAINING))},
            no_value=NONE,
        ),
        third(
            f"Tokens per second{OF_MOST}",
            "Training tokens per second of all ranks of a run, over five minutes (tokens_total, phase training).",
            "short",
            {"{{run}}": largest(tokens())},
            no_value="no run reports its tokens, or the recording rules are not loaded",
        ),
        third(
            f"Energy per step by node, top {MOST}",
            "Energy per step of each node, idle included (workload_energy_joules_total divided by training_steps_total, "
            "over five minutes). All nodes of a run take the same steps, so check a node that needs more energy than the "
            "others.",
            "suffix:J/step",
            {"{{instance}} {{workload}}": f"topk({MOST}, {node})"},
            no_value=_NOT_NOW,
            links=link("GPUs of the node", "wattlens-gpu", "instance"),
        ),
    )


def progress() -> GrafanaRow:
    """Work in the selected time range, and its phases."""

    def most(expr: str) -> str:
        return f"{of_selected_workloads(expr)} and on ({RUN}) topk({_ROWS}, {of_selected_workloads(range_gpu_time())})"

    busy = gpus('state="active"')
    done = f"({range_steps()} > 0)"
    return row(
        "Progress",
        wide_table(
            f"Top {_ROWS} runs by GPU time",
            "Steps, energy with bounds from the sensors' systematic error, joules per step and token, and allocated GPU "
            "time, all in the selected range (training_steps_total, tokens_total, workload_energy_joules_total, "
            "workload_gpu_seconds_total). A run is listed until 15 minutes after its end.",
            "joule",
            {
                "steps": Query(most(range_steps()), "short"),
                **band(lambda end: most(range_energy(end)), "energy"),
                "J/step": Query(most(f"{range_energy()} / {done}"), "suffix:J/step"),
                "J/token": Query(most(f"{range_energy()} / ({range_tokens()} > 0)"), "suffix:J/token"),
                "GPU time": Query(most(range_gpu_time()), "s"),
            },
            height=6,
            no_value=NONE,
        ),
        graph(
            f"Steps by phase{OF_MOST}",
            "Steps per second by phase: training, evaluation and other phases that the run reports (training_steps_total), "
            "over five minutes, from the node with the highest count. Waiting, such as for checkpoints, appears as idle "
            "GPU time.",
            "suffix:steps/s",
            {"{{run}} {{phase}}": largest(recorded(RUN_STEPS, scope="job"))},
            no_value=NONE,
        ),
        graph(
            f"Active GPU time{OF_MOST}",
            "GPU time of a run with a running kernel, as a share of its allocated GPU time (workload_gpu_seconds_total, "
            "state active). The rest is time spent on waiting: data, checkpoints, other ranks.",
            "percentunit",
            {"{{run}}": largest(f"clamp_max({busy} / ({gpus()} > 0), 1)")},
            no_value=NONE,
        ),
    )


SPEC = {10: now, 20: work, 30: progress}
