"""A section: title, order, and a pure function from facts to blocks, or to the reason for which it is omitted.

Blocks say what is shown, not how: HTML, PDF and SVG draw the same blocks. Texts are in the reader's language already.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from reports.figures.facts import Facts
from reports.language import Translator


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline number. `figure_id` leads an auditor to its fact; `trend` is how it moved, such as "-4.1 % on 2026Q2"."""

    label: str
    value: str
    detail: str
    figure_id: str
    trend: str = ""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Headline numbers side by side."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class StackedBar:
    """One bar of stacked parts: (kind, length in any common unit). `text` is its total in words."""

    label: str
    text: str
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal stacked bars. `kinds` names each kind of part, in stacking order.

    Kinds are some of active, idle, `unheld` (unallocated), unattributed, host, overhead, other.
    """

    title: str
    kinds: dict[str, str]
    bars: tuple[StackedBar, ...]


@dataclass(frozen=True, slots=True)
class WaterfallStep:
    """One step of a waterfall: `amount` in the chart's unit is a level for `level` steps, else what is added (or taken off)."""

    label: str
    amount: Fraction
    text: str
    level: bool = False


@dataclass(frozen=True, slots=True)
class Waterfall:
    """How one number becomes another, step by step from left to right."""

    title: str
    unit: str
    steps: tuple[WaterfallStep, ...]


@dataclass(frozen=True, slots=True)
class IntervalMark:
    """One value with its interval. None stands for an unknown bound, and for the value if only its bounds are known."""

    label: str
    value: Fraction | None
    low: Fraction | None
    high: Fraction | None
    text: str


@dataclass(frozen=True, slots=True)
class IntervalChart:
    """Values with their intervals, one below the other on one axis."""

    title: str
    unit: str
    ranges: tuple[IntervalMark, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Series over the same points, such as days; None where there is nothing."""

    title: str
    unit: str
    points: tuple[str, ...]
    series: dict[str, tuple[Fraction | None, ...]]


@dataclass(frozen=True, slots=True)
class Heat:
    """A grid of values, such as hours of the day by weeks; None where there is nothing. `values` is by row.

    `most` is what no value can exceed: shades go from 0 to it then.
    """

    title: str
    unit: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Fraction | None, ...], ...]
    most: Fraction | None = None


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table; the first column is the row's name, the others are numbers or short words. Pairs need no column names."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence or a paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class CheckedStatement:
    """A computed statement, and whether it holds."""

    holds: bool
    text: str


Chart = Bars | Waterfall | IntervalChart | Lines | Heat
Block = Tiles | Chart | ReportTable | Note | CheckedStatement


@dataclass(frozen=True, slots=True)
class OmittedSection:
    """The reason for which a section is omitted."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A section. `title` is the id of its text; `order` sorts the report; an annex comes after all others."""

    title: str
    order: int
    build: Callable[[Facts, Translator], tuple[Block, ...] | OmittedSection]
    annex: bool = False
