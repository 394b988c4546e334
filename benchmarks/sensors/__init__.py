"""Short windows on simulated GPUs whose sensors are drawn at random, against their truth and a straight line of the counter.

Run from the repository's root: python -m benchmarks sensors [CLASS...] [--windows 300] [--seed N]

A row per class of sensors and loads (benchmarks/sensors/plant.py) and length of the window. Each 30 windows of each length have
new GPUs. `error` is the median error of the sum over the GPUs, `line` that of straight lines between the ticks of the same
counters. `covers` is the share of windows whose stated 95 % interval holds the truth, `width` the mean half-width relative to
the 95th percentile of the error, `score` the mean 95 % interval score in per cent of the energy (Gneiting and Raftery, J. Am.
Stat. Assoc. 102, 2007, p. 359), `line_score` that of straight lines within the bounds by the lowest and the highest power.
`j_token` is the share of windows whose interval of J/token holds the truth, for an engine whose counters move with its steps.
The sensors' gain error is left out.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import fmean, median, stdev

from benchmarks.runner import Row
from benchmarks.sensors.engine import Engine
from benchmarks.sensors.plant import CLASSES, Gpu, SensorClass, draw_gpus
from energy_agent.core.errors import UsageError
from energy_agent.metering.interpolation import energy_between
from energy_agent.sdk.measure.per_token import per_token
from energy_agent.sdk.measure.sampler_windows import Windows
from energy_agent.sdk.measure.ticks import SensorRecord, TickTracker

LENGTHS_S = (0.1, 0.3, 1.0)
_PER_MODEL = 30
_LIMIT_W = 700.0
_BARS = {0.1: 1.5, 0.3: 0.6, 1.0: 0.25}
_COVERS, _WIDTH = 0.93, 2.0
_ALPHA = 0.05


def run(*names: str, windows: int = 300, seed: int = -1) -> Iterator[Row]:
    """A row per class and length; `windows` of each length; a seed below 0 is drawn and printed."""
    if unknown := set(names) - CLASSES.keys():
        raise UsageError(f"unknown class {min(unknown)!r}; there are: {', '.join(CLASSES)}")
    seed = seed if seed >= 0 else random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}", file=sys.stderr)
    for name in names or CLASSES:
        rng = random.Random(f"{seed} {name}")
        rows: dict[float, list[Row]] = {length_s: [] for length_s in LENGTHS_S}
        while len(rows[LENGTHS_S[0]]) < windows:
            for length_s, row in measured(rng, CLASSES[name], min(_PER_MODEL, windows - len(rows[LENGTHS_S[0]]))):
                rows[length_s].append(row)
        for length_s in LENGTHS_S:
            yield {"class": name, "ms": round(1e3 * length_s)} | _judged(rows[length_s], name, length_s)


class TickReader:
    """Reads GPUs when their trackers ask for it, a little late, and rarely much too late."""

    def __init__(self, rng: random.Random, gpus: Sequence[Gpu]) -> None:
        record = SensorRecord()
        self.trackers = {f"GPU-{k}": TickTracker(record, _LIMIT_W) for k in range(len(gpus))}
        self.windows = Windows(self.trackers, {})
        self.now_s = 0.0
        self._rng, self._gpus, self._due = rng, gpus, [0.0] * len(gpus)
        self._read_s = [0.0] * len(gpus)

    def wake(self) -> None:
        """Read at once, as the sampler does when a window opens."""
        self._due = [0.0] * len(self._due)

    def until(self, end_s: float) -> list[int]:
        """Go on to an instant; the windows that became ready."""
        ready = []
        while self.now_s < end_s:
            self.now_s += 0.0005
            fine = self.windows.fine(self.now_s)
            for k, (gpu, tracker) in enumerate(zip(self._gpus, self.trackers.values(), strict=True)):
                if self.now_s >= self._due[k]:
                    late_s = self._rng.expovariate(1 / 0.003) if self._rng.random() < 0.01 else 0.0
                    at_s = self._read_s[k] = max(self.now_s, self._read_s[k]) + self._rng.uniform(1e-4, 3e-4) + late_s
                    tracker.feed(at_s - 1e-5, at_s + 1e-5, *gpu.read(at_s))
                    self._due[k] = tracker.due_s(at_s, fine)
            ready += self.windows.step(self.now_s)
        return ready


def measured(rng: random.Random, kind: SensorClass, count: int) -> Iterator[tuple[float, Row]]:
    """(length, figures) of `count` windows of each length on GPUs of one model; a first window of 2 s is not among them."""
    until_s = 5.0 + count * sum(length_s + 0.7 for length_s in LENGTHS_S)
    gpus = draw_gpus(rng, kind, until_s)
    reader, engine = TickReader(rng, gpus), Engine(rng, until_s)
    for number in range(count * len(LENGTHS_S) + 1):
        length_s = LENGTHS_S[number % len(LENGTHS_S)] if number else 2.0
        reader.until(reader.now_s + rng.uniform(0.02, 0.3))
        start_s = reader.now_s
        reader.windows.open(number, start_s)
        reader.wake()
        reader.until(start_s + length_s)
        end_s = reader.now_s
        reader.windows.close(number, end_s)
        while number not in reader.until(reader.now_s + 0.0005):
            pass
        if number:
            yield length_s, _row(reader, number, gpus, engine, start_s, end_s)


def _row(reader: TickReader, number: int, gpus: Sequence[Gpu], engine: Engine, start_s: float, end_s: float) -> Row:
    """Errors, half-widths and the J/token of one window, relative to the energy, and those of the straight line."""
    lines = [energy_between(list(t.ticks), start_s, end_s, t.power, t.longest_s) for t in reader.trackers.values()]
    result = reader.windows.result(number)
    devices, half_j = result["devices"], result["half_j"]
    assert isinstance(devices, dict)
    assert isinstance(half_j, float)
    true_j = sum(gpu.load.energy_j(end_s) - gpu.load.energy_j(start_s) for gpu in gpus)
    joules = sum(device["joules"] for device in devices.values())
    tokens = engine.window_tokens(start_s, end_s)
    priced = per_token(joules, half_j, 0.0, tokens.processed or 0, tokens.edge_processed)
    true_price = true_j / engine.tokens(start_s, end_s)
    return {
        "error": abs(joules - true_j) / true_j,
        "half": half_j / true_j,
        "line": abs(sum(line.line_j for line in lines) - true_j) / true_j,
        "line_half": sum(line.bound_j for line in lines) / true_j,
        "j_token": priced.low is None or priced.high is None or priced.low <= true_price <= priced.high,
        "noticed": any(device["method"] != "counter" for device in devices.values()),
    }


def _judged(rows: Sequence[Row], name: str, length_s: float) -> Row:
    errors = sorted(row["error"] for row in rows)
    scores = [_score(row["error"], row["half"]) for row in rows]
    line_scores = [_score(row["line"], row["line_half"]) for row in rows]
    worse = [ours - theirs for ours, theirs in zip(scores, line_scores, strict=True)]
    figures = {
        "windows": len(rows),
        "error": 100 * median(errors),
        "line": 100 * median(row["line"] for row in rows),
        "covers": fmean(row["error"] <= row["half"] for row in rows),
        "width": fmean(row["half"] for row in rows) / errors[int(0.95 * len(errors))],
        "score": 100 * fmean(scores),
        "line_score": 100 * fmean(line_scores),
        "j_token": fmean(row["j_token"] for row in rows),
        "noticed": fmean(row["noticed"] for row in rows),
    }
    ok = figures["covers"] >= _COVERS and figures["j_token"] >= _COVERS
    if name == "integrating":
        ok = ok and figures["error"] <= _BARS[length_s] and figures["width"] <= _WIDTH
    else:
        ok = ok and fmean(worse) - 1.96 * stdev(worse) / sqrt(len(worse)) <= 0
    return figures | {"ok": ok}


def _score(error: float, half: float) -> float:
    """95 % interval score."""
    return 2 * half + 2 / _ALPHA * max(0.0, error - half)
