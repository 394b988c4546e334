"""One cell of a workbook as what a key takes: days, numbers, words, and units that are converted exactly."""

import re
from datetime import date, datetime, time
from decimal import Context, Decimal
from typing import Any, Final

from wattlens.report.inputs.faults import Faults
from wattlens.report.inputs.workbook.columns import Sheet, SheetColumn, SheetRow

_DIGITS: Final = 15
"""What a spreadsheet keeps of a number."""
_ROUNDED: Final = Context(prec=_DIGITS)
_SPACES: Final = dict.fromkeys("\u00a0\u2009\u202f", " ") | {"\u2019": "'"}
"""Characters that separate thousands like a space or an apostrophe."""
_LOCAL: Final = re.compile(r"[+-]?(?=[.,]?[0-9])[0-9 ',.]{1,60}")
_GROUPED: Final = re.compile(r"[0-9]{1,3}(?:(?P<by>[ ',.])[0-9]{3})(?:(?P=by)[0-9]{3})*")
_LAKHS: Final = re.compile(r"[0-9]{1,2}(,[0-9]{2})+,[0-9]{3}")
_TWO_MEANINGS: Final = re.compile(r"[1-9][0-9]{0,2}[,.][0-9]{3}")


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


def parse_number(text: str) -> Decimal | None:
    """Return a number of a text cell in the notation of any country, such as 1.234,5 or 1 234,5 or 1,234.5.

    Returns: None if the text is not a number.

    Raises:
        ValueError: it has two meanings, as 1.200 has (1200 or 1.2); the message names both.
    """
    plain = "".join(_SPACES.get(character, character) for character in text.strip())
    if not _LOCAL.fullmatch(plain):
        return None
    digits, sign = plain.lstrip("+-"), "-" if plain[0] == "-" else ""
    if _TWO_MEANINGS.fullmatch(digits):
        whole = re.sub("[,.]", "", digits)
        small = Decimal(digits.replace(",", ".")).normalize()
        raise ValueError(f"expected a number with one meaning, got {text[:80]!r} ({sign}{whole} or {sign}{small:f})")
    marks = [character for character in digits if character in ".,"]
    decimal_mark = marks[-1] if marks and marks.count(marks[-1]) == 1 else ""
    whole, _, fraction = digits.rpartition(decimal_mark) if decimal_mark else (digits, "", "")
    grouped = _GROUPED.fullmatch(whole) or (decimal_mark != "," and _LAKHS.fullmatch(whole))
    if not (grouped or re.fullmatch("[0-9]*", whole)) or (decimal_mark and not re.fullmatch("[0-9]+", fraction)):
        return None
    return Decimal(f"{sign}{re.sub('[^0-9]', '', whole) or 0}.{fraction or 0}")


def _value(row: SheetRow, column: SheetColumn, value: Any) -> Any:
    if column.choices and (value.casefold() if isinstance(value, str) else value) not in column.choices:
        raise BadCellError(column.label, f"expected one of {', '.join(column.choices)}, got {_format_cell(value)}")
    if column.units is not None:
        return _in_units(row, column, value)
    kind = row.sheet.takes(column)
    if kind in (int, float) and isinstance(value, str) and (number := _local_number(column, value)) is not None:
        return int(number) if number == int(number) else float(number)
    if kind is str:
        return _text(column, value)
    if kind is date and isinstance(value, datetime) and value.time() == time():
        return value.date()
    if kind in (int, float) and isinstance(value, date | time):  # a number that the sheet shows as a day
        return str(value)
    return int(value) if kind is int and isinstance(value, float) and value.is_integer() else value


def _local_number(column: SheetColumn, text: str) -> Decimal | None:
    try:
        number = parse_number(text)
    except ValueError as error:
        raise BadCellError(column.label, f"{error}; format the cell as a number and enter it again") from None
    if number is not None and Decimal(repr(float(number))) != number:
        raise BadCellError(column.label, f"expected at most {_DIGITS} digits, got {_format_cell(text)}")
    return number


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
    elif isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    else:
        local = _local_number(column, value) if isinstance(value, str) else None
        number = Decimal("nan") if local is None else local
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
