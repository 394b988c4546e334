"""The least energy at a mean slowdown, where settings may be taken in turns. Pure.

With few settings to choose from, the least energy under a limit on time is reached by at most two of them in turns, neighbours
on the lower convex hull of (slowdown, energy) (Ishihara and Yasuura, ISLPED 1998, for voltages).
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple


class SettingTradeoff(NamedTuple):
    """Slowdown and energy per work of a setting, both relative to the reference."""

    slowdown: float
    energy: float
    setting: float


def hull(points: Iterable[SettingTradeoff]) -> tuple[SettingTradeoff, ...]:
    """The points of the lower convex hull from the fastest to that of least energy, slowdown rising and energy falling."""
    kept: list[SettingTradeoff] = []
    for point in sorted(points):
        if kept and point.energy >= kept[-1].energy:
            continue
        while len(kept) > 1 and _above(kept[-2], kept[-1], point):
            kept.pop()
        if kept and point.slowdown <= kept[-1].slowdown:
            kept.pop()
        kept.append(point)
    return tuple(kept)


def _above(left: SettingTradeoff, middle: SettingTradeoff, right: SettingTradeoff) -> bool:
    """Whether `middle` lies on or above the line from `left` to `right`."""
    return (middle.energy - left.energy) * (right.slowdown - left.slowdown) >= (right.energy - left.energy) * (
        middle.slowdown - left.slowdown
    )


def shares(line: tuple[SettingTradeoff, ...], slowdown: float) -> Mapping[float, float]:
    """Which part of the work to do at which setting, so that the mean slowdown is at most `slowdown`; one or two settings.

    Where even the fastest point is slower, that one alone.
    """
    if slowdown <= line[0].slowdown:
        return {line[0].setting: 1.0}
    for left, right in pairwise(line):
        if slowdown < right.slowdown:
            part = (slowdown - left.slowdown) / (right.slowdown - left.slowdown)
            return {left.setting: 1 - part, right.setting: part} if part else {left.setting: 1.0}
    return {line[-1].setting: 1.0}


def least_energy(line: tuple[SettingTradeoff, ...], slowdown: float) -> float:
    """Relative energy of `shares(line, slowdown)`."""
    energy = {point.setting: point.energy for point in line}
    return sum(part * energy[setting] for setting, part in shares(line, slowdown).items())
