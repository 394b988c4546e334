"""A stacked horizontal bar chart as inline SVG text. Pure; kinds differ by hatching as well as by colour.

Lengths are computed in whole thousandths of the widest bar, so that the same numbers draw the same bytes everywhere.
"""

from html import escape

from reports.sections._section import Bar, Bars

WIDTH = 720
LABEL = 210
VALUE = 130
ROW = 24
THICK = 14
LEGEND = 26
INK, SOFT, RULE = "#14232b", "#5b6b73", "#d5dde1"
FILLS = {"active": "#0f766e", "idle": "url(#hatch)", "unheld": "url(#dots)", "unattributed": "url(#cross)"}
_DEFS = (
    '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="5" height="5" fill="#cfe8e4"/><rect width="2" height="5" fill="#0f766e"/></pattern>'
    '<pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<rect width="5" height="5" fill="#eef1f3"/><circle cx="2.5" cy="2.5" r="1.2" fill="#7c8b93"/></pattern>'
    '<pattern id="cross" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#fdf0dc"/>'
    '<path d="M0 0L6 6M6 0L0 6" stroke="#b45309" stroke-width="1"/></pattern></defs>'
)


def svg_bars(chart: Bars) -> str:
    """The chart; its title and a description of every bar are there for a screen reader."""
    longest = max((sum(length for _, length in bar.parts) for bar in chart.bars), default=0) or 1
    height = LEGEND + ROW * len(chart.bars) + 4
    spoken = "; ".join(f"{bar.label}: {bar.text}" for bar in chart.bars)
    present = {kind for bar in chart.bars for kind, length in bar.parts if length}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="bars-title bars-desc" font-size="11.5" font-family="inherit">',
        f'<title id="bars-title">{escape(chart.title)}</title><desc id="bars-desc">{escape(spoken)}</desc>',
        _DEFS,
        *_legend({kind: name for kind, name in chart.kinds.items() if kind in present}),
        f'<line x1="{LABEL}" x2="{LABEL}" y1="{LEGEND - 4}" y2="{height - 2}" stroke="{RULE}"/>',
        *(_bar(bar, longest, LEGEND + ROW * row) for row, bar in enumerate(chart.bars)),
        "</svg>",
    ]
    return "".join(parts)


def _legend(kinds: dict[str, str]) -> list[str]:
    parts, x = [], LABEL
    for kind, name in kinds.items():
        parts.append(
            f'<rect x="{x}" y="3" width="18" height="11" fill="{FILLS[kind]}" stroke="{SOFT}" stroke-width=".5"/>'
            f'<text x="{x + 24}" y="12.5" fill="{SOFT}">{escape(name)}</text>'
        )
        x += 44 + 7 * len(name)
    return parts


def _bar(bar: Bar, longest: int, y: int) -> str:
    room, middle = WIDTH - LABEL - VALUE, y + ROW // 2 + 4
    parts, x = [f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end" fill="{INK}">{escape(_shortened(bar.label))}</text>'], 0
    for kind, length in bar.parts:
        if not length:
            continue
        width = max(500, length * room * 1000 // longest)  # half a pixel at least: what is there is seen
        start, x = x, x + width
        parts.append(
            f'<rect x="{_px(LABEL * 1000 + start)}" y="{y + (ROW - THICK) // 2}" width="{_px(width)}" height="{THICK}" '
            f'fill="{FILLS[kind]}" stroke="#0b3b37" stroke-width=".4"/>'
        )
    parts.append(f'<text x="{_px(LABEL * 1000 + x + 7000)}" y="{middle}" fill="{INK}">{escape(bar.text)}</text>')
    return "".join(parts)


def _shortened(label: str, most: int = 33) -> str:
    return label if len(label) <= most else f"{label[: most // 2]}\u2026{label[-(most - most // 2 - 1) :]}"


def _px(thousandths: int) -> str:
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"
