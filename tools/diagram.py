"""Boxes, groups and arrows as SVG, for the pictures of the documentation."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

_TEXT, _MUTED, _LINE = "#1f2933", "#52606d", "#7b8794"
_FILL = {"process": "#e3f2fd", "store": "#fff3d6", "outside": "#f1f3f5", "output": "#e6f4ea", "writer": "#fde8e8"}
_TITLE_PX, _LINE_PX = 14, 12
_MARGIN = 10
_EM_RATIO = {"title": 0.58, "line": 0.53, "example": 0.61}
"""Mean width of a character per font size, of the widest common substitutes of Helvetica and Menlo."""


class Box(NamedTuple):
    """A rectangle with a title and up to two lines below it; coordinates in pixels."""

    x: int
    y: int
    width: int
    kind: str
    title: str
    lines: tuple[str, ...] = ()
    example: tuple[str, ...] = ()
    """Lines of data at the right."""
    example_x: int = 0
    """Where they start, from the left edge of the box."""

    @property
    def height(self) -> int:
        """Of the rectangle, for its number of lines."""
        return 34 + 17 * len(self.lines)

    @property
    def needed_width(self) -> float:
        """Upper estimate of the width that the texts need."""
        texts = [len(self.title) * _TITLE_PX * _EM_RATIO["title"], *(len(s) * _LINE_PX * _EM_RATIO["line"] for s in self.lines)]
        left = max(texts) + 1.5 * _MARGIN
        if not self.example:
            return left
        right = max(len(text) for text in self.example) * _LINE_PX * _EM_RATIO["example"] + _MARGIN
        return max(left, self.example_x) + right


class Group(NamedTuple):
    """A dashed frame with a title."""

    x: int
    y: int
    width: int
    height: int
    title: str
    notes: tuple[str, ...] = ()


class Label(NamedTuple):
    """A text at a point."""

    x: int
    y: int
    text: str


class Arrow(NamedTuple):
    """A polyline that ends in a tip."""

    points: tuple[tuple[int, int], ...]
    label: Label | None = None


class Diagram(NamedTuple):
    """A picture; `title` describes it to readers who do not see it."""

    width: int
    height: int
    title: str
    groups: Sequence[Group]
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]

    def draw(self) -> str:
        """Return the picture as SVG text."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" font-family="Helvetica, Arial, sans-serif" role="img">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>',
            f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{_LINE}"/></marker></defs>',
        ]
        for group in self.groups:
            parts.append(_rectangle(group.x, group.y, group.width, group.height, "none", "6 4"))
            parts.append(_text(group.x + 12, group.y + 22, group.title, _MUTED, _TITLE_PX, bold=True))
            parts.extend(
                _text(group.x + 12, group.y + 48 + 20 * n, note, _MUTED, _LINE_PX) for n, note in enumerate(group.notes)
            )
        for arrow in self.arrows:
            path = " ".join(f"{x},{y}" for x, y in arrow.points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{_LINE}" stroke-width="1.5" marker-end="url(#tip)"/>')
            if arrow.label is not None:
                parts.append(_text(arrow.label.x, arrow.label.y, arrow.label.text, _MUTED, _LINE_PX))
        for box in self.boxes:
            parts.append(_rectangle(box.x, box.y, box.width, box.height, _FILL[box.kind]))
            x, y = box.x + _MARGIN, box.y + 22
            parts.append(_text(x, y, box.title, _TEXT, _TITLE_PX, bold=True))
            parts.extend(_text(x, y + 18 + 17 * n, line, _MUTED, _LINE_PX) for n, line in enumerate(box.lines))
            x = box.x + box.example_x
            y += 18 - 17 * (len(box.example) - 1)  # the last line of both ends at the same height
            parts.extend(_text(x, y + 17 * n, line, _TEXT, _LINE_PX, mono=True) for n, line in enumerate(box.example))
        return "\n".join([*parts, "</svg>\n"])


def _rectangle(x: int, y: int, width: int, height: int, fill: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{_LINE}"{dashed}/>'


def _text(x: int, y: int, text: str, colour: str, size: int, *, bold: bool = False, mono: bool = False) -> str:
    style = ' font-weight="bold"' if bold else ""
    style += ' font-family="Menlo, Consolas, monospace" xml:space="preserve"' if mono else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}"{style}>{escape(text)}</text>'
