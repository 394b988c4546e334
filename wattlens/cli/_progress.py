"""Progress of long work: lines on standard error where a person watches, at most one in two seconds."""

import sys
import time

EVERY_S = 2.0


class Progress:
    """Is told (done, all) of some things; begins to speak after two seconds."""

    def __init__(self, what: str, things: str = "segments") -> None:
        self.what, self._things, self._next = what, things, time.monotonic() + EVERY_S

    def __call__(self, done: int, total: int) -> None:
        """So far."""
        if sys.stderr.isatty() and time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_S
            print(f"{self.what}: {done} of {total} {self._things}", file=sys.stderr)
