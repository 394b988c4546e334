"""A workbook of inputs as rows of its sheets: the one file that knows openpyxl.

openpyxl gets a copy of the archive with only the parts that `inputs_archive` looked at: no macro, no picture, no bomb.
"""

import contextlib
import difflib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

from energy_agent.core.errors import UsageError
from wattlens.report.inputs.archive import checked
from wattlens.report.inputs.columns import EXAMPLE, HOW_TO, NOTE, Row, Sheet
from wattlens.report.inputs.sheets import BY_TITLE

ROWS_MAX: Final = 200_000
COLUMNS_MAX: Final = 60
_LAST_ROW: Final = 1 << 20


def read_sheets(raw: bytes, book: str) -> tuple[dict[str, list[Row]], tuple[str, ...]]:
    """The rows of every sheet that is ours, and the titles of sheets that are not.

    Args:
        raw: the workbook's bytes.
        book: its name, for messages.

    Raises:
        UsageError: it is no workbook, too large or hostile; a sheet, column or cell is wrong, told by its name.
    """
    archive = checked(raw, book)
    workbook = _opened(archive.copy(), book, values=True)
    formulas: dict[str, list[str]] = {}
    if archive.formulas_without_value:  # rare: somebody's program wrote the workbook, and no spreadsheet ever counted it
        formulas = _formulas(_opened(archive.copy(), book, values=False))
    found: dict[str, list[Row]] = {}
    unread = []
    titles = [sheet.title for sheet in workbook.worksheets]
    for worksheet in workbook.worksheets:
        sheet = BY_TITLE.get(worksheet.title)
        if sheet is not None:
            with warnings.catch_warnings():  # of a day that no calendar has, which becomes an error of its cell
                warnings.simplefilter("ignore")
                found[sheet.title] = list(_rows(worksheet, sheet, book, frozenset(formulas.get(sheet.title, ()))))
        elif worksheet.title != START:
            _refuse_misspelt(worksheet.title, titles, book)
            unread.append(worksheet.title)
    if not found:
        raise UsageError(f"{book}: has none of the sheets {', '.join(BY_TITLE)}; `wattlens report init` writes them")
    return found, tuple(unread)


START: Final = "Start"


def _opened(copy: Any, book: str, values: bool) -> Any:
    try:
        import openpyxl
    except ImportError:
        raise UsageError(f"{book}: workbooks are read by openpyxl: pip install 'wattlens[reports]'") from None
    try:
        # It warns of what it does not know and we do not read, such as extensions, and prints what is odd in a style.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return openpyxl.load_workbook(copy, read_only=True, data_only=values, keep_links=False)
    except Exception as error:  # noqa: BLE001 - whatever it makes of a file that is none
        raise UsageError(f"{book}: is no workbook that can be read: {_words(error)}") from None


def _formulas(workbook: Any) -> dict[str, list[str]]:
    """Cells with a formula, by sheet."""
    found: dict[str, list[str]] = {}
    for worksheet in workbook.worksheets:
        for cells in worksheet.iter_rows(max_row=_LAST_ROW, max_col=COLUMNS_MAX):
            found.setdefault(worksheet.title, []).extend(c.coordinate for c in cells if getattr(c, "data_type", "") == "f")
    return found


def _refuse_misspelt(title: str, titles: Sequence[str], book: str) -> None:
    """A sheet whose name is nearly one of ours is not somebody's own notes."""
    lacking = [name for name in BY_TITLE if name not in titles]
    near = difflib.get_close_matches(title.casefold(), [name.casefold() for name in lacking], 1, 0.8)
    if near:
        meant = next(name for name in lacking if name.casefold() == near[0])
        raise UsageError(f"{book}: sheet {title[:40]!r} is none of ours; did you mean {meant!r}?")


def _rows(worksheet: Any, sheet: Sheet, book: str, formulas: frozenset[str]) -> Iterator[Row]:
    labels: dict[int, str] = {}
    letters: dict[str, str] = {}
    filled = 0
    worksheet.reset_dimensions()  # what a sheet says of its own size may be wrong, and would cut it off
    try:
        for number, cells in enumerate(worksheet.iter_rows(max_col=COLUMNS_MAX), 1):
            if number > _LAST_ROW:
                raise UsageError(f"{book}: sheet {sheet.title} has rows below row {_LAST_ROW}; take them out")
            if number == 1:
                labels, letters = _head(cells, sheet, book)
                continue
            found = {}
            for index, cell in enumerate(cells):
                value = _cell(cell, sheet, book, formulas)
                if value is None:
                    continue
                if index not in labels:
                    raise UsageError(f"{book}: sheet {sheet.title}, cell {cell.coordinate}: row 1 has no name of this column")
                found[labels[index]] = value
            note = str(found.pop(NOTE, "")).casefold()
            if found and note not in (EXAMPLE, HOW_TO):
                filled += 1
                if filled > ROWS_MAX:
                    raise UsageError(f"{book}: sheet {sheet.title} has more than {ROWS_MAX} rows")
                yield Row(sheet, number, found, letters)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it makes of a sheet that is none
        raise UsageError(f"{book}: sheet {sheet.title} cannot be read: {_words(error)}") from None


def _head(cells: Sequence[Any], sheet: Sheet, book: str) -> tuple[dict[int, str], dict[str, str]]:
    """The name of each column by its index, and its letter by its name."""
    labels: dict[int, str] = {}
    letters: dict[str, str] = {}
    for index, cell in enumerate(cells):
        value = _cell(cell, sheet, book, frozenset())
        if value is None:
            continue
        where = f"{book}: sheet {sheet.title}, cell {cell.coordinate}"
        label = str(value)
        if label not in sheet.labels:
            near = difflib.get_close_matches(label, sheet.labels, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"the columns are: {', '.join(sheet.labels)}"
            raise UsageError(f"{where}: {label[:40]!r} is no column of this sheet; {hint}")
        if label in letters:
            raise UsageError(f"{where}: column {label!r} is there twice")
        labels[index], letters[label] = label, cell.column_letter
    return labels, letters


def _cell(cell: Any, sheet: Sheet, book: str, formulas: frozenset[str]) -> Any:
    """What is in a cell; None: nothing.

    Raises:
        UsageError: an error of the spreadsheet, or a formula that was never counted.
    """
    value = cell.value
    if value is None:
        if formulas and getattr(cell, "coordinate", "") in formulas:
            text = "is a formula without a value; open the workbook in a spreadsheet and save it, or write the value"
            raise UsageError(f"{book}: sheet {sheet.title}, cell {cell.coordinate} {text}")
        return None
    if cell.data_type == "e":
        raise UsageError(f"{book}: sheet {sheet.title}, cell {cell.coordinate}: is the error {str(value)[:40]}; write a value")
    if isinstance(value, str):
        return value.strip() or None
    return value


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
