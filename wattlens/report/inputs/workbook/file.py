"""A workbook of inputs as rows of its sheets: the one file that knows openpyxl. Macros, pictures and links are never read."""

import contextlib
import difflib
import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from wattlens.report.inputs.faults import Faults
from wattlens.report.inputs.workbook.columns import EXAMPLE, HOW_TO, NOTE, Sheet, SheetRow
from wattlens.report.inputs.workbook.sheets import BY_TITLE

START: Final = "Start"
COLUMNS_MAX: Final = 60
UNPACKED_MAX_B: Final = 256 << 20
_LAST_ROW: Final = 1 << 20
"""No spreadsheet has more."""
_UNREADABLE: Final = "is not a readable .xlsx workbook"
_FORMULA: Final = re.compile(rb"<(\w+:)?f[\s/>]")
"""Start of a cell's formula; some programs write every element with a prefix, such as `<x:f>`."""


def read_sheets(raw: bytes, faults: Faults) -> dict[str, list[SheetRow]]:
    """The rows of every sheet that is ours; cells that are wrong are put into `faults`.

    Raises:
        UsageError: it is no workbook, or too large; a sheet or a head is wrong.
    """
    book = faults.book
    workbook = _opened(raw, book, values=True)
    formulas = _formulas(raw, book)
    titles = [worksheet.title for worksheet in workbook.worksheets]
    missing_sheets = {title.casefold(): title for title in BY_TITLE if title not in titles}
    for title in titles:  # one whose name is nearly one of ours is not somebody's own notes
        if title not in BY_TITLE and (near := difflib.get_close_matches(title.casefold(), missing_sheets, 1, 0.8)):
            raise UsageError(f"{book}: unknown sheet {title[:40]!r}; did you mean {missing_sheets[near[0]]!r}?")
    ours = [worksheet for worksheet in workbook.worksheets if worksheet.title in BY_TITLE]
    if not ours:
        raise UsageError(
            f"{book}: expected one or more of the sheets {', '.join(BY_TITLE)}, found none; create them with `wattlens "
            "report init`"
        )
    rows_of = {}
    for worksheet in ours:
        with _refusing(f"{book}: sheet {worksheet.title} cannot be read"):
            rows_of[worksheet.title] = list(_rows(worksheet, BY_TITLE[worksheet.title], formulas, faults))
    return rows_of


def read_table(raw: bytes, book: str, title: str = "") -> list[list[str]]:
    """Cells of one sheet as text, without empty rows; of the first sheet if no title is given.

    Raises:
        UsageError: it is no workbook, or too large, or has no such sheet.
    """
    sheets = {sheet.title.strip().casefold(): sheet for sheet in _opened(raw, book, values=True).worksheets}
    sheet = sheets.get(title.casefold()) if title else next(iter(sheets.values()), None)
    if sheet is None:
        raise UsageError(f"{book}: expected a sheet {title!r}")
    with _refusing(f"{book}: sheet {sheet.title} cannot be read"):
        rows = [[_text(value) for value in row] for row in sheet.iter_rows(max_row=_LAST_ROW, values_only=True)]
    return [row for row in rows if any(row)]


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else str(value).strip()


def _opened(raw: bytes, book: str, *, values: bool) -> Any:
    try:
        import openpyxl
    except ImportError:
        raise UsageError(f"{book}: reading workbooks needs openpyxl; install: {install_hint('reports')}") from None
    with _refusing(f"{book}: {_UNREADABLE}"):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > UNPACKED_MAX_B:
                raise ValueError(f"it unpacks to more than {UNPACKED_MAX_B >> 20} MiB")
        return openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=values, keep_links=False)


def _formulas(raw: bytes, book: str) -> frozenset[tuple[str, str]]:
    """(sheet, cell) of every formula: a program that wrote one never calculated it, and its cell has no value."""
    with _refusing(f"{book}: {_UNREADABLE}"):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            parts = (archive.read(name) for name in archive.namelist() if name.endswith(".xml"))
            if not any(map(_FORMULA.search, parts)):  # the usual case, in which a second reading would find nothing
                return frozenset()
        sheets = [sheet for sheet in _opened(raw, book, values=False).worksheets if sheet.title in BY_TITLE]
        rows = ((sheet.title, row) for sheet in sheets for row in sheet.iter_rows(max_row=_LAST_ROW))
        return frozenset((title, cell.coordinate) for title, row in rows for cell in row if cell.data_type == "f")


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Refuse a file that openpyxl fails on, whatever it raises.

    It also warns of extensions and of days that no calendar has, and prints what is odd in a style: neither is for the user.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - its parsers raise of every kind
        raise UsageError(f"{what}: {_words(error)}") from None


def _rows(worksheet: Any, sheet: Sheet, formulas: frozenset[tuple[str, str]], faults: Faults) -> Iterator[SheetRow]:
    from openpyxl.utils import get_column_letter

    labels: Sequence[str] = ()
    letters: dict[str, str] = {}
    for number, cells in enumerate(worksheet.iter_rows(max_row=_LAST_ROW, max_col=COLUMNS_MAX), 1):
        if number == 1:
            labels = [str(cell.value or "").strip() for cell in cells]
            letters = {label: get_column_letter(index) for index, label in enumerate(labels, 1) if label}
            _check_head(labels, sheet, faults)
            continue
        values: dict[str, Any] = {}
        wrong: list[tuple[str, str]] = []
        for index, cell in enumerate(cells):
            value = cell.value.strip() if isinstance(cell.value, str) else cell.value
            letter = get_column_letter(index + 1)
            if value is None and formulas and (sheet.title, f"{letter}{number}") in formulas:
                text = (
                    "is a formula without a value; open the workbook in a spreadsheet program and save it, or enter the value"
                )
                wrong.append((letter, text))
            elif value in (None, ""):
                continue
            elif cell.data_type == "e":
                wrong.append((letter, f"is the error {str(value)[:40]}; enter a value"))
            elif index >= len(labels) or not labels[index]:
                wrong.append((letter, "row 1 has no name for this column"))
            else:
                values[labels[index]] = value
        note = str(values.pop(NOTE, "")).casefold()
        if note not in (EXAMPLE, HOW_TO):
            for letter, text in wrong:
                faults.add(sheet.title, number, letter, text)
            if values:
                yield SheetRow(sheet, number, values, letters)


def _check_head(labels: Sequence[str], sheet: Sheet, faults: Faults) -> None:
    from openpyxl.utils import get_column_letter

    for index, label in enumerate(labels):
        if label and label not in sheet.labels:
            near = difflib.get_close_matches(label, sheet.labels, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(sheet.labels)}"
            text = f"unknown column {label[:40]!r}; {hint}"
        elif label and label in labels[:index]:
            text = f"duplicate column {label!r}"
        else:
            continue
        faults.add(sheet.title, 1, get_column_letter(index + 1), text)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
