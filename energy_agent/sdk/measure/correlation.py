"""How far the errors of several GPUs add up, by the steps of their energy counters. Pure.

GPUs that work in step err together: their half-widths add up linearly. Those of independent GPUs add up in squares. What lies
between follows from the mean correlation of the counters' steps; where too few steps occurred, it is taken for 1.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import hypot, sqrt

from energy_agent.metering.interpolation import Tick

_GRID_S = 0.1
_POINTS = 48
_ENOUGH = 12


def mean_correlation(devices: Sequence[Sequence[Tick]]) -> float:
    """Mean correlation of the steps of power of every two devices; 1 where too few of them differ from 0."""
    if len(devices) < 2:
        return 1.0
    if any(len(ticks) < 2 for ticks in devices):
        return 1.0
    last_s = min(ticks[-1].at_s for ticks in devices)
    first_s = max(last_s - _POINTS * _GRID_S, *(ticks[0].at_s for ticks in devices))
    instants = [last_s - k * _GRID_S for k in range(int((last_s - first_s) / _GRID_S) + 1)]
    rows = [_steps(_energies(ticks, instants)) for ticks in devices]
    squares = [sum(step * step for step in row) for row in rows]
    total = sum(squares)
    crossed = sum(map(sqrt, squares)) ** 2 - total
    if len(instants) < _ENOUGH or crossed <= 0:
        return 1.0
    effective = total * total / sum(step * step * step * step for row in rows for step in row)
    if effective < _ENOUGH:
        return 1.0
    together = sum(sum(column) ** 2 for column in zip(*rows, strict=True))
    return float(min(1.0, max(0.0, (together - total) / crossed)))


def combined(halves: Sequence[float], correlation: float) -> float:
    """Half-width of a sum, given those of its parts and the correlation of every two."""
    return sqrt(correlation * sum(halves) ** 2 + (1.0 - correlation) * hypot(*halves) ** 2)


def _energies(ticks: Sequence[Tick], instants: Sequence[float]) -> list[float]:
    """The counter at instants in falling order, along straight lines."""
    energies, k = [], len(ticks) - 1
    for at_s in instants:
        while k > 1 and ticks[k - 1].at_s > at_s:
            k -= 1
        a, b = ticks[k - 1], ticks[k]
        energies.append(a.energy_j + (b.energy_j - a.energy_j) * (at_s - a.at_s) / max(1e-4, b.at_s - a.at_s))
    return energies


def _steps(energies: Sequence[float]) -> list[float]:
    return [b - a for a, b in pairwise([b - a for a, b in pairwise(energies)])]
