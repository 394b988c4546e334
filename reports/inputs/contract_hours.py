"""The file of a contract's hours: `ts_utc,kwh`. Pure: text in, energy by the hour out."""

import csv
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from energy_agent.core.text import separator_hint
from energy_agent.core.units import NS_PER_S, UJ_PER_KWH

ROWS_MAX: Final = 200_000
"""Rows of a file of hours: more than twenty years."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:00(:00)?(Z|\+00:00)?")
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def parse_hours(text: str, name: str) -> dict[int, int]:
    """Deliveries by the hour, from a CSV of `ts_utc,kwh`: uJ by the UTC ns at which the hour begins.

    Raises:
        ValueError: it is no such file; the message names file and line.
    """
    reader = csv.reader(text.split("\n"), strict=True)
    hours: dict[int, int] = {}
    try:
        head = [cell.strip().lower() for cell in next(reader, [])]
        if head[:2] != ["ts_utc", "kwh"]:
            raise ValueError(f"{name}, line 1: expected the columns ts_utc,kwh{separator_hint(head)}")
        for cells in reader:
            if not cells:
                continue
            start_ns, uj = _hour(cells, f"{name}, line {reader.line_num}")
            if start_ns in hours:
                raise ValueError(f"{name}, line {reader.line_num}: duplicate hour")
            hours[start_ns] = uj
            if len(hours) > ROWS_MAX:
                raise ValueError(f"{name} has more than {ROWS_MAX} rows")
    except csv.Error as error:
        raise ValueError(f"{name}, line {reader.line_num}: {error}") from None
    if not hours:
        raise ValueError(f"{name} has no hours")
    return hours


def _hour(cells: Sequence[str], where: str) -> tuple[int, int]:
    if len(cells) < 2:
        raise ValueError(f"{where}: expected 2 cells, as in the header, got {len(cells)}")
    stamp, amount = cells[0].strip(), cells[1].strip()
    if not _TIME.fullmatch(stamp):
        raise ValueError(f"{where}: expected a full UTC hour such as 2026-01-31T23:00:00Z, got {stamp[:40]!r}")
    if not _NUMBER.fullmatch(amount):
        raise ValueError(f"{where}: expected an amount in kWh, got {amount[:40]!r}")
    try:
        moment = datetime.fromisoformat(stamp[:16].replace(" ", "T")).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{where}: the time {stamp[:40]!r} does not exist") from None
    return int(moment.timestamp()) * NS_PER_S, int(Decimal(amount) * UJ_PER_KWH)
