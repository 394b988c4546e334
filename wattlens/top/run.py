"""`wattlens top`: responses of an agent, once a second, into frames.

Threads read the agent and this machine, so that neither an agent nor a driver that hangs stops the keys.
"""

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from energy_agent.core.errors import WattlensError
from energy_agent.runtime.network.http import HttpError
from energy_agent.runtime.threads import start_thread
from wattlens.agent_access import AgentAccess
from wattlens.top.agent import FIRST_S, TopReader, open_agent
from wattlens.top.draw import GPU_ORDERS, ViewSettings, clamp_scroll, draw, list_keys
from wattlens.top.frame import TopFrame
from wattlens.top.history import MetricsHistory, is_later
from wattlens.top.local import LocalReader
from wattlens.top.metrics import MetricsResponse
from wattlens.top.screen import FullScreen, can_draw, has_unicode
from wattlens.top.text import Line, fit

TIMEOUT_S = 3.0
STALE_S = 5.0  # older numbers are not shown
PRINT_COLUMNS = 100  # of what is printed if the output is not a terminal


@dataclass(frozen=True, slots=True)
class TopOptions:
    """The options of the command line. `may_start`: a private agent may be started if none answers."""

    access: AgentAccess
    simulate: Path | None = None
    once: bool = False
    as_json: bool = False
    interval_s: float = 1.0
    may_start: bool = False


def run_top(options: TopOptions) -> int:
    """Show it until `q`, a signal, or once.

    Raises:
        WattlensError: no agent answers at the start.
        UsageError: the address or a file of the command line is wrong.
    """
    with open_agent(options.access, options.simulate, may_start=options.may_start) as agent:
        reader = TopReader.of(agent)
        history = MetricsHistory()
        first = reader.read_first()
        frame = history.add(first)
        local = LocalReader(simulated_library(options.simulate) if frame.node.simulated else None)
        local.follow(frame)
        if options.as_json or options.once or not can_draw():
            return _print(options, reader, history, first, local)
        show(reader, history, frame, local, options.interval_s)
    return 0


def simulated_library(simulate: Path | None) -> Path:
    """The NVML library of the simulated node; NVML calls of this process then see that node."""
    from energy_agent.sim.node import SimulatedNode, default_directory

    node = SimulatedNode(simulate or Path(os.environ.get("WATTLENS_SIM") or default_directory()))
    os.environ["WATTLENS_SIM"] = str(node.directory)
    return node.nvml_library


def _print(options: TopOptions, reader: TopReader, history: MetricsHistory, first: MetricsResponse, local: LocalReader) -> int:
    """One frame, or with --json and without --once a line of JSON every interval."""
    stream = options.as_json and not options.once
    local.read()  # rates need two readings
    while True:
        time.sleep(options.interval_s if stream else max(1.5, options.interval_s))
        try:
            frame = history.add(reader.read() if stream else _read_later(reader, first))
        except (HttpError, ValueError) as error:
            text = f"no response from an agent at {reader.agent.access.url}: {reader.agent.explain(error)}"
            raise WattlensError(text) from None
        local.follow(frame)
        frame = replace(frame, local=local.read())
        if options.as_json:
            print(json.dumps(frame.document(), indent=None if stream else 1, sort_keys=True), flush=True)
        else:
            width = os.get_terminal_size().columns if sys.stdout.isatty() else PRINT_COLUMNS
            lines = draw(frame, ViewSettings(unicode=has_unicode()), width or 80)
            print("\n".join("".join(text for _, text in line).rstrip() for line in lines).rstrip())
        if not stream:
            return 0


def _read_later(reader: TopReader, first: MetricsResponse) -> MetricsResponse:
    """A response with later readings than `first`, if one comes in a few seconds: two equal ones have no rates."""
    end_s = time.monotonic() + FIRST_S
    while True:
        response = reader.read()
        if is_later(response, first) or time.monotonic() > end_s:
            return response
        time.sleep(0.25)


@dataclass(slots=True)
class PollingThread:
    """Reads a response every interval in a thread of its own, and rings."""

    reader: TopReader
    interval_s: float
    ring: Callable[[], None]
    results: "queue.SimpleQueue[MetricsResponse | str]" = field(default_factory=queue.SimpleQueue)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until `ended`."""
        while not self.ended.wait(self.interval_s):
            try:
                self.results.put(self.reader.read(TIMEOUT_S))
            except (HttpError, ValueError) as error:
                self.results.put(self.reader.agent.explain(error))
            if not self.ended.is_set():
                self.ring()


def show(
    reader: TopReader,
    history: MetricsHistory,
    frame: TopFrame,
    local: LocalReader,
    interval_s: float,
    caption: Callable[[], str | None] = lambda: "",
) -> None:
    """Show readings until `q`, a signal, or None from `caption`, which is a line above the others unless it is empty."""
    view, fresh, shown_s = ViewSettings(unicode=has_unicode()), frame, time.monotonic()
    with FullScreen() as screen:
        polling = PollingThread(reader, interval_s, screen.ring)
        start_thread(threading.Thread(target=polling.run, name="responses", daemon=True))
        start_thread(threading.Thread(target=local.run, name="local", daemon=True))
        try:
            while not screen.stopping and (text := caption()) is not None:
                columns, lines = screen.size()
                above: list[Line] = [[("bold", fit(text, columns))]] if text else []
                lines -= len(above)
                screen.show([*above, *draw(frame, view, columns, lines)])
                for key in screen.wait(5.0):
                    if key in ("q", "Q"):
                        return
                    view = apply_key(view, key, frame, lines)
                view = replace(view, scroll=clamp_scroll(frame, view, columns, lines))
                trouble = view.trouble
                while not polling.results.empty():
                    result = polling.results.get()
                    trouble = result if isinstance(result, str) else ""
                    if isinstance(result, MetricsResponse):
                        fresh, shown_s = history.add(result), result.t_s
                        local.follow(fresh)
                if time.monotonic() - shown_s > STALE_S + interval_s:
                    trouble = trouble or "no response in time"
                elif not view.trouble:
                    trouble = ""  # one late response is not reported
                view = replace(view, trouble=trouble)
                if not view.paused:
                    frame = replace(fresh, local=local.status)
        finally:
            polling.ended.set()
            local.end()


def apply_key(view: ViewSettings, key: str, frame: TopFrame, lines: int) -> ViewSettings:
    """The view after a key; a key without a meaning changes nothing."""
    page = max(1, lines // 2)
    steps = {"up": -1, "down": 1, "page_up": -page, "page_down": page, "home": -1_000_000, "end": 1_000_000}
    if key in steps:
        if view.help or view.opened:
            return replace(view, scroll=max(0, view.scroll + steps[key]))
        return replace(view, selected=_move(view, frame, steps[key]))
    match key:
        case "tab" | "back_tab" if not view.help and not view.opened:
            return replace(view, selected=_change_table(view, frame, 1 if key == "tab" else -1))
        case "enter" if not view.help:
            opened = not view.opened and bool(view.selected)
            return replace(view, opened=opened, scroll=0, selected=view.selected or _move(view, frame, 1))
        case "escape":
            kept = view.selected if view.opened or view.help else ""
            return replace(view, opened=False, help=False, scroll=0, selected=kept)
        case "s":
            orders = list(GPU_ORDERS)
            return replace(view, order=orders[(orders.index(view.order) + 1) % len(orders)])
        case "p":
            return replace(view, paused=not view.paused)
        case "h" | "?":
            return replace(view, help=not view.help, scroll=0)
    return view


def _move(view: ViewSettings, frame: TopFrame, step: int) -> str:
    """The row `step` rows from the selected one."""
    keys = [key for table in list_keys(frame, view) for key in table]
    if not keys:
        return ""
    if view.selected not in keys:
        return keys[0] if step > 0 else keys[-1]
    return keys[max(0, min(len(keys) - 1, keys.index(view.selected) + step))]


def _change_table(view: ViewSettings, frame: TopFrame, step: int) -> str:
    """The first row of the next table."""
    tables = [keys for keys in list_keys(frame, view) if keys]
    if not tables:
        return ""
    present = next((n for n, keys in enumerate(tables) if view.selected in keys), -1 if step > 0 else 0)
    return tables[(present + step) % len(tables)][0]
