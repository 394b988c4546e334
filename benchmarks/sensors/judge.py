"""Windows on simulated GPUs, and what a stated energy has to satisfy."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp, lgamma, log
from statistics import fmean, median
from typing import NamedTuple

from benchmarks.runner import Row
from benchmarks.sensors.engine import Engine
from benchmarks.sensors.loads import Load, draw_loads
from benchmarks.sensors.plant import GAIN_TOLERANCE, LATEST_S, Gpu, SensorClass
from benchmarks.sensors.sampler import SimulatedSampler, Statement
from energy_agent.sdk.measure.window_tokens import per_token

HELD, REFUSED, WIDTH, SMALLEST = 0.93, 0.05, 2.0, 0.0005
PERIODS = 2.2
_CHANCE = 0.01
_ENOUGH = 20
_WARM_UP_S = 3.0
_NEAR_S = 3.5


@dataclass(frozen=True, slots=True)
class WindowClass:
    """Windows of a length: `random` instants, at `edges` of the load, three `in a row`, `around` the others, or the `first`."""

    length_s: float
    place: str = "random"


WINDOWS = {
    "100 ms": WindowClass(0.1),
    "300 ms": WindowClass(0.3),
    "1 s": WindowClass(1.0),
    "10 s": WindowClass(10.0, "around"),
    "300 ms at edges": WindowClass(0.3, "edges"),
    "1 s at edges": WindowClass(1.0, "edges"),
    "100 ms in a row": WindowClass(0.1, "in a row"),
    "1 s in a row": WindowClass(1.0, "in a row"),
    "first 1 s": WindowClass(1.0, "first"),
    "1 h": WindowClass(3600.0, "around"),
}


class Window(NamedTuple):
    """A window of a class."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A window, its true energy and the statement.

    `delay_j`: what an invisible delay can move; `short`: it may be refused; `price`: the interval of J/token holds the truth.
    """

    window: str
    true_j: float
    statement: Statement
    delay_j: float = 0.0
    short: bool = False
    price: bool | None = None

    @property
    def contains_truth(self) -> bool:
        """The interval contains the true energy."""
        return not self.statement.reason and self.statement.low_j <= self.true_j <= self.statement.high_j


def plan(rng: random.Random, load: Load, names: list[str], rounds: int, period_s: float) -> list[Window]:
    """`rounds` windows of each class. None overlap but those around others."""
    windows = [Window(name, 0.05, 0.05 + WINDOWS[name].length_s) for name in names if WINDOWS[name].place == "first"]
    begin_s = now_s = _WARM_UP_S + 3 * period_s
    for _ in range(rounds):
        for name in rng.sample(names, len(names)):
            length_s, place = WINDOWS[name].length_s, WINDOWS[name].place
            if place in ("first", "around"):
                continue
            now_s += rng.uniform(0.02, 0.3)
            edges_s = [now_s + k * length_s for k in range(4 if place == "in a row" else 2)]
            if place == "edges":
                edges_s[0] = _edge(load, now_s, _NEAR_S)
                edges_s[1] = _edge(load, edges_s[0] + 0.75 * length_s, length_s / 2, edges_s[0] + length_s)
            windows += [Window(name, start_s, end_s) for start_s, end_s in pairwise(edges_s)]
            now_s = edges_s[-1]
    for name in names * rounds:
        length_s, place = WINDOWS[name].length_s, WINDOWS[name].place
        if place == "around":
            start_s = rng.uniform(begin_s, max(begin_s + 5.0, now_s - length_s))
            windows.append(Window(name, start_s, start_s + length_s))
    return windows


def _edge(load: Load, after_s: float, within_s: float, otherwise_s: float | None = None) -> float:
    edge_s = load.edge_after(after_s)
    if edge_s is not None and edge_s <= after_s + within_s:
        return edge_s
    return after_s if otherwise_s is None else otherwise_s


def measure(sampler: SimulatedSampler, windows: Sequence[Window], patience_s: float) -> list[Statement]:
    """The statements on all windows; a window without one `patience_s` after the last is refused."""
    events = sorted(
        [(window.end_s, 0, k) for k, window in enumerate(windows)]
        + [(window.start_s, 1, k) for k, window in enumerate(windows)]
    )
    for at_s, opens, number in events:
        sampler.run(at_s)
        (sampler.open if opens else sampler.close)(number, at_s)
    sampler.run(events[-1][0] + patience_s)
    return [sampler.statements.get(k, Statement(reason="no statement")) for k in range(len(windows))]


def judge_scenario(
    rng: random.Random, kind: SensorClass, load: str, coupling: str, names: list[str], rounds: int
) -> list[Outcome]:
    """Draw sensors, loads and windows of their classes and measure."""
    sensors = kind.draw(rng)
    loads = draw_loads(rng, load, coupling)
    windows = plan(rng, loads[0], names, rounds, sensors.period_s)
    patience_s = 1.0 + 4 * sensors.period_s
    until_s = max(window.end_s for window in windows) + patience_s + 1.0
    gpus = [Gpu(rng.getrandbits(63), sensors, load, until_s) for load in loads]
    engine = Engine(random.Random(rng.random()), until_s)
    statements = measure(SimulatedSampler(rng, gpus, sensors.latency_s), windows, patience_s)
    gain = GAIN_TOLERANCE if kind.gain else 0.0
    outcomes = []
    for window, statement in zip(windows, statements, strict=True):
        true_j = sum(load.between_j(window.start_s, window.end_s) for load in loads)
        visible = kind.shows_delay and WINDOWS[window.name].place != "first"
        delay_j = 0.0 if visible else sum(delay_effect_j(load, window) for load in loads)
        short = window.end_s - window.start_s < PERIODS * sensors.period_s
        price = None if statement.reason else _price(engine, window, statement, gain, true_j)
        outcomes.append(Outcome(window.name, true_j, widen(statement, gain), delay_j, short, price))
    return outcomes


def _price(engine: Engine, window: Window, statement: Statement, gain: float, true_j: float) -> bool:
    tokens = engine.window_tokens(window.start_s, window.end_s)
    half_j = (statement.high_j - statement.low_j) / 2
    price = per_token(statement.joules, half_j, gain, tokens.processed or 0, tokens.edge_processed)
    true_price = true_j / engine.tokens(window.start_s, window.end_s)
    return price.low is None or price.high is None or price.low <= true_price <= price.high


def widen(statement: Statement, gain: float) -> Statement:
    """Add the bound of the sensor's gain error, as docs/accuracy.md defines it."""
    bound_j = statement.joules * gain / (1 - gain)
    return Statement(statement.joules, statement.low_j - bound_j, statement.high_j + bound_j, statement.reason)


def delay_effect_j(load: Load, window: Window) -> float:
    """The largest change of a window's energy when it is taken from up to `LATEST_S` before."""
    true_j = load.between_j(window.start_s, window.end_s)
    delays_s = [LATEST_S * k / 8 for k in range(1, 9)]
    return max(abs(load.between_j(window.start_s - d, window.end_s - d) - true_j) for d in delays_s)


def verdict(outcomes: Sequence[Outcome]) -> Row:
    """Figures of the windows of one cell, and the requirements that they miss."""
    judged = [outcome for outcome in outcomes if not (outcome.short and outcome.statement.reason)]
    stated = [outcome for outcome in judged if not outcome.statement.reason]
    errors = sorted(abs(o.statement.joules - o.true_j) / o.true_j for o in stated)
    half = fmean((o.statement.high_j - o.statement.low_j) / 2 / o.true_j for o in stated) if stated else None
    p95 = errors[ceil(0.95 * len(errors)) - 1] if errors else None
    hits, refused = sum(o.contains_truth for o in judged), len(judged) - len(stated)
    prices = [outcome.price for outcome in stated if outcome.price is not None]
    missed = []
    if at_most(hits, len(judged), HELD) < _CHANCE:
        missed.append("held")
    if at_most(sum(prices), len(prices), HELD) < _CHANCE:
        missed.append("token")
    if judged and refused > REFUSED * len(judged):
        missed.append("refused")
    if half is not None and p95 is not None and len(stated) >= _ENOUGH:
        allowed = WIDTH * p95 + fmean(o.delay_j / o.true_j for o in stated) + SMALLEST
        missed += ["width"] if half > allowed else []
    return {
        "n": len(outcomes),
        "held_percent": 100 * hits / len(judged) if judged else None,
        "refused_percent": 100 * fmean(bool(o.statement.reason) for o in outcomes),
        "median_percent": 100 * median(errors) if errors else None,
        "p95_percent": None if p95 is None else 100 * p95,
        "half_percent": None if half is None else 100 * half,
        "half_p95": half / p95 if half is not None and p95 else None,
        "token_percent": 100 * fmean(prices) if prices else None,
        "missed": ", ".join(missed),
        "ok": not missed,
    }


def at_most(successes: int, count: int, probability: float) -> float:
    """The probability of so few successes."""
    if successes >= probability * count:
        return 1.0
    logs = (
        lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1) + k * log(probability) + (count - k) * log(1 - probability)
        for k in range(successes + 1)
    )
    return sum(map(exp, logs))
