"""Frame -> lines for a window. Pure. A colour only repeats what a number, word or sign already says.

The head has the node, its meters, the host and what is wrong. Below it the panes of GPUs, workloads and processes share the
height (`pane.share_height`), and a graph fills what they leave. Three laws hold for every window: no line is wider than it,
there are as many lines as it has, and what does not fit is counted ("+3 more GPUs").
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from wattlens.top.frame import GpuStatus, LocalStatus, NodeStatus, ProcessStatus, TopFrame, WorkloadStatus
from wattlens.top.graph import draw_area, draw_bar, draw_sparkline, level
from wattlens.top.pane import Pane, PaneRow, draw_pane, limit_lines, share_height
from wattlens.top.table import (
    GPU_COLUMNS,
    PROCESS_COLUMNS,
    WORKLOAD_COLUMNS,
    TableColumn,
    TableRow,
    choose_columns,
    draw_row,
    draw_titles,
    short_name,
)
from wattlens.top.text import (
    Line,
    Span,
    bytes_text,
    cell_width,
    duration,
    fit,
    fit_line,
    gibibytes,
    line_width,
    pad,
    percent,
    quantity,
    ranges,
    wrap_parts,
)

UNSUPPORTED = ("NOT_SUPPORTED", "FUNCTION_NOT_FOUND")
"""Reasons of a GPU or driver that lacks the reading: nothing is wrong, and nothing can be done."""
_UNIT = re.compile(r"_(c|w|mw|mj|uj|mhz|hz|ns|s|b|bytes|percent|ratio)$")
MAX_TROUBLES = 4
GRAPH_LEAST, GRAPH_SPLIT = 4, 100
"""Lines below which there is no graph, and columns from which there are two."""
GPU_ORDERS: dict[str, Callable[[GpuStatus], float]] = {
    "gpu": lambda g: 0.0,  # by index, as they come
    "power": lambda g: -(g.power_w or 0.0),
    "energy": lambda g: -(g.since_j or 0.0),
    "temperature": lambda g: -(g.temperature_c or 0.0),
    "utilisation": lambda g: -(g.utilization_ratio or 0.0),
    "memory": lambda g: -(g.memory_used_b or 0.0),
}
HELP = (
    "Up, Down, PgUp, PgDn, Home, End: select a row   Tab: next table",
    "Enter: details of the selected row, and back    Esc: back",
    "s: next order of the GPUs   p: pause   h: this help   q: quit",
    "",
    "W/LIMIT       watts now and the applied limit; the bar is their ratio",
    "UTIL          share of time in which any kernel ran, not how full the GPU is",
    "MEMORY        device memory used and total",
    "MHZ/MAX       SM clock now and its maximum",
    "WHY SLOWER    the driver's reasons for a clock below the maximum",
    "ECC           uncorrected memory errors over the GPU's life",
    "ENERGY        joules since top began, as the agent recorded them",
    "POWER HISTORY a column per reading; full height is the power limit",
    "ACTIVE, IDLE  joules of a workload while a kernel ran, and while none did",
    "J/TOKEN       energy per generated token, over the last seconds",
    "J/STEP        energy per training step, over the last half minute",
    "CPU           of a process: 100% is one core",
    "boundary      what the recorded energy contains: gpu, gpu+cpu or node",
    "colours       green below 60%, yellow to 90%, red from 90% of the limit",
    "-             no reading; ~ a text that is cut",
)


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """What the user chose to see."""

    order: str = "gpu"
    selected: str = ""  # key of a row
    opened: bool = False  # show the selected row's details
    scroll: int = 0  # in details and help
    paused: bool = False
    help: bool = False
    trouble: str = ""  # why there is no fresh response
    unicode: bool = True


def draw(frame: TopFrame, view: ViewSettings, width: int, height: int | None = None) -> list[Line]:
    """The screen; with `height` None, all lines there are."""
    head = _draw_head(frame, view, width)
    if height is None:
        panes = draw_panes(frame, view, width)
        return [
            *head,
            *(line for pane in panes for line in [*draw_pane(pane, pane.height, "", width), []]),
            *_absent(frame, width),
        ]
    room = max(0, height - 1)
    head = limit_lines(head, room, "lines", width)
    body = _draw_body(frame, view, width, room - len(head))
    return [*_fill([*head, *body], room), *([_draw_foot(view, width)] if height else [])]


def _fill(lines: list[Line], height: int) -> list[Line]:
    return [*lines[:height], *([] for _ in range(height - len(lines)))]


def list_keys(frame: TopFrame, view: ViewSettings) -> list[list[str]]:
    """Keys of the rows that can be selected, by table."""
    return [[row.key for row in pane.rows if row.key] for pane in draw_panes(frame, view, 80)]


def _draw_body(frame: TopFrame, view: ViewSettings, width: int, room: int) -> list[Line]:
    if view.help:
        return _scroll([[("", fit(text, width))] for text in HELP], view.scroll, room, width)
    if view.trouble and not view.paused:
        text = "The last readings are too old to show. top tries again automatically."
        return limit_lines([[("", fit(text, width))]], room, "lines", width)
    if view.opened and (details := draw_details(frame, view, width)):
        return _scroll(details, view.scroll, room, width)
    panes = draw_panes(frame, view, width)
    wanted = sum(pane.height for pane in panes)
    if wanted + len(frame.gpus) + 1 + GRAPH_LEAST <= room:  # room for the columns that one line per GPU has no room for
        panes = draw_panes(frame, view, width, second_line=True)
        wanted = sum(pane.height for pane in panes)
    lines: list[Line] = []
    spare = room - wanted
    blank = spare >= len(panes) + GRAPH_LEAST
    for pane, height in zip(panes, share_height(panes, room), strict=True):
        lines += draw_pane(pane, height, view.selected, width)
        if blank:
            lines.append([])
    remaining = room - len(lines)
    if remaining >= GRAPH_LEAST:
        lines += _draw_graphs(frame.node, view, width, remaining)
    return lines


def _scroll(lines: list[Line], scroll: int, room: int, width: int) -> list[Line]:
    """The lines from a position on, with the counts of those above and below."""
    if len(lines) <= room:
        return lines
    first = max(0, min(scroll, len(lines) - max(1, room - 1)))
    visible = lines[first : first + max(0, room - 1)]
    below = len(lines) - first - len(visible)
    text = f"+{first + below} more lines: {first} above, {below} below"
    return [*visible, [("dim", fit(text, width))]][:room]


def clamp_scroll(frame: TopFrame, view: ViewSettings, width: int, height: int) -> int:
    """The scroll position that is shown, so that a key in the other direction takes effect at once."""
    if not (view.help or view.opened):
        return 0
    lines = len(HELP) if view.help else len(draw_details(frame, view, width))
    room = height - 1 - len(_draw_head(frame, view, width))
    return max(0, min(view.scroll, lines - max(1, room - 1))) if lines > room else 0


def _draw_head(frame: TopFrame, view: ViewSettings, width: int) -> list[Line]:
    node = frame.node
    drivers = sorted({gpu.driver for gpu in frame.gpus if gpu.driver})
    marks = ["SIMULATED GPUs"] * node.simulated + ["PAUSED"] * view.paused
    words = [f"wattlens top  {node.cluster}/{node.node}", *marks, *(f"driver {d}" for d in drivers), f"agent {node.version}"]
    lines: list[Line] = [[("title", pad(fit("  ".join(words), width), width))]]
    if view.trouble and not view.paused:
        return [*lines, [("bad", fit(f"NO FRESH READING: {view.trouble}", width))]]
    lines += wrap_parts([*_describe_power(frame), *_describe_meters(node)], width)
    if (spare := width - line_width(lines[-1]) - 2) >= 12:
        spark = draw_sparkline(node.power_history_w, min(spare, 60), node.limit_w, unicode=view.unicode)
        lines[-1] += [("", "  "), *spark]
    lines += wrap_parts([*_describe_host(frame.local, view), *_describe_agent(node)], width)
    troubles = [*(("bad", f"down: {text}") for text in node.down), *(("warn", t) for t in list_absent(frame.gpus, UNSUPPORTED))]
    return lines + limit_lines([[(style, fit(text, width))] for style, text in troubles], MAX_TROUBLES, "problems", width)


def _describe_power(frame: TopFrame) -> Iterator[Span]:
    node = frame.node
    names = Counter(short_name(gpu.name) for gpu in frame.gpus if gpu.name)
    silent = node.gpus - node.gpus_up
    if silent or not names:
        yield ("bold", f"{node.gpus_up} of {node.gpus} GPUs" if silent else "no GPU")
    yield from (("bold", f"{count} x {name}") for name, count in names.items())
    limit = f" of {quantity(node.limit_w, 'W')}" if node.limit_w else ""
    yield ("bold", f"{quantity(node.power_w, 'W')}{limit}")
    yield ("", f"boundary: {node.boundary}")
    if node.since_s > 0:
        yield ("", f"{quantity(node.since_j, 'J')} in {duration(node.since_s)}")


def _describe_meters(node: NodeStatus) -> Iterator[Span]:
    """The node's meters, that of the whole node first, domains of a source together: `rapl package-0 180 W, dram-0 30 W`."""
    sources: dict[str, list[str]] = {}
    for name, watts in sorted(node.other_w, key=lambda meter: not meter[0].endswith(" node")):
        source, _, domain = name.partition(" ")
        sources.setdefault(source, []).append(f"{domain} {quantity(watts, 'W')}".strip())
    return (("", f"{source} {', '.join(domains)}") for source, domains in sources.items())


def _describe_host(local: LocalStatus, view: ViewSettings) -> Iterator[Span]:
    host = local.host
    if host is None:
        yield ("dim", f"host: no data ({local.reason})")
        return
    yield (level(host.cpu_ratio), f"host CPU {percent(host.cpu_ratio)}")
    yield ("", f"of {host.cores} cores, load {' '.join(f'{load:.1f}' for load in host.load)}")
    share = host.memory_used_b / host.memory_total_b if host.memory_total_b else None
    bar = "".join(text for _, text in draw_bar(share, 8, unicode=view.unicode))
    yield (level(share), f"memory {bar} {gibibytes(host.memory_used_b)}/{gibibytes(host.memory_total_b)} GiB")
    if host.swap_used_b:
        yield ("", f"swap {gibibytes(host.swap_used_b)}/{gibibytes(host.swap_total_b)} GiB")


def _describe_agent(node: NodeStatus) -> Iterator[Span]:
    memory = "-" if node.agent_b is None else f"{node.agent_b / 2**20:.0f} MiB"
    cpu = "-" if node.agent_cpu_ratio is None else f"{node.agent_cpu_ratio:.1%}"
    yield ("", f"agent CPU {cpu}, {memory}")
    if node.reader_restarts:
        yield ("", f"reader restarts {node.reader_restarts:.0f}")
    yield ("" if node.ledger == "ok" else "bad", f"ledger {node.ledger}")
    if not node.config_ok:
        yield ("bad", "CONFIG RELOAD FAILED")


def list_absent(gpus: Iterable[GpuStatus], without: Sequence[str] = (), only: Sequence[str] = ()) -> list[str]:
    """Lines `GPU 0-3: no power (NO_PERMISSION)`, GPUs with the same absent readings together; by their reasons."""
    by_reading: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for gpu in gpus:
        fields: dict[str, list[str]] = {}
        for text in gpu.absent if gpu.up else ():
            name, _, reason = text.partition(": ")
            if reason not in without and (not only or reason in only):
                fields.setdefault(reason, []).append(_UNIT.sub("", name).replace("_", " "))
        for reason, names in fields.items():
            by_reading.setdefault((reason, tuple(names)), []).append(gpu.gpu)
    return [f"GPU {ranges(indices)}: no {', '.join(names)} ({reason})" for (reason, names), indices in by_reading.items()]


def _absent(frame: TopFrame, width: int) -> list[Line]:
    lines = list_absent(frame.gpus, only=UNSUPPORTED)
    return (
        [[("bold", fit("Not supported by the GPU or its driver:", width))], *([("", fit(t, width))] for t in lines)]
        if lines
        else []
    )


def draw_panes(frame: TopFrame, view: ViewSettings, width: int, *, second_line: bool = False) -> list[Pane]:
    """The tables with all their rows."""
    return [
        _draw_gpus(frame, view, width, second_line=second_line),
        _draw_workloads(frame, view, width),
        _draw_processes(frame.local, view, width),
    ]


def _draw_gpus(frame: TopFrame, view: ViewSettings, width: int, *, second_line: bool) -> Pane:
    order = GPU_ORDERS[view.order]
    gpus = sorted(frame.gpus, key=lambda g: order(g) if g.up or view.order == "gpu" else float("inf"))
    columns = choose_columns(GPU_COLUMNS, gpus, width)
    used_titles = {c.title for c in columns} | {c.instead_of for c in columns if c.instead_of}
    rest = [c for c in GPU_COLUMNS if c.title not in used_titles and c.instead_of not in used_titles]
    more = choose_columns(rest, gpus, width - 4) if second_line and rest else []
    titles = [draw_titles(columns, width)]
    if more:
        titles.append([("head", pad("    " + draw_titles(more, width - 4)[0][1], width))])
    return Pane("GPUs", tuple(titles), tuple(_draw_gpu(gpu, view, width, columns, more) for gpu in gpus), least=3)


def _draw_gpu(
    gpu: GpuStatus, view: ViewSettings, width: int, columns: Sequence[TableColumn], more: Sequence[TableColumn]
) -> PaneRow:
    key = f"gpu {gpu.uuid or gpu.gpu}"
    if not gpu.up:
        return PaneRow(key, ([("bad", fit(f"{gpu.gpu:>3} DOWN: {gpu.reason}", width))],))
    lines = [draw_row(columns, gpu, width, unicode=view.unicode)]
    if more:
        lines.append([("", "    "), *draw_row(more, gpu, width - 4, unicode=view.unicode)])
    if gpu.mig:
        lines.append([("", fit(f"    MIG: {_list_instances(gpu, width - 9)}", width))])
    return PaneRow(key, tuple(lines))


def _list_instances(gpu: GpuStatus, width: int) -> str:
    """The MIG instances, equal profiles together: `3g.40gb #1, 1g.10gb #3 #4`; those without room are counted."""
    profiles: dict[str, list[str]] = {}
    for instance in gpu.mig:
        profiles.setdefault(instance.profile, []).append(f"#{instance.gpu_instance}")
    text = ", ".join(f"{profile} {' '.join(ids)}" for profile, ids in profiles.items())
    return text if cell_width(text) <= width else f"{len(gpu.mig)} instances (Enter lists them)"


def _draw_table(
    noun: str, columns: Sequence[TableColumn], rows: Sequence[tuple[str, TableRow]], view: ViewSettings, width: int
) -> Pane:
    chosen = choose_columns(columns, [row for _, row in rows], width)
    drawn = (PaneRow(key, (draw_row(chosen, row, width, unicode=view.unicode),)) for key, row in rows)
    return Pane(noun, (draw_titles(chosen, width),), tuple(drawn))


def _draw_workloads(frame: TopFrame, view: ViewSettings, width: int) -> Pane:
    if not frame.workloads:
        silent = frame.gpus and not frame.node.gpus_up
        text = "Workloads: unknown, no GPU responds." if silent else "Workloads: none on these GPUs."
        return Pane("lines", (), (PaneRow("", ([("dim", fit(text, width))],)),))
    rows = sorted(frame.workloads, key=lambda w: (not w.has_gpu, -(w.now_w or 0.0), w.name))
    pane = _draw_table("workloads", WORKLOAD_COLUMNS, [(f"workload {w.name}", w) for w in rows], view, width)
    if frame.node.gpus_up < frame.node.gpus:
        text = "Energy on unresponsive GPUs is missing here."
        pane = Pane(pane.noun, (*pane.titles, [("warn", fit(text, width))]), pane.rows)
    return pane


def _draw_processes(local: LocalStatus, view: ViewSettings, width: int) -> Pane:
    if not local.processes:
        text = f"Processes: no data ({local.reason})" if local.reason else "Processes: none on these GPUs."
        return Pane("lines", (), (PaneRow("", ([("dim", fit(text, width))],)),))
    rows = [(f"process {p.pid} {p.gpus[0]} {p.gpu_instance}", p) for p in local.processes]
    return _draw_table("processes", PROCESS_COLUMNS, rows, view, width)


def _draw_graphs(node: NodeStatus, view: ViewSettings, width: int, height: int) -> list[Line]:
    """Power of all GPUs over the last minutes and, next to it in a wide window, their mean utilisation."""
    power = f"Power {quantity(node.power_w, 'W')}" + (f" of {quantity(node.limit_w, 'W')}" if node.limit_w else "")
    now = node.utilization_history[-1] if node.utilization_history else None
    graphs: list[tuple[str, Sequence[float | None], float | None]] = [(power, node.power_history_w, node.limit_w)]
    if width >= GRAPH_SPLIT:
        graphs.append((f"Mean utilisation {percent(now)}", node.utilization_history, 1.0))
    graph_width = (width - 2 * (len(graphs) - 1)) // len(graphs)
    lines: list[Line] = [[] for _ in range(height)]
    for place, (title, values, top) in enumerate(graphs):
        drawn = [
            [("head", pad(fit(title, graph_width), graph_width))],
            *draw_area(values, graph_width, height - 1, top, unicode=view.unicode),
        ]
        for line, part in zip(lines, drawn, strict=True):
            line += [("", "  " * bool(place)), *part]
    return [fit_line(line, width) for line in lines]


def draw_details(frame: TopFrame, view: ViewSettings, width: int) -> list[Line]:
    """Everything known of the selected row; empty if it is there no more."""
    kind, _, name = view.selected.partition(" ")
    if kind == "gpu":
        gpu = next((g for g in frame.gpus if name in (g.uuid, g.gpu)), None)
        return _draw_gpu_details(gpu, frame, view, width) if gpu else []
    if kind == "workload":
        workload = next((w for w in frame.workloads if w.name == name), None)
        return _draw_workload_details(workload, frame, view, width) if workload else []
    process = next((p for p in frame.local.processes if name == f"{p.pid} {p.gpus[0]} {p.gpu_instance}"), None)
    return _draw_process_details(process, width) if process else []


def _draw_gpu_details(gpu: GpuStatus, frame: TopFrame, view: ViewSettings, width: int) -> list[Line]:
    def count(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f}"

    facts = [
        ("UUID", gpu.uuid or "-"),
        ("PCI", f"{gpu.pci or '-'}, generation {count(gpu.pcie_generation)}, {count(gpu.pcie_lanes)} lanes"),
        ("Architecture", gpu.architecture or "-"),
        ("Driver", gpu.driver or "-"),
    ]
    if not gpu.up:
        facts.append(("Down", gpu.reason))
    else:
        sm, top, memory = (count(None if hz is None else hz / 1e6) for hz in (gpu.sm_hz, gpu.sm_max_hz, gpu.memory_hz))
        facts += [
            (
                "Power",
                f"{quantity(gpu.power_w, 'W')}, limit {quantity(gpu.limit_w, 'W')} (up to {quantity(gpu.limit_max_w, 'W')})",
            ),
            ("Energy", f"{quantity(gpu.since_j, 'J')} since top started, {quantity(gpu.energy_j, 'J')} recorded in total"),
            ("Clock", f"SM {sm} of {top} MHz, memory {memory} MHz"),
            ("Why slower", ", ".join(gpu.why) or "not slower"),
            ("Temperature", f"{count(gpu.temperature_c)} C, memory {count(gpu.memory_temperature_c)} C"),
            ("Utilisation", percent(gpu.utilization_ratio)),
            ("Memory", f"{gibibytes(gpu.memory_used_b)} of {gibibytes(gpu.memory_total_b)} GiB"),
            ("ECC errors", f"{count(gpu.ecc_uncorrected)} uncorrected, {count(gpu.ecc_corrected)} corrected in the GPU's life"),
            ("XID errors", ", ".join(gpu.xids) or "none"),
            ("Steering", gpu.steering or "no"),
            ("Workloads", gpu.used_by),
        ]
    lines = _draw_facts(f"GPU {gpu.gpu}  {gpu.name}", facts, width)
    mig = [f"  {m.profile:<12} GPU instance {m.gpu_instance}, compute instance {m.compute_instance}  {m.uuid}" for m in gpu.mig]
    processes = [p for p in frame.local.processes if gpu.gpu in p.gpus]
    pane = _draw_table("processes", PROCESS_COLUMNS, [("", p) for p in processes], view, width) if processes else None
    for title, part in (
        ("MIG instances", [[("", fit(text, width))] for text in mig]),
        ("Processes", [*pane.titles, *(line for row in pane.rows for line in row.lines)] if pane else []),
        ("No reading of", [[("", fit(f"  {text.replace('_', ' ')}", width))] for text in gpu.absent if gpu.up]),
    ):
        if part:
            lines += [[], [("bold", fit(title, width))], *part]
    if any(power is not None for power in gpu.power_history_w):
        area = draw_area(gpu.power_history_w, width, 6, gpu.limit_w, unicode=view.unicode)
        lines += [[], [("bold", fit("Power, full height is the limit", width))], *area]
    return lines


def _draw_workload_details(workload: WorkloadStatus, frame: TopFrame, view: ViewSettings, width: int) -> list[Line]:
    facts = [
        ("GPUs", ranges(workload.gpus) + (" (ended)" if not workload.has_gpu else "")),
        ("Power", quantity(workload.now_w, "W")),
        ("Since top started", f"{quantity(workload.active_since_j, 'J')} active, {quantity(workload.idle_since_j, 'J')} idle"),
        ("Recorded in total", f"{quantity(workload.active_j, 'J')} active, {quantity(workload.idle_j, 'J')} idle"),
        ("Tokens", f"{quantity(workload.tokens_per_s, 'tokens/s')}, {quantity(workload.j_per_token, 'J')} per token"),
        ("Training steps", f"{quantity(workload.steps_per_s, 'steps/s')}, {quantity(workload.j_per_step, 'J')} per step"),
        *workload.labels,
    ]
    lines = _draw_facts(f"Workload {workload.name}", facts, width)
    workload_gpus = [g for g in frame.gpus if workload.name in g.workloads]
    if workload_gpus:
        columns = choose_columns(GPU_COLUMNS, workload_gpus, width)
        lines += [
            [],
            draw_titles(columns, width),
            *(draw_row(columns, gpu, width, unicode=view.unicode) for gpu in workload_gpus),
        ]
    return lines


def _draw_process_details(process: ProcessStatus, width: int) -> list[Line]:
    facts = [
        ("GPU", ranges(process.gpus) + (f", MIG instance {process.gpu_instance}" if process.gpu_instance else "")),
        ("User", process.user),
        ("GPU memory", bytes_text(process.gpu_memory_b)),
        ("CPU", f"{percent(process.cpu_ratio)} of a core"),
        ("Host memory", bytes_text(process.memory_b)),
    ]
    lines = _draw_facts(f"Process {process.pid}", facts, width)
    step = max(1, width - 2)
    text = process.command
    return [
        *lines,
        [("bold", fit("Command", width))],
        *([("", fit(f"  {text[at : at + step]}", width))] for at in range(0, len(text), step)),
    ]


def _draw_facts(title: str, facts: Sequence[tuple[str, str]], width: int) -> list[Line]:
    return [[("head", pad(fit(title, width), width))], *([("", fit(f"{name:<16} {value}", width))] for name, value in facts)]


def _draw_foot(view: ViewSettings, width: int) -> Line:
    if view.help or view.opened:
        keys = "Esc back  Up/Down scroll  q quit"
    else:
        keys = f"q quit  h help  Up/Down select  Enter details  s order: {view.order}  p {'resume' if view.paused else 'pause'}"
    return [("title", pad(fit(keys, width), width))]
