"""Facts -> lines of a given width. Pure. A style only repeats what a word or sign already says; ASCII but for names."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from wattlens.top.facts import Facts, Gpu, Node, Workload
from wattlens.top.table import GPU_COLUMNS, WORKLOAD_COLUMNS, Column, layout, row_text
from wattlens.top.text import Line, cut, duration, fit, pad, quantity, ranges, wrapped

NEVER = ("NOT_SUPPORTED", "FUNCTION_NOT_FOUND")
"""Answers of a board or driver that simply lacks the reading: nothing is wrong, and nobody can mend it."""
_UNIT = re.compile(r"_(c|w|mw|mj|uj|mhz|hz|ns|s|b|bytes|percent|ratio)$")


def list_absent(gpus: Iterable[Gpu], *, lacking: bool) -> list[str]:
    """Lines `GPU 0-3: no power (NO_PERMISSION)`: those that may be mended or, where `lacking`, those of what boards lack."""
    by_gpu: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for gpu in gpus:
        fields: dict[str, list[str]] = {}
        for text in gpu.absent if gpu.up else ():
            name, _, reason = text.partition(": ")
            if (reason in NEVER) == lacking:
                fields.setdefault(reason, []).append(_UNIT.sub("", name).replace("_", " "))
        for reason, names in fields.items():
            by_gpu.setdefault((reason, tuple(names)), []).append(gpu.gpu)
    return [f"GPU {ranges(of)}: no {', '.join(names)} ({reason})" for (reason, names), of in by_gpu.items()]


MOST_TROUBLES = 4
GPU_ORDERS: dict[str, Callable[[Gpu], float]] = {
    "gpu": lambda g: 0.0,  # as they come: by index
    "power": lambda g: -(g.power_w or 0.0),
    "energy": lambda g: -(g.since_j or 0.0),
    "temperature": lambda g: -(g.temperature_c or 0.0),
    "utilisation": lambda g: -(g.utilization_ratio or 0.0),
}
ALARMS = ("TOO HOT", "POWER BRAKE", "hw slowdown")
HELP = (
    "q quit   s sort by the next column   p pause   d details   h this help",
    "arrows, PgUp, PgDn, Home, End: scroll",
    "",
    "W/LIMIT      watts now and the limit in force; the bar is their ratio",
    "CLOCK/MAX    SM clock now and the board's highest, MHz",
    "UTIL         share of time in which any kernel ran: not how full the GPU is",
    "WHY SLOWER   the driver's reasons for clocks below the maximum",
    "ENERGY       joules since top began, by the ledger; so are all joules here",
    "RATE         the same as watts, over the last seconds",
    "ACTIVE/IDLE  of a workload: a kernel ran / it only held the GPU",
    "J/TOKEN      its energy a generated token, over the last seconds",
    "boundary     what the ledger contains: gpu, gpu+cpu or node",
    "meters       of the node, each by itself: they overlap",
    "details      what boards or their driver do not tell, such as memory temperature",
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
    details: bool = False
    trouble: str = ""  # why there is no fresh page


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
        return [[("title", pad(fit("wattlens top", width), width))]], [[("bad", fit(waiting, width))]]
    head = _head(facts.node, look, width)
    if look.help:
        return head, [[("", fit(text, width))] for text in HELP]
    if look.trouble and not look.paused:
        return head, [[("", fit("The last numbers are too old to be shown. It tries again by itself.", width))]]
    columns = layout(GPU_COLUMNS, facts.gpus, width)
    return [*head, [("bold", row_text(columns, None, width))]], _body(facts, look, columns, width)


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
    lines: list[Line] = [[("title", pad(fit(title, width), width))]]
    if look.trouble and not look.paused:
        return [*lines, [("bad", fit(f"NO FRESH PAGE: {look.trouble}", width))]]
    silent = node.gpus - node.gpus_up
    of = f"{node.gpus} GPU{'s' * (node.gpus != 1)}" if not silent else f"{node.gpus_up} of {node.gpus} GPUs"
    first = [f"{of} {quantity(node.power_w, 'W')}", f"boundary: {node.boundary}"]
    if node.since_s > 0:
        first.append(f"{quantity(node.since_j, 'J')} since top began {duration(node.since_s)} ago")
    lines += [[("bold", text)] for text in wrapped([*first, *_meters(node)], width, 2)]
    cpu = "-" if node.agent_cpu_ratio is None else f"{node.agent_cpu_ratio:.1%}"
    memory = "-" if node.agent_b is None else f"{node.agent_b / 2**20:.0f} MiB"
    restarts = f"  reader restarts {node.reader_restarts:.0f}" if node.reader_restarts else ""
    parts = [("", f"agent: CPU {cpu}, {memory}{restarts}  "), ("" if node.ledger == "ok" else "bad", f"ledger {node.ledger}")]
    if not node.config_ok:
        parts.append(("bad", "  CONFIG RELOAD FAILED"))
    lines.append(cut(parts, width))
    troubles = [f"down: {text}" for text in node.down]
    lines += [[("bad", fit(text, width))] for text in troubles[:MOST_TROUBLES]]
    if len(troubles) > MOST_TROUBLES:
        lines.append([("bad", fit(f"and {len(troubles) - MOST_TROUBLES} more sources down", width))])
    return lines


def _meters(node: Node) -> Iterator[str]:
    """The meters, the whole node's first, one source's domains together: `rapl package-0 180 W, dram-0 30 W`."""
    sources: dict[str, list[str]] = {}
    for name, watts in sorted(node.other_w, key=lambda meter: not meter[0].endswith(" node")):
        source, _, domain = name.partition(" ")
        sources.setdefault(source, []).append(f"{domain} {quantity(watts, 'W')}".strip())
    return (f"{source} {', '.join(domains)}" for source, domains in sources.items())


def _body(facts: Facts, look: Look, columns: Sequence[Column], width: int) -> list[Line]:
    order = GPU_ORDERS[look.order]
    rows: list[Line] = []
    gpus = sorted(facts.gpus, key=lambda g: (order(g) if g.up else float("inf")) if look.order != "gpu" else 0)
    rows += [_gpu_line(gpu, columns, width) for gpu in gpus]
    troubles = list_absent(facts.gpus, lacking=False)
    rows += [[("warn", fit(text, width))] for text in (troubles if look.details else troubles[:MOST_TROUBLES])]
    if len(troubles) > MOST_TROUBLES and not look.details:
        rows.append([("warn", fit(f"and {len(troubles) - MOST_TROUBLES} more that GPUs do not tell: d", width))])
    rows += _workloads(facts, width)
    lacking = list_absent(facts.gpus, lacking=True) if look.details else []
    if look.details:
        rows += [[], [("bold", fit("NOT TOLD by the board or its driver" + ": nothing" * (not lacking), width))]]
    return rows + [[("", fit(text, width))] for text in lacking]


def _workloads(facts: Facts, width: int) -> Iterator[Line]:
    if not facts.workloads:
        silent = facts.gpus and not facts.node.gpus_up
        text = "Who holds them is not known: no GPU answers." if silent else "No workload holds a GPU."
        yield from ([], [("", fit(text, width))])
        return
    workloads: Sequence[Workload] = sorted(facts.workloads, key=lambda w: (not w.held, -(w.now_w or 0.0), w.name))
    columns = layout(WORKLOAD_COLUMNS, workloads, width)
    yield [("", fit("Workloads, with their joules since top began:", width))]
    yield [("bold", row_text(columns, None, width))]
    yield from ([("" if w.held else "dim", row_text(columns, w, width))] for w in workloads)
    if facts.node.gpus_up < facts.node.gpus:
        yield [("warn", fit("Energy of workloads on GPUs that do not answer is not in these sums.", width))]


def _gpu_line(gpu: Gpu, columns: Sequence[Column], width: int) -> Line:
    if not gpu.up:
        return [("bad", fit(f"{gpu.gpu:>3} DOWN: {gpu.reason}", width))]
    hot = any(why.startswith(ALARMS) for why in gpu.why)
    return [("bad" if hot or gpu.xids else "", row_text(columns, gpu, width))]


def _foot(look: Look, top: int, room: int, rows: int, width: int) -> Line:
    where = f"  lines {top + 1}-{min(rows, top + room)} of {rows}" if rows > room else ""
    pause, details = "go on" if look.paused else "pause", "less" if look.details else "details"
    keys = "h back" if look.help else f"q quit  s sort: {look.order}  p {pause}  d {details}  h help"
    return [("title", pad(fit(keys + where, width), width))]
