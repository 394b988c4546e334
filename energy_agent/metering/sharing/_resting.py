"""What a board draws while nothing runs, from windows in which more and less of it did. Pure.

The mean power of a window is taken for a line over the SMs that worked in it; the line's height at none is the resting power.
Old windows count less and less. Where work hardly varied the line says nothing, and what was assumed stands.
"""

from dataclasses import dataclass

_FADE = 0.98  # a window's weight after the next: half of it in 34 windows
_VARIED = 0.1  # the spread of work, relative to its mean, from which the line counts
_WINDOWS = 3.0


@dataclass(slots=True)
class Resting:
    """Sums of the line: weight, work, mW, work squared, work x mW; and the least mean power of a window in mW."""

    _sums: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    _least_mw: float | None = None

    def learn(self, mean_mw: float, work: float) -> None:
        """A window: its mean power, and how many SMs worked in it, in any unit."""
        new = (1.0, work, mean_mw, work * work, work * mean_mw)
        self._sums = tuple(_FADE * old + now for old, now in zip(self._sums, new, strict=True))  # type: ignore[assignment]
        self._least_mw = mean_mw if self._least_mw is None else min(self._least_mw, mean_mw)

    def power_mw(self, assumed_mw: int) -> int:
        """The resting power, never more than the least that a window drew."""
        n, x, y, xx, xy = self._sums
        least = assumed_mw if self._least_mw is None else self._least_mw
        varied = n * xx - x * x
        if n < _WINDOWS or varied <= (_VARIED * x) ** 2:
            return round(min(assumed_mw, least))
        return round(min(max(0.0, (y * xx - x * xy) / varied), least))
