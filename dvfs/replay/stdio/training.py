"""The open protocol for training: a policy proposes settings, and a judge who knows the truth runs them.

In:  {"knob": "power_limit_w", "settings": [...], "slowdown": 0.05, "steps": 3000}
Out: {"setting": S, "steps": N}
In:  {"step_s": [N values], "power_w": [N values], "left": M}      and so on, until `left` is 0; then
In:  {"left": 0}
Out: {"chosen": S}                                                 and the next first line is taken, with no memory of this run.

`steps` may be left out, where nobody knows how long the run will be; a line {"left": 0} then ends it.
"""

import json
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from dvfs.replay.stdio.lines import JsonLines
from dvfs.types import Trials
from energy_agent.core.errors import UsageError

MAX_SETTINGS = 1024
MAX_STEPS = 100_000_000
Number = Annotated[float | int, Field(ge=1e-9, le=1e9)]  # reported as entered: 150, not 150.0
Numbers = Annotated[list[Number], Field(min_length=1)]


class _First(BaseModel, strict=True):
    knob: Literal["power_limit_w", "sm_clock_mhz"] = "power_limit_w"
    settings: Annotated[Numbers, Field(max_length=MAX_SETTINGS)]
    slowdown: Number = 0.03
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None


class _Samples(BaseModel, strict=True):
    step_s: Numbers | None = None
    power_w: Numbers | None = None
    left: Annotated[int, Field(ge=0)] | None = None


def serve(trials: Trials, lines: JsonLines, answer: Callable[[str], object]) -> None:
    """Answer until the lines end.

    Raises:
        UsageError: a line that is not of the protocol; names its number.
    """
    try:
        while (first := lines.read(_First)) is not None:
            _play(trials, first, lines, answer)
    except (ValueError, ArithmeticError) as error:
        raise UsageError(f"line {lines.number}: {error}") from error


def _play(trials: Trials, first: _First, lines: JsonLines, answer: Callable[[str], object]) -> None:
    """One run, to what is chosen."""
    given = {float(value): value for value in first.settings}
    state = trials.start(first.knob, list(given), float(first.slowdown), first.steps)
    is_over = False
    while True:
        if not is_over:
            trial, state = trials.propose(state)
            answer(json.dumps({"setting": given[trial.setting], "steps": trial.samples}))
        if (message := lines.read(_Samples)) is None:
            return
        is_over = message.left == 0
        if message.step_s is None:
            break
        state = trials.learn(state, trial.setting, message.step_s, message.power_w or ())
    if not is_over:
        raise ValueError('expected {"step_s": [...], "power_w": [...], "left": M}, or {"left": 0} at the end')
    answer(json.dumps({"chosen": given[trials.choice(state)]}))
