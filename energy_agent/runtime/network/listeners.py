"""Ports and sockets of a process, retried until they open; an occupied port stops nothing else.

node_exporter and kubelet exit when their port is in use, because serving is all they do. Here metering continues.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from energy_agent.core.energy import SourceHealth
from energy_agent.core.errors import UsageError
from energy_agent.runtime.threads import start_thread

LOOK_S = 1.0
RETRY_S, RETRY_MAX_S = 1.0, 60.0


class Listener(Protocol):
    """A server that can be started again after it failed or lost its place."""

    def start(self) -> None:
        """Bind and serve in the background; raises UsageError with the reason."""
        ...

    def stop(self) -> None:
        """Close everything; nothing happens where it was not started."""
        ...

    def fault(self) -> str:
        """Why clients do not reach it any more; "" while they do."""
        ...


@dataclass(eq=False, slots=True)
class _Entry:
    key: str
    listener: Listener
    on_open: Callable[[], None]
    reason: str = "not started yet"
    retry_s: float = RETRY_S
    next_s: float = 0.0


class Listeners:
    """Starts listeners, looks after them and reports their health by the key of the configuration that names them."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._log, self._clock = log, clock
        self._entries: list[_Entry] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listeners", daemon=True)

    def add(self, key: str, listener: Listener, on_open: Callable[[], None] = lambda: None) -> None:
        """Look after one more; `on_open` is called each time that it was opened. Before `start`."""
        self._entries.append(_Entry(key, listener, on_open))

    def start(self) -> None:
        """Open all that can be opened; then keep trying in the background."""
        self.look()
        start_thread(self._thread)

    def stop(self) -> None:
        """Close all of them."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(LOOK_S)
        for entry in self._entries:
            entry.listener.stop()

    def health(self) -> tuple[SourceHealth, ...]:
        """One source per listener."""
        return tuple(SourceHealth(entry.key, not entry.reason, reason=entry.reason) for entry in self._entries)

    def look(self) -> None:
        """Open what is due, and find out what lost its place."""
        for entry in self._entries:
            if not entry.reason:
                fault = entry.listener.fault()
                if not fault:
                    continue
                self._log.warning("%s: %s; reopening it", entry.key, fault)
                entry.listener.stop()
                entry.reason, entry.retry_s, entry.next_s = fault, RETRY_S, 0.0
            if self._clock() >= entry.next_s:
                self._open(entry)

    def _open(self, entry: _Entry) -> None:
        try:
            entry.listener.start()
        except UsageError as error:
            if str(error) != entry.reason:
                self._log.warning("%s (metering continues; the agent retries, at longest each minute)", error)
            entry.reason, entry.next_s = str(error), self._clock() + entry.retry_s
            entry.retry_s = min(RETRY_MAX_S, 2 * entry.retry_s)
            return
        entry.reason, entry.retry_s = "", RETRY_S
        entry.on_open()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.look()
