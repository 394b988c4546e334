"""Windows on simulated GPUs: every class of sensors with every class of loads and of windows, against the true energy.

Run from the repository's root: python -m benchmarks sensors [--seed N] [--quick] [--sensor CLASS...] [--load CLASS...]
[--window CLASS...]

The classes are in plant.py, loads.py and judge.py. Parameters are drawn from the ranges of their class; a cell has the windows
of several draws, on one GPU and on eight. Rows with `all` take cells together. `held` is the share of windows whose interval
contains the true energy, `half_p95` the mean half-width relative to the 95th percentile of the error. Time is simulated: a seed
gives the same rows on any machine.
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from benchmarks.runner import Row
from benchmarks.sensors.judge import WINDOWS, Outcome, judge_scenario, verdict
from benchmarks.sensors.loads import COUPLINGS, LOADS
from benchmarks.sensors.plant import SENSORS

Key = tuple[str, str, str, str]
KEY = ("sensor", "load", "gpus", "window")
_ROUNDS = 3
_DRAWS = 6
_HOURS = 24


def run(
    sensor: tuple[str, ...] = tuple(SENSORS),
    load: tuple[str, ...] = LOADS,
    window: tuple[str, ...] = tuple(WINDOWS),
    seed: int = -1,
    quick: bool = False,
) -> Iterator[Row]:
    """Rows of cells, of cells taken together, and a summary; a seed below 0 is drawn and printed."""
    seed = seed if seed >= 0 else random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}", file=sys.stderr)
    cells: dict[Key, list[Outcome]] = defaultdict(list)
    names = [name for name in window if name != "1 h"]
    hours_every = 1 if not names else 37 if quick else 9
    for number, (sensor_name, load_name) in enumerate(product(sensor, load)):
        rng = random.Random(f"{seed} {sensor_name} {load_name}")
        scenarios: list[tuple[str, list[str], int]] = []
        for draw in range(1 if quick else _DRAWS) if names else ():
            scenarios += [(coupling, names, _ROUNDS) for coupling in ("1 GPU", COUPLINGS[1 + (number + draw) % 3])]
        if "1 h" in window and number % hours_every == 0:
            scenarios.append(("1 GPU", ["1 h"], _HOURS))
        for coupling, classes, rounds in scenarios:
            for outcome in judge_scenario(rng, SENSORS[sensor_name], load_name, coupling, classes, rounds):
                cells[sensor_name, load_name, coupling, outcome.window].append(outcome)
    rows = [row for columns in ((0, 1), (0,), (1,), (2,)) for row in _taken_together(cells, columns)]
    yield from rows
    for sensor_name, load_name in (*((name, "all") for name in sensor), *(("all", name) for name in load), ("all", "all")):
        yield {"cells_of": sensor_name, "with": load_name} | _missed(rows, sensor_name, load_name)


def _missed(rows: Iterable[Row], sensor: str, load: str) -> Row:
    """How many cells there are, and how many miss each requirement."""
    cells = [row for row in rows if row["sensor"] != "all" != row["load"]]
    cells = [row for row in cells if sensor in ("all", row["sensor"]) and load in ("all", row["load"])]
    missed = Counter(word for row in cells for word in row["missed"].split(", "))
    return {"cells": len(cells), "failing": sum(not row["ok"] for row in cells)} | {
        word: missed[word] for word in ("held", "token", "refused", "width")
    }


def _taken_together(cells: Mapping[Key, list[Outcome]], columns: Sequence[int]) -> Iterator[Row]:
    """Rows of cells that are alike in some of `KEY`, and in the class of window."""
    groups: dict[Key, list[Outcome]] = defaultdict(list)
    for key, outcomes in cells.items():
        sensor, load, gpus = (word if k in columns else "all" for k, word in enumerate(key[:3]))
        groups[sensor, load, gpus, key[3]] += outcomes
    for key, outcomes in sorted(groups.items(), key=lambda group: _place(group[0])):
        yield dict(zip(KEY, key, strict=True)) | verdict(outcomes)


def _place(key: Key) -> list[int]:
    orders = (tuple(SENSORS), LOADS, COUPLINGS, tuple(WINDOWS))
    return [order.index(word) if word in order else -1 for order, word in zip(orders, key, strict=True)]
