"""Policy `limiter`: ends what a GPU wastes at its power limit, for work that saturates it.

At its power limit a board moves the clock up and down, which takes more energy than a constant clock of the same speed: an H100
that ran GEMM at 500 W saved 7.5 % under a lock at its own mean clock. Boards differ, so the clock is found, not tabulated:

1. Watch the clock while the power limit holds it (`_trials`), and take its mean.
2. Search among locks at that clock, two steps above and a few below, as `progress` does, with a slowdown of half a percent.
   Blocks of steps under a lock alternate with blocks without. Where a lock saves nothing, none is kept.
3. Watch again if the work responds differently from then on, or no lock helps.

Work is counted in training steps, or in tokens of a server with waiting requests: without a queue its speed is its clients'.
With a budget for slowdown use `progress` alone: it begins with the clock that the power limit holds, too.
"""

from collections.abc import Mapping
from functools import partial

from dvfs.policies import _trials
from dvfs.policies._trials import SearchOptions, SearchState
from dvfs.policies.progress import TRIALS
from dvfs.types import Decision, DvfsPolicy, Observation, no_prediction

_AGAIN = 1000  # samples without a lock that helps, until the clock is watched again


def decide(observation: Observation, state: SearchState, config: SearchOptions) -> tuple[Decision, SearchState]:
    """One round."""
    decision, new = _trials.decide(TRIALS, no_prediction, observation, state, config)
    if new.search is None or state.search is None or new.search is state.search:
        return decision, new
    before, after = state.search.measured, new.search.measured
    is_useless = after.samples >= _AGAIN and TRIALS.choice(new.search) == new.search.reference
    if is_useless or len(after.effects) < len(before.effects):
        return Decision("release" if state.asked is not None else "hold", "watching"), SearchState()
    return decision, new


_DEFAULTS: Mapping[str, object] = {"steps_below": 4, "slowdown": 0.005, "sample_s": 1.0, "settle_s": 2.0, "stale_s": 5.0}

SPEC = DvfsPolicy(
    summary="work at the power limit: lock the clock that the GPU holds there, and step down while measured progress allows",
    options={
        "steps_below": "clock steps of 15 MHz to try below the held clock (default 4)",
        "slowdown": "allowed slowdown of the work, as a ratio (default 0.005)",
        **{name: _trials.OPTIONS[name] for name in ("sample_s", "settle_s", "stale_s")},
    },
    configure=partial(_trials.configure, "limiter", defaults=_DEFAULTS),
    start=SearchState,
    decide=decide,
)
