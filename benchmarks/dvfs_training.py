"""Policy `progress` on measured tables of training jobs that it never sees, against the best setting in hindsight.

A run is 3,000 steps. The oracle is the row of least energy within the slowdown budget, run from the first step on; the whole
run of the policy counts, with everything it tried. Tables are made isotonic (time falls and power grows with the limit) or raw.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import product
from pathlib import Path

from benchmarks.runner import Row
from benchmarks.training_rules import ZEUS
from dvfs.policies.progress import SPEC
from dvfs.replay.table_files import load
from dvfs.replay.training import Score, ScoreSummary, Weather, play, summary
from dvfs.tables import SettingTable
from dvfs.types import Trials

DATA = Path(__file__).parent / "data" / "zeus"
STEPS = 3000
BUDGETS = (0.05, 0.10)
OF_ORACLE = {("isotonic", 0.05): 0.93, ("isotonic", 0.10): 0.97, ("raw", 0.05): 0.86, ("raw", 0.10): 0.93}
CHOICE_OVER, WHOLE_OVER, FAR_OVER, CHOICE_OVER_AR = 0.01, 0.01, 0.06, 0.02


def rising(share: float) -> float:
    """Every step takes 10 % longer at the end."""
    return 0.1 * share


def swinging(share: float) -> float:
    """Three swings of 5 % up and down."""
    return 0.05 * math.sin(6 * math.pi * share)


PLAIN = "noise 2 %"
WEATHER = {
    PLAIN: Weather(),
    "noise 1 %": Weather(noise=0.01),
    "noise 5 %": Weather(noise=0.05),
    "AR(1) 0.9": Weather(ar=0.9),
    "drift +10 %": Weather(drift=rising),
    "drift swings": Weather(drift=swinging),
    "stalls 2 %": Weather(stalls=0.02),
    "change": Weather(),
}
Job = tuple[Trials, SettingTable, float, int, Weather, SettingTable | None]


def _play(job: Job) -> Score:
    trials, table, budget, seed, weather, then = job
    return play(trials, table, budget, STEPS, seed, weather, then)


def runs(
    pool: ProcessPoolExecutor,
    trials: Trials,
    tables: Sequence[SettingTable],
    budget: float,
    seeds: int,
    name: str,
    first: int = 0,
) -> ScoreSummary:
    """All tables, `seeds` times each."""
    jobs = []
    for i, table in enumerate(tables):
        then = _other(tables, i) if name == "change" else None
        if name == "change" and then is None:
            continue
        for seed in range(first, first + seeds):
            jobs.append((trials, table, budget, zlib.crc32(f"{table.name}/{seed}".encode()), WEATHER[name], then))
    return summary(list(pool.map(_play, jobs, chunksize=8)), budget)


def _other(tables: Sequence[SettingTable], i: int) -> SettingTable | None:
    """Another workload with the same settings."""
    settings = [row.setting for row in tables[i].rows]
    others = [t for t in tables if [row.setting for row in t.rows] == settings and t is not tables[i]]
    return others[(7 * i + 3) % len(others)] if others else None


def _holds(found: ScoreSummary, form: str, budget: float, weather: str) -> bool:
    choice = CHOICE_OVER_AR if weather == "AR(1) 0.9" else CHOICE_OVER
    safe = found.chosen_over_ratio <= choice and found.whole_over_ratio <= WHOLE_OVER and found.far_over_ratio <= FAR_OVER
    bar = OF_ORACLE.get((form, budget), 0.0)
    return safe and (found.of_oracle_ratio is None or found.of_oracle_ratio >= bar)


def run(
    seeds: int = 20,
    first_seed: int = 0,
    table: tuple[Path, ...] = tuple(DATA / f"summary_power_{gpu}.csv" for gpu in ("v100", "a40", "p100")),
    weather: tuple[str, ...] = tuple(WEATHER),
) -> Iterator[Row]:
    """`seeds` runs of each table, a quarter of it where the weather is not plain."""
    assert SPEC.trials is not None
    plain = [w for w in weather if w == PLAIN]
    plan = (("isotonic", SPEC.trials, weather), ("raw", SPEC.trials, plain), ("isotonic", ZEUS, plain))
    sources = {path.stem.removeprefix("summary_power_"): load(path) for path in table}
    with ProcessPoolExecutor(2) as pool:
        for (source, tables), (form, trials, weathers) in product(sources.items(), plan):
            shaped = [t.isotonic() for t in tables] if form != "raw" else tables
            for budget, name in product(BUDGETS, weathers):
                count = seeds if name == PLAIN else max(1, seeds // 4)
                found = runs(pool, trials, shaped, budget, count, name, first_seed)
                ok, rule = trials is ZEUS or _holds(found, form, budget, name), "zeus" if trials is ZEUS else "progress"
                row: Row = {"tables": source, "form": form, "budget": budget, "weather": name, "rule": rule}
                yield row | asdict(found) | {"ok": ok}
