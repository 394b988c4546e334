"""Policy `progress`: the least energy of a training job within a slowdown budget, found by trying settings and timing steps.

It never uses utilisation. It measures the job at the reference (the original settings) and at a few settings that are
unlikely to slow it too much, keeps an account of the whole run's slowdown, and keeps measuring (`_search.py`).
In shadow mode, where nothing may be written, it measures the reference alone and reports the expectation from physics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from dvfs.knees import Knee
from dvfs.policies import _trials
from dvfs.policies._trials import SearchOptions, SearchState, setting_of
from dvfs.policies.progress import _knowledge, _learning, _search
from dvfs.types import Decision, DvfsPolicy, Observation, Prediction, Trials

_TRIALS = Trials(_knowledge.start_search, _search.proposed, _learning.learn_trial, _knowledge.choice)
_ONE_SETTING = replace(_TRIALS, start=partial(_knowledge.start_search, in_turns=False))


def decide(observation: Observation, state: SearchState, config: SearchOptions) -> tuple[Decision, SearchState]:
    """One round, see `_trials`."""
    return _trials.decide(_TRIALS if config.turns else _ONE_SETTING, predict, observation, state, config)


def predict(state: SearchState, _config: SearchOptions) -> Prediction | None:
    """Expected result from physics for a job with a measured reference only; None before that."""
    search = state.search
    if search is None or search.response is None:
        return None
    draws = sorted(search.response.savings(search.limit), key=lambda draw: draw[2])
    mean = sum(weight * saving for weight, _, saving in draws)
    by_setting: dict[float, float] = {}
    for weight, setting, saving in draws:
        by_setting[setting] = by_setting.get(setting, 0.0) + weight * saving
    best = setting_of(search, max(by_setting, key=lambda setting: by_setting[setting]))
    settings = {} if best is None else dict.fromkeys(state.devices, best)
    return Prediction(settings, mean, _quantile(draws, 0.025), _quantile(draws, 0.975))


def _quantile(draws: Sequence[tuple[float, float, float]], share: float) -> float:
    passed = 0.0
    for weight, _, saving in draws:
        passed += weight
        if passed >= share:
            return saving
    return draws[-1][2]


def configure(options: Mapping[str, object], knees: Sequence[Knee]) -> SearchOptions:
    """Config from the user's options. Raises UsageError as `_trials.configure` does."""
    return _trials.configure("progress", options, knees, {**_trials.DEFAULTS, "turns": True})


SPEC = DvfsPolicy(
    summary="training: minimise energy within the slowdown budget, by trying settings and measuring steps",
    options={
        **_trials.OPTIONS,
        "turns": "alternate two settings if the budget lies between them (default true)",
    },
    configure=configure,
    start=SearchState,
    decide=decide,
    predict=predict,
    trials=_TRIALS,
)
