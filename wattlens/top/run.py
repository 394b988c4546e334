"""`wattlens top`: pages of an agent, once a second, into frames; the GPUs and the driver are never asked.

A thread reads the pages, so that an agent that hangs never stops the keys.
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from energy_agent.core.errors import WattlensError
from energy_agent.runtime.http import HttpError, HttpUnreachableError
from energy_agent.runtime.threads import start_thread
from wattlens.scrape.access import Access, AgentStatusError
from wattlens.scrape.response import Page, parse
from wattlens.top.draw import GPU_ORDERS, Look, clamp, draw
from wattlens.top.history import History
from wattlens.top.screen import Screen, can_draw

TIMEOUT_S = 3.0
PATIENCE_S = 15.0  # with a page without which the command ends
STALE_S = 5.0  # older numbers are not shown
START_S = 60.0
ONE_PAGE = (100, None)  # columns of what is printed where no terminal is


@dataclass(frozen=True, slots=True)
class TopOptions:
    """What the command line says."""

    access: Access
    simulate: Path | None = None
    once: bool = False
    as_json: bool = False
    interval_s: float = 1.0


def run_top(options: TopOptions) -> int:
    """Show it until `q`, a signal, or once.

    Raises:
        WattlensError: no agent answers at the start.
        UsageError: the address or a file of the command line is wrong.
    """
    with _agent(options) as access:
        fetch = access.opener()
        history, first = History(), _first_page(fetch, access)
        if options.as_json or options.once or not can_draw():
            return _print(options, fetch, history, first, access)
        _live(options, fetch, access, history, first)
    return 0


def _read(fetch: Callable[[float], bytes], within_s: float = PATIENCE_S) -> Page:
    body = fetch(within_s)
    return parse(body.decode("utf-8"), time.monotonic())


def _first_page(fetch: Callable[[float], bytes], access: Access) -> Page:
    """A page; an agent that has only just started gets a few seconds.

    Raises:
        WattlensError: it does not come.
    """
    end_s = time.monotonic() + STALE_S
    while True:
        try:
            return _read(fetch)
        except (HttpError, ValueError) as error:
            is_starting = isinstance(error, AgentStatusError) and error.response.status == 503
            if not is_starting or time.monotonic() > end_s:
                is_absent = isinstance(error, HttpUnreachableError) and not error.is_closed
                hint = "; start one with `wattlens agent` or name it with --url" * is_absent
                raise WattlensError(f"no page from an agent at {access.url}: {access.why_not(error)}{hint}") from None
        time.sleep(0.25)


def _print(options: TopOptions, fetch: Callable[[float], bytes], history: History, first: Page, access: Access) -> int:
    """One frame, or with --json and without --once a line of JSON every interval."""
    history.add(first)
    stream = options.as_json and not options.once
    while True:
        # Counters of one page have no rate: the frame is of two.
        time.sleep(options.interval_s if stream else max(1.5, options.interval_s))
        try:
            facts = history.add(_read(fetch) if stream else _later(fetch, first))
        except (HttpError, ValueError) as error:
            raise WattlensError(f"no page from an agent at {access.url}: {access.why_not(error)}") from None
        if options.as_json:
            print(json.dumps(facts.document(), indent=None if stream else 1, sort_keys=True), flush=True)
        else:
            width = os.get_terminal_size().columns if sys.stdout.isatty() else ONE_PAGE[0]
            print(
                "\n".join("".join(text for _, text in line).rstrip() for line in draw(facts, Look(details=True), width or 80))
            )
        if not stream:
            return 0


def _later(fetch: Callable[[float], bytes], first: Page) -> Page:
    """A page of later readings than `first`, as far as one comes in a few seconds: of equal ones nothing could be told."""
    end_s = time.monotonic() + STALE_S
    while True:
        page = _read(fetch)
        stamps = (each.one("source_last_success_timestamp_seconds", source="nvml") for each in (first, page))
        if len(set(stamps)) > 1 or time.monotonic() > end_s:
            return page
        time.sleep(0.25)


@dataclass(slots=True)
class _Reader:
    """Reads a page every interval in a thread of its own, and rings."""

    fetch: Callable[[float], bytes]
    access: Access
    interval_s: float
    ring: Callable[[], None]
    answers: "queue.SimpleQueue[Page | str]" = field(default_factory=queue.SimpleQueue)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.ended.wait(self.interval_s):
            try:
                self.answers.put(_read(self.fetch, TIMEOUT_S))
            except (HttpError, ValueError) as error:
                self.answers.put(self.access.why_not(error))
            if not self.ended.is_set():
                self.ring()


def _live(options: TopOptions, fetch: Callable[[float], bytes], access: Access, history: History, first: Page) -> None:
    facts, look, shown_s, fresh = history.add(first), Look(), first.t_s, None
    with Screen() as screen:
        reader = _Reader(fetch, access, options.interval_s, screen.ring)
        start_thread(threading.Thread(target=reader.run, name="pages", daemon=True))
        try:
            while not screen.stopping:
                columns, lines = screen.size()
                screen.show(draw(facts, look, columns, lines))
                for key in screen.wait(1.0):
                    if key in ("q", "Q"):
                        return
                    look = _pressed(look, key, lines)
                look = replace(look, scroll=clamp(look.scroll, facts, look, columns, lines))
                trouble = look.trouble
                while not reader.answers.empty():
                    answer = reader.answers.get()
                    trouble = answer if isinstance(answer, str) else ""
                    if isinstance(answer, Page):
                        fresh, shown_s = history.add(answer), answer.t_s
                if time.monotonic() - shown_s > STALE_S + options.interval_s:
                    trouble = trouble or "no answer in time"
                elif not look.trouble:
                    trouble = ""  # a single page that is late is no news
                look = replace(look, trouble=trouble)
                if fresh is not None and not look.paused:
                    facts = fresh
        finally:
            reader.ended.set()


def _pressed(look: Look, key: str, lines: int) -> Look:
    """What a key changes; a key that means nothing changes nothing."""
    steps = {"up": -1, "down": 1, "page_up": 4 - lines, "page_down": lines - 4, "home": -1_000_000, "end": 1_000_000}
    if key in steps:
        return replace(look, scroll=max(0, look.scroll + steps[key]))
    if key == "s":
        orders = list(GPU_ORDERS)
        return replace(look, order=orders[(orders.index(look.order) + 1) % len(orders)])
    if key == "p":
        return replace(look, paused=not look.paused)
    if key == "d":
        return replace(look, details=not look.details)
    if key in ("h", "?"):
        return replace(look, help=not look.help, scroll=0)
    return look


@contextmanager
def _agent(options: TopOptions) -> Iterator[Access]:
    """The agent that is asked: a running one, or for --simulate one of our own that ends with us and leaves nothing.

    Raises:
        WattlensError: it does not start.
    """
    if options.simulate is None:
        yield options.access
        return
    with tempfile.TemporaryDirectory(prefix="wattlens-top-") as folder:
        log = Path(folder) / "agent.log"
        command = ["agent", "--simulate", str(options.simulate), "--state", f"{folder}/state", "--listen", "127.0.0.1:0"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "wattlens.companion", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=0,  # Ctrl-C is for us
            )
        try:
            yield Access(_url(process, log))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    end_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end_s:
        found = [word for word in log.read_text().split() if word.startswith("http://") and word.endswith("/metrics,")]
        if found:
            return found[0].rstrip(",")
        time.sleep(0.05)
    lines = log.read_text(errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("wattlens: ") if lines else "it said nothing"
    raise WattlensError(f"the agent on the simulated node did not start: {last}")
