"""The workbook of inputs, empty: what `wattlens report init` writes. Heads, meanings, choices and examples are the model's own.

The same arguments give the same bytes.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from wattlens.report.inputs.workbook.cells import placed
from wattlens.report.inputs.workbook.columns import EXAMPLE, HOW_TO, NOTE, Sheet, SheetColumn
from wattlens.report.inputs.workbook.file import START
from wattlens.report.inputs.workbook.sheets import SHEETS

ROWS: Final = 5_000
"""Rows of a sheet that offer their choices."""
_INK, _PAPER, _NEEDED, _OPTIONAL, _SAMPLE, _HINT = "#1B2A33", "#FFFFFF", "#0B5563", "#516A74", "#FFF3D6", "#EEF3F5"
_TABS: Final = {"Organisation": _NEEDED, "Sites": _NEEDED, "Inventory": _NEEDED, "Meters": _NEEDED} | dict.fromkeys(
    ("Contracts", "Certificates", "Supplier rates", "Deliveries", "Tariffs", "Invoices", "Readings", "Water"), "#C77700"
)
_CREATED: Final = datetime(2026, 1, 1)  # noqa: DTZ001 - workbooks know no time zone; a fixed one, so that bytes are the same
_WIDTHS: Final = {str: 20, float: 13, int: 10, date: 13, datetime: 18}
_WIDE: Final = {
    "uuid": 43, "sku": 26, "source": 34, "model": 32, "contact": 26, "boundary": 28, "name": 22, "times": 28, "file": 22,
    "state": 26,
}  # fmt: skip
_HOW: Final = (
    "This workbook holds the inputs of a report that are not in its ledger: sites, meters, contracts, prices, teams. "
    "Fill in the sheets that apply to you; the report omits the sections whose sheets are empty, and lists them.",
    "Row 1 has the column names; do not change them. Columns with a dark head are required in every row, the others are "
    "optional. Row 2 explains each column.",
    f"A row whose note is '{EXAMPLE}' or '{HOW_TO}' is ignored: overwrite the examples and clear their notes, or leave "
    "them. You can use any other note.",
    "The unit of an amount is in the next column. Amounts are converted exactly; other units are rejected.",
    "Formulas are allowed; the report reads their saved values. Macros are never run. Your own sheets are ignored.",
    "Paths of files in cells are relative to the folder of this workbook.",
    "Then run wattlens report check THIS_FILE, which lists inputs, missing inputs and wrong cells.",
)


def template(inventory: Iterable[Mapping[str, str]] = ()) -> bytes:
    """The workbook.

    Args:
        inventory: lines that are known already, by the columns of sheet Inventory; their sites are put into sheet Sites.
    """
    try:
        import xlsxwriter
    except ImportError:
        raise UsageError(f"writing the workbook needs xlsxwriter; install: {install_hint('reports')}") from None
    lines = list(inventory)
    sites = [{"name": site} for site in sorted({line["site"] for line in lines if line.get("site")})]
    rows_by_sheet: dict[str, Sequence[Mapping[str, Any]]] = {"Inventory": lines, "Sites": sites}
    content = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(content, options) as book:
        book.set_properties({"title": "Inputs of the Wattlens report", "created": _CREATED})
        book.set_size(2400, 1400)
        formats = _looks(book)
        _start(book.add_worksheet(START), formats)
        for sheet in SHEETS:
            _Page(book.add_worksheet(sheet.title), sheet, formats).write(rows_by_sheet.get(sheet.title, ()))
    return content.getvalue()


def _looks(book: Any) -> dict[str, Any]:
    """Formats by their name."""
    plain = {"font_name": "Calibri", "font_size": 11, "font_color": _INK, "valign": "top"}
    head = {**plain, "bold": True, "font_color": _PAPER, "valign": "vcenter", "indent": 1, "border": 1, "border_color": _PAPER}
    hint = {
        **plain,
        "font_size": 9,
        "text_wrap": True,
        "align": "left",
        "indent": 1,
        "bg_color": _HINT,
        "border": 1,
        "border_color": "#D5DFE3",
    }
    sample = {**plain, "italic": True, "bg_color": _SAMPLE, "border": 1, "border_color": "#F0DFB4"}
    kinds: dict[str, dict[str, Any]] = {
        "str": {"num_format": "@", "align": "left", "indent": 1},
        "date": {"num_format": "yyyy-mm-dd"},
        "datetime": {"num_format": "yyyy-mm-dd hh:mm"},
    }
    styles = {
        "title": {**plain, "bold": True, "font_size": 20, "font_color": _NEEDED},
        "text": {**plain, "text_wrap": True, "align": "left", "indent": 1},
        "step": {**plain, "bold": True, "font_color": _NEEDED, "align": "right"},
        "link": {**plain, "font_color": _NEEDED, "underline": 1, "bold": True},
        "needed": {**head, "bg_color": _NEEDED},
        "optional": {**head, "bg_color": _OPTIONAL, "bold": False},
        "hint": hint,
        "mark": {**hint, "italic": True, "font_color": _OPTIONAL},
        "note": {**plain, "font_color": _OPTIONAL, "align": "left", "indent": 1},
    }
    for kind in ("str", "float", "int", "date", "datetime"):
        styles[kind] = {**plain, **kinds.get(kind, {})}
        styles[f"sample {kind}"] = {**sample, **kinds.get(kind, {})}
    return {name: book.add_format(style) for name, style in styles.items()}


def _start(page: Any, formats: Mapping[str, Any]) -> None:
    page.hide_gridlines(2)
    page.set_column(0, 0, 5)
    page.set_column(1, 1, 18)
    page.set_column(2, 2, 100)
    page.set_row(0, 34)
    page.write_string(0, 1, "Inputs of the Wattlens report", formats["title"])
    for row, text in enumerate(_HOW, 2):
        page.write_string(row, 0, str(row - 1), formats["step"])
        page.merge_range(row, 1, row, 2, text, formats["text"])
        page.set_row(row, 16 * (1 + len(text) // 125) + 4)
    legend = (
        ("required", "needed", "column head of this kind: required in every row"),
        ("optional", "optional", "column head of this kind: leave empty if it does not apply"),
        ("example", "sample str", "rows of this kind are examples and are ignored"),
    )
    for row, (label, look, text) in enumerate(legend, 3 + len(_HOW)):
        page.write_string(row, 1, label, formats[look])
        page.write_string(row, 2, text, formats["text"])
    for row, sheet in enumerate(SHEETS, 4 + len(_HOW) + len(legend)):
        page.write_url(row, 1, f"internal:'{sheet.title}'!A1", formats["link"], sheet.title)
        page.write_string(row, 2, sheet.says, formats["text"])
        page.set_row(row, 16 * (1 + len(sheet.says) // 112) + 4)
    page.set_landscape()
    page.fit_to_pages(1, 0)


class _Page:
    """One sheet that is filled in."""

    def __init__(self, page: Any, sheet: Sheet, formats: Mapping[str, Any]) -> None:
        self._page, self._sheet, self._looks = page, sheet, formats
        self._index = {label: index for index, label in enumerate(sheet.labels)}
        self._first = 2 + len(sheet.examples)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Heads, meanings, examples, choices, and rows that are known."""
        page, formats = self._page, self._looks
        page.set_tab_color(_TABS.get(self._sheet.title, "#4C6B3C"))
        page.freeze_panes(1, 1)
        page.set_row(0, 24)
        page.set_column(0, 0, 10, formats["note"])
        page.write_string(0, 0, NOTE, formats["optional"])
        page.write_string(1, 0, HOW_TO, formats["mark"])
        deepest = 1
        for column in self._sheet.columns:
            deepest = max(deepest, self._column(column))
        page.set_row(1, 12.5 * (deepest + 1) + 4)
        for number, example in enumerate(self._sheet.examples, 2):
            self._row(number, {NOTE: EXAMPLE, **example}, "sample ")
        for number, row in enumerate(rows, self._first):
            self._row(number, row, "")
        page.set_landscape()
        page.repeat_rows(0)
        page.fit_to_pages(1, 0)

    def _column(self, column: SheetColumn) -> int:
        """Write the head of a column; the lines that its meaning takes."""
        sheet, index = self._sheet, self._index[column.label]
        kind = sheet.takes(column)
        width = max(_WIDE.get(column.label, _WIDTHS[kind]), len(column.label) + 3)
        text = self._meaning(column)
        look = "needed" if sheet.needs(column) else "optional"
        heads = [(column.label, width, kind.__name__, text)]
        if units := list(column.units or ()):
            heads.append(
                (column.unit_label, len(column.unit_label) + 3, "str", f"Unit of {column.label}: {' or '.join(units)}.")
            )
        for at, (label, wide, cells, hint) in enumerate(heads, index):
            self._page.set_column(at, at, wide, self._looks[cells])
            self._page.write_string(0, at, label, self._looks[look])
            self._page.write_string(1, at, hint, self._looks["hint"])
        self._offer(column, index)
        if units:
            self._list(index + 1, units)
        return len(text) // max(1, width - 1)

    def _meaning(self, column: SheetColumn) -> str:
        text = placed(self._sheet.meaning(column), self._sheet)
        choices = self._sheet.choices(column)
        meaning = f"{'Required. ' if self._sheet.needs(column) else ''}{text[:1].upper()}{text[1:]}."
        return meaning + (f" One of: {', '.join(choices)}." if choices else "")

    def _offer(self, column: SheetColumn, index: int) -> None:
        choices, kind = self._sheet.choices(column), self._sheet.takes(column)
        if choices:
            self._list(index, [int(c) for c in choices] if kind is int else list(choices))
        elif column.names:
            first = len(next(s for s in SHEETS if s.title == column.names).examples) + 3
            self._list(index, f"={column.names}!$B${first}:$B$1000", "a name from sheet Sites")
        elif kind in (date, datetime):
            first_year = 1900 if column.label == "commissioned" else 1990  # Excel has no earlier day
            limits = {"minimum": date(first_year, 1, 1), "maximum": date(2200, 12, 31)}
            self._validate(index, {"validate": "date", **limits}, "a day such as 2026-01-31")
        elif kind is float:
            decimal = {"validate": "decimal", "minimum": -1e12, "maximum": 1e12}
            self._validate(index, decimal, "a number; its unit is in the next column")

    def _list(self, index: int, source: Any, what: str = "") -> None:
        message = what or f"one of: {', '.join(map(str, source))}"
        self._validate(index, {"validate": "list", "source": source}, message)

    def _validate(self, index: int, rule: dict[str, Any], what: str) -> None:
        texts = {"error_title": self._sheet.labels[index][:32], "error_message": f"Write {what}"[:255]}
        self._page.data_validation(2, index, ROWS, index, {"criteria": "between", **rule, **texts})

    def _row(self, number: int, row: Mapping[str, Any], look: str) -> None:
        for label in self._sheet.labels if look else row:
            value, index = row.get(label), self._index[label]
            column = next((c for c in self._sheet.columns if c.label == label), None)
            kind = self._sheet.takes(column) if column is not None else str
            if kind is date and isinstance(value, str) and value:
                value = date.fromisoformat(value)
            self._page.write(number, index, value, self._looks[f"{look}{kind.__name__}"])
