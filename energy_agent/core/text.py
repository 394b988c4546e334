"""Make text of other processes, pods and files safe for a terminal, a log or a CSV cell. Pure."""

import re
from collections.abc import Sequence
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters, and what else ends a line."""
UNPRINTABLE: Final = r"[\x00-\x1f\x7f-" "\u009f\u2028-\u202e\u2066-\u2069]"
"""The same and bidirectional overrides, as a pattern of Python and of SQL engines; other spaces and joiners belong to names."""
_UNPRINTABLE: Final = re.compile(f"{UNPRINTABLE}|[\ud800-\udfff]")
"""And lone surrogates, which no file can store."""
_USER: Final = re.compile(r"(?:(?<=://)|^(?!\w+://)).*@", re.DOTALL)
_FORMULA: Final = ("=", "+", "-", "@")


def is_printable(text: str) -> bool:
    """Return whether the text is one line that no terminal reads as a command: the rule for every name that is printed."""
    return (text.isascii() and text.isprintable()) or not _UNPRINTABLE.search(text)


def printable(text: str) -> str:
    """Return the text as one line without control characters: nothing in it reaches a terminal as a command."""
    return text if text.isascii() and text.isprintable() else _UNPRINTABLE.sub("?", text)


def printable_lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def list_first(names: Sequence[str], most: int) -> str:
    """The first names and the number of the others: `a, b and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def first_line(error: Exception) -> str:
    """Return the first line of a library's error, at most 300 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def quoted_address(url: str) -> str:
    """Return an address for a message, without user and password, which may be in one that is not valid either."""
    return repr(_USER.sub("...@", url)[:200])


def separator_hint(head: Sequence[str]) -> str:
    """Return what to do if the first line of a CSV file is not separated by commas, as spreadsheets of some countries write."""
    other = next((name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if len(head) == 1 and mark in head[0]), "")
    return f"; it is separated by {other}: save it with commas, and numbers with a decimal point" if other else ""


def harmless(cell: str) -> str:
    """The text on one line; an apostrophe before what would be a formula, whatever blanks stand before that."""
    line = _CONTROL.sub(" ", cell)
    return f"'{line}" if cell.startswith(("\t", "\r")) or line.lstrip().startswith(_FORMULA) else line
