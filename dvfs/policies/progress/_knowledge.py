"""Knowledge of a search for the least energy within a slowdown budget. Pure.

A sample is a step, or a longer interval of equal length. The account is kept in work: a sample of the reference is worth the
time that it takes, relative to the first one of the run, so that drift and changes of the workload weigh as they should.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dvfs.policies.progress._contrast import CALM, RESTLESS, Contrasts
from dvfs.policies.progress._mix import SettingTradeoff
from dvfs.policies.progress._noise import UNKNOWN_NOISE, Noise
from dvfs.policies.progress._response import CurvePosterior

WHOLE_Z = 3.2
"""Standard errors between what is known of the whole run's slowdown and its budget: 1 in 1,400, one-sided; in slow noise, whose
size has to be learned too, about 1 in 100."""
CHOICE_Z = 2.0
"""The same for the setting that is chosen: most settings are not that near to the budget."""
HORIZON = 1000
"""Samples to plan for where nobody says how many there will be."""
_RESTLESS_COST = 2.0  # in log likelihood: what speaks for a calm drift before anything is seen
_TURNS_REACH = 1.9  # times the budget: a setting beyond is not taken in turns
_REST_REACH = 1.5  # times the budget: how slow the rest of a run may get to make up for a fast start


class BlockMean(NamedTuple):
    """One block: mean logarithms of time per sample and of power."""

    setting: float
    samples: int
    time: float
    power: float


class OutlierBlock(NamedTuple):
    """A block far from the expected one: the logarithms of its times, and the expected logarithm."""

    setting: float
    times: tuple[float, ...]
    expected: float


@dataclass(frozen=True, slots=True)
class SlowdownAccount:
    """Work done at the reference's speed, and the slowdown so far: both in samples of the reference, with the variance."""

    work: float = 0.0
    excess: float = 0.0
    variance: float = 0.0


@dataclass(frozen=True, slots=True)
class Search:
    """Current knowledge. `settings` are in ascending order; samples are steps, or longer intervals of equal length."""

    knob: str
    settings: tuple[float, ...]
    budget: float
    left: int | None  # samples of the run; None: unknown
    in_turns: bool  # whether two settings may be taken in turns
    times: tuple[Contrasts, ...]  # under each assumption about the drift
    power: Contrasts
    time_noise: Noise = UNKNOWN_NOISE
    power_noise: Noise = UNKNOWN_NOISE
    response: CurvePosterior | None = None
    power_w: float = 0.0  # of the reference, when the workload began
    samples: Mapping[float, int] = field(default_factory=dict)
    work: Mapping[float, float] = field(default_factory=dict)  # as in Spent
    before: SlowdownAccount = SlowdownAccount()  # earlier workloads of the same run
    first_level: float | None = None
    turns: Mapping[float, float] = field(default_factory=dict)
    owed: float = 0.0  # to the second of two settings in turns, in blocks
    since_reference: int = 0
    until_look: int = 0
    rechecks: tuple[float, ...] = ()  # settings to measure now, since something far from expected was measured
    blocks: tuple["BlockMean", ...] | None = ()  # used so far; None: more than `_BLOCKS_KEPT`
    filtered_with: tuple[Noise, Noise] = (UNKNOWN_NOISE, UNKNOWN_NOISE)  # noise of the last filtering of `time` and `power`
    filtered_blocks: int = 0  # and how many blocks there were then
    aside: tuple["OutlierBlock", ...] = ()  # blocks not used because of that
    restarts: int = 0

    @property
    def reference(self) -> float:
        """The highest setting."""
        return self.settings[-1]

    @property
    def time(self) -> Contrasts:
        """Estimate of the time per sample, under the assumption about the drift that explains it best."""
        return max(self.times, key=lambda known: known.log_likelihood)

    @property
    def limit(self) -> float:
        """The budget as log(1 + slowdown)."""
        return math.log1p(self.budget)


def start_search(knob: str, settings: Sequence[float], budget: float, left: int | None, *, in_turns: bool = True) -> Search:
    """Start a search without measurements.

    Raises:
        ValueError: no settings, or a budget that is not above 0.
    """
    ordered = tuple(sorted(set(settings)))
    if not ordered or not budget > 0:
        raise ValueError("a search needs settings and a budget above 0")
    return Search(knob, ordered, budget, left, in_turns, nothing_known(ordered[-1]), Contrasts(ordered[-1]))


def nothing_known(reference: float) -> tuple[Contrasts, ...]:
    """The filters of a search before its first block."""
    return tuple(
        Contrasts(reference, slope_walk=walk, log_likelihood=-cost) for walk, cost in ((CALM, 0.0), (RESTLESS, _RESTLESS_COST))
    )


def choice(search: Search) -> float:
    """The setting of least energy whose slowdown is proven to be within the budget; otherwise the reference."""
    candidates = [(1.0, search.reference)]
    for setting in search.samples:
        if setting == search.reference:
            continue
        offset, variance = search.time.offset(setting)
        if offset + CHOICE_Z * math.sqrt(variance) <= search.limit:
            candidates.append((energy(search, setting), setting))
    return min(candidates)[1]


def slowdown_account(search: Search, coming: Mapping[float, float]) -> SlowdownAccount:
    """The whole run so far, with samples to come by setting."""
    now = worth_now(search)
    work = dict(search.work)
    for setting, n in coming.items():
        work[setting] = work.get(setting, 0.0) + n * now
    slow = [s for s in work if s != search.reference]
    ratio = {s: math.exp(search.time.offset(s)[0]) for s in slow}
    variance = math.fsum(work[a] * work[b] * ratio[a] * ratio[b] * search.time.between(a, b) for a in slow for b in slow)
    before = search.before
    return SlowdownAccount(
        before.work + math.fsum(work.values()),
        before.excess + math.fsum(work[s] * (ratio[s] - 1) for s in slow),
        before.variance + max(variance, 0.0),
    )


def worth_now(search: Search) -> float:
    """Present duration of a sample of the reference, relative to the run's first."""
    return math.exp(min(search.time.level - search.first_level, 20.0)) if search.first_level is not None else 1.0


def allowance(search: Search) -> float:
    """The mean slowdown that the rest of the run may have, so that the whole stays within the budget."""
    left = float(search.left if search.left else HORIZON)
    known = {s: part * left for s, part in search.turns.items() if s in search.samples}
    done, end = slowdown_account(search, {}), slowdown_account(search, known or {search.reference: left})
    rest = end.work - done.work
    aim = (search.budget * end.work - WHOLE_Z * math.sqrt(end.variance) - done.excess) / rest
    return min(max(aim, 0.0), _REST_REACH * search.budget)


def points(search: Search) -> list[SettingTradeoff]:
    """Slowdown and energy of the settings that were tried, without those that are too slow to be of use."""
    tradeoffs = [SettingTradeoff(0.0, 1.0, search.reference)]
    for setting in search.samples:
        slowdown = math.expm1(search.time.offset(setting)[0])
        if setting != search.reference and slowdown <= _TURNS_REACH * search.budget:
            tradeoffs.append(SettingTradeoff(max(0.0, slowdown), energy(search, setting), setting))
    return tradeoffs


def energy(search: Search, setting: float) -> float:
    """Energy per work at a setting that was tried, relative to the reference."""
    return math.exp(search.time.offset(setting)[0] + search.power.offset(setting)[0])
