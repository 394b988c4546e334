"""Tables of sections: heads by the ids of their texts, and columns of amounts in one unit. Pure."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Final

from reports.figures import wording
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ABSENT, Scale, amounts
from reports.page.section import ReportTable

Cell = str | Fraction | None
Head = str | tuple[str, Scale]
"""Of a column of texts; of one of amounts, with their scale."""
NUMBER: Final[Scale] = ((Fraction(1), ""),)
"""Of numbers without a unit."""


def table(
    say: Translator, caption: str, heads: Sequence[Head], rows: Iterable[Sequence[Cell]], *, apart: bool = False
) -> ReportTable:
    """Return a table. Columns with one scale have one unit, so that a reader can compare and add them; None is a dash.

    Args:
        say: the translator for the reader's language.
        caption: id of its text, or another text.
        heads: as `caption`.
        rows: at least one, with a cell per column: an amount where the column has a scale.
        apart: each column has a unit of its own.
    """
    columns = list(zip(heads, zip(*rows, strict=True), strict=True))
    names: list[str] = []
    cells: list[Sequence[str]] = []
    for head, column in columns:
        if isinstance(head, str):
            names.append(say.text(head))
            cells.append([str(ABSENT if each is None else each) for each in column])
            continue
        alike = [] if apart else [each for other, cells in columns if other[1] is head[1] for each in cells]
        block = amounts([each for each in (*column, *alike) if not isinstance(each, str)], head[1])
        names.append(with_unit(say, head[0], block.unit))
        cells.append(block.cells[: len(column)])
    return ReportTable(say.text(caption), tuple(names), tuple(zip(*cells, strict=True)))


def with_unit(say: Translator, name: str, unit: str) -> str:
    """The head of a column, by the id of its text, and its unit, if it has one."""
    return say("with_unit", name=say.text(name), unit=unit) if unit else say.text(name)


def names_by_reason(figures: Iterable[tuple[str, Figure]]) -> dict[str, list[str]]:
    """Reason -> names of the figures that are absent for it."""
    names: dict[str, list[str]] = {}
    for name, figure in figures:
        if figure.reason:
            names.setdefault(figure.reason, []).append(name)
    return names


def cell(value: Fraction | None, write: Callable[[Fraction], str] = wording.short) -> str | None:
    """A value as it is written; None if it is absent."""
    return None if value is None else write(value)


def bounds(figure: Figure, say: Translator) -> str | None:
    """The error of a figure; None if its value is absent."""
    return None if figure.value is None else wording.plus_minus(figure, say)
