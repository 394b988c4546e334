"""Panes: tables that share a window's height. Each shows as many rows as it has room for and counts the others. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from wattlens.top.text import Line, fit


@dataclass(frozen=True, slots=True)
class PaneRow:
    """A row that can be selected by its key; of one line or several."""

    key: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Pane:
    """A table. `noun` names its rows in the plural; `least` rows stay while other panes have more."""

    noun: str
    titles: tuple[Line, ...]
    rows: tuple[PaneRow, ...]
    least: int = 2

    @property
    def height(self) -> int:
        """Lines that show all of it."""
        return len(self.titles) + sum(len(row.lines) for row in self.rows)

    @property
    def least_height(self) -> int:
        """Lines that show `least` rows and the count of the others."""
        lines = len(self.titles) + sum(len(row.lines) for row in self.rows[: self.least])
        return self.height if self.height <= lines + 1 else lines + 1


def share_height(panes: Sequence[Pane], room: int) -> list[int]:
    """Lines of each pane: first what it needs at least, then the rest in their order."""
    heights: list[int] = []
    remaining = room
    for place, pane in enumerate(panes):
        others = len(panes) - place - 1  # a line each, for their counts
        heights.append(max(min(1, remaining), min(pane.least_height, remaining - others)))
        remaining -= heights[-1]
    for place, pane in enumerate(panes):
        more = min(remaining, pane.height - heights[place])
        heights[place] += more
        remaining -= more
    return heights


def draw_pane(pane: Pane, height: int, selected: str, width: int) -> list[Line]:
    """The pane in at most `height` lines, around the selected row."""
    if height >= pane.height:
        return [*pane.titles, *(line for row in pane.rows for line in _select(row, selected))]
    if height <= 0:
        return []
    titles = pane.titles[: max(0, height - 2)]
    first, last = _choose_rows(pane.rows, height - len(titles) - 1, selected)
    lines = [*titles, *(line for row in pane.rows[first:last] for line in _select(row, selected))]
    above, below = first, len(pane.rows) - last
    if above and below:
        text = f"+{above + below} more {pane.noun}: {above} above, {below} below"
    else:
        text = f"+{above + below} more {pane.noun}" + " above" * bool(above)
    return [*lines, [("dim", fit(text, width))]]


def _choose_rows(rows: Sequence[PaneRow], room: int, selected: str) -> tuple[int, int]:
    """First and last row (excluded) that fit in `room` lines, with the selected one in the middle."""
    place = next((n for n, row in enumerate(rows) if row.key == selected), 0)
    if len(rows[place].lines) > room:
        return 0, 0
    first, last, remaining = place, place + 1, room - len(rows[place].lines)
    while True:
        after = last < len(rows) and len(rows[last].lines) <= remaining
        before = first > 0 and len(rows[first - 1].lines) <= remaining
        if before and (not after or place - first <= last - place - 1):
            first -= 1
            remaining -= len(rows[first].lines)
        elif after:
            remaining -= len(rows[last].lines)
            last += 1
        else:
            return first, last


def _select(row: PaneRow, selected: str) -> Sequence[Line]:
    if row.key != selected:
        return row.lines
    first, *rest = row.lines
    return [[("selected", "".join(text for _, text in first))], *rest]


def limit_lines(lines: Sequence[Line], height: int, noun: str, width: int) -> list[Line]:
    """At most `height` lines; the last one counts those that have no room."""
    if len(lines) <= height:
        return list(lines)
    line_count = max(0, height - 1)
    return [*lines[:line_count], [("dim", fit(f"+{len(lines) - line_count} more {noun}", width))]][: max(0, height)]
