"""Parse hours of the week such as `Mon-Fri 08:00-18:00`. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN: Final = 24 * 60
_EXPECTED: Final = "expected DAYS HH:MM-HH:MM, such as Mon-Fri 08:00-18:00"


@dataclass(frozen=True, slots=True)
class WeeklyHours:
    """Times of the week: days from 0 for Monday, minutes of the day [start, end), over midnight where end is before start."""

    days: frozenset[int]
    start_min: int
    end_min: int

    def holds(self, day: int, minute: int) -> bool:
        """Whether that minute is in it; a span over midnight belongs to the day on which it begins."""
        if self.start_min < self.end_min:
            return day in self.days and self.start_min <= minute < self.end_min
        return (day in self.days and minute >= self.start_min) or ((day - 1) % 7 in self.days and minute < self.end_min)


def parse_span(text: str) -> WeeklyHours:
    """Parse `Mon-Fri 08:00-18:00`, `Sat,Sun 00:00-24:00` or `22:00-06:00` (every day).

    Raises:
        ValueError: the text has another form, is empty, or names a time after 24:00; the message shows the expected form.
    """
    words = text.lower().split()
    if not 1 <= len(words) <= 2:
        raise ValueError(f"{_EXPECTED}, got {text[:40]!r}")
    try:
        days = frozenset(_days(words[0])) if len(words) == 2 else frozenset(range(7))
        start, _, end = words[-1].partition("-")
        hours = WeeklyHours(days, _minute(start), _minute(end))
    except ValueError:
        raise ValueError(f"{_EXPECTED}, got {text[:40]!r}") from None
    if max(hours.start_min, hours.end_min) > _DAY_MIN:
        raise ValueError(f"{_EXPECTED}, got {text!r}, which ends after 24:00")
    if hours.start_min in (hours.end_min, _DAY_MIN):
        raise ValueError(f"{_EXPECTED}, got {text!r}, which is empty; use 00:00-24:00 for all day")
    return hours


def _days(text: str) -> Iterable[int]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = DAYS.index(first)
        for i in range((DAYS.index(last) - begin) % 7 + 1 if dash else 1):
            yield (begin + i) % 7


def _minute(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    if not (colon and len(hours) <= 2 and len(minutes) == 2 and hours.isdecimal() and minutes.isdecimal()):
        raise ValueError(text)
    if int(minutes) > 59:
        raise ValueError(text)
    return 60 * int(hours) + int(minutes)
