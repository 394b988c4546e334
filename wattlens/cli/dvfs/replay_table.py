"""The half of `wattlens dvfs replay` that runs a policy's trials on tables of training jobs, compared with Zeus's rule."""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wattlens.cli._command import print_table
from wattlens.cli.dvfs.replay_text import Bar, bars, find_policy, svg
from wattlens.terminal_line import drawn_line

if TYPE_CHECKING:
    from dvfs.replay.training import Score, ScoreSummary
    from dvfs.tables import SettingTable
    from dvfs.types import Trials

_MOST_ROWS = 12
_BROKEN = "over budget"
_ALL = "all tables"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played: budget, steps of a run, noise of a step, runs of each table."""

    slowdown: float
    steps: int
    noise: float
    seeds: int
    seed: int


@dataclass(frozen=True, slots=True)
class Found:
    """Of one rule on one table, or on all."""

    table: str
    knob: str
    rule: str
    summary: "ScoreSummary"


def run(args: argparse.Namespace) -> int:
    """Play it and print what came of it."""
    from dvfs.replay.rivals import ZEUS
    from dvfs.replay.table_files import load

    name = args.policy or "progress"
    trials = find_policy(name, f"--{'table' if args.table else 'profile'}", lambda _, spec: spec.trials is not None).trials
    assert trials is not None
    plan = Plan(float(args.slowdown), args.steps, float(args.noise), args.seeds, args.seed)
    path = args.table or args.profile
    tables = [t.isotonic() if args.isotonic else t for t in load(path)]
    with drawn_line(every_s=0.1) as draw:
        rows = _played({name: trials, "zeus": ZEUS}, tables, plan, draw)
    if args.json:
        print(json.dumps(_as_json(rows, plan, str(path), len(tables), args.isotonic), indent=2, allow_nan=False))
    else:
        _print(rows, plan, len(tables))
    if args.chart is not None:
        title = (
            f"{path.name}: energy saved at a slowdown of {100 * plan.slowdown:g} %; the line marks the best setting in "
            "hindsight"
        )
        args.chart.write_text(svg(title, _bars(rows, len(tables)), _BROKEN), encoding="utf-8")
    return 0


def _played(rules: "dict[str, Trials]", tables: "list[SettingTable]", plan: Plan, say: Callable[[str], None]) -> list[Found]:
    """Each table under each rule, and all tables together where there are several."""
    from dvfs.replay.training import Weather, play, summary

    weather = Weather(noise=plan.noise)
    scores: dict[str, list[Score]] = {rule: [] for rule in rules}
    results = []
    for number_, one in enumerate(tables, start=1):
        for rule, trials in rules.items():
            mine = []
            for each in range(plan.seeds):
                say(f"table {number_} of {len(tables)}, {rule}, run {each + 1} of {plan.seeds}")
                # The same draw for every rule, and another for every table and run.
                seed = random.Random(f"{plan.seed} {one.name} {each}").getrandbits(32)
                mine.append(play(trials, one, plan.slowdown, plan.steps, seed, weather))
            scores[rule] += mine
            results.append(Found(one.name, one.knob, rule, summary(mine, plan.slowdown)))
    if len(tables) > 1:
        knobs = {one.knob for one in tables}
        knob = knobs.pop() if len(knobs) == 1 else "several"
        results += [Found(_ALL, knob, rule, summary(all_, plan.slowdown)) for rule, all_ in scores.items()]
    return results


def _select_rows(rows: list[Found], tables: int) -> list[Found]:
    """Each table where there are few, else all together."""
    return rows if tables <= _MOST_ROWS else [row for row in rows if row.table == _ALL]


def _print(rows: list[Found], plan: Plan, tables: int) -> None:
    print(f"{tables} table{'s' if tables > 1 else ''}, {plan.seeds} runs of {plan.steps} steps per table.")
    print(f"Noise {100 * plan.noise:g} % per step. Budget {100 * plan.slowdown:g} % slowdown of the whole run.")
    print(
        "Best: the single setting within the budget that saves the most, used from the first step; alternating two "
        "settings can save more."
    )
    print()
    heads = ("TABLE", "RULE", "SAVING", "BEST", "OF BEST", "SLOWER", "RUN OVER", "CHOICE OVER", "FAR OVER")
    print_table([heads, *(_cells(row) for row in _select_rows(rows, tables))])
    if tables > _MOST_ROWS:
        print("(--json shows each table)")
    print()
    print("Saving in %, exploration included (|: best; x: more than 1 % of the runs exceed the budget):")
    for line in bars(_bars(rows, tables)):
        print(line)


def _cells(row: Found) -> tuple[str, ...]:
    s = row.summary
    return (
        row.table,
        row.rule,
        f"{100 * s.saving_ratio:.1f} %",
        f"{100 * s.oracle_ratio:.1f} %",
        "-" if s.of_oracle_ratio is None else f"{100 * s.of_oracle_ratio:.1f} %",
        f"{100 * s.slowdown_ratio:.2f} %",
        f"{100 * s.whole_over_ratio:.1f} %",
        f"{100 * s.chosen_over_ratio:.1f} %",
        f"{100 * s.far_over_ratio:.2f} %",
    )


def _bars(rows: list[Found], tables: int) -> list[Bar]:
    return [
        Bar(
            f"{row.table}, {row.rule}",
            100 * row.summary.saving_ratio,
            f"{100 * row.summary.saving_ratio:.1f} %",
            100 * row.summary.oracle_ratio,
            broken=row.summary.whole_over_ratio > 0.01,
        )
        for row in _select_rows(rows, tables)
    ]


def _as_json(rows: list[Found], plan: Plan, path: str, tables: int, isotonic: bool) -> dict[str, Any]:
    return {
        "file": path,
        "tables": tables,
        "isotonic": isotonic,
        **asdict(plan),
        "rows": [{"table": row.table, "knob": row.knob, "rule": row.rule} | asdict(row.summary) for row in rows],
    }
