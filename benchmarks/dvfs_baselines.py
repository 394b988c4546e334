"""Search rules for a training job on the same jobs: `progress`, `bisect` and Zeus's rule.

Zeus's measured tables (benchmarks/data/zeus), raw, 3,000 steps, 2 % noise; and tables, lengths and disturbances drawn at random
(drawn_tables.py). *of mixing* compares with the best two settings in turns. Rows *a - b* are mean differences of paired runs,
with their one-sided lower 95 % bound. Serving policies are compared in vllm_plant.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from statistics import mean, stdev

from benchmarks.drawn_tables import TrainingCell, draw_cell
from benchmarks.runner import Row
from benchmarks.training_rules import BISECT, ZEUS
from dvfs.policies.progress import SPEC as PROGRESS
from dvfs.replay.table_files import load
from dvfs.replay.training import Score, Weather, play
from dvfs.tables import SettingTable
from dvfs.types import Trials


def mixing_saving(table: SettingTable, slowdown: float) -> float:
    """What the best two settings in turns save within the budget: shares of work that just use it up."""
    top = table.default
    points = [(row.time_s / top.time_s - 1.0, row.time_s * row.power_w / (top.time_s * top.power_w)) for row in table.rows]
    least = min(energy for slow, energy in points if slow <= slowdown * (1 + 1e-9))
    for (slow_a, energy_a), (slow_b, energy_b) in product(points, points):
        if slow_a <= slowdown < slow_b:
            share = (slowdown - slow_a) / (slow_b - slow_a)
            least = min(least, energy_a + share * (energy_b - energy_a))
    return 1.0 - least


RULES: dict[str, Trials] = {"progress": PROGRESS.trials or BISECT, "bisect": BISECT, "zeus": ZEUS}
ZEUS_TABLES = Path(__file__).parent / "data" / "zeus"
TABLES = tuple(ZEUS_TABLES / f"summary_power_{gpu}.csv" for gpu in ("v100", "a40", "p100"))
_Z = 1.645  # one-sided 95 % of a mean over many cells


def _play(job: tuple[str, TrainingCell]) -> Score:
    rule, cell = job
    return play(RULES[rule], cell.table, cell.budget, cell.steps, cell.seed, cell.weather)


def run(
    seeds: int = 2, cells: int = 60, first_cell: int = 1_000_000, table: tuple[Path, ...] = TABLES, jobs: int = 2
) -> Iterator[Row]:
    """`seeds` runs per measured table, and `cells` drawn jobs from `first_cell` on."""
    with ProcessPoolExecutor(jobs) as pool:
        yield from _training(pool, seeds, table)
        drawn = range(first_cell, first_cell + cells)
        yield from _compared(pool, {"tables": "drawn, 2 % noise"}, [draw_cell(seed, is_calm=True) for seed in drawn])
        yield from _compared(pool, {"tables": "drawn, disturbed"}, [draw_cell(seed) for seed in drawn])


def _training(pool: ProcessPoolExecutor, seeds: int, paths: Sequence[Path]) -> Iterator[Row]:
    for path, budget in product(paths, (0.05, 0.10)):
        cells = [
            TrainingCell(one, budget, 3000, Weather(), zlib.crc32(f"{one.name}/{seed}".encode()))
            for one in load(path)
            for seed in range(seeds)
        ]
        name = path.stem.removeprefix("summary_power_")
        yield from _compared(pool, {"tables": name, "budget_percent": 100 * budget}, cells)


def _compared(pool: ProcessPoolExecutor, label: Row, cells: Sequence[TrainingCell]) -> Iterator[Row]:
    """A row per rule; then how much more the first one saves than each other, cell by cell."""
    scores = {
        rule: list(pool.map(_play, [(rule, cell) for cell in cells], chunksize=max(1, len(cells) // 16))) for rule in RULES
    }
    mixing = math.fsum(mixing_saving(cell.table, cell.budget) for cell in cells)
    for rule, runs in scores.items():
        over = [score.slowdown_ratio - cell.budget for score, cell in zip(runs, cells, strict=True)]
        saved = math.fsum(score.saving_ratio for score in runs)
        yield label | {
            "rule": rule, "runs": len(runs), "saving_percent": 100 * saved / len(runs),
            "of_best_percent": 100 * saved / math.fsum(score.oracle_ratio for score in runs),
            "of_mixing_percent": 100 * saved / mixing,
            "over_percent": 100 * sum(excess > 1e-9 for excess in over) / len(runs),
            "worst_over_points": 100 * max(0.0, *over),
        }  # fmt: skip
    first, *others = scores
    for rule in others:
        more = [100 * (a.saving_ratio - b.saving_ratio) for a, b in zip(scores[first], scores[rule], strict=True)]
        half = _Z * stdev(more) / math.sqrt(len(more))
        saving = {"saving_percent": mean(more), "low_95_percent": mean(more) - half}
        yield label | {"rule": f"{first} - {rule}", "runs": len(more)} | saving
