"""One line on a terminal that says how far a measurement is; silent elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self


class Progress:
    """Shows seconds passed of those expected, on standard error."""

    def __init__(self, what: str, seconds: float) -> None:
        """Nothing is shown yet."""
        self._what, self._seconds = what, seconds
        self._began = time.monotonic()
        self._on = sys.stderr.isatty()

    def show(self, note: str = "") -> None:
        """Show it."""
        if self._on:
            passed = time.monotonic() - self._began
            sys.stderr.write(f"\r\033[K{self._what}: {passed:.0f} of about {self._seconds:.0f} s{note}")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        self.show()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._on:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
