"""Totals of judged cells per policy, over all cells and by trace and load."""

import math
from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from benchmarks.runner import Row
from benchmarks.vllm_plant.judge import SHORT_POINTS
from energy_agent.core.interval import t_quantile

BASELINES = ("aimd", "bisect")


def sum_by_group(rows: Sequence[Row], policies: Sequence[str]) -> Iterator[Row]:
    """Totals of each trace and load."""
    for trace, load_percent in sorted({(row["trace"], row["load_percent"]) for row in rows}):
        group_rows = [row for row in rows if (row["trace"], row["load_percent"]) == (trace, load_percent)]
        for total in sum_cells(group_rows, policies):
            yield {"trace": trace, "load_percent": load_percent, **total}


def sum_cells(rows: Sequence[Row], policies: Sequence[str]) -> Iterator[Row]:
    """Totals per policy; every policy has played the same cells in the same order."""
    by_policy = {name: [row for row in rows if row["policy"] == name] for name in policies}
    for name, policy_rows in by_policy.items():
        possible = math.fsum(row["best_saving_percent"] for row in policy_rows)
        saved = math.fsum(row["saving_percent"] for row in policy_rows)
        total: Row = {
            "policy": name, "cells": len(policy_rows), "mean_saving_percent": saved / len(policy_rows),
            "of_best_percent": 100 * saved / possible if possible > 0 else None,
            "cells_short": sum(row["short_points"] > SHORT_POINTS for row in policy_rows),
            "mean_short_points": mean(row["short_points"] for row in policy_rows),
            "worst_short_points": max(row["short_points"] for row in policy_rows),
        }  # fmt: skip
        for baseline in BASELINES:
            pairs = list(zip(policy_rows, by_policy.get(baseline, ()), strict=False)) if baseline != name else []
            total[f"over_{baseline}"] = paired_difference([a["saving_percent"] - b["saving_percent"] for a, b in pairs])
        yield total


def paired_difference(points: Sequence[float]) -> str:
    """Mean with 95 % bounds over cells (Student t); "-" for fewer than two."""
    if len(points) < 2:
        return "-"
    half = t_quantile(len(points) - 1, 0.025) * stdev(points) / math.sqrt(len(points))
    return f"{mean(points):+.2f} ({mean(points) - half:+.2f} to {mean(points) + half:+.2f})"
