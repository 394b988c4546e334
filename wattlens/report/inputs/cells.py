"""One cell of a workbook as what a key takes: days, numbers, words, and units that are converted exactly."""

import re
from datetime import date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

from wattlens.report.inputs.columns import Column, Row, Sheet

_DIGITS: Final = 15
"""What a spreadsheet keeps of a number."""
_ROUNDED: Final = Context(prec=_DIGITS)


class BadCellError(Exception):
    """A cell is wrong; the line names sheet and cell."""

    def __init__(self, where: str, text: str) -> None:
        """Say where, and what is wrong."""
        super().__init__(f"{where}{' ' if text.startswith(('is ', 'has ', 'differs ')) else ': '}{text}")


def nested(row: Row) -> dict[str, Any]:
    """The keys of a row, sections within sections, as its model reads them.

    Raises:
        BadCellError: a value of another kind, a unit that is none, or a word that is none of those that it takes.
    """
    found: dict[str, Any] = {}
    for column in row.sheet.columns:
        value = _value(row, column)
        if value is None or not column.path:
            continue
        *above, last = column.path
        section = found
        for key in above:
            section = section.setdefault(key, {})
        section[last] = value
    return found


def _value(row: Row, column: Column) -> Any:
    value = row.cells.get(column.label)
    if value is None:
        return None
    where = row.where(column.label)
    if column.choices and value not in column.choices:
        raise BadCellError(where, f"{_shown(value)} is none of {', '.join(column.choices)}")
    if column.units is not None:
        return _in_units(row, column, value)
    kind = row.sheet.takes(column)
    if kind is str:
        return _text(value, where)
    if kind is date and isinstance(value, datetime):
        if value.time() != time():
            raise BadCellError(where, f"{value:%Y-%m-%d %H:%M} has a time of day; write the day alone, such as 2026-01-31")
        return value.date()
    if kind in (int, float):
        if isinstance(value, date | time):  # a number that the sheet shows as a day
            raise BadCellError(where, f"a number is wanted, and the cell is a day or time ({value}); format it as a number")
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
    return value


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**_DIGITS and value == int(value):
        return str(int(value))
    raise BadCellError(where, f"text is wanted, got {_shown(value)}; format the cell as text and write it again")


def _in_units(row: Row, column: Column, value: Any) -> float:
    """The number in the key's unit: converted as a decimal, of the digits that a spreadsheet keeps."""
    assert column.units is not None
    units = " or ".join(column.units)
    unit = row.cells.get(column.unit_label)
    if unit is None:
        raise BadCellError(row.where(column.unit_label), f"is empty; write the unit of {column.label}: {units}")
    if unit not in column.units:
        raise BadCellError(row.where(column.unit_label), f"{_shown(unit)} is no unit of {column.label}; write {units}")
    where = row.where(column.label)
    number = _number(value, where, column)
    converted = number * column.units[unit]
    if not converted.is_finite():
        raise BadCellError(where, f"{_shown(value)} is no number")
    if Decimal(repr(float(converted))) != converted:
        raise BadCellError(where, f"{_shown(value)} has more than {_DIGITS} digits")
    return float(converted)


def _number(value: Any, where: str, column: Column) -> Decimal:
    if isinstance(value, float):
        return _ROUNDED.create_decimal(repr(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    try:
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", value):
            return Decimal(value)
    except InvalidOperation:
        pass
    raise BadCellError(
        where, f"{_shown(value)} is no number; write one such as 1234.5 here, and its unit in {column.unit_label}"
    )


def as_written(text: str, row: Row, column: Column) -> str:
    """A message about the limit of an amount, with what stands in the row, and the unit that the limit is of."""
    if column.units is None or column.unit_label not in row.cells:
        return text
    base = next(unit for unit, factor in column.units.items() if factor == 1)
    got = f"{_shown(row.cells.get(column.label))} ({row.cells[column.unit_label]})"
    return re.sub(r"^(.*) is wanted, got \S+", lambda found: f"{found[1]} ({base}) is wanted, got {got}", text, count=1)


def placed(text: str, sheet: Sheet) -> str:
    """A message about keys, in the words of the sheet's columns."""
    for column in sheet.columns:
        key = column.path[-1] if column.path else ""
        if "_" in key and key != column.label:  # a plain word may mean itself
            text = re.sub(rf"\b{re.escape(key)}\b", column.label, text)
    return text


def _shown(value: object) -> str:
    return repr(value)[:80] if isinstance(value, str | int | float) else str(value)[:80]
