"""What a section is: a title, its place, and a pure function from facts to blocks, or to the reason for which it is hidden.

Blocks say what is shown, not how: HTML today, other forms later, draw the same blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reports.facts import Facts


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline number. `figure_id` leads an auditor to its fact."""

    label: str
    value: str
    detail: str
    figure_id: str


@dataclass(frozen=True, slots=True)
class Tiles:
    """Headline numbers side by side."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of stacked parts: (kind, length in any common unit). `text` is its total in words."""

    label: str
    text: str
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart. `kinds` names each kind of part, in the order in which they are stacked."""

    title: str
    kinds: dict[str, str]
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column is the row's name, the others are numbers or short words. Pairs need no column names."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """A statement that was computed, and whether it holds."""

    holds: bool
    text: str


Block = Tiles | Bars | Table | Note | Check


@dataclass(frozen=True, slots=True)
class Hidden:
    """Why a section is not shown."""

    reason: str


@dataclass(frozen=True, slots=True)
class Section:
    """A section. `order` sorts the page; `wide` takes the whole width."""

    title: str
    order: int
    build: Callable[[Facts], tuple[Block, ...] | Hidden]
    wide: bool = False
