"""The tables of docs/report-sheets.md, one for each sheet, from the model itself."""

from datetime import datetime

from energy_agent.config.key_values import values
from tools.markdown import row
from wattlens.report.inputs.workbook.columns import Sheet, SheetColumn
from wattlens.report.inputs.workbook.sheets import SHEETS

_HEAD = "| column | key | takes | needed | meaning |\n| --- | --- | --- | --- | --- |\n"


def tables() -> str:
    """A heading and a table for each sheet, in their order."""
    parts = []
    for sheet in SHEETS:
        where = f"`{sheet.place}` in org.yaml" if sheet.place else "the top of org.yaml"
        where = "the CSV file that `inventory` names" if sheet.place == "devices[]" else where
        rows = "".join(_row(sheet, column) for column in sheet.columns)
        parts.append(f"\n### {sheet.title}\n\n{sheet.says} Same as {where}.\n\n{_HEAD}{rows}")
    return "".join(parts) + "\n"


def _row(sheet: Sheet, column: SheetColumn) -> str:
    key = f"`{'.'.join(column.path)}`" if column.path else ""
    return row(f"`{column.label}`", key, _takes(sheet, column), "yes" if sheet.needs(column) else "", sheet.meaning(column))


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
