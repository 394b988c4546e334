"""Choice of the setting that a sweep measures next. Pure: its input is the measurements so far, so an interrupted sweep resumes
exactly.

A run of the sweep is a session. It begins with the reference (the original settings) and returns to it after every two
settings. So each interval has a reference shortly before and shortly after it, and drift (temperature, the workload itself)
cancels. A round visits every unfinished setting once, in an order drawn from the plan's seed, so that no setting always follows
the same other one.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

from dvfs.sweep.estimate import precise_settings
from dvfs.sweep.profile import REFERENCE, Key, SettingInterval, SweepPlan

PAIRED = 2
"""So many settings at most between two references."""
STEP_MHZ = 15
STEP_W = 5


def following(plan: SweepPlan, done: Sequence[SettingInterval], session: int) -> Key | None:
    """What to measure next in `session`, after `done`; None: the sweep is complete."""
    pending, since = unfinished(plan, done), since_reference(done, session)
    if since is None:
        return REFERENCE if pending else None
    if not pending:
        return REFERENCE if since else None
    if since >= PAIRED:
        return REFERENCE
    turn = min(pending.values())
    return min((key for key, n in pending.items() if n == turn), key=lambda key: _draw(plan.seed, turn, key))


def unfinished(plan: SweepPlan, done: Sequence[SettingInterval]) -> Mapping[Key, int]:
    """The settings that need more intervals, each with its number of intervals."""
    counts = Counter(interval.key for interval in done)
    enough = precise_settings(done, plan.precision_ratio)
    return {key: counts[key] for key in plan.settings if counts[key] < plan.repeats and key not in enough}


def stretches_left(plan: SweepPlan, done: Sequence[SettingInterval], session: int) -> int:
    """Upper bound of the intervals left, references included."""
    more = sum(plan.repeats - n for n in unfinished(plan, done).values())
    since = since_reference(done, session)
    if since is None:
        return 0 if not more else 1 + more + -(-more // PAIRED)
    return more + -(-(since + more) // PAIRED)


def since_reference(done: Sequence[SettingInterval], session: int) -> int | None:
    """Intervals since the session's last reference; None if it has none yet."""
    mine = [interval.key for interval in done if interval.session == session]
    return mine[::-1].index(REFERENCE) if REFERENCE in mine else None


def _draw(seed: int, turn: int, key: Key) -> bytes:
    return hashlib.sha256(f"{seed}:{turn}:{key}".encode()).digest()


def clocks(knee_mhz: int, highest_mhz: int, points: int) -> tuple[int, ...]:
    """SM clocks from the knee to below the highest, evenly, in steps of 15 MHz; the highest is what the reference runs at.

    Raises:
        ValueError: there is nothing between them.
    """
    return _between(knee_mhz, highest_mhz, points, STEP_MHZ)


def limits(lowest_w: float, found_w: float, points: int) -> tuple[float, ...]:
    """Power limits from the lowest that the board takes to below the one that was found, evenly, in steps of 5 W.

    Raises:
        ValueError: there is nothing between them.
    """
    return tuple(float(w) for w in _between(int(-(-lowest_w // 1)), int(found_w), points, STEP_W))


def grid(some_clocks: Sequence[int], some_limits: Sequence[float]) -> tuple[Key, ...]:
    """Every clock with every limit, and each of both alone; without the reference."""
    pairs = itertools.product((None, *some_clocks), (None, *some_limits))
    return tuple(pair for pair in pairs if pair != REFERENCE)


def _between(low: int, high: int, points: int, step: int) -> tuple[int, ...]:
    if not 0 < low < high or points < 1:
        raise ValueError(f"no {points} settings between {low} and {high}")
    return tuple(dict.fromkeys(low + (high - low) * i // points // step * step for i in range(points)))
