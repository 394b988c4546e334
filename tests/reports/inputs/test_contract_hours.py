"""The file of a contract's hours: read exactly, or refused with file and line."""

from datetime import UTC, datetime

import pytest

from energy_agent.core.units import UJ_PER_KWH
from reports.inputs.contract_hours import parse_hours

HOUR_NS = 3600 * 10**9


def test_a_file_of_hours() -> None:
    hours = parse_hours("ts_utc,kwh\r\n2026-01-01T00:00:00Z,1.5\n2026-01-01 01:00:00,0\n", "x")
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    assert hours == {start: 3 * UJ_PER_KWH // 2, start + HOUR_NS: 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x, line 1: expected the columns"),
        ("ts_utc,kwh\n", "x has no hours"),
        ("ts_utc,kwh\n2026-01-01T00:15:00Z,1\n", "x, line 2: expected a full UTC hour"),
        ("ts_utc,kwh\n2026-02-30T00:00:00Z,1\n", "x, line 2: the time"),
        ("ts_utc,kwh\n2026-01-01T00:00:00Z,-1\n", "x, line 2: expected an amount"),
        ("ts_utc,kwh\n2026-01-01T00:00:00Z\n", "x, line 2: expected 2 cells"),
        ("ts_utc,kwh\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:00Z,1\n", "x, line 3: duplicate hour"),
        ('ts_utc,kwh\n"2026', "unexpected end of data"),
    ],
)
def test_invalid_hours_file_error_names_file_and_line(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_hours(text, "x")
    assert message in str(caught.value)
