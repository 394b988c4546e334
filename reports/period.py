"""The report's period: a quarter or two instants, always whole ledger cells.

A cell is the finest grain of the book of record, so a period that cut one would have to guess which part of its energy was
inside; such a period is refused, never rounded.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S

CELL_NS = 900 * NS_PER_S
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """[start_ns, end_ns) in UTC ns; an open side is None and takes what the ledger has."""

    start_ns: int | None = None
    end_ns: int | None = None

    def holds(self, t_ns: int) -> bool:
        """Whether the instant lies in the period."""
        return (self.start_ns is None or t_ns >= self.start_ns) and (self.end_ns is None or t_ns < self.end_ns)


def from_quarter(text: str) -> Period:
    """The period of a calendar quarter in UTC, such as 2026Q3.

    Raises:
        UsageError: not a quarter.
    """
    match = re.fullmatch(r"((?:19|20)\d\d)-?[Qq]([1-4])", text)
    if match is None:
        raise UsageError(f"--quarter {text[:40]}: write a year and a quarter, such as 2026Q3")
    year, quarter = int(match[1]), int(match[2])
    end = (year + 1, 1) if quarter == 4 else (year, 3 * quarter + 1)
    return Period(_ns(datetime(year, 3 * quarter - 2, 1, tzinfo=UTC)), _ns(datetime(*end, 1, tzinfo=UTC)))


def from_instants(start: str | None, end: str | None) -> Period:
    """The period between two ISO 8601 instants; without an offset they are UTC. None leaves that side open.

    Raises:
        UsageError: not an instant, not on a 15-minute cell, or an end that is not after the start.
    """
    period = Period(_instant("--from", start), _instant("--to", end))
    if period.start_ns is not None and period.end_ns is not None and period.end_ns <= period.start_ns:
        raise UsageError(f"--to {end} is not after --from {start}")
    return period


def utc_text(t_ns: int) -> str:
    """The instant as ISO 8601 in UTC, to the second (rounded down)."""
    return (_EPOCH + timedelta(seconds=t_ns // NS_PER_S)).isoformat().replace("+00:00", "Z")


def _instant(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{flag} {text[:40]}: write an instant such as 2026-07-01 or 2026-07-01T00:15Z") from None
    t_ns = _ns(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    if t_ns % CELL_NS:
        below = t_ns - t_ns % CELL_NS
        raise UsageError(
            f"{flag} {text}: the ledger's cells are 15 minutes; nearest are {utc_text(below)} and {utc_text(below + CELL_NS)}"
        )
    return t_ns


def _ns(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1_000
