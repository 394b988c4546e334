"""Difference of two policies over the cells that both have played."""

import math
from collections.abc import Sequence
from statistics import mean, stdev

from energy_agent.core.interval import t_quantile


def paired_difference(points: Sequence[float]) -> str:
    """Mean with 95 % bounds over cells (Student t); "-" for fewer than two."""
    if len(points) < 2:
        return "-"
    half = t_quantile(len(points) - 1, 0.025) * stdev(points) / math.sqrt(len(points))
    return f"{mean(points):+.2f} ({mean(points) - half:+.2f} to {mean(points) + half:+.2f})"
