"""The report's period: a quarter or two instants, always in whole ledger cells.

A cell is the finest grain of the book of record, so a period that cut one would have to guess which part of its energy was
inside; such a period is refused, never rounded.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_DAY, NS_PER_H, NS_PER_S

CELL_NS = 900 * NS_PER_S
LAST, CURRENT = "last", "current"
"""Quarters by their place in time: the newest that is over, and the one that runs."""
_WESTERNMOST_NS = 12 * NS_PER_H  # UTC-12, the last zone to end a day
DAY_NS = NS_PER_DAY
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END_NS = int((datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * NS_PER_S


@dataclass(frozen=True, slots=True)
class Period:
    """[start_ns, end_ns) in UTC ns. None stands for an open side, whose bound the ledger's data sets."""

    start_ns: int | None = None
    end_ns: int | None = None

    def holds(self, t_ns: int) -> bool:
        """Whether the instant lies in the period."""
        return (self.start_ns is None or t_ns >= self.start_ns) and (self.end_ns is None or t_ns < self.end_ns)


@dataclass(frozen=True, slots=True)
class PeriodRequest:
    """The requested period: a quarter, which differs by time zone, or two instants.

    `last` and `current` are no quarters before they are `resolved`.
    """

    quarter: str | None = None
    start: str | None = None
    end: str | None = None

    @property
    def label(self) -> str:
        """How the period is called; "": by its instants."""
        return self.quarter.upper().replace("-", "") if self.quarter else ""

    def resolved(self, now_ns: int) -> "PeriodRequest":
        """With the quarter by its number: `last` is the newest that is over in every time zone, `current` the one in UTC."""
        word = (self.quarter or "").lower()
        if word not in (LAST, CURRENT):
            return self
        current = PeriodRequest(_quarter_at(now_ns if word == CURRENT else now_ns - _WESTERNMOST_NS))
        return current if word == CURRENT else current.before(1) or current

    def period(self, zone: tzinfo) -> Period:
        """The period in a time zone.

        Raises:
            UsageError: as `from_quarter` and `from_instants`.
        """
        return from_quarter(self.quarter, zone) if self.quarter else from_instants(self.start, self.end)

    def before(self, quarters: int) -> "PeriodRequest | None":
        """Return the quarter `quarters` before this one; None if the request is not for a quarter."""
        if not self.quarter:
            return None
        number = int(self.label[:4]) * 4 + int(self.label[5]) - 1 - quarters
        return PeriodRequest(f"{number // 4}Q{number % 4 + 1}")


def from_quarter(text: str, zone: tzinfo = UTC) -> Period:
    """The period of a calendar quarter, such as 2026Q3, from local midnight to local midnight in `zone`.

    Raises:
        UsageError: not a quarter, or one whose midnights cut the ledger's cells.
    """
    match = re.fullmatch(r"((?:19|20)\d\d)-?[Qq]([1-4])", text)
    if match is None:
        raise UsageError(f"--quarter {text[:40]}: expected a year and a quarter such as 2026Q3, or {LAST} or {CURRENT}")
    year, quarter = int(match[1]), int(match[2])
    end = (year + 1, 1) if quarter == 4 else (year, 3 * quarter + 1)
    period = Period(_ns(datetime(year, 3 * quarter - 2, 1, tzinfo=zone)), _ns(datetime(*end, 1, tzinfo=zone)))
    if (period.start_ns or 0) % CELL_NS or (period.end_ns or 0) % CELL_NS:
        raise UsageError(
            f"--quarter {text}: midnight in {zone} is not a multiple of 15 minutes in UTC, as the ledger's cells require"
        )
    return period


def from_instants(start: str | None, end: str | None, flag: str = "--from") -> Period:
    """The period between two ISO 8601 instants; without an offset they are UTC. None leaves that side open.

    `flag` is what gave the first, for messages.

    Raises:
        UsageError: not an instant from 1970 to 2199, not on a 15-minute cell, or an end that is not after the start.
    """
    period = Period(_instant(flag, start), _instant("--to", end))
    if period.start_ns is not None and period.end_ns is not None and period.end_ns <= period.start_ns:
        raise UsageError(f"--to {end} is not after --from {start}")
    return period


def quarters(period: Period) -> list[tuple[int, int]]:
    """The quarters of the year, UTC, that a period with both of its sides touches: (start, end) each."""
    assert period.start_ns is not None
    assert period.end_ns is not None
    first = _EPOCH + timedelta(seconds=period.start_ns // NS_PER_S)
    number, bounds = first.year * 4 + (first.month - 1) // 3, list[tuple[int, int]]()
    while not bounds or bounds[-1][1] < period.end_ns:
        bounds.append((_quarter_ns(number), _quarter_ns(number + 1)))
        number += 1
    return bounds


def _quarter_ns(number: int) -> int:
    return _ns(datetime(number // 4, number % 4 * 3 + 1, 1, tzinfo=UTC))


def utc_text(t_ns: int) -> str:
    """The instant as ISO 8601 in UTC, to the second (rounded down)."""
    return (_EPOCH + timedelta(seconds=t_ns // NS_PER_S)).isoformat().replace("+00:00", "Z")


def day_ns(day: str) -> int:
    """The UTC midnight at which a day such as 2026-07-01 begins."""
    return _ns(datetime.fromisoformat(day).replace(tzinfo=UTC))


def local_text(t_ns: int, zone: str) -> str:
    """The instant as ISO 8601 in a time zone (IANA name), to the second, with its offset."""
    return (_EPOCH + timedelta(seconds=t_ns // NS_PER_S)).astimezone(ZoneInfo(zone)).isoformat().replace("+00:00", "Z")


def _quarter_at(t_ns: int) -> str:
    moment = _EPOCH + timedelta(seconds=t_ns // NS_PER_S)
    return f"{moment.year}Q{(moment.month + 2) // 3}"


def _instant(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{flag}: expected an instant such as 2026-07-01 or 2026-07-01T00:15Z, got {text[:40]!r}") from None
    t_ns = _ns(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    if not 0 <= t_ns < _END_NS:
        raise UsageError(f"{flag}: expected an instant from 1970 to 2199 such as 2026-07-01, got {text[:40]!r}")
    if t_ns % CELL_NS:
        below = t_ns - t_ns % CELL_NS
        raise UsageError(
            f"{flag} {text}: expected a multiple of 15 minutes, as the ledger's cells have; nearest are {utc_text(below)} and "
            f"{utc_text(below + CELL_NS)}"
        )
    return t_ns


def _ns(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1_000
