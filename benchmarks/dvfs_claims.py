"""Claimed savings of a day of paired blocks with a known true saving: never more than the truth, and most of it.

Worlds of several classes: a saving that stays, ends, drifts or reverses, a load that changes, agents that restart. A world is a
training job or a server with its own reading instants and its own noise. Plan, experiment and estimate are those of the
governor. The truth is known from the generator: for each joule with the setting, the energy without it. A world counts as
over-claimed if any analysis claims more than the saving until then.
"""

import math
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from benchmarks.runner import Row
from dvfs.proof.experiment import EnergyReading, Experiment, ExperimentState, Round, Subject, WorkReading
from dvfs.proof.plan import ExperimentPlan
from energy_agent.core.proof import Analysis

NS = 1_000_000_000
DAY_S = 86_400
ROUND_S = 15.0
START_NS = 1_790_000_000 * NS  # a day within one quarter
OVER_MAX, CLAIM_LEAST = 177 / 4000, 0.60
SUBJECT = Subject("job", "w", "static")
Saving = Callable[[float], float]
"""Share of the energy per work that the setting saves at a time in s."""


def _stays(draw: random.Random) -> Saving:
    return lambda _t: 0.10


def _nothing(draw: random.Random) -> Saving:
    return lambda _t: 0.0


def _ends(draw: random.Random) -> Saving:
    saving, end = draw.uniform(0.05, 0.30), draw.uniform(0.02, 0.98) * DAY_S
    after = draw.choice((0.0, -0.02))
    return lambda t: saving if t < end else after


def _drifts(draw: random.Random) -> Saving:
    first, last = draw.uniform(-0.10, 0.30), draw.uniform(-0.10, 0.30)
    return lambda t: first + (last - first) * t / DAY_S


def _turns(draw: random.Random) -> Saving:
    up, down = draw.uniform(0.05, 0.30), -draw.uniform(0.02, 0.15)
    every, began = draw.uniform(0.05, 0.6) * DAY_S, draw.random() < 0.5
    return lambda t: up if (int(t / every) % 2 == 0) == began else down


CLASSES: dict[str, tuple[Callable[[random.Random], Saving], bool, bool]] = {
    "stays at 10 %": (_stays, False, False),
    "is nothing": (_nothing, False, False),
    "ends": (_ends, False, False),
    "drifts": (_drifts, False, False),
    "turns": (_turns, False, False),
    "10 %, load changes": (_stays, True, False),
    "10 %, restarts": (_stays, False, True),
    "turns, restarts": (_turns, False, True),
}
"""By name: the saving, whether it is a server, whether the agent is restarted."""


@dataclass(slots=True)
class JobModel:
    """A simulated job's counters. Noise is per second; a reading is as old as its last update."""

    draw: random.Random
    saving: Saving
    serves: bool
    noise: float = field(init=False)
    level: float = 0.0  # slow wander, of the logarithm
    t_s: float = 0.0
    uj: float = 0.0
    work: float = 0.0
    itl_us: float = 0.0
    saved_uj: float = 0.0

    def __post_init__(self) -> None:
        """Draw how noisy it is."""
        self.noise = math.exp(self.draw.uniform(math.log(0.01), math.log(0.12)))
        self.level = self.draw.gauss(0, 0.3)

    def run(self, seconds: float, *, on: bool) -> None:
        """Go on."""
        draw, share = self.draw, self.saving(self.t_s) if on else 0.0
        self.level += draw.gauss(0, 0.02 * math.sqrt(seconds)) - 0.002 * seconds * self.level
        jitter = 1 + draw.gauss(0, self.noise / math.sqrt(seconds))
        if self.serves:
            hours = 1 + 0.6 * math.sin(self.t_s / DAY_S * 2 * math.pi)
            rate = 800 * hours * math.exp(1.5 * self.level) * max(0.05, 1 + draw.gauss(0, 0.5 / math.sqrt(seconds)))
            watts = 400 * math.pow(rate / 800, 0.25) * (1 - share)
            itl_us = 1e6 * rate * 0.02 * (1 + rate / 4000) * (1.15 if on else 1.0)
        else:
            rate = 1000 * math.exp(0.3 * self.level) / (1.03 if on else 1.0)
            watts, itl_us = 400 * (1 - share) / (1.03 if on else 1.0), 0.0
        uj = watts * max(0.1, jitter) * seconds * 1e6
        self.t_s, self.uj, self.work = self.t_s + seconds, self.uj + uj, self.work + rate * seconds
        self.itl_us += itl_us * seconds
        if on:
            self.saved_uj += uj * share / (1 - share)

    def read_work(self) -> WorkReading:
        """Read the work counters."""
        if self.serves:
            return WorkReading(int(self.t_s * NS), int(self.work), int(self.itl_us), int(self.work))
        return WorkReading(int(self.t_s * NS), int(self.work))


def day(job: tuple[str, int]) -> tuple[bool, float, float]:
    """Whether a world was over-claimed, and the claim and the truth at its end, in J."""
    name, seed = job
    draw = random.Random(f"{name}/{seed}")
    make, serves, restarts = CLASSES[name]
    load, plan = JobModel(draw, make(draw), serves), ExperimentPlan(seed, None, 30.0, 4.0, 270.0)
    experiment, kept, kept_s = Experiment(plan, ExperimentState(START_NS, serves, salt="")), "", 0.0
    over, before_uj = False, 0.0
    next_s = draw.expovariate(1 / 7200) if restarts else math.inf
    while load.t_s < DAY_S:
        on = not experiment.is_paused
        load.run(ROUND_S, on=on)
        if load.t_s >= next_s:
            next_s = load.t_s + draw.expovariate(1 / 7200)
            # A stopped agent leaves its last state, a killed one the state before; a restart suspends steering.
            text = experiment.dump() if draw.random() < 0.5 or not kept else kept
            load.run(draw.uniform(5, 600), on=False)
            experiment, before_uj = Experiment.load(text, plan), load.uj
            continue
        now_ns, enforced_uj = int(load.t_s * NS), round(load.uj - before_uj) if on else 0
        before_uj = load.uj
        energy = EnergyReading(now_ns, round(load.uj))
        current_round = Round(now_ns, START_NS + now_ns, on, {"GPU-0": enforced_uj}, energy, load.read_work())
        rows = experiment.feed(current_round, SUBJECT)
        if restarts and (rows or load.t_s - kept_s > 60):
            kept, kept_s = experiment.dump(), load.t_s
        for row in rows:
            if isinstance(row, Analysis):
                over |= experiment.state.claimed_uj.total() > max(0.0, load.saved_uj)
    return over, experiment.state.claimed_uj.total() / 1e6, load.saved_uj / 1e6


def run(runs: int = 400, first_seed: int = 0) -> Iterator[Row]:
    """Run `runs` worlds of each class."""
    with ProcessPoolExecutor(2) as pool:
        for name, (make, _, _) in CLASSES.items():
            days = list(pool.map(day, [(name, first_seed + n) for n in range(runs)], chunksize=8))
            over = sum(each for each, _, _ in days)
            shares = sorted(claimed_j / saved_j for _, claimed_j, saved_j in days if saved_j > 0)
            median = shares[len(shares) // 2] if shares else None
            ok = over <= OVER_MAX * runs and (make is not _stays or (median or 0) >= CLAIM_LEAST)
            yield {"saving": name, "worlds": runs, "over-claimed at any analysis": over, "median_claim": median, "ok": ok}
