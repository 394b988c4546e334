"""Which columns of a table are numbers, so that their digits stand below one another. Pure."""

import re

from reports.page.section import ReportTable

_NUMBER = re.compile(r"^[<>~\u2264\u2265\u2248\u00b1+\u2212-]?\s?[\d.,\u202f]*\d")
_SHORT = 36
_DAY = re.compile(r"\d{4}-\d\d")
_ABSENT = frozenset({"", "-", "\u2013", "\u2014"})


def numbers(table: ReportTable) -> tuple[bool, ...]:
    """For each column, whether at least half of its texts are numbers, and nothing is long; the first never is one.

    Absent values do not count; a column of absent values alone is one of numbers.
    """
    width = max(len(row) for row in (table.columns, *table.rows))
    columns = [[row[n] for row in table.rows if n < len(row)] for n in range(width)]
    return tuple(n > 0 and _is_number(cells) for n, cells in enumerate(columns))


def _is_number(cells: list[str]) -> bool:
    present = [cell for cell in cells if cell.strip() not in _ABSENT]
    if not cells or any(len(cell) > _SHORT or _DAY.match(cell) for cell in present):
        return False
    return 2 * sum(bool(_NUMBER.match(cell)) for cell in present) >= len(present)
