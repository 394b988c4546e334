"""The tables of `wattlens top`: which columns a width has room for, and a row of them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wattlens.top.facts import Gpu, Workload
from wattlens.top.text import cells, fit, quantity, ranges


@dataclass(frozen=True, slots=True)
class Column:
    """A column: shown when the ones more important than it leave room; what room is left then goes to the stretching ones."""

    title: str
    width: int
    cell: Callable[..., str]
    rank: int  # 0 always stays
    right: bool = True
    most: int = 0  # may grow to this
    first: int = 0  # and to this before a less important column comes in; 0: to `most`
    if_any: Callable[..., bool] | None = None  # left out where it has nothing to tell of any row
    instead_of: str = ""  # a longer form of another column


def _whole(value: float | None, unit: str = "", per: float = 1.0) -> str:
    return "-" if value is None else f"{value / per:.0f}{unit}"


def _bar(gpu: Gpu, width: int) -> str:
    if gpu.power_w is None or not gpu.limit_w:
        return ""
    full = min(width - 2, round((width - 2) * gpu.power_w / gpu.limit_w))
    return "[" + "#" * full + "." * (width - 2 - full) + "]"


def _memory(gpu: Gpu) -> str:
    if gpu.memory_used_b is None or not gpu.memory_total_b:
        return "-"
    return f"{gpu.memory_used_b / gpu.memory_total_b:.0%}"


def _gigabytes(gpu: Gpu) -> str:
    if gpu.memory_used_b is None or not gpu.memory_total_b:
        return "-"
    return f"{gpu.memory_used_b / 2**30:.0f}/{gpu.memory_total_b / 2**30:.0f} GiB"


def _holders(gpu: Gpu) -> str:
    return ", ".join(gpu.holders) or "nobody"


GPU_COLUMNS = (
    Column("GPU", 3, lambda g: g.gpu, 0),
    Column("W/LIMIT", 7, lambda g: f"{_whole(g.power_w)}/{_whole(g.limit_w)}", 0, most=9),
    Column("", 6, lambda g: _bar(g, 6), 3, right=False, most=22),
    Column("CLOCK", 5, lambda g: _whole(g.sm_hz, per=1e6), 4),
    Column("CLOCK/MAX", 9, lambda g: f"{_whole(g.sm_hz, per=1e6)}/{_whole(g.sm_max_hz, per=1e6)}", 7, instead_of="CLOCK"),
    Column("UTIL", 4, lambda g: _whole(g.utilization_ratio, "%", 0.01), 0),
    Column("TEMP", 4, lambda g: _whole(g.temperature_c, "C"), 0),
    Column("MEM", 4, _memory, 6),
    Column("MEMORY", 10, _gigabytes, 9, instead_of="MEM"),
    Column("MEM T", 5, lambda g: _whole(g.memory_temperature_c, "C"), 11),
    Column("MEM CLK", 8, lambda g: _whole(g.memory_hz, " MHz", 1e6), 12),
    Column("ENERGY", 7, lambda g: quantity(g.since_j, "J"), 5),
    Column("RATE", 6, lambda g: quantity(g.rate_w, "W"), 10),
    Column("WHY SLOWER", 12, lambda g: ", ".join(g.why) or ("-" if g.up else ""), 2, right=False, most=30, first=12),
    Column("XID", 4, lambda g: ",".join(g.xids) or "-", 1, right=False, most=12, if_any=lambda g: bool(g.xids)),
    Column("HELD BY", 10, _holders, 1, right=False, most=60, first=16),
    Column("STEERED", 10, lambda g: g.steering or "no", 8, right=False, most=26, if_any=lambda g: bool(g.steering)),
    Column("MODEL", 12, lambda g: g.name.removeprefix("NVIDIA "), 13, right=False, most=28),
)
WORKLOAD_COLUMNS = (
    Column("WORKLOAD", 16, lambda w: w.name, 0, right=False, most=60),
    Column("NOW", 7, lambda w: quantity(w.now_w, "W") if w.held else "ended", 0),
    Column("ACTIVE", 7, lambda w: quantity(w.active_since_j, "J"), 0),
    Column("IDLE", 7, lambda w: quantity(w.idle_since_j, "J"), 0),
    Column("TOKENS/S", 8, lambda w: "-" if w.tokens_per_s is None else f"{w.tokens_per_s:,.0f}", 1),
    Column("J/TOKEN", 7, lambda w: "-" if w.j_per_token is None else f"{w.j_per_token:.3g}", 1),
    Column("GPUS", 8, lambda w: ranges(w.gpus), 2, right=False, most=24),
)


def layout(columns: Sequence[Column], rows: Sequence[Gpu] | Sequence[Workload], width: int) -> list[Column]:
    """The most important columns that fit, stretched to what they have to show."""
    kept: list[Column] = []
    left = width + 1
    for column in sorted(columns, key=lambda c: c.rank):
        if column.if_any is not None and not any(column.if_any(row) for row in rows):
            continue
        if column.instead_of and left < column.width + 1:
            continue
        need = max((cells(column.cell(r)) for r in rows if getattr(r, "up", True)), default=0) if column.title else 0
        wanted = max(column.width, min(need, column.most))
        room = left if column.rank else max(left, column.width + 1)
        take = next((w for w in (min(wanted, column.first or wanted), column.width) if column.width <= w and w + 1 <= room), 0)
        if take:
            kept.append(replace(column, width=take, most=wanted if column.title else column.most))
            left -= take + 1
    for column in [c for c in kept if c.instead_of]:  # the longer form says the same
        left += sum(c.width + 1 for c in kept if c.title == column.instead_of)
        kept = [c for c in kept if c.title != column.instead_of]
    wide: dict[str, Column] = {}
    for column in sorted(kept, key=lambda c: (not c.title, c.rank)):  # words before the bar
        more = max(0, min(left, column.most - column.width))
        left -= more
        wide[column.title] = replace(column, width=column.width + more)
    return [wide[c.title] for c in columns if c.title in wide]


def row_text(columns: Sequence[Column], row: Gpu | Workload | None, width: int) -> str:
    """The row in its columns, or their titles."""
    found = []
    for c in columns:
        drawn = _bar(row, c.width) if isinstance(row, Gpu) and not c.title else c.cell(row) if row is not None else c.title
        text = fit(drawn, c.width)
        pad = " " * (c.width - cells(text))
        found.append(pad + text if c.right else text + pad)
    return fit(" ".join(found).rstrip(), width)
