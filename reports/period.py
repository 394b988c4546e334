"""The report's period: a month, quarter, year or two instants, always in whole ledger cells.

A cell is the finest grain of the book of record, so a period that cut one would have to guess which part of its energy was
inside; such a period is refused, never rounded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_DAY, NS_PER_H, NS_PER_S

CELL_NS = 900 * NS_PER_S
LAST, CURRENT = "last", "current"
"""Named periods by their place in time: the newest that is over, and the one that runs."""
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
    """The requested period: a month, quarter or year, calendar or fiscal, which differ by time zone, or two instants.

    At most one of `quarter`, `month`, `year`, `fiscal_year` and `fiscal_quarter` is set. The words `last` and `current` have no
    period before they are `resolved`.

    Args:
        quarter: such as 2026Q3.
        start: ISO 8601.
        end: ISO 8601.
        month: such as 2026-07.
        year: such as 2026.
        fiscal_year: named by the calendar year in which it ends.
        first_month: of the fiscal year, 1 to 12.
        fiscal_quarter: such as 2026Q2, of the fiscal year 2026.
    """

    quarter: str | None = None
    start: str | None = None
    end: str | None = None
    month: str | None = None
    year: str | None = None
    fiscal_year: str | None = None
    first_month: int = 1
    fiscal_quarter: str | None = None

    @property
    def kind(self) -> "PeriodKind | None":
        """The kind of a named period; None: it is given by its instants."""
        return next((kind for kind in KINDS if getattr(self, kind.name)), None)

    @property
    def name(self) -> str:
        """The named period as it was given; "" for instants."""
        kind = self.kind
        return "" if kind is None else str(getattr(self, kind.name))

    @property
    def label(self) -> str:
        """The name that the report prints, such as 2026-07, 2026Q3, 2026, FY2026 or FY2026Q2; "" for instants."""
        kind = self.kind
        return "" if kind is None else kind.label(self.name)

    @property
    def is_fiscal(self) -> bool:
        """Whether the period depends on the first month of the fiscal year."""
        return bool(self.fiscal_year or self.fiscal_quarter)

    @property
    def arguments(self) -> dict[str, str | None]:
        """The request as the manifest keeps it."""
        arguments = {"quarter": self.quarter, "from": self.start, "to": self.end}
        more = {"month": self.month, "year": self.year, "fiscal_year": self.fiscal_year, "fiscal_quarter": self.fiscal_quarter}
        arguments |= {name: value for name, value in more.items() if value is not None}
        return arguments | ({"first_month": str(self.first_month)} if self.is_fiscal else {})

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, object]) -> "PeriodRequest":
        """The request in a manifest's arguments.

        Raises:
            UsageError: the first month of the fiscal year is not a number from 1 to 12.
        """
        names = ("quarter", "from", "to", "month", "year", "fiscal_year", "first_month", "fiscal_quarter")
        quarter, start, end, month, year, fiscal, first, fiscal_quarter = (
            str(value) if (value := arguments.get(name)) is not None else None for name in names
        )
        if first is not None and first not in {str(n) for n in range(1, 13)}:
            raise UsageError(f"first_month: expected a number from 1 to 12, got {first[:40]!r}")
        return cls(quarter, start, end, month, year, fiscal, int(first or 1), fiscal_quarter)

    def resolved(self, now_ns: int) -> "PeriodRequest":
        """With the period by its number: `last` is the newest that is over in every time zone, `current` the one in UTC."""
        word, kind = self.name.lower(), self.kind
        if kind is None or word not in (LAST, CURRENT):
            return self
        moment = _EPOCH + timedelta(seconds=(now_ns if word == CURRENT else now_ns - _WESTERNMOST_NS) // NS_PER_S)
        month = moment.year * 12 + moment.month - 1
        offset = self._offset
        current = self._at((month - offset) // kind.months * kind.months + offset)
        return current if word == CURRENT else current.before(1) or current

    def period(self, zone: tzinfo) -> Period:
        """The period in a time zone.

        Raises:
            UsageError: as `from_instants`, not the name of such a period, or one whose midnights cut the ledger's cells.
        """
        kind = self.kind
        return from_instants(self.start, self.end) if kind is None else _between(kind, self.name, self._first(), zone)

    def before(self, periods: int) -> "PeriodRequest | None":
        """Return the period of this kind `periods` before this one; None for instants."""
        kind = self.kind
        return None if kind is None else self._at(self._first() - periods * kind.months)

    def in_year(self, year: int) -> "PeriodRequest | None":
        """Return the same month or quarter of another year, or that year; None for instants."""
        kind = self.kind
        if kind is None:
            return None
        return self.before((self._named_year() - year) * kind.per_year)

    def _named_year(self) -> int:
        digits = re.search(r"\d{4}", self.name)
        return int(digits[0]) if digits else 0

    @property
    def _offset(self) -> int:
        """Months from a multiple of the kind's months to the period's first month."""
        return self.first_month - 1 if self.is_fiscal else 0

    @property
    def _lead(self) -> int:
        """Months by which a fiscal year begins before the calendar year of its name."""
        return 12 - self._offset if self._offset else 0

    def _first(self) -> int:
        """The period's first month, counted from the year 0."""
        kind = self.kind
        assert kind is not None
        return kind.first(self.name) - self._lead

    def _at(self, month: int) -> "PeriodRequest":
        """The period of this kind that begins with a month."""
        kind = self.kind
        assert kind is not None
        year, number = divmod(month + self._lead, 12)
        written = {1: f"{year}-{number + 1:02}", 3: f"{year}Q{number // 3 + 1}"}.get(kind.months, str(year))
        return _named(kind, written, self.first_month)


@dataclass(frozen=True, slots=True)
class PeriodKind:
    """A kind of named period.

    Args:
        name: the field of `PeriodRequest` and, with dashes, the option of a command.
        months: its length.
        form: of its name.
        example: of its name.
        prefix: of its label.
    """

    name: str
    months: int
    form: re.Pattern[str]
    example: str
    prefix: str = ""

    @property
    def per_year(self) -> int:
        """How many of them a year has."""
        return 12 // self.months

    @property
    def flag(self) -> str:
        """The option of a command."""
        return f"--{self.name.replace('_', '-')}"

    def label(self, text: str) -> str:
        """The name in print."""
        return self.prefix + (text.upper().replace("-", "") if self.months == 3 else text)

    def first(self, text: str) -> int:
        """The first month of the calendar period of this name, counted from the year 0.

        Raises:
            UsageError: not a name of this kind.
        """
        match = self.form.fullmatch(text)
        if match is None:
            raise UsageError(f"{self.flag} {text[:40]}: expected {self.example}, or {LAST} or {CURRENT}")
        number = int(match[2]) if len(match.groups()) > 1 else 1
        return int(match[1]) * 12 + (number - 1) * self.months


_YEAR = r"((?:19|20)\d\d)"
_QUARTER = re.compile(_YEAR + r"-?[Qq]([1-4])")
KINDS: Final = (
    PeriodKind("quarter", 3, _QUARTER, "a year and a quarter such as 2026Q3"),
    PeriodKind("month", 1, re.compile(_YEAR + r"-(0[1-9]|1[0-2])"), "a year and a month such as 2026-07"),
    PeriodKind("year", 12, re.compile(_YEAR), "a year such as 2026"),
    PeriodKind("fiscal_year", 12, re.compile(_YEAR), "the year in which it ends, such as 2026", "FY"),
    PeriodKind("fiscal_quarter", 3, _QUARTER, "a fiscal year and a quarter such as 2026Q2", "FY"),
)
"""Named periods; `last` and `current` name one of each by its place in time."""


def named_period(label: str, first_month: int = 1) -> PeriodRequest:
    """The period that a report prints as `label`, such as 2026-07, 2026Q3, 2026, FY2026 or FY2026Q2.

    Raises:
        UsageError: not such a label.
    """
    kind = next((k for k in KINDS if k.form.fullmatch(label.removeprefix(k.prefix)) and label.startswith(k.prefix)), None)
    if kind is None:
        raise UsageError(f"{label[:40]!r}: expected a period such as 2026-07, 2026Q3, 2026, FY2026 or FY2026Q2")
    return _named(kind, label.removeprefix(kind.prefix), first_month)


def _named(kind: PeriodKind, text: str, first_month: int) -> PeriodRequest:
    names: dict[str, Any] = {kind.name: text}
    return PeriodRequest(first_month=first_month, **names)


def _between(kind: PeriodKind, text: str, first: int, zone: tzinfo) -> Period:
    """From local midnight to local midnight."""
    end = first + kind.months
    period = Period(*(_ns(datetime(month // 12, month % 12 + 1, 1, tzinfo=zone)) for month in (first, end)))
    if (period.start_ns or 0) % CELL_NS or (period.end_ns or 0) % CELL_NS:
        raise UsageError(
            f"{kind.flag} {text}: midnight in {zone} is not a multiple of 15 minutes in UTC, as the ledger's cells require"
        )
    return period


def from_quarter(text: str, zone: tzinfo = UTC) -> Period:
    """The period of a calendar quarter, such as 2026Q3, from local midnight to local midnight in `zone`.

    Raises:
        UsageError: not a quarter, or one whose midnights cut the ledger's cells.
    """
    return PeriodRequest(text).period(zone)


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
