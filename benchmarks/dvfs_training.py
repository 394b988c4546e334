"""Policy `progress` on measured tables of training jobs that it never sees, against the best setting in hindsight.

A run is 3,000 steps. The oracle is the row of least energy within the slowdown budget, run from the first step on; the whole
run of the policy counts, with everything it tried. Tables are made isotonic (time falls and power grows with the limit) or raw.
"""

import argparse
import json
import math
import sys
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks.physics import tables as physics_tables
from dvfs.policies.progress import SPEC
from dvfs.replay.rivals import ZEUS
from dvfs.replay.table_files import load
from dvfs.replay.training import Score, Summary, Weather, play, summary
from dvfs.tables import Table
from dvfs.types import Trials

DATA = Path(__file__).parent / "data" / "zeus"
STEPS = 3000
BUDGETS = (0.05, 0.10)
OF_ORACLE = {("isotonic", 0.05): 0.93, ("isotonic", 0.10): 0.97, ("raw", 0.05): 0.86, ("raw", 0.10): 0.93}
CHOICE_OVER, WHOLE_OVER, FAR_OVER, CHOICE_OVER_AR = 0.01, 0.01, 0.02, 0.02


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
Job = tuple[Trials, Table, float, int, Weather, Table | None]


def _play(job: Job) -> Score:
    trials, table, budget, seed, weather, then = job
    return play(trials, table, budget, STEPS, seed, weather, then)


def runs(
    pool: ProcessPoolExecutor, trials: Trials, tables: Sequence[Table], budget: float, seeds: int, name: str, first: int = 0
) -> Summary:
    """All tables, `seeds` times each."""
    jobs = []
    for i, table in enumerate(tables):
        then = _other(tables, i) if name == "change" else None
        if name == "change" and then is None:
            continue
        for seed in range(first, first + seeds):
            jobs.append((trials, table, budget, zlib.crc32(f"{table.name}/{seed}".encode()), WEATHER[name], then))
    return summary(list(pool.map(_play, jobs, chunksize=8)), budget)


def _other(tables: Sequence[Table], i: int) -> Table | None:
    """Another workload with the same settings."""
    settings = [row.setting for row in tables[i].rows]
    others = [t for t in tables if [row.setting for row in t.rows] == settings and t is not tables[i]]
    return others[(7 * i + 3) % len(others)] if others else None


def _holds(found: Summary, form: str, budget: float, weather: str) -> bool:
    choice = CHOICE_OVER_AR if weather == "AR(1) 0.9" else CHOICE_OVER
    safe = found.chosen_over_ratio <= choice and found.whole_over_ratio <= WHOLE_OVER and found.far_over_ratio <= FAR_OVER
    bar = OF_ORACLE.get((form, budget), 0.0)
    return safe and (found.of_oracle_ratio is None or found.of_oracle_ratio >= bar)


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, default=20, help="runs of each table (default 20; a quarter where the weather is not plain)"
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--table", type=Path, action="append", help="another file of tables, instead of Zeus's; may be repeated"
    )
    parser.add_argument("--weather", choices=WEATHER, action="append", help="only this disturbance; may be repeated")
    parser.add_argument("--physics", action="store_true", help="tables made from the physics of boards, instead of Zeus's")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    rows: list[dict[str, object]] = []
    ok = True
    with ProcessPoolExecutor(2) as pool:
        for source, tables in _sources(args).items():
            for form, trials, weathers in _plan(args):
                shaped = [t.isotonic() for t in tables] if form != "raw" else tables
                for budget in BUDGETS:
                    for weather in weathers:
                        seeds = args.seeds if weather == PLAIN else max(1, args.seeds // 4)
                        found = runs(pool, trials, shaped, budget, seeds, weather, args.first_seed)
                        held = trials is not SPEC.trials or _holds(found, form, budget, weather)
                        ok = ok and held
                        rule = "zeus" if trials is ZEUS else "progress"
                        row = {"tables": source, "form": form, "budget": budget, "weather": weather, "rule": rule}
                        rows.append(row | asdict(found) | {"held": held})
                        if not args.json:
                            _print(rows[-1], first=len(rows) == 1)
    if args.json:
        print(json.dumps({"ok": ok, "rows": rows}, indent=2))
    else:
        print("all bars held" if ok else "fell short")
    return 0 if ok else 1


def _sources(args: argparse.Namespace) -> dict[str, list[Table]]:
    if args.physics:
        return physics_tables()
    files = args.table or [DATA / f"summary_power_{gpu}.csv" for gpu in ("v100", "a40", "p100")]
    return {path.stem.removeprefix("summary_power_"): load(path) for path in files}


def _plan(args: argparse.Namespace) -> list[tuple[str, Trials, list[str]]]:
    assert SPEC.trials is not None
    weathers = args.weather or list(WEATHER)
    plain = [w for w in weathers if w == PLAIN]
    return [("isotonic", SPEC.trials, weathers), ("raw", SPEC.trials, plain), ("isotonic", ZEUS, plain)]


def _print(row: dict[str, object], *, first: bool) -> None:
    columns: list[tuple[str, Callable[[dict[str, object]], str]]] = [
        (f"{'tables':8}", lambda r: f"{r['tables']!s:8}"),
        (f"{'form':8}", lambda r: f"{r['form']!s:8}"),
        ("budget", lambda r: f"{r['budget']:6.0%}"),
        (f"{'weather':13}", lambda r: f"{r['weather']!s:13}"),
        (f"{'rule':8}", lambda r: f"{r['rule']!s:8}"),
        ("saved", lambda r: f"{r['saving_ratio']:5.1%}"),
        ("of oracle", lambda r: f"{'-' if r['of_oracle_ratio'] is None else format(r['of_oracle_ratio'], '.1%'):>9}"),
        ("slower", lambda r: f"{r['slowdown_ratio']:6.2%}"),
        ("choice over", lambda r: f"{r['chosen_over_ratio']:11.2%}"),
        ("run over", lambda r: f"{r['whole_over_ratio']:8.2%}"),
        ("far over", lambda r: f"{r['far_over_ratio']:8.2%}"),
        ("runs", lambda r: f"{r['runs']:4}"),
    ]
    if first:
        print("  ".join(head for head, _ in columns))
    print("  ".join(show(row) for _, show in columns) + ("" if row["held"] else "  <"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
