"""Faults of a workbook: each with its sheet and cell, all reported together. Pure."""

from dataclasses import dataclass, field

from energy_agent.config.messages import shorten
from energy_agent.core.errors import UsageError


@dataclass(slots=True)
class Faults:
    """Faults of a workbook in the order in which they were found.

    Args:
        book: its name, for messages.
        rows: (sheet, row) of those that have one -> letters of their cells, "" for the row itself. What else is wrong with such
            a row may only follow from it.
    """

    book: str
    lines: list[str] = field(default_factory=list)
    rows: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    def add(self, sheet: str, number: int, letter: str, text: str) -> None:
        """Take up one; `letter` is of its column, "" where it is of the row."""
        where = f"cell {letter}{number}" if letter else f"row {number}"
        self.rows.setdefault((sheet, number), set()).add(letter)
        self.tell(f"sheet {sheet}, {where}{' ' if text.startswith(('is ', 'has ', 'differs ')) else ': '}{text}")

    def tell(self, text: str) -> None:
        """Take up one that is of no one cell."""
        self.lines.append(f"{self.book}: {text}")

    def refuse(self) -> None:
        """Check that no fault was found.

        Raises:
            UsageError: the faults, one per line.
        """
        if self.lines:
            raise UsageError("\n".join(shorten(self.lines)))
