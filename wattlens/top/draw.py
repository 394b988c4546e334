"""Facts -> lines of a given width. Pure. A style only repeats what a word or sign already says; ASCII but for names."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wattlens.top.facts import Facts, Gpu, Node, Workload

Span = tuple[str, str]
"""Style (bold, title, warn, bad or "") and text."""
Line = list[Span]

GPU_ORDERS: dict[str, Callable[[Gpu], float]] = {
    "gpu": lambda g: 0.0,  # as they come: by index
    "power": lambda g: -(g.power_w or 0.0),
    "energy": lambda g: -(g.since_j or 0.0),
    "temperature": lambda g: -(g.temperature_c or 0.0),
    "utilisation": lambda g: -(g.utilization_ratio or 0.0),
}
ALARMS = ("TOO HOT", "POWER BRAKE", "hw slowdown")
HELP = (
    "q quit   s sort by the next column   p pause   h this help",
    "arrows, PgUp, PgDn, Home, End: scroll",
    "",
    "W/LIMIT      watts now and the limit in force; the bar is their ratio",
    "CLOCK/MAX    SM clock now and the board's highest, MHz",
    "UTIL         share of time in which any kernel ran: not how full the GPU is",
    "WHY SLOWER   the driver's reasons for clocks below the maximum",
    "ENERGY       joules since top began, by the ledger",
    "RATE         the same as watts, over the last seconds",
    "ACTIVE/IDLE  of a workload since its start: a kernel ran / it only held the GPU",
    "J/TOKEN      its energy a generated token, over the last seconds",
    "second line  power of the GPUs; each meter of the node (they overlap); and what",
    "             the ledger contains: gpu, gpu+cpu or node",
    "-            no reading; a GPU that does not answer shows why instead",
    "~            cut: a wider terminal shows the rest",
)


@dataclass(frozen=True, slots=True)
class Look:
    """How a person wants to see it."""

    order: str = "gpu"
    scroll: int = 0
    paused: bool = False
    help: bool = False
    trouble: str = ""  # why there is no fresh page


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


def quantity(value: float | None, unit: str) -> str:
    """A value with three or four digits and a prefix: 12.3 kJ."""
    if value is None:
        return "-"
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor * (10 if factor == 1e3 and unit == "W" else 0.99995):
            return f"{_digits(value / factor)} {prefix}{unit}"
    return f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.95 or not value else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


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
    Column("ACTIVE", 7, lambda w: quantity(w.active_j, "J"), 0),
    Column("IDLE", 7, lambda w: quantity(w.idle_j, "J"), 0),
    Column("TOKENS/S", 8, lambda w: "-" if w.tokens_per_s is None else f"{w.tokens_per_s:,.0f}", 1),
    Column("J/TOKEN", 7, lambda w: "-" if w.j_per_token is None else f"{w.j_per_token:.3g}", 1),
    Column("GPUS", 8, lambda w: _ranges(w.gpus), 2, right=False, most=24),
)


def draw(facts: Facts | None, look: Look, width: int, height: int | None = None) -> list[Line]:
    """The frame; `height` None: as many lines as there are. No line is wider than `width`, and there are `height` at most."""
    head, body = _parts(facts, look, width)
    if height is None:
        return head + body
    room = max(1, height - len(head) - 1)
    top = _top(look.scroll, len(body), room)
    shown = body[top : top + room]
    shown += [[] for _ in range(room - len(shown))]
    return [*(head + shown)[: max(0, height - 1)], _foot(look, top, room, len(body), width)]


def _parts(facts: Facts | None, look: Look, width: int) -> tuple[list[Line], list[Line]]:
    """What stays, and what scrolls below it."""
    if facts is None:
        waiting = look.trouble or "waiting for the first page"
        return [[("title", _pad(_fit("wattlens top", width), width))]], [[("bad", _fit(waiting, width))]]
    head = _head(facts.node, look, width)
    if look.help:
        return head, [[("", _fit(text, width))] for text in HELP]
    if look.trouble and not look.paused:
        return head, [[("", _fit("The last numbers are too old to be shown. It tries again by itself.", width))]]
    columns = _layout(GPU_COLUMNS, facts.gpus, width)
    return [*head, [("bold", _row(columns, None, width))]], _body(facts, look, columns, width)


def _top(scroll: int, rows: int, room: int) -> int:
    return max(0, min(scroll, rows - room))


def clamp(scroll: int, facts: Facts | None, look: Look, width: int, height: int) -> int:
    """The scroll position that really shows, so that a key in the other direction takes effect at once."""
    head, body = _parts(facts, look, width)
    return _top(scroll, len(body), max(1, height - len(head) - 1))


def _head(node: Node, look: Look, width: int) -> list[Line]:
    simulated = "  SIMULATED GPUs" if node.simulated else ""
    paused = "  PAUSED" if look.paused else ""
    title = f"wattlens top  {node.cluster}/{node.node}{paused}{simulated}  agent {node.version}"
    lines: list[Line] = [[("title", _pad(_fit(title, width), width))]]
    if look.trouble and not look.paused:
        return [*lines, [("bad", _fit(f"NO FRESH PAGE: {look.trouble}", width))]]
    silent = node.gpus - node.gpus_up
    of = f"{node.gpus} GPU{'s' * (node.gpus != 1)}" if not silent else f"{node.gpus_up} of {node.gpus} GPUs"
    others = "".join(f"; {name} {quantity(watts, 'W')}" for name, watts in node.other_w)
    since = f"  {quantity(node.since_j, 'J')} in {_duration(node.since_s)}" if node.since_s > 0 else ""
    lines.append([("bold", _fit(f"{of} {quantity(node.power_w, 'W')}{since}{others}; boundary: {node.boundary}", width))])
    cpu = "not known yet" if node.agent_cpu_ratio is None else f"{node.agent_cpu_ratio:.1%}"
    memory = "-" if node.agent_b is None else f"{node.agent_b / 2**20:.0f} MiB"
    restarts = f"  reader restarts {node.reader_restarts:.0f}" if node.reader_restarts else ""
    parts = [("", f"agent: CPU {cpu}, {memory}{restarts}  "), ("" if node.ledger == "ok" else "bad", f"ledger {node.ledger}")]
    if not node.config_ok:
        parts.append(("bad", "  CONFIG RELOAD FAILED"))
    lines.append(_cut(parts, width))
    troubles = [f"down: {text}" for text in node.down]
    lines += [[("bad", _fit(text, width))] for text in troubles[:4]]
    if len(troubles) > 4:
        lines.append([("bad", _fit(f"and {len(troubles) - 4} more sources down", width))])
    return lines


def _body(facts: Facts, look: Look, columns: Sequence[Column], width: int) -> list[Line]:
    order = GPU_ORDERS[look.order]
    rows: list[Line] = []
    gpus = sorted(facts.gpus, key=lambda g: (order(g) if g.up else float("inf")) if look.order != "gpu" else 0)
    rows += [_gpu_line(gpu, columns, width) for gpu in gpus]
    for gpu in facts.gpus:
        if gpu.up and gpu.absent:
            rows.append([("warn", _fit(f"  GPU {gpu.gpu} has no " + "; no ".join(gpu.absent), width))])
    rows.append([])
    if not facts.workloads:
        silent = facts.gpus and not facts.node.gpus_up
        text = "Who holds them is not known: no GPU answers." if silent else "No workload holds a GPU."
        rows.append([("", _fit(text, width))])
        return rows
    workloads = sorted(facts.workloads, key=lambda w: (not w.held, -(w.now_w or 0.0), w.name))
    columns = _layout(WORKLOAD_COLUMNS, workloads, width)
    rows.append([("bold", _row(columns, None, width))])
    rows += [[("" if w.held else "dim", _row(columns, w, width))] for w in workloads]
    if facts.node.gpus_up < facts.node.gpus:
        rows.append([("warn", _fit("Energy of workloads on GPUs that do not answer is not in these sums.", width))])
    return rows


def _gpu_line(gpu: Gpu, columns: Sequence[Column], width: int) -> Line:
    if not gpu.up:
        return [("bad", _fit(f"{gpu.gpu:>3} DOWN: {gpu.reason}", width))]
    hot = any(why.startswith(ALARMS) for why in gpu.why)
    return [("bad" if hot or gpu.xids else "", _row(columns, gpu, width))]


def _foot(look: Look, top: int, room: int, rows: int, width: int) -> Line:
    where = f"  lines {top + 1}-{min(rows, top + room)} of {rows}" if rows > room else ""
    keys = "h back" if look.help else f"q quit  s sort: {look.order}  p {'go on' if look.paused else 'pause'}  h help"
    return [("title", _pad(_fit(keys + where, width), width))]


def _layout(columns: Sequence[Column], rows: Sequence[Gpu] | Sequence[Workload], width: int) -> list[Column]:
    """The most important columns that fit, stretched to what they have to show."""
    kept: list[Column] = []
    left = width + 1
    for column in sorted(columns, key=lambda c: c.rank):
        if column.if_any is not None and not any(column.if_any(row) for row in rows):
            continue
        if column.instead_of and left < column.width + 1:
            continue
        need = max((_cells(column.cell(r)) for r in rows if getattr(r, "up", True)), default=0) if column.title else 0
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


def _row(columns: Sequence[Column], row: Gpu | Workload | None, width: int) -> str:
    cells = []
    for c in columns:
        drawn = _bar(row, c.width) if isinstance(row, Gpu) and not c.title else c.cell(row) if row is not None else c.title
        text = _fit(drawn, c.width)
        pad = " " * (c.width - _cells(text))
        cells.append(pad + text if c.right else text + pad)
    return _fit(" ".join(cells).rstrip(), width)


def _cells(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fit(text: str, width: int) -> str:
    """At most `width` columns; what is cut ends with ~."""
    if _cells(text) <= width:
        return text
    while text and _cells(text) > width - 1:
        text = text[:-1]
    return text + "~" if width > 0 else ""


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


def _cut(spans: Line, width: int) -> Line:
    found: Line = []
    for style, text in spans:
        fitted = _fit(text, width)
        found.append((style, fitted))
        width -= _cells(fitted)
        if fitted != text:
            break
    return found


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole // 60 % 60} min"


def _ranges(numbers: Sequence[str]) -> str:
    """0,1,2,5 -> 0-2,5"""
    runs: list[list[int]] = []
    for n in sorted(int(n) for n in numbers if n.isdecimal()):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
