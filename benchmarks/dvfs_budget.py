"""One power budget for jobs whose progress at each power limit was measured, divided by policy `budget` and by other rules.

Nodes are drawn at random: two to eight GPUs of one kind, each with a job of Zeus's tables (made isotonic), and a budget of 55
to 90 % of all highest limits. Progress is relative to the highest limit, its mean over the node's GPUs. *equal*: the same limit
for all. *fitted*: by r(P) as the policy, but with the exponent that fits each job's table best, known beforehand. *tables*: by
the tables themselves, watt by watt.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import linear_regression, mean

from benchmarks.runner import Row
from dvfs.policies.budget import HEADROOM, STATIC_SHARE, Share, split
from dvfs.replay.table_files import load
from dvfs.tables import SettingTable

_STEP_W = 2.5
_LOOK_AHEAD = (1, 4, 10)  # steps: a table's progress may rise beyond a flat part
_EXPONENTS = (0.1, 0.95)
Progress = Callable[[float], float]


def progress_of(table: SettingTable, limit_w: float) -> float:
    """Progress at a limit, relative to the highest one; linear between rows."""
    rows = table.rows
    limits, rates = [row.setting for row in rows], [rows[-1].time_s / row.time_s for row in rows]
    at = min(max(limit_w, limits[0]), limits[-1])
    i = max(1, bisect_left(limits, at))
    return rates[i - 1] + (rates[i] - rates[i - 1]) * (at - limits[i - 1]) / (limits[i] - limits[i - 1])


def divide(values: Sequence[Progress], least: float, most: float, budget_w: float) -> list[float]:
    """Watt by watt to where it brings the most."""
    powers = [least] * len(values)
    left = budget_w - sum(powers)
    while left >= _STEP_W:
        gains = [
            ((value(power + n * _STEP_W) - value(power)) / n, i)
            for i, (value, power) in enumerate(zip(values, powers, strict=True))
            for n in _LOOK_AHEAD
            if power + n * _STEP_W <= most and n * _STEP_W <= left
        ]
        gain, i = max(gains, default=(0.0, 0))
        if gain <= 0:
            break
        powers[i] += _STEP_W
        left -= _STEP_W
    return powers


def _fitted(table: SettingTable, share: Share) -> Progress:
    """The model of the policy with the exponent of least squares."""
    powers = [math.log(max(1.0, row.power_w - share.static)) for row in table.rows]
    rates = [-math.log(row.time_s) for row in table.rows]
    low, high = _EXPONENTS
    exponent = linear_regression(powers, rates).slope if len(set(powers)) > 1 else 0.5
    k, room = min(max(exponent, low), high), share.demand - share.static
    return lambda power: math.pow((min(power, share.demand) - share.static) / room, k)


def play(tables: Sequence[SettingTable], part: float) -> dict[str, float] | None:
    """Mean progress by rule; None where the least limits exceed the budget."""
    most = max(row.setting for table in tables for row in table.rows)
    least = max(min(row.setting for row in table.rows) for table in tables)
    budget_w, static = part * most * len(tables), STATIC_SHARE * most
    if budget_w < least * len(tables):
        return None
    shares = []
    for i, table in enumerate(tables):
        drawn = HEADROOM * max(row.power_w for row in table.rows)
        demand = min(max(drawn, least, 1.2 * static), most)
        shares.append(Share(str(i), (str(i),), least, most, demand, min(static, 0.9 * least)))
    by_policy = split(shares, budget_w)
    powers = {
        "equal": [min(most, budget_w / len(tables))] * len(tables),
        "budget": [by_policy[share.group] for share in shares],
        "fitted": divide([_fitted(table, share) for table, share in zip(tables, shares, strict=True)], least, most, budget_w),
        "tables": divide([lambda power, t=table: progress_of(t, power) for table in tables], least, most, budget_w),
    }
    return {rule: mean(map(progress_of, tables, limits)) for rule, limits in powers.items()}


def compare(paths: Sequence[Path], nodes: int, seed: int) -> Iterator[Row]:
    """A row per file of tables."""
    for path in paths:
        tables, draw = [table.isotonic() for table in load(path)], random.Random(f"{path.stem} {seed}")
        drawn = (play(draw.choices(tables, k=draw.choice((2, 4, 8))), draw.uniform(0.55, 0.9)) for _ in range(nodes))
        played = [found for found in drawn if found is not None]
        means = {f"{rule}_percent": 100 * mean(found[rule] for found in played) for rule in played[0]}
        worst = 100 * min(found["budget"] - found["equal"] for found in played)
        name = path.stem.removeprefix("summary_power_")
        yield {"tables": name, "nodes": len(played)} | means | {"worst_of_budget_minus_equal_points": worst}
