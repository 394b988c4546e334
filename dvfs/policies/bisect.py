"""Policy `bisect`: finds the lowest setting that measurably keeps the budget, by bisection. A baseline for both kinds of work.

Training: blocks of steps in pairs, at the reference (the original setting) and at the middle of the settings that are left. The
one-sided 95 % bounds of the mean slowdown accept or reject it. The accepted setting of least energy is held, and tested again
now and then. Serving: the same over clocks, by bounds of the share of observations above a latency limit (`_clock_search`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, log, log1p, sqrt
from statistics import mean, stdev

from dvfs.policies import _clock_search, _trials
from dvfs.policies._clock_search import ClockSearch
from dvfs.policies._trials import SearchOptions, SearchState, SettingSearch
from dvfs.types import Decision, DvfsPolicy, Observation, Trial, Trials, no_prediction
from energy_agent.core.interval import t_quantile

_ONE_SIDED = 0.05  # 95 %, as the baseline is defined
_BLOCK = 10  # samples: at 2 % noise per step a pair is within 1 %, a fifth of the usual budget
_PAIRS = (3, 12)  # for a bound, and after which a setting so near to the budget is given up
_HOLD = 200  # samples between two pairs of a held setting: a twentieth of the time at the reference


@dataclass(frozen=True, slots=True)
class PairSearch(SettingSearch):
    """A bisection. `low` to `high` are left; `high` is accepted. Ratios are logarithms."""

    limit: float
    low: int
    high: int
    pairs: tuple[tuple[float, float], ...] = ()  # of the setting under test: time and energy relative to the reference
    half: tuple[float, float, float] | None = None  # setting, log time, log energy of a block that waits for its partner
    saved: Mapping[float, float] = field(default_factory=dict)  # energy of accepted settings
    is_held: bool = False

    @property
    def tested(self) -> float:
        """The middle of those that are left."""
        return self.settings[(self.low + self.high) // 2]


def start_pairs(knob: str, settings: Sequence[float], slowdown: float, _steps: int | None) -> PairSearch:
    """Start a search. Raises ValueError without settings, or with a budget that is not above 0."""
    ordered = tuple(sorted(set(settings)))
    if not ordered or not slowdown > 0:
        raise ValueError("a search needs settings and a budget above 0")
    return PairSearch(knob, ordered, log1p(slowdown), 0, len(ordered) - 1)


def propose(search: PairSearch) -> tuple[Trial, PairSearch]:
    """The next block."""
    if search.tested == search.reference or search.is_held:
        return Trial(choice(search), _HOLD, "hold"), search
    done = search.half[0] if search.half is not None else None
    if done == search.tested or (done is None and len(search.pairs) % 2 == 0):  # the order alternates: a drift cancels
        return Trial(search.reference, _BLOCK, "reference"), search
    return Trial(search.tested, _BLOCK, "probe"), search


def learn(search: PairSearch, setting: float, step_s: Sequence[float], power_w: Sequence[float]) -> PairSearch:
    """With a block that was run. Raises ValueError for one without as many positive times as powers."""
    if not step_s or len(step_s) != len(power_w) or min(*step_s, *power_w) <= 0:
        raise ValueError("a trial needs one time per power value, all above 0")
    if search.tested == search.reference or search.is_held:
        return replace(search, is_held=False)
    cut = len(step_s) // 10
    time = log(mean(sorted(step_s)[cut : len(step_s) - cut]))  # a stall is no slowdown
    block = (setting, time, time + log(mean(power_w)))
    if search.half is None or search.half[0] == setting:
        return replace(search, half=block)
    probe, reference = (search.half, block) if setting == search.reference else (block, search.half)
    pair = (probe[1] - reference[1], probe[2] - reference[2])
    return _judge(replace(search, half=None, pairs=(*search.pairs, pair)[-_PAIRS[1] :]))


def _judge(search: PairSearch) -> PairSearch:
    slow, n, tested = [time for time, _ in search.pairs], len(search.pairs), (search.low + search.high) // 2
    average, half = mean(slow), t_quantile(n - 1, _ONE_SIDED) * stdev(slow) / sqrt(n) if n >= _PAIRS[0] else inf
    if average + half <= search.limit:
        saved = {**search.saved, search.tested: mean(energy for _, energy in search.pairs)}
        is_held = search.low == tested
        return replace(search, high=tested, saved=saved, is_held=is_held, pairs=search.pairs if is_held else ())
    if average - half > search.limit or (n < _PAIRS[0] and average > 2 * search.limit) or n >= _PAIRS[1]:
        saved = {setting: energy for setting, energy in search.saved.items() if setting > search.tested}
        low = min(tested + 1, len(search.settings) - 1)
        return replace(search, low=low, high=max(search.high, low), saved=saved, pairs=())
    return search


def choice(search: PairSearch) -> float:
    """The accepted setting of least energy."""
    return min({search.reference: 0.0, **search.saved}.items(), key=lambda one: one[1])[0]


TRIALS = Trials(start_pairs, propose, learn, choice)
State = SearchState | ClockSearch


def decide(observation: Observation, state: State, config: SearchOptions) -> tuple[Decision, State]:
    """One round: of a server where the owner gave limits, else of a training job."""
    if observation.terms.ttft_s is not None or observation.terms.itl_s is not None:
        return _clock_search.decide(observation, state if isinstance(state, ClockSearch) else ClockSearch(), config)
    search = state if isinstance(state, SearchState) else SearchState()
    return _trials.decide(TRIALS, no_prediction, observation, search, config)


SPEC = DvfsPolicy(
    summary="baseline for training and serving: bisection on measured slowdown or latency misses, with one-sided 95 % bounds",
    options=_trials.OPTIONS,
    configure=partial(_trials.configure, "bisect"),
    start=SearchState,
    decide=decide,
    trials=TRIALS,
)
