"""Progress of a slow command: one line on standard error, redrawn in place."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Line:
    """The line. By default it is drawn on a terminal only."""

    def __init__(self, on: bool | None = None, every_s: float = 0.0, wait_s: float = 0.0) -> None:
        """`on`: None for on a terminal alone. `every_s`: not drawn more often than that; `wait_s`: not before that."""
        self._on = sys.stderr.isatty() if on is None else on
        self._every_s, self._next_s = every_s, time.monotonic() + wait_s
        self._drawn = False

    def draw(self, text: str) -> None:
        """Show this in its place."""
        if self._on and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + self._every_s
            self._write(text)
            self._drawn = True

    def clear(self) -> None:
        """Take it away."""
        if self._drawn:
            self._write("")
            self._drawn = False

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(f"\r\033[K{text[:100]}")  # ANSI: return to the start of the line and erase it
        sys.stderr.flush()


@contextmanager
def drawn_line(every_s: float = 0.0) -> Iterator[Callable[[str], None]]:
    """Yield a function that draws the line; the line is cleared at the end."""
    line = Line(every_s=every_s)
    try:
        yield line.draw
    finally:
        line.clear()


@contextmanager
def seconds_passed(what: str, seconds: float) -> Iterator[Callable[[str], None]]:
    """Yield a function that draws the seconds passed of those expected, followed by a note."""
    began = time.monotonic()
    with drawn_line() as draw:
        yield lambda note: draw(f"{what}: {time.monotonic() - began:.0f} of about {seconds:.0f} s{note}")


def count_progress(what: str, things: str = "segments") -> Callable[[int, int], None]:
    """Return a callback that draws (done, total) of some things; it clears the line when all are done."""
    line = Line(every_s=0.2, wait_s=2.0)

    def show(done: int, total: int) -> None:
        line.draw(f"{what}: {done} of {total} {things}")
        if done >= total:
            line.clear()

    return show
