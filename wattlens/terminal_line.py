"""One line on standard error that is drawn anew: how far something is that takes a while."""

import sys
import time
from types import TracebackType
from typing import Self


class Line:
    """The line; as a context manager it is gone at the end. Where nobody watches, nothing is drawn."""

    def __init__(self, on: bool | None = None, every_s: float = 0.0) -> None:
        """`on`: None for on a terminal alone. `every_s`: not drawn more often than that."""
        self._on = sys.stderr.isatty() if on is None else on
        self._every_s, self._next_s = every_s, 0.0
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(f"\r\033[K{text[:100]}")  # ANSI: to the line's begin, and what stands there away
        sys.stderr.flush()
