"""One cell of a workbook as what a key takes: days, numbers, words, and units that are converted exactly."""

import re
from datetime import date, datetime, time
from decimal import Context, Decimal
from typing import Any, Final

from wattlens.report.inputs.columns import Sheet, SheetColumn, SheetRow
from wattlens.report.inputs.faults import Faults

_DIGITS: Final = 15
"""What a spreadsheet keeps of a number."""
_ROUNDED: Final = Context(prec=_DIGITS)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")


class BadCellError(Exception):
    """A cell is wrong: the head of its column, and what is wrong with it."""


def nested(row: SheetRow, faults: Faults) -> dict[str, Any]:
    """The keys of a row, sections within sections, as its model reads them; cells that are wrong are put into `faults`."""
    entry: dict[str, Any] = {}
    unread = row.is_in(faults)  # what could not be read is not empty
    for column in row.sheet.columns:
        if column.label not in row.cells:
            if row.sheet.needs(column) and not unread:
                row.tell(faults, column.label, explain_missing(row.sheet, column))
            continue
        if not column.path:
            continue
        section = entry
        for key in column.path[:-1]:
            section = section.setdefault(key, {})
        try:
            section[column.path[-1]] = _value(row, column, row.cells[column.label])
        except BadCellError as error:
            row.tell(faults, *error.args)
    return entry


def explain_missing(sheet: Sheet, column: SheetColumn) -> str:
    """The message for an empty cell that a row needs."""
    return f"is empty; enter {column.label}" + (f": {meaning}" if (meaning := sheet.meaning(column)) else "")


def _value(row: SheetRow, column: SheetColumn, value: Any) -> Any:
    if column.choices and value not in column.choices:
        raise BadCellError(column.label, f"expected one of {', '.join(column.choices)}, got {_format_cell(value)}")
    if column.units is not None:
        return _in_units(row, column, value)
    kind = row.sheet.takes(column)
    if kind is str:
        return _text(column, value)
    if kind is date and isinstance(value, datetime) and value.time() == time():
        return value.date()
    if kind in (int, float) and isinstance(value, date | time):  # a number that the sheet shows as a day
        return str(value)
    return int(value) if kind is int and isinstance(value, float) and value.is_integer() else value


def _text(column: SheetColumn, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**_DIGITS and value == int(value):
        return str(int(value))
    raise BadCellError(column.label, f"expected text, got {_format_cell(value)}; format the cell as text and enter it again")


def _in_units(row: SheetRow, column: SheetColumn, value: Any) -> float:
    """The number in the key's unit: converted as a decimal, of the digits that a spreadsheet keeps."""
    assert column.units is not None
    units = " or ".join(column.units)
    unit = row.cells.get(column.unit_label)
    if unit is None:
        raise BadCellError(column.unit_label, f"is empty; enter the unit of {column.label}: {units}")
    if unit not in column.units:
        raise BadCellError(column.unit_label, f"expected a unit of {column.label} ({units}), got {_format_cell(unit)}")
    if isinstance(value, float):
        number = _ROUNDED.create_decimal(repr(value))
    elif isinstance(value, int | str) and _NUMBER.fullmatch(str(value)):
        number = Decimal(str(value))
    else:
        number = Decimal("nan")
    converted = number * column.units[unit]
    if not converted.is_finite():
        text = f"expected a number such as 1234.5, with its unit in {column.unit_label}, got {_format_cell(value)}"
        raise BadCellError(column.label, text)
    if Decimal(repr(float(converted))) != converted:
        raise BadCellError(column.label, f"expected at most {_DIGITS} digits, got {_format_cell(value)}")
    return float(converted)


def placed(text: str, sheet: Sheet) -> str:
    """A message about keys, in the words of the sheet's columns."""
    for column in sheet.columns:
        key = column.path[-1] if column.path else ""
        if "_" in key and key != column.label:  # a plain word may mean itself
            text = re.sub(rf"\b{re.escape(key)}\b", column.label, text)
    return text


def _format_cell(value: object) -> str:
    return repr(value)[:80] if isinstance(value, str | int | float) else str(value)[:80]
