"""What node, namespace and workload say of steering, merged into the terms of one group. Pure.

One schema for all three: a configuration file, a ConfigMap and a pod's annotation say the same words. Laws:

- Nobody is steered further than the node's owner allows: of the modes the least counts, of the caps the lowest, and a schedule
  of each has to allow it.
- A slowdown is the most specific one that was said, and never above what the node's owner lets others ask for.
- An SLO and the policies are the most specific ones that were said: a workload knows what it serves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dvfs.types import Mode, Terms

T = TypeVar("T")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN = 24 * 60
_ORDER = (Mode.OBSERVE, Mode.SHADOW, Mode.ENFORCE)


@dataclass(frozen=True, slots=True)
class Span:
    """A time of the week in which steering is allowed: days from 0 for Monday, and minutes of the day [start, end)."""

    days: frozenset[int]
    start_min: int
    end_min: int

    def holds(self, day: int, minute: int) -> bool:
        """Whether that minute is in it; a span over midnight belongs to the day on which it begins."""
        if self.start_min < self.end_min:
            return day in self.days and self.start_min <= minute < self.end_min
        return (day in self.days and minute >= self.start_min) or ((day - 1) % 7 in self.days and minute < self.end_min)


@dataclass(frozen=True, slots=True)
class Said:
    """What one of them says; None: nothing."""

    mode: Mode | None = None
    policies: tuple[str, ...] | None = None
    slowdown_ratio: float | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    attainment_ratio: float | None = None
    cap_mw: int | None = None
    shared: bool | None = None
    schedule: tuple[Span, ...] | None = None


def span(text: str) -> Span:
    """`Mon-Fri 08:00-18:00`, `Sat,Sun 00:00-24:00` or `22:00-06:00` (every day).

    Raises:
        ValueError: it is none of these; the text says what is wanted.
    """
    words = text.lower().split()
    if not 1 <= len(words) <= 2:
        raise ValueError(_wanted(text))
    try:
        days = frozenset(_days(words[0])) if len(words) == 2 else frozenset(range(7))
        start, _, end = words[-1].partition("-")
        found = Span(days, _minute(start), _minute(end))
    except ValueError:
        raise ValueError(_wanted(text)) from None
    if found.start_min in (found.end_min, _DAY_MIN):
        raise ValueError(f"{text!r} is no time at all")
    return found


def _wanted(text: str) -> str:
    return f"a time is DAYS HH:MM-HH:MM, such as Mon-Fri 08:00-18:00, not {text[:40]!r}"


def _days(text: str) -> Iterable[int]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = DAYS.index(first)
        for i in range((DAYS.index(last) - begin) % 7 + 1 if dash else 1):
            yield (begin + i) % 7


def _minute(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    if not colon or not (len(minutes) == 2 and hours.isdecimal() and minutes.isdecimal()):
        raise ValueError(text)
    found = 60 * int(hours) + int(minutes)
    if int(minutes) > 59 or found > _DAY_MIN:
        raise ValueError(text)
    return found


def merged(node: Said, others: Sequence[Said], slowdown_most: float, day: int, minute: int) -> Terms:
    """The terms at a minute of the week, in the node's time.

    Args:
        node: what the node's owner says; without a mode nothing is steered.
        others: what namespace and workload say, the most specific last.
        slowdown_most: the most that others may ask for; the node's own word may be more.
        day: of the week, from 0 for Monday.
        minute: of the day.
    """
    said = (node, *others)
    modes = [one.mode for one in said if one.mode is not None] if node.mode is not None else [Mode.OBSERVE]
    open_now = all(any(s.holds(day, minute) for s in one.schedule) for one in said if one.schedule is not None)
    default = Terms()
    asked = _last(one.slowdown_ratio for one in others)
    own = node.slowdown_ratio if node.slowdown_ratio is not None else default.slowdown_ratio
    caps = [one.cap_mw for one in said if one.cap_mw is not None]
    attainment = _last(one.attainment_ratio for one in said)
    return Terms(
        mode=min(modes, key=_ORDER.index) if open_now else Mode.OBSERVE,
        policies=_last(one.policies for one in said) or default.policies,
        slowdown_ratio=own if asked is None else min(asked, max(slowdown_most, own)),
        ttft_s=_last(one.ttft_s for one in said),
        itl_s=_last(one.itl_s for one in said),
        attainment_ratio=default.attainment_ratio if attainment is None else attainment,
        cap_mw=min(caps, default=None),
        shared=bool(_last(one.shared for one in others)),
    )


def _last(values: Iterable[T | None]) -> T | None:
    found: T | None = None
    for value in values:
        found = value if value is not None else found
    return found
