"""The tables of docs/report-sheets.md, one for each sheet, from the model itself; `make docs` writes them."""

import sys
from datetime import datetime
from pathlib import Path

from energy_agent.config.key_values import values
from tools import marked_page
from wattlens.report.inputs.workbook.columns import Sheet, SheetColumn
from wattlens.report.inputs.workbook.sheets import SHEETS

BEGIN, END = "<!-- sheets: begin, written by make docs -->\n", "<!-- sheets: end -->\n"
_HEAD = "| column | key | takes | needed | meaning |\n| --- | --- | --- | --- | --- |\n"


def replaced(page: str) -> str:
    """The page with fresh tables between its two markers; raises as `marked_page.replaced` does."""
    return marked_page.replaced(page, BEGIN, END, tables())


def tables() -> str:
    """A heading and a table for each sheet, in their order."""
    parts = []
    for sheet in SHEETS:
        where = f"`{sheet.place}` in org.yaml" if sheet.place else "the top of org.yaml"
        where = "the CSV file that `inventory` names" if sheet.place == "inventory.csv" else where
        rows = "".join(_row(sheet, column) for column in sheet.columns)
        parts.append(f"\n### {sheet.title}\n\n{sheet.says} Same as {where}.\n\n{_HEAD}{rows}")
    return "".join(parts) + "\n"


def _row(sheet: Sheet, column: SheetColumn) -> str:
    key = f"`{'.'.join(column.path)}`" if column.path else ""
    cells = (f"`{column.label}`", key, _takes(sheet, column), "yes" if sheet.needs(column) else "", sheet.meaning(column))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _takes(sheet: Sheet, column: SheetColumn) -> str:
    choices, field = sheet.choices(column), sheet.field(column)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if column.units is not None:
        return f"number; `{column.unit_label}`: {' or '.join(f'`{unit}`' for unit in column.units)}"
    if field is None:
        return "text"
    if sheet.takes(column) is datetime:
        return "time in UTC"
    return values(field)


def main() -> int:
    """Rewrite the tables in the given page."""
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
