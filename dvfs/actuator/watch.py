"""Liveness and end of supervisor and worker: heartbeat over a socket pair, signals as a flag, restore with retries."""

import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable

from dvfs.actuator.knobs.port import RestoreResult
from energy_agent.core.errors import WattlensError

LOG = logging.getLogger("wattlens.actuator")
SILENCE_S = 6.0  # of the other process, after which it counts as dead
_PAUSE_S = 1.0  # a time in which this process did not run counts as at most this much silence


class PeerHeartbeat:
    """Liveness of the other process: each side of a socket pair sends one byte per second; silence means it is dead.

    Silence is counted only while this process runs itself: after a pause of the machine, or of the container, one of the two
    runs first and must not take the other for dead.
    """

    def __init__(self, pair: socket.socket) -> None:
        pair.setblocking(False)
        self.pair = pair
        self.gone = False
        self._silent_s = 0.0
        self._served = self._sent = time.monotonic()

    def service(self) -> bool:
        """Send and receive due messages without waiting; False if the other process is dead."""
        now = time.monotonic()
        self._silent_s += min(now - self._served, _PAUSE_S)
        self._served = now
        try:
            while data := self.pair.recv(64):
                self._silent_s = 0.0
                if len(data) < 64:
                    break
            else:
                self.gone = True
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True
        if now - self._sent >= 1.0:
            self._sent = now
            with contextlib.suppress(OSError):  # full or closed: the other process notices the silence
                self.pair.send(b".")
        return not self.gone and self._silent_s < SILENCE_S


class Stop:
    """SIGTERM and SIGINT as a flag that also wakes a selector."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)
        self.asked = False
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True

    def close(self) -> None:
        """Give the wake-up back."""
        signal.set_wakeup_fd(-1)
        self.reader.close()
        self._writer.close()


def restore_until(restore: Callable[[], list[RestoreResult]], seconds: float, waiting: Callable[[], object]) -> bool:
    """Call `restore` until nothing waits any more, for at most `seconds`; False when something still does."""
    end = time.monotonic() + seconds
    while True:
        try:
            waits = [r for r in restore() if not r.closed]
        except WattlensError as error:
            LOG.error("%s", error)
        else:
            if not waits:
                return True
            for one in waits:
                LOG.warning("%s %s: not restored yet: %s", one.device, one.knob, one.outcome)
        if time.monotonic() > end:
            return False
        waiting()
        time.sleep(0.5)
