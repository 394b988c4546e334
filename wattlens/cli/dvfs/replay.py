"""`wattlens dvfs replay`: runs a training policy on measured tables (docs/dvfs-test.md)."""

import argparse
import json
import os
import random
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from wattlens.cli._command import Command, CommandOptions, print_lines, print_table
from wattlens.cli._options import number, share
from wattlens.cli.dvfs.replay_chart import Bar, bars, svg
from wattlens.terminal_line import drawn_line

if TYPE_CHECKING:
    from dvfs.replay.training import ScoreSummary
    from dvfs.tables import SettingTable
    from dvfs.types import Trials

_MOST_ROWS = 12
_BROKEN = "over budget"
_ALL = "all tables"
_COLUMNS = ("SAVING", "BEST", "OF BEST", "SLOWER", "RUN OVER", "CHOICE OVER", "FAR OVER")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played: budget, steps of a run, noise of a step, runs of each table."""

    slowdown: float
    steps: int
    noise: float
    seeds: int
    seed: int


@dataclass(frozen=True, slots=True)
class TableScore:
    """The policy's score on one table, or on all."""

    table: str
    knob: str
    summary: "ScoreSummary"


def _configure(add: CommandOptions) -> None:
    source = add.exclusive(required=True)
    source("--table FILE", "a CSV with power_limit or sm_clock, time and power, such as Zeus's summaries")
    source("--profile FILE", "a profile of wattlens dvfs sweep")
    add("--policy NAME", "policy to score (default: progress)", default="progress")
    add("--slowdown SHARE", "slowdown budget of the whole run (default: 3%%)", type=share(0.001), default="3%")
    add("--steps N", "steps per run (default: 3000)", type=number(int, 1, 1_000_000), default=3000)
    add("--noise SHARE", "standard deviation of a step's time and power (default: 2%%)", type=share(0, 0.5), default="2%")
    add("--seeds N", "runs per table (default: 20)", type=number(int, 1, 10_000), default=20)
    add("--isotonic", "smooth out measurement noise that makes a table non-monotone")
    add("--seed N", "random seed (default: 0)", type=int, default=0)
    add("--chart FILE", "write a chart as SVG", type=_picture)
    add("--json", "print JSON")


def _run(args: Namespace) -> int:
    from dvfs.replay.table_files import load

    trials = _find_trials(args.policy)
    plan = Plan(float(args.slowdown), args.steps, float(args.noise), args.seeds, args.seed)
    path = args.table or args.profile
    tables = [t.isotonic() if args.isotonic else t for t in load(path)]
    with drawn_line(every_s=0.1) as draw:
        scores = _play(trials, tables, plan, draw)
    rows = scores if len(tables) <= _MOST_ROWS else scores[-1:]
    if args.json:
        document = {"file": str(path), "tables": len(tables), "isotonic": args.isotonic, **asdict(plan)}
        document["rows"] = [{"table": it.table, "knob": it.knob, "rule": args.policy} | asdict(it.summary) for it in scores]
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        _print(rows, args.policy, plan, len(tables))
    if args.chart is not None:
        title = (
            f"{path.name}: energy saved at a slowdown of {100 * plan.slowdown:g} %; the line marks the best setting in "
            "hindsight"
        )
        args.chart.write_text(svg(title, _bars(rows), _BROKEN), encoding="utf-8")
    return 0


def _find_trials(name: str) -> "Trials":
    import dvfs.policies as package
    from energy_agent.core import plugin

    policies = plugin.discover(package)
    trials: dict[str, Trials] = {
        key: spec.trials for key, spec in policies.items() if getattr(spec, "trials", None) is not None
    }
    if name not in trials:
        raise UsageError(f"dvfs replay: --policy: expected one of {', '.join(trials)}, got {name!r}")
    return trials[name]


def _play(trials: "Trials", tables: "list[SettingTable]", plan: Plan, draw: Callable[[str], None]) -> list[TableScore]:
    """The score on each table, and on all tables together where there are several."""
    from dvfs.replay.training import Score, Weather, play, summary

    weather, scores, rows = Weather(noise=plan.noise), list[Score](), list[TableScore]()
    for number_, table in enumerate(tables, start=1):
        for each in range(plan.seeds):
            draw(f"table {number_} of {len(tables)}, run {each + 1} of {plan.seeds}")
            seed = random.Random(f"{plan.seed} {table.name} {each}").getrandbits(32)
            scores.append(play(trials, table, plan.slowdown, plan.steps, seed, weather))
        rows.append(TableScore(table.name, table.knob, summary(scores[-plan.seeds :], plan.slowdown)))
    if len(tables) > 1:
        knobs = {table.knob for table in tables}
        knob = knobs.pop() if len(knobs) == 1 else "several"
        rows.append(TableScore(_ALL, knob, summary(scores, plan.slowdown)))
    return rows


def _print(rows: list[TableScore], policy: str, plan: Plan, tables: int) -> None:
    print(f"{policy} on {tables} table{'s' if tables > 1 else ''}, {plan.seeds} runs of {plan.steps} steps per table.")
    print(f"Noise {100 * plan.noise:g} % per step. Budget {100 * plan.slowdown:g} % slowdown of the whole run.")
    print(
        "Best: the single setting within the budget that saves the most, used from the first step; alternating two "
        "settings can save more."
    )
    print()
    print_table([("TABLE", *_COLUMNS), *((row.table, *_percentages(row.summary)) for row in rows)])
    if tables > _MOST_ROWS:
        print("(--json shows each table)")
    print()
    print("Saving in %, exploration included (|: best; x: more than 1 % of the runs exceed the budget):")
    print_lines(bars(_bars(rows)))


def _percentages(summary: "ScoreSummary") -> tuple[str, ...]:
    return (
        f"{100 * summary.saving_ratio:.1f} %",
        f"{100 * summary.oracle_ratio:.1f} %",
        "-" if summary.of_oracle_ratio is None else f"{100 * summary.of_oracle_ratio:.1f} %",
        f"{100 * summary.slowdown_ratio:.2f} %",
        f"{100 * summary.whole_over_ratio:.1f} %",
        f"{100 * summary.chosen_over_ratio:.1f} %",
        f"{100 * summary.far_over_ratio:.2f} %",
    )


def _bars(rows: list[TableScore]) -> list[Bar]:
    scores = [(row.table, row.summary) for row in rows]
    return [Bar(name, 100 * s.saving_ratio, 100 * s.oracle_ratio, s.whole_over_ratio > 0.01) for name, s in scores]


def _picture(text: str) -> Path:
    """Check before a long replay that the file can be written after it."""
    path = Path(text)
    if path.suffix.lower() != ".svg":
        raise argparse.ArgumentTypeError(f"expected the name of a file that ends in .svg, got {text}")
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write {text}")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError(f"needs matplotlib; install: {install_hint('reports')}")
    return path


COMMAND = Command("evaluate a training policy on measured tables", _configure, _run)
