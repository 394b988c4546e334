"""Ends the wait of a loop from a signal handler or another thread, and leaves word of why."""

import os
import select


class Flag:
    """A word that a signal handler may leave. An Event takes a lock for it, which the code that was interrupted may hold."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Leave the word."""
        self._is_set = True

    def clear(self) -> None:
        """Take it away."""
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it was left."""
        return self._is_set


class Wake:
    """Ends the loop's wait: a select is resumed after a signal handler, so the handler has to make a descriptor ready."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """End the wait that is under way, or the next one."""
        os.eventfd_write(self.fd, 1)

    def wait(self, seconds: float) -> None:
        """Wait for a ring, at most so long; it is forgotten then."""
        select.select([self.fd], [], [], seconds)
        self.drain()

    def drain(self) -> None:
        """Forget the rings."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return
