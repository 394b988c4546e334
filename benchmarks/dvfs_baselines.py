"""Search rules for a training job, compared on the same jobs: `progress`, `bisect` and Zeus's rule.

Zeus's measured tables (benchmarks/data/zeus), raw, 3,000 steps, 2 % noise. *of mixing* compares with the best two settings in
turns. Serving policies are compared in dvfs_judge.py.
"""

import math
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import product
from pathlib import Path

from benchmarks.runner import Row
from dvfs.policies.bisect import TRIALS as BISECT
from dvfs.policies.progress import SPEC as PROGRESS
from dvfs.replay.rivals import ZEUS
from dvfs.replay.table_files import load
from dvfs.replay.training import Score, Weather, play, summary
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


def _play_table(job: tuple[str, SettingTable, float, int]) -> Score:
    rule, table, budget, seed = job
    return play(RULES[rule], table, budget, 3000, zlib.crc32(f"{table.name}/{seed}".encode()), Weather())


def run(seeds: int = 2, jobs: int = 2) -> Iterator[Row]:
    """Every table under each rule, `seeds` runs per table."""
    with ProcessPoolExecutor(jobs) as pool:
        yield from _training(pool, seeds)


def _training(pool: ProcessPoolExecutor, seeds: int) -> Iterator[Row]:
    folder = Path(__file__).parent / "data" / "zeus"
    for gpu, budget in product(("v100", "a40", "p100"), (0.05, 0.10)):
        tables = load(folder / f"summary_power_{gpu}.csv")
        mixing = math.fsum(mixing_saving(table, budget) for table in tables) / len(tables)
        for rule in RULES:
            jobs = [(rule, table, budget, seed) for table in tables for seed in range(seeds)]
            scores = list(pool.map(_play_table, jobs, chunksize=16))
            total = asdict(summary(scores, budget))
            yield {
                "tables": gpu,
                "budget_percent": 100 * budget,
                "rule": rule,
                "runs": total["runs"],
                "saving_percent": 100 * total["saving_ratio"],
                "of_best_percent": 100 * total["of_oracle_ratio"],
                "of_mixing_percent": 100 * total["saving_ratio"] / mixing,
                "over_percent": 100 * total["whole_over_ratio"],
                "worst_over_points": 100 * max(0.0, *(score.slowdown_ratio - budget for score in scores)),
            }
