"""Periods are whole cells."""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.errors import UsageError
from reports.period import PeriodRequest, from_instants, from_quarter, named_period, utc_text


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


NAMED = [
    (PeriodRequest("2026-q3"), "2026Q3", (2026, 7, 1), (2026, 10, 1), ("2026Q2", "2024Q3")),
    (PeriodRequest(month="2026-01"), "2026-01", (2026, 1, 1), (2026, 2, 1), ("2025-12", "2024-01")),
    (PeriodRequest(month="2026-12"), "2026-12", (2026, 12, 1), (2027, 1, 1), ("2026-11", "2024-12")),
    (PeriodRequest(year="2026"), "2026", (2026, 1, 1), (2027, 1, 1), ("2025", "2024")),
    (PeriodRequest(fiscal_year="2026", first_month=4), "FY2026", (2025, 4, 1), (2026, 4, 1), ("FY2025", "FY2024")),
    (PeriodRequest(fiscal_year="2026", first_month=1), "FY2026", (2026, 1, 1), (2027, 1, 1), ("FY2025", "FY2024")),
    (PeriodRequest(fiscal_year="2026", first_month=12), "FY2026", (2025, 12, 1), (2026, 12, 1), ("FY2025", "FY2024")),
    (PeriodRequest(fiscal_quarter="2026Q2", first_month=4), "FY2026Q2", (2025, 7, 1), (2025, 10, 1), ("FY2026Q1", "FY2024Q2")),
    (PeriodRequest(fiscal_quarter="2026-q1", first_month=4), "FY2026Q1", (2025, 4, 1), (2025, 7, 1), ("FY2025Q4", "FY2024Q1")),
    (PeriodRequest(fiscal_quarter="2026Q4", first_month=2), "FY2026Q4", (2025, 11, 1), (2026, 2, 1), ("FY2026Q3", "FY2024Q4")),
    (PeriodRequest(fiscal_quarter="2026Q3", first_month=1), "FY2026Q3", (2026, 7, 1), (2026, 10, 1), ("FY2026Q2", "FY2024Q3")),
]


@pytest.mark.parametrize(("request_", "label", "start", "end", "others"), NAMED)
def test_a_named_period_has_its_label_its_months_and_its_neighbours(
    request_: PeriodRequest, label: str, start: tuple[int, ...], end: tuple[int, ...], others: tuple[str, str]
) -> None:
    period = request_.period(UTC)
    assert (request_.label, period.start_ns, period.end_ns) == (label, ns(*start), ns(*end))
    before, in_2024 = request_.before(1), request_.in_year(2024)
    assert before is not None
    assert in_2024 is not None
    assert (before.label, in_2024.label) == others
    assert before.period(UTC).end_ns == period.start_ns
    assert named_period(label, request_.first_month).period(UTC) == period
    assert PeriodRequest.from_arguments(request_.arguments) == request_


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (PeriodRequest(month="2026-13"), "--month 2026-13: expected a year and a month such as 2026-07, or last or current"),
        (PeriodRequest(month="2026-7"), "expected a year and a month"),
        (PeriodRequest(year="26"), "--year 26: expected a year such as 2026"),
        (
            PeriodRequest(fiscal_quarter="2026", first_month=4),
            "--fiscal-quarter 2026: expected a fiscal year and a quarter such as 2026Q2",
        ),
        (PeriodRequest(fiscal_year="2026/27", first_month=4), "--fiscal-year 2026/27: expected the year in which it ends"),
    ],
)
def test_a_wrong_name_of_a_period_is_refused(wrong: PeriodRequest, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        wrong.period(UTC)


@pytest.mark.parametrize("label", ["2026Q5", "FY26", "FY2026Q5", "FY2026-07", "2026-1", ""])
def test_a_wrong_label_names_the_expected_forms(label: str) -> None:
    with pytest.raises(UsageError, match="expected a period such as 2026-07, 2026Q3, 2026, FY2026 or FY2026Q2"):
        named_period(label)


@pytest.mark.parametrize(
    ("kind", "now", "last", "current"),
    [
        ("month", (2026, 3, 1, 11), "2026-01", "2026-03"),
        ("month", (2026, 3, 1, 12), "2026-02", "2026-03"),
        ("year", (2026, 12, 31), "2025", "2026"),
        ("year", (2027, 1, 1, 12), "2026", "2027"),
        ("fiscal_year", (2026, 3, 31), "FY2025", "FY2026"),
        ("fiscal_year", (2026, 4, 2), "FY2026", "FY2027"),
        ("fiscal_quarter", (2026, 4, 1, 11), "FY2026Q3", "FY2027Q1"),
        ("fiscal_quarter", (2026, 4, 1, 12), "FY2026Q4", "FY2027Q1"),
        ("fiscal_quarter", (2026, 9, 30), "FY2027Q1", "FY2027Q2"),
    ],
)
def test_the_last_month_and_year_are_over_everywhere(kind: str, now: tuple[int, ...], last: str, current: str) -> None:
    for word, label in (("last", last), ("current", current)):
        named: PeriodRequest = replace(PeriodRequest(first_month=4), **{kind: word})
        assert named.resolved(ns(*now)).label == label


def test_instants_have_no_neighbours() -> None:
    instants = PeriodRequest(None, "2026-07-01", "2026-07-02")
    assert (instants.kind, instants.label, instants.before(1), instants.in_year(2024)) == (None, "", None, None)
    assert PeriodRequest.from_arguments(instants.arguments) == instants


def test_a_month_in_a_time_zone_is_local() -> None:
    period = PeriodRequest(month="2026-07").period(ZoneInfo("Asia/Kolkata"))
    assert (period.start_ns, period.end_ns) == (ns(2026, 6, 30, 18, 30), ns(2026, 7, 31, 18, 30))
