"""Names as cells of a CSV file: they come from pods and files, and a spreadsheet must not take one for a formula. Pure."""

import re
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters, and what else ends a line."""
_FORMULA: Final = ("=", "+", "-", "@")


def harmless(cell: str) -> str:
    """The text on one line; an apostrophe before what would be a formula, whatever blanks stand before that."""
    line = _CONTROL.sub(" ", cell)
    return f"'{line}" if cell.startswith(("\t", "\r")) or line.lstrip().startswith(_FORMULA) else line
