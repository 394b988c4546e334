"""Power of simulated GPUs over time, with its exact energy. Power is linear between instants and repeats after the last one."""

import csv
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CAPTURES = Path(__file__).parent.parent / "data" / "gpu-power-benchmark"
LOWEST_W, HIGHEST_W = 60.0, 700.0
_PATTERN_S = 61.0


class Pattern:
    """Segments of (seconds, power at its start, power at its end), repeated without end in both directions."""

    def __init__(self, segments: Sequence[tuple[float, float, float]]) -> None:
        table = np.array(segments)
        self.seconds, self._first_w, last_w = table[:, 0], table[:, 1], table[:, 2]
        self._slopes = (last_w - self._first_w) / self.seconds
        self._at = np.concatenate(([0.0], np.cumsum(self.seconds)))
        self._sums = np.concatenate(([0.0], np.cumsum(self.seconds * (self._first_w + last_w) / 2)))
        jumps = np.abs(self._first_w - np.roll(last_w, 1)) > 1.0
        self._edges: list[float] = self._at[:-1][jumps].tolist()

    def energy_j(self, at_s: Floats) -> Floats:
        """Energy from 0 to each instant."""
        turns, within_s = np.divmod(at_s, self._at[-1])
        k = np.minimum(np.searchsorted(self._at, within_s, side="right"), len(self._at) - 1) - 1
        part_s = within_s - self._at[k]
        joules: Floats = turns * self._sums[-1] + self._sums[k] + part_s * (self._first_w[k] + self._slopes[k] * part_s / 2)
        return joules

    def edge_after(self, at_s: float) -> float | None:
        """The next instant at which power jumps."""
        if not self._edges:
            return None
        length_s = float(self._at[-1])
        turns, within_s = divmod(at_s, length_s)
        k = bisect_right(self._edges, within_s)
        return turns * length_s + (self._edges[k] if k < len(self._edges) else length_s + self._edges[0])


@dataclass(frozen=True)
class Load:
    """Power of one GPU: patterns with a share of each and their shift in time."""

    parts: tuple[tuple[float, float, Pattern], ...]

    def energy_j(self, at_s: Floats) -> Floats:
        """Energy up to each instant, from an arbitrary zero."""
        joules = np.zeros_like(at_s)
        for share, shift_s, pattern in self.parts:
            joules += share * pattern.energy_j(at_s + shift_s)
        return joules

    def between_j(self, start_s: float, end_s: float) -> float:
        """Energy between two instants."""
        first, last = self.energy_j(np.array([start_s, end_s]))
        return float(last - first)

    def edge_after(self, at_s: float) -> float | None:
        """The next instant at which the power of the first pattern jumps."""
        _, shift_s, pattern = self.parts[0]
        edge_s = pattern.edge_after(at_s + shift_s)
        return None if edge_s is None else edge_s - shift_s


def _constant(rng: random.Random) -> Iterator[tuple[float, float]]:
    watts = rng.uniform(LOWEST_W, HIGHEST_W)
    while True:
        yield _PATTERN_S, watts


def _square(hold_s: float) -> Callable[[random.Random], Iterator[tuple[float, float]]]:
    def levels(rng: random.Random) -> Iterator[tuple[float, float]]:
        holds_s = hold_s * rng.uniform(0.8, 1.25), hold_s * rng.uniform(0.8, 1.25)
        spread = rng.choice((0.0, 0.02, 0.2))
        watts = rng.uniform(LOWEST_W, 300), rng.uniform(350, HIGHEST_W)
        while True:
            for hold, level in zip(holds_s, watts, strict=True):
                yield hold * rng.uniform(1 - spread, 1 + spread), level

    return levels


def _telegraph(rng: random.Random) -> Iterator[tuple[float, float]]:
    mean_s = 0.02 * 50 ** rng.random()
    levels = [rng.uniform(LOWEST_W, HIGHEST_W) for _ in range(rng.choice((2, 3, 5)))]
    while True:
        yield 0.001 + rng.expovariate(1 / mean_s), rng.choice(levels)


def _training(rng: random.Random) -> Iterator[tuple[float, float]]:
    step_s, gap = 0.1 * 20 ** rng.random(), rng.uniform(0.03, 0.3)
    forward, backward = rng.uniform(350, 600), rng.uniform(450, HIGHEST_W)
    exchange, idle, spread = rng.uniform(150, 350), rng.uniform(LOWEST_W, 110), rng.choice((0.0, 0.01, 0.05))
    while True:
        busy_s = step_s * (1 - gap) * rng.uniform(1 - spread, 1 + spread)
        yield 0.3 * busy_s, forward
        yield 0.55 * busy_s, backward
        yield 0.15 * busy_s, exchange
        yield step_s * gap * rng.uniform(1 - spread, 1 + spread), idle


def _inference(rng: random.Random) -> Iterator[tuple[float, float]]:
    idle, decode, prefill = rng.uniform(LOWEST_W, 120), rng.uniform(200, 400), rng.uniform(450, HIGHEST_W)
    between_s, decode_s = rng.uniform(0.05, 1.0), rng.uniform(0.1, 2.0)
    while True:
        yield 0.001 + rng.expovariate(1 / between_s), idle
        for _ in range(rng.randint(1, 3)):
            yield rng.uniform(0.02, 0.2), prefill
            yield 0.01 + rng.expovariate(1 / decode_s), decode * rng.uniform(0.8, 1.2)


_LEVELS = {
    "constant": _constant,
    **{f"square {ms} ms": _square(ms / 1e3) for ms in (10, 25, 50, 100, 200, 400, 1000, 3000)},
    "telegraph": _telegraph,
    "training": _training,
    "inference": _inference,
}
LOADS = (*_LEVELS, "ramps", "real GPUs")
"""Classes of loads."""
COUPLINGS = ("1 GPU", "8 in step", "8 apart", "8 partly")
"""How many GPUs there are, and how much of their power they have in common."""


def draw_pattern(rng: random.Random, name: str) -> Pattern:
    """A load of a class. Without captures, it repeats after about a minute."""
    if name == "real GPUs":
        return Pattern(_captured(rng.choice(("A100_transient", "A100_5050", "3090_transient", "4090_transient"))))
    segments: list[tuple[float, float, float]] = []
    length_s = 0.0
    if name == "ramps":
        watts, slowest_s = rng.uniform(LOWEST_W, HIGHEST_W), 0.1 * 30 ** rng.random()
        while length_s < _PATTERN_S:
            seconds, end_w = slowest_s * rng.uniform(0.2, 1), rng.uniform(LOWEST_W, HIGHEST_W)
            segments += [(seconds, watts, end_w)]
            watts, length_s = end_w, length_s + seconds
        return Pattern([*segments, (slowest_s, watts, segments[0][1])])
    levels = _LEVELS[name](rng)
    while length_s < _PATTERN_S:
        seconds, watts = next(levels)
        segments.append((seconds, watts, watts))
        length_s += seconds
    return Pattern(segments)


def draw_loads(rng: random.Random, name: str, coupling: str) -> list[Load]:
    """The loads of all GPUs."""

    def draw_load(share: float) -> tuple[float, float, Pattern]:
        return share, rng.uniform(0, _PATTERN_S), draw_pattern(rng, name)

    if coupling == "1 GPU":
        return [Load((draw_load(1.0),))]
    if coupling == "8 apart":
        return [Load((draw_load(1.0),)) for _ in range(8)]
    _, shift_s, pattern = draw_load(1.0)
    common = 1.0 if coupling == "8 in step" else rng.uniform(0.3, 0.8)
    loads = []
    for _ in range(8):
        scale = rng.uniform(0.95, 1.0)
        shared = scale * common, shift_s + rng.uniform(0, 0.002), pattern
        loads.append(Load((shared,) if common == 1 else (shared, draw_load(scale * (1 - common)))))
    return loads


@cache
def _captured(name: str) -> tuple[tuple[float, float, float], ...]:
    """Power of a real GPU as published: from each changed reading straight to the next."""
    readings: list[tuple[float, float]] = []
    with (CAPTURES / f"{name}_gpudata.csv").open() as file:
        for row in csv.DictReader(file, skipinitialspace=True):
            watts = float(row.get("power.draw.instant [W]", row["power.draw [W]"]))
            at_s = datetime.fromisoformat(row["timestamp"].replace("/", "-") + "+00:00").timestamp()
            if not readings or watts != readings[-1][1]:
                readings.append((at_s, watts))
    return tuple((b - a, p, q) for (a, p), (b, q) in pairwise(readings) if b > a)
