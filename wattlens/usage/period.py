"""The period of `wattlens usage`, in words people use, as UTC ns on the ledger's cells. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_DAY, NS_PER_S
from energy_agent.ledger.rows.kinds import CELL_NS
from reports.period import from_instants

DEFAULT_SINCE: Final = "7d"
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
EXAMPLES: Final = "24h, 7d, yesterday, monday or 2026-01-31"
_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str, now_ns: int, flag: str) -> int:
    """A UTC time: a day, a time, `today`, `yesterday` or the last `monday`; or how long ago: 24h, 7d, 2w.

    A day is its UTC midnight. How long ago is rounded down to a cell of the ledger.

    Raises:
        UsageError: not a time, or not on a quarter of an hour; the message names `flag`.
    """
    word = text.strip().lower()
    midnight_ns = now_ns - now_ns % NS_PER_DAY
    if duration_ns := parse_duration(word):
        ago_ns = now_ns - duration_ns
        return max(0, ago_ns - ago_ns % CELL_NS)
    if word in ("today", "yesterday"):
        return midnight_ns - (word == "yesterday") * NS_PER_DAY
    if word in DAYS:
        today = (_EPOCH + timedelta(seconds=midnight_ns // NS_PER_S)).weekday()
        return midnight_ns - (today - DAYS.index(word)) % 7 * NS_PER_DAY
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{flag}: expected a time such as {EXAMPLES}, got {text[:40]!r}") from None
    start_ns = from_instants(text, None, flag).start_ns
    assert start_ns is not None
    return start_ns


def parse_duration(text: str) -> int:
    """A duration such as 15m, 24h, 7d or 2w in ns; 0 if the text is not one.

    >>> parse_duration("15m")
    900000000000
    """
    match = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    return int(match[1]) * _UNITS_S[match[2]] * NS_PER_S if match else 0


def read_period(start: tuple[str, str] | None, end: str | None, now_ns: int, flag: str = "--to") -> tuple[int, int]:
    """(start, end) in UTC ns. None: from the first row, until the end of the current cell.

    Args:
        start: the option and its value.
        end: the value of `flag`.
        now_ns: UTC ns.
        flag: the option of the end.

    Raises:
        UsageError: not times, or an end that is not after the start.
    """
    start_ns = 0 if start is None else parse_time(start[1], now_ns, start[0])
    end_ns = next_cell(now_ns) if end is None else parse_time(end, now_ns, flag)
    if start is not None and end_ns <= start_ns:
        last = "now" if end is None else f"{flag} {end}"
        raise UsageError(f"{start[0]}: expected a time before {last}, got {start[1]}")
    return start_ns, end_ns


def next_cell(t_ns: int) -> int:
    """The end of the cell that a time is in."""
    return -(-t_ns // CELL_NS) * CELL_NS
