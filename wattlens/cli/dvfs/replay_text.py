"""What both halves of `wattlens dvfs replay` show: bars of text, and an SVG chart. Numbers come ready."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_BAR_CHARS = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its length, a mark on it (None: none), what stands behind it, and whether it broke a rule."""

    label: str
    value: float
    text: str
    mark: float | None = None
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over equal windows, drawn as steps."""

    label: str
    values: tuple[float, ...]
    dashed: bool = False


def bars(rows: Sequence[Bar]) -> list[str]:
    """Bars of `#`, or of `x` where a rule was broken; `|` is the mark."""
    longest = max((max(row.value, row.mark or 0.0) for row in rows), default=0.0) or 1.0
    width = max(len(row.label) for row in rows)
    lines = []
    for row in rows:
        cells = list((("x" if row.broken else "#") * round(_BAR_CHARS * max(0.0, row.value) / longest)).ljust(_BAR_CHARS + 1))
        if row.mark is not None:
            cells[round(_BAR_CHARS * max(0.0, row.mark) / longest)] = "|"
        lines.append(f"{row.label.ljust(width)}  {''.join(cells)} {row.text}".rstrip())
    return lines


_WIDTH, _LABEL, _ROW, _TOP, _PLOT = 760, 190, 24, 34, 180
_INK, _SOFT, _RULE, _FILL, _SECOND = "#14232b", "#5b6b73", "#d5dde1", "#0f766e", "#b45309"
_HATCH = (
    '<defs><pattern id="broken" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    f'<rect width="5" height="5" fill="#fdf0dc"/><rect width="2" height="5" fill="{_SECOND}"/></pattern></defs>'
)


def svg(title: str, rows: Sequence[Bar], broken: str, curves: Sequence[Curve] = (), axis: str = "", window: str = "") -> str:
    """A chart for a browser: bars, and below them steps over time.

    Args:
        title: what it shows.
        rows: the bars.
        broken: what a hatched bar means.
        curves: all over the same windows.
        axis: name and unit of the curves' values.
        window: how long a window is.
    """
    under = _PLOT + 60 if curves else 0
    height = _TOP + _ROW * len(rows) + 12 + under
    spoken = "; ".join(f"{row.label}: {row.text}" + (f" ({broken})" if row.broken else "") for row in rows)
    longest = max((max(row.value, row.mark or 0.0) for row in rows), default=0.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="t d" '
        f'font-size="12" font-family="system-ui, sans-serif" style="background:#fff">',
        f'<title id="t">{escape(title)}</title><desc id="d">{escape(spoken)}</desc>{_HATCH}',
        _text(8, 18, title, _INK, weight="600"),
    ]
    room = _WIDTH - _LABEL - 270
    for place, row in enumerate(rows):
        y = _TOP + _ROW * place
        length = room * max(0.0, row.value) / longest
        fill = "url(#broken)" if row.broken else _FILL
        parts.append(_text(_LABEL - 8, y + 15, _shortened(row.label), _INK, "end"))
        parts.append(f'<rect x="{_LABEL}" y="{y + 4}" width="{length:.1f}" height="14" fill="{fill}" stroke="{_SOFT}"/>')
        end = length
        if row.mark is not None:
            at = room * max(0.0, row.mark) / longest
            end = max(end, at)
            parts.append(f'<path d="M{_LABEL + at:.1f} {y + 1}v20" stroke="{_SECOND}" stroke-width="2"/>')
        parts.append(_text(_LABEL + end + 7, y + 15, row.text + (f", {broken}" if row.broken else ""), _INK))
    if curves:
        parts += _plot(curves, axis, window, _TOP + _ROW * len(rows) + 40)
    return "".join([*parts, "</svg>\n"])


def _plot(curves: Sequence[Curve], axis: str, window: str, top: int) -> list[str]:
    values = [value for curve in curves for value in curve.values]
    low, high = min(values), max(values)
    low, high = (low - 1, high + 1) if low == high else (low, high)
    longest = max(len(curve.values) for curve in curves)
    left, right = 70, _WIDTH - 20

    def y(value: float) -> float:
        return top + _PLOT - (_PLOT - 10) * (value - low) / (high - low)

    parts = [_text(8, top - 8, axis, _SOFT)]
    for value in (low, (low + high) / 2, high):
        parts.append(f'<path d="M{left} {y(value):.1f}H{right}" stroke="{_RULE}"/>')
        parts.append(_text(left - 6, y(value) + 4, f"{value:.0f}", _SOFT, "end"))
    parts.append(_text(right, top + _PLOT + 16, f"{longest} windows of {window}", _SOFT, "end"))
    x = 260
    for place, curve in enumerate(curves):
        step = (right - left) / longest
        points = "".join(f"{'L' if i else 'M'}{left + step * i:.1f} {y(v):.1f}h{step:.1f}" for i, v in enumerate(curve.values))
        look = f'stroke="{(_FILL, _SECOND)[place % 2]}" stroke-width="1.6"' + (
            ' stroke-dasharray="5 3"' if curve.dashed else ""
        )
        parts.append(f'<path d="{points}" fill="none" {look}/><path d="M{x} {top - 12}h24" fill="none" {look}/>')
        parts.append(_text(x + 30, top - 8, curve.label, _INK))
        x += 60 + 7 * len(curve.label)
    return parts


def _text(x: float, y: float, text: str, fill: str, anchor: str = "start", weight: str = "400") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}">{escape(text)}</text>'


def _shortened(label: str, most: int = 27) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}\u2026"
