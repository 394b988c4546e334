"""systemd's notifications, in the few lines that they need: ready, alive, stopping (sd_notify(3), by datagrams).

The watchdog is fed by progress of the loop, a snapshot that was published: a loop that hangs, or turns without doing anything,
is restarted by systemd, whatever threads of ours still run.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress


class Service:
    """The service manager that started us; without one every call does nothing."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Take the address out of the environment, so that no child speaks for us."""
        address = environ.pop("NOTIFY_SOCKET", "")
        watchdog_us, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address.startswith(("/", "\0")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        meant = watchdog_us.isdecimal() and (not pid or pid == str(os.getpid()))
        self._feed_every_s = int(watchdog_us) / 4e6 if meant else None  # systemd asks for half or less
        self._next_feed_s = 0.0
        self._sequence: int | None = None

    def progressed(self, sequence: int, status: str) -> None:
        """Snapshot `sequence` is published; the same one again is no progress. `status` is shown by systemctl."""
        if self._socket is None or sequence == self._sequence:
            return
        now_s, first = time.monotonic(), self._sequence is None
        self._sequence = sequence
        if first:
            self._send(f"READY=1\nSTATUS={status}")
        if self._feed_every_s is not None and now_s >= self._next_feed_s:
            self._next_feed_s = now_s + self._feed_every_s
            self._send(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The end has begun; it may take a little: settings go back and the open rows become a segment."""
        self._send("STOPPING=1")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # a manager that is gone is no reason to end
                self._socket.sendto(text.replace("\0", "").encode("utf-8", "replace"), self._address)


class EndSignals:
    """SIGTERM and SIGINT (Ctrl-C) end a loop in order."""

    def __init__(self, service: Service, end: Callable[[], None]) -> None:
        """Call `end` when one comes, within its handler. Main thread only."""
        self._service, self._end, self._name = service, end, ""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._came)

    def report(self, log: logging.Logger) -> None:
        """Log by what the loop ended, in one line."""
        if self._name:
            log.info("ended by %s", self._name)

    def _came(self, number: int, _: object) -> None:
        self._name = self._name or signal.Signals(number).name
        self._service.stopping()
        self._end()
