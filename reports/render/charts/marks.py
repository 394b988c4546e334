"""What a chart is made of: marks on a sheet of pixels, x to the right and y down. Pure; how they become SVG is charts.py's.

Every text stands on its baseline at an anchor, so where it stands does not depend on the font that a reader's machine has.
"""

from dataclasses import dataclass, field
from typing import Literal

from reports.render.charts.palette import INK, Fill

WIDE = 640
"""Width in px of a chart on a sheet of paper or a screen."""

NARROW = 358
"""Width in px of a chart on a phone of 390 px."""

SIZE = 12.0
"""Font size of labels in px."""

SMALL = 11.0
"""Font size of axes and legends in px."""

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle with its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    fill: Fill


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points, or a filled shape where `fill` is a colour; None in `points` lifts the pen."""

    points: tuple[tuple[float, float] | None, ...]
    colour: str = INK
    width: float = 1.0
    dash: tuple[float, ...] = ()
    fill: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    size: float = SIZE
    anchor: Anchor = "start"
    colour: str = INK
    bold: bool = False


Mark = Box | Path | Words


@dataclass(slots=True)
class Sheet:
    """A chart being drawn."""

    width: int
    height: float = 0
    marks: list[Mark] = field(default_factory=list)

    def add(self, *marks: Mark) -> None:
        """Put marks on top of those that are there."""
        self.marks += marks

    def line(self, x: float, y: float, x2: float, y2: float, colour: str = INK, width: float = 1.0) -> None:
        """A straight line."""
        self.add(Path(((x, y), (x2, y2)), colour, width))
