"""A dated table of published figures: `NAME.csv` with the rows and `NAME.json` with its day and edition. Pure.

As with grid factors (set_file.py), a published file is never edited: the JSON file has the SHA-256 of the table, and another
edition is another file. Cells are text; the caller interprets them.
"""

import csv
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.core.text import is_printable

ROWS_MAX: Final = 10_000
CELL_MAX: Final = 1000
TEXTS: Final = ("id", "title", "edition", "fetched", "update", "note", "csv_sha256")
"""What every page has to say, in words."""

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table: its line, for messages, and its cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class DatedTable:
    """A table and what is known of it as a whole. `file` is for messages."""

    id: str
    title: str
    edition: str
    fetched: str
    update: str
    note: str
    csv_sha256: str
    file: str
    rows: tuple[TableRow, ...]


def parse(page: bytes, table: bytes, name: str, columns: Sequence[str], wanted: Sequence[str]) -> DatedTable:
    """A table from its page and its rows.

    Args:
        page: the JSON text of `NAME.json`.
        table: the CSV text of `NAME.csv`.
        name: path without its ending, for messages.
        columns: what the head must be, in this order.
        wanted: columns that no row may leave empty.

    Raises:
        UsageError: something is missing or wrong; the line names file and key or line.
    """
    about = _page(page, f"{name}.json")
    if hashlib.sha256(table).hexdigest() != about["csv_sha256"]:
        raise UsageError(
            f"{name}.csv: its SHA-256 differs from csv_sha256 in {name}.json: a published table must not be edited"
        )
    rows = _rows(table, f"{name}.csv", columns, wanted)
    ids = [row.cells["id"] for row in rows]
    if twice := next((i for i in ids if ids.count(i) > 1), ""):
        raise UsageError(f"{name}.csv: duplicate id {twice}")
    return DatedTable(**about, file=f"{name}.csv", rows=rows)


def number(text: str, where: str) -> Decimal:
    """Parse a positive decimal exactly.

    Raises:
        UsageError: the text is not a positive decimal.
    """
    if not _NUMBER.fullmatch(text) or not Decimal(text):
        raise UsageError(f"{where}: expected a number above 0, such as 164 or 127.6, got {text[:40]!r}")
    return Decimal(text)


def _page(raw: bytes, file: str) -> dict[str, str]:
    try:
        about = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UsageError(f"{file} is not JSON in UTF-8") from None
    if not isinstance(about, dict) or set(about) != set(TEXTS):
        raise UsageError(f"{file}: expected the keys {', '.join(TEXTS)}")
    for key, text in about.items():
        if not isinstance(text, str) or not text.strip() or len(text) > CELL_MAX or not is_printable(text):
            raise UsageError(f"{file}: key {key!r}: expected one line of text")
    return about


def _rows(raw: bytes, file: str, columns: Sequence[str], wanted: Sequence[str]) -> tuple[TableRow, ...]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text") from None
    reader = csv.reader(text.split("\n"), strict=True)
    rows: list[TableRow] = []
    try:
        if next(reader, []) != list(columns):
            raise UsageError(f"{file}, line 1: expected the columns {','.join(columns)}")
        for cells in reader:
            if not cells:
                continue
            where = f"{file}, line {reader.line_num}"
            if len(rows) >= ROWS_MAX:
                raise UsageError(f"{file} has more than {ROWS_MAX} rows")
            if len(cells) != len(columns):
                raise UsageError(f"{where}: {len(cells)} cells, but the header has {len(columns)}")
            row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
            if bad := next((c for c in columns if len(row[c]) > CELL_MAX or not is_printable(row[c])), ""):
                raise UsageError(f"{where}: column {bad}: expected one line of at most {CELL_MAX} characters")
            if empty := next((c for c in wanted if not row[c]), ""):
                raise UsageError(f"{where}: column {empty} is empty")
            rows.append(TableRow(reader.line_num, row))
    except csv.Error as error:
        raise UsageError(f"{file}, line {reader.line_num}: {error}") from None
    return tuple(rows)
