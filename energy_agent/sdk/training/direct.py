"""Energy of the visible GPUs without an agent: windows that follow each other, with what was counted within each of them.

A window that could not be read takes its steps and tokens with it: they are left out as its joules are.
"""

import time
from collections.abc import Callable
from typing import Any

from energy_agent.sdk.training.progress import NOTHING, RunTotals

START = RunTotals(seconds=0.0)
"""Before the first window: nothing was drawn, in no time."""
WINDOWS_S = (1.0, 3.0, 10.0)  # length of the first windows, and of all that follow


class Direct:
    """Totals of the windows that were read."""

    def __init__(self, counted: Callable[[], tuple[int, int]], measure: Callable[[], Any] | None = None) -> None:
        """`counted`: steps and tokens of this process by now. `measure` makes a window; by default over the visible GPUs."""
        self._counted, self._measure = counted, measure or _window
        self.totals = START
        self.power_w: float | None = None
        self.reason = NOTHING
        self.gpus = ""
        self.simulated = False
        self._count = 0
        self._window: Any = None
        self._began, self._since_s = (0, 0), 0.0
        self._open()

    def _open(self) -> None:
        self._window = self._measure()
        self._window.__enter__()
        self._since_s, self._began = time.monotonic(), self._counted()

    def turn(self, *, cut: bool = False, last: bool = False) -> bool:
        """Close a window that is long enough, or is to be cut, and add it; whether one was closed."""
        if self._window is None:
            return False
        if not (cut or last) and time.monotonic() - self._since_s < WINDOWS_S[min(self._count, len(WINDOWS_S) - 1)]:
            return False
        done, began = self._window, self._began
        self._window = None
        if last:
            ended = self._counted()
        else:
            self._open()
            ended = self._began
        done.__exit__()
        self._count = 0 if cut else self._count + 1  # a run that has just begun is not to wait long for its first joules
        joules = done.joules
        if joules is None:
            self.reason = done.reason
            if not done.by_device:
                self.close()  # there is nothing to read here
            return True
        before, seconds = self.totals, done.seconds or 0.0
        steps, tokens = (now - then for now, then in zip(ended, began, strict=True))
        self.totals = RunTotals(
            before.joules + joules, before.steps + steps, before.tokens + tokens, before.readings + 1,
            (before.edge_j or 0.0) + done.edge_joules, done.gain_uncertainty_ratio, (before.seconds or 0.0) + seconds,
        )  # fmt: skip
        self.power_w, self.reason, self.gpus = joules / (seconds or 1.0), "", done.gpus
        self.simulated = bool(done.simulated)
        return True

    def close(self) -> None:
        """No more windows."""
        if self._window is not None:
            self._window.__exit__()
            self._window = None


def _window() -> Any:
    from energy_agent.sdk.measure.measurement import measure

    return measure("training", sync=False)
