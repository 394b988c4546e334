"""Plots of a GPU's sensors for a terminal: what each showed around the largest step, and how long its ticks are."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise

from energy_agent.metering.sensors.traces import Row
from wattlens.top.graph import draw_area
from wattlens.top.screen import can_style, style_line
from wattlens.top.text import Line

_SPAN_MS = 2000.0
_BINS = 30


def draw(changes: Mapping[str, Sequence[Row]], width: int, *, unicode: bool) -> list[Line]:
    """Two seconds of the sensors around the largest step of power, and histograms of the times between changes."""
    power = changes.get("instant") or changes.get("average") or []
    if len(power) < 3:
        return []
    steps = [(abs(b[2] - a[2]), b[1] / 1e6) for a, b in pairwise(power)]
    columns = width - 10
    last_ms = max(rows[-1][1] for rows in changes.values() if rows) / 1e6
    start_ms = max(power[0][1] / 1e6, min(max(steps)[1] - 0.3 * _SPAN_MS, last_ms - _SPAN_MS))
    lines: list[Line] = [[], [("dim", f"  {_SPAN_MS / 1000:g} s around the largest step of power")]]
    for name in ("energy", "instant", "average"):
        rows = changes.get(name) or []
        times = [row[1] / 1e6 for row in rows]
        places = [bisect_right(times, start_ms + _SPAN_MS * (c + 1) / columns) - 1 for c in range(columns)]
        if len(rows) < 3:
            continue
        if name == "energy":
            mark = "│" if unicode else "|"
            before = [bisect_right(times, start_ms) - 1, *places]
            lines.append([("", "  counter "), ("", "".join(mark if b > a else " " for a, b in pairwise(before)))])
            continue
        values = [float(rows[p][2]) if p >= 0 else None for p in places]
        for n, line in enumerate(draw_area(values, columns, 3, None, unicode=unicode)):
            lines.append([("", f"  {name if n == 2 else '':<8}"), *line])
    return lines + [line for name, rows in changes.items() for line in _ticks(name, rows, unicode=unicode)]


def _ticks(name: str, rows: Sequence[Row], *, unicode: bool) -> list[Line]:
    """Histogram of the time between changes, up to the 95th percentile."""
    gaps = sorted((b[0] + b[1] - a[0] - a[1]) / 2e6 for a, b in pairwise(rows[1:]))
    if len(gaps) < _BINS:
        return []
    low, high = gaps[0], max(gaps[len(gaps) * 95 // 100], gaps[0] + 1.0)
    counts = [0.0] * _BINS
    for gap in gaps:
        if gap <= high:
            counts[min(_BINS - 1, int((gap - low) / (high - low) * _BINS))] += 1
    label = "counter" if name == "energy" else name
    (bars,) = draw_area([c or None for c in counts], _BINS, 1, None, unicode=unicode)
    return [[("", f"  {label:<8}{low:6.1f} ms "), *bars, ("", f" {high:.1f} ms between changes")]]


def show(lines: Sequence[Line]) -> None:
    """Print lines, in colour on a terminal."""
    for line in lines:
        print(style_line(line) if can_style() else "".join(text for _, text in line).rstrip())
