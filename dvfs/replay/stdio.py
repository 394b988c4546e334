"""The open protocol: a policy that searches by trials, driven by anyone over JSON lines, who keeps the truth to himself.

In:  {"knob": "power_limit_w", "settings": [...], "slowdown": 0.05, "steps": 3000}
Out: {"setting": S, "steps": N}
In:  {"step_s": [N values], "power_w": [N values], "left": M}      and so on, until `left` is 0; then
In:  {"left": 0}
Out: {"chosen": S}                                                 and the next first line is taken, with no memory of this run.

`steps` may be left out, where nobody knows how long the run will be; a line {"left": 0} then ends it.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from dvfs.types import Trials
from energy_agent.core.errors import UsageError

MAX_LINE = 1 << 20
MAX_SETTINGS = 1024
MAX_STEPS = 100_000_000
_LEAST, _MOST = 1e-9, 1e9  # of any number but steps
_KNOBS = ("power_limit_w", "sm_clock_mhz")
_DEFAULT_SLOWDOWN = 0.03


def serve(trials: Trials, lines: Iterable[str], answer: Callable[[str], object]) -> None:
    """Answer until the lines end.

    Raises:
        UsageError: a line that is not of the protocol; names its number.
    """
    run: _Run | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            message = _object(line)
            if run is None:
                run = _Run(trials, message)
                answer(json.dumps(run.next()))
                continue
            said = run.take(message)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise UsageError(f"line {number}: {error}") from error
        if said is not None:
            answer(json.dumps(said))
            run = None if "chosen" in said else run


class _Run:
    """One run: from its first line to what is chosen."""

    def __init__(self, trials: Trials, first: dict[str, Any]) -> None:
        knob, settings = first.get("knob", "power_limit_w"), first.get("settings")
        if knob not in _KNOBS:
            raise ValueError(f"knob must be one of {', '.join(_KNOBS)}")
        if not isinstance(settings, list) or not 0 < len(settings) <= MAX_SETTINGS:
            raise ValueError(f"the first line needs settings, a list of 1 to {MAX_SETTINGS} numbers")
        self._given = {_number(value, "a setting"): value for value in settings}  # so that 150 is told as 150, not as 150.0
        steps = first.get("steps")
        if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or not 0 < steps <= MAX_STEPS):
            raise ValueError(f"steps must be a whole number of 1 to {MAX_STEPS}")
        self._trials, self._setting = trials, 0.0
        self._state = trials.begun(
            knob, list(self._given), _number(first.get("slowdown", _DEFAULT_SLOWDOWN), "slowdown"), steps
        )

    def next(self) -> dict[str, Any]:
        """The next trial."""
        trial, self._state = self._trials.proposed(self._state)
        self._setting = trial.setting
        return {"setting": self._given[trial.setting], "steps": trial.samples}

    def take(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """What to answer to a trial's samples, or to the end."""
        left = message.get("left")
        if left is not None and (not isinstance(left, int) or isinstance(left, bool) or left < 0):
            raise ValueError("left must be a whole number of at least 0")
        if "step_s" in message:
            step_s, power_w = (_numbers(message.get(key), key) for key in ("step_s", "power_w"))
            self._state = self._trials.learned(self._state, self._setting, step_s, power_w)
            return None if left == 0 else self.next()
        if left != 0:
            raise ValueError('wanted {"step_s": [...], "power_w": [...], "left": M}, or {"left": 0} at the end')
        return {"chosen": self._given[self._trials.choice(self._state)]}


def _object(line: str) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE} characters")
    try:
        message = json.loads(line)
    except ValueError:
        raise ValueError("not JSON") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _LEAST <= value <= _MOST:
        raise ValueError(f"{what} must be a number from {_LEAST:g} to {_MOST:g}, not {json.dumps(value)[:40]}")
    return float(value)


def _numbers(values: object, key: str) -> list[float]:
    if not isinstance(values, list) or not values:
        raise ValueError(f"{key} must be a list of numbers")
    return [_number(value, f"each of {key}") for value in values]
