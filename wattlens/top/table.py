"""The tables of `wattlens top`: which columns a width has room for, and a row of them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wattlens.top.frame import GpuStatus, ProcessStatus, WorkloadStatus
from wattlens.top.graph import draw_bar, draw_sparkline, level
from wattlens.top.text import Line, Span, bytes_text, cell_width, clock, fit, gibibytes, pad, percent, quantity, ranges


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: shown if the more important ones leave room; the room that is left then widens columns up to `most`."""

    title: str
    width: int
    cell: Callable[[Any], str]
    rank: int  # 0 always stays
    right: bool = True
    most: int = 0  # it may grow to this
    first: int = 0  # and to this before a less important column comes in; 0: to `most`
    if_any: Callable[[Any], bool] | None = None  # left out if it is empty in every row
    instead_of: str = ""  # a longer form of another column
    style: Callable[[Any], str] | None = None
    graphic: Callable[[Any, int, bool], Line] | None = None  # of a row, in a width, with block characters or without


def _whole(value: float | None, unit: str = "", per: float = 1.0) -> str:
    return "-" if value is None else f"{value / per:.0f}{unit}"


def _share(value: float | None, of: float | None) -> float | None:
    return None if value is None or not of else value / of


def _memory(used_b: float | None, total_b: float | None) -> str:
    return "-" if used_b is None else f"{gibibytes(used_b)}/{gibibytes(total_b)} GiB"


def _power_share(gpu: GpuStatus) -> float | None:
    return _share(gpu.power_w, gpu.limit_w)


def _history(gpu: GpuStatus, width: int, unicode: bool) -> Line:
    return draw_sparkline(gpu.power_history_w, width, gpu.limit_w, unicode=unicode)


def short_name(name: str) -> str:
    """A GPU's product name without its maker."""
    return name.removeprefix("NVIDIA ")


GPU_COLUMNS = (
    TableColumn("GPU", 3, lambda g: g.gpu, 0),
    TableColumn("NAME", 8, lambda g: short_name(g.name), 9, right=False, most=28),
    TableColumn("W/LIMIT", 7, lambda g: f"{_whole(g.power_w)}/{_whole(g.limit_w)}", 0, most=9,
                style=lambda g: level(_power_share(g))),
    TableColumn("", 6, lambda g: "", 7, right=False, most=10, graphic=lambda g, w, u: draw_bar(_power_share(g), w, unicode=u)),
    TableColumn("UTIL", 4, lambda g: percent(g.utilization_ratio), 0, style=lambda g: level(g.utilization_ratio)),
    TableColumn("TEMP", 4, lambda g: _whole(g.temperature_c, "C"), 0, style=lambda g: level(g.temperature_c, 70, 83)),
    TableColumn("MEM T", 5, lambda g: _whole(g.memory_temperature_c, "C"), 12,
                style=lambda g: level(g.memory_temperature_c, 80, 95)),
    TableColumn("MEMORY", 9, lambda g: _memory(g.memory_used_b, g.memory_total_b), 3, most=11,
                style=lambda g: level(_share(g.memory_used_b, g.memory_total_b))),
    TableColumn("MHZ", 4, lambda g: _whole(g.sm_hz, per=1e6), 4),
    TableColumn("MHZ/MAX", 9, lambda g: f"{_whole(g.sm_hz, per=1e6)}/{_whole(g.sm_max_hz, per=1e6)}", 10, instead_of="MHZ"),
    TableColumn("ECC", 3, lambda g: _whole(g.ecc_uncorrected), 6, most=6, if_any=lambda g: g.ecc_uncorrected is not None,
                style=lambda g: "high" if g.ecc_uncorrected else ""),
    TableColumn("ENERGY", 7, lambda g: quantity(g.since_j, "J"), 5),
    TableColumn("WHY SLOWER", 10, lambda g: ", ".join(g.why) or "-", 2, right=False, most=30, first=12),
    TableColumn("XID", 4, lambda g: ",".join(g.xids) or "-", 1, right=False, most=12, if_any=lambda g: bool(g.xids)),
    TableColumn("WORKLOAD", 10, lambda g: g.used_by, 1, right=False, most=40, first=16),
    TableColumn("STEERING", 10, lambda g: g.steering or "no", 11, right=False, most=26, if_any=lambda g: bool(g.steering)),
    TableColumn("POWER HISTORY", 13, lambda g: "", 8, right=False, most=60, graphic=_history),
)  # fmt: skip


def _labels(workload: WorkloadStatus) -> str:
    return " ".join(f"{key}={value}" for key, value in workload.labels if key != "kind")


WORKLOAD_COLUMNS = (
    TableColumn("WORKLOAD", 12, lambda w: w.name, 0, right=False, most=60, first=20),
    TableColumn("NOW", 7, lambda w: quantity(w.now_w, "W") if w.has_gpu else "ended", 0),
    TableColumn("ACTIVE", 7, lambda w: quantity(w.active_since_j, "J"), 1),
    TableColumn("IDLE", 7, lambda w: quantity(w.idle_since_j, "J"), 1),
    TableColumn("TOKENS/S", 8, lambda w: "-" if w.tokens_per_s is None else f"{w.tokens_per_s:,.0f}", 3),
    TableColumn("J/TOKEN", 7, lambda w: "-" if w.j_per_token is None else f"{w.j_per_token:.3g}", 2),
    TableColumn("J/STEP", 7, lambda w: quantity(w.j_per_step, "J"), 2, most=8, if_any=lambda w: w.steps_per_s is not None),
    TableColumn("STEPS/S", 7, lambda w: "-" if w.steps_per_s is None else f"{w.steps_per_s:.3g}", 5,
                if_any=lambda w: w.steps_per_s is not None),
    TableColumn("GPUS", 4, lambda w: ranges(w.gpus), 0, right=False, most=24),
    TableColumn("LABELS", 12, lambda w: _labels(w), 6, right=False, most=80, if_any=lambda w: bool(_labels(w))),
)  # fmt: skip


def _without_folder(command: str) -> str:
    """A command without the folder of its program."""
    program, space, arguments = command.partition(" ")
    return program.rpartition("/")[2] + space + arguments


PROCESS_COLUMNS = (
    TableColumn("GPU", 3, lambda p: ranges(p.gpus), 0, most=9),
    TableColumn("MIG", 3, lambda p: p.gpu_instance or "-", 4, if_any=lambda p: bool(p.gpu_instance)),
    TableColumn("PID", 7, lambda p: str(p.pid), 0),
    TableColumn("USER", 8, lambda p: p.user, 0, right=False, most=16, first=8),
    TableColumn("GPU MEM", 8, lambda p: bytes_text(p.gpu_memory_b), 1),
    TableColumn("CPU", 5, lambda p: percent(p.cpu_ratio), 2),
    TableColumn("HOST MEM", 8, lambda p: bytes_text(p.memory_b), 4),
    TableColumn("TIME", 7, lambda p: clock(p.age_s), 3),
    TableColumn("COMMAND", 10, lambda p: _without_folder(p.command), 0, right=False, most=200, first=16),
)
TableRow = GpuStatus | WorkloadStatus | ProcessStatus


def choose_columns(columns: Sequence[TableColumn], rows: Sequence[TableRow], width: int) -> list[TableColumn]:
    """The most important columns that fit, widened to what they have to show."""
    kept: list[TableColumn] = []
    remaining = width + 1
    for column in sorted(columns, key=lambda c: c.rank):
        if column.if_any is not None and not any(column.if_any(row) for row in rows):
            continue
        if column.instead_of and remaining < column.width + 1:
            continue
        if column.graphic or column.most <= column.width:
            need = column.most
        else:
            need = max((cell_width(column.cell(row)) for row in rows if getattr(row, "up", True)), default=0)
        best = max(column.width, min(need, column.most))
        room = remaining if column.rank else max(remaining, column.width + 1)
        widths = (min(best, column.first or best) if not column.graphic else column.width, column.width)
        take = next((w for w in widths if column.width <= w and w + 1 <= room), 0)
        if not take:
            break  # what is less important would leave no room to widen the columns before it
        kept.append(column if take == column.width and best == column.most else replace(column, width=take, most=best))
        remaining -= take + 1
    for column in [c for c in kept if c.instead_of]:  # the longer form has the same value
        remaining += sum(c.width + 1 for c in kept if c.title == column.instead_of)
        kept = [c for c in kept if c.title != column.instead_of]
    widths_by_title: dict[str, int] = {}
    for column in sorted(kept, key=lambda c: (c.graphic is not None, c.rank)):  # words before graphics
        more = max(0, min(remaining, column.most - column.width))
        remaining -= more
        widths_by_title[column.title] = column.width + more
    return [
        c if c.width == widths_by_title[c.title] else replace(c, width=widths_by_title[c.title])
        for c in _in_order(columns, kept)
    ]


def _in_order(columns: Sequence[TableColumn], kept: Sequence[TableColumn]) -> list[TableColumn]:
    """The kept columns in the table's order."""
    by_title = {column.title: column for column in kept}
    return [by_title[column.title] for column in columns if column.title in by_title]


def draw_titles(columns: Sequence[TableColumn], width: int) -> Line:
    """The line of the columns' titles, over the whole width."""
    titles = (c.title.rjust(c.width) if c.right else c.title.ljust(c.width) for c in columns)
    return [("head", pad(fit(" ".join(titles), width), width))]


def draw_row(columns: Sequence[TableColumn], row: TableRow, width: int, *, unicode: bool) -> Line:
    """The row in its columns."""
    line: Line = []
    remaining = width
    for column in columns:
        if remaining <= bool(line):
            break
        if line:
            line.append(("", " "))
            remaining -= 1
        room = min(column.width, remaining)
        if column.graphic:
            line += column.graphic(row, room, unicode)
        else:
            text = fit(column.cell(row), room)
            blanks = " " * (room - cell_width(text))
            line.append((column.style(row) if column.style else "", blanks + text if column.right else text + blanks))
        remaining -= room
    return _merge(line)


def _merge(line: Line) -> Line:
    """Neighbours of one style as one span: fewer codes for the terminal."""
    merged: list[Span] = []
    for style, text in line:
        if merged and merged[-1][0] == style:
            merged[-1] = (style, merged[-1][1] + text)
        else:
            merged.append((style, text))
    return merged
