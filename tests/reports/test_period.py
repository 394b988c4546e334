"""Periods are whole cells."""

from datetime import UTC, datetime

import pytest

from energy_agent.core.errors import UsageError
from reports.period import PeriodRequest, from_instants, from_quarter, utc_text


def ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000_000  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [("2026Q3", (2026, 7, 1), (2026, 10, 1)), ("2024-q1", (2024, 1, 1), (2024, 4, 1)), ("2026Q4", (2026, 10, 1), (2027, 1, 1))],
)
def test_a_quarter_is_three_calendar_months(text: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    period = from_quarter(text)
    assert (period.start_ns, period.end_ns) == (ns(*start), ns(*end))
    assert period.holds(ns(*start))
    assert not period.holds(ns(*end))


@pytest.mark.parametrize("text", ["2026Q5", "Q3", "26Q3", "2026", "9999999Q1", "2026Q3 ", "2026Q3\n"])
def test_what_is_no_quarter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="2026Q3"):
        from_quarter(text)


def test_instants_are_utc_unless_they_say_otherwise() -> None:
    period = from_instants("2026-07-01T05:30+05:30", "2026-07-01T00:15")
    assert (period.start_ns, period.end_ns) == (ns(2026, 7, 1), ns(2026, 7, 1, 0, 15))
    assert from_instants(None, None).holds(0)


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("2026-07-01T00:10", None, "2026-07-01T00:00:00Z and 2026-07-01T00:15:00Z"),
        ("yesterday", None, "--from: expected an instant such as 2026-07-01 or 2026-07-01T00:15Z, got 'yesterday'"),
        (None, "2026-13-01", "--to: expected an instant such as 2026-07-01 or 2026-07-01T00:15Z, got '2026-13-01'"),
        ("1969-12-31", None, "--from: expected an instant from 1970 to 2199 such as 2026-07-01, got '1969-12-31'"),
        ("2026-07-02", "2026-07-01", "not after"),
        ("2026-07-02", "2026-07-02", "not after"),
    ],
)
def test_a_wrong_instant_is_one_clear_line(start: str | None, end: str | None, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_instants(start, end)
    assert says in str(caught.value)


def test_utc_text() -> None:
    assert utc_text(ns(2026, 7, 1, 0, 0, 59) + 999_999_999) == "2026-07-01T00:00:59Z"


@pytest.mark.parametrize(
    ("now", "last", "current"),
    [
        ((2026, 11, 26, 9), "2026Q3", "2026Q4"),
        ((2026, 10, 1, 11, 59, 59), "2026Q2", "2026Q4"),  # in UTC-12 September is not over yet
        ((2026, 10, 1, 12), "2026Q3", "2026Q4"),
        ((2026, 9, 30, 23, 59, 59), "2026Q2", "2026Q3"),
        ((2027, 1, 2, 3), "2026Q4", "2027Q1"),
        ((2027, 1, 1, 11), "2026Q3", "2027Q1"),
        ((2027, 4, 2), "2027Q1", "2027Q2"),
    ],
)
def test_the_last_quarter_is_over_everywhere(now: tuple[int, ...], last: str, current: str) -> None:
    assert PeriodRequest("last").resolved(ns(*now)).label == last
    assert PeriodRequest("LAST").resolved(ns(*now)) == PeriodRequest(last)
    assert PeriodRequest("current").resolved(ns(*now)) == PeriodRequest(current)


def test_what_was_named_stays_as_it_is() -> None:
    for asked in (PeriodRequest("2024q2"), PeriodRequest(None, "2026-07-01"), PeriodRequest(), PeriodRequest("latest")):
        assert asked.resolved(ns(2026, 11, 26)) == asked
