"""How far a measurement is, in one line on a terminal; silent elsewhere."""

import time
from types import TracebackType
from typing import Self

from wattlens.terminal_line import Line


class Progress:
    """Shows seconds passed of those expected."""

    def __init__(self, what: str, seconds: float) -> None:
        """Nothing is shown yet."""
        self._what, self._seconds = what, seconds
        self._began = time.monotonic()
        self._line = Line()

    def show(self, note: str = "") -> None:
        """Show it."""
        passed = time.monotonic() - self._began
        self._line.draw(f"{self._what}: {passed:.0f} of about {self._seconds:.0f} s{note}")

    def __enter__(self) -> Self:
        self.show()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._line.clear()
