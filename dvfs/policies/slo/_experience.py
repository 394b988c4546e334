"""What a server showed at each load and clock: how many requests missed, and would miss if everything took longer. Pure.

Nothing is modelled but three laws: at a lower clock, and with a larger batch, as many requests miss a limit or more; and at 1/s
of the clock nothing takes longer than s times as long. Loads are batches in powers of two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log

FACTORS = tuple(1.1**i for i in range(13))
"""Factors that misses are counted for."""
_HALVED_S = 600.0  # then everything counts half, so that what is old fades
_CROWD = 1.3  # a step takes no longer than that with twice the batch [assumed; decode of an 8B model at 8 to 64: 1.1 to 1.25]


@dataclass(frozen=True, slots=True)
class MissCurve:
    """Requests, and how many of them miss by FACTORS."""

    requests: float = 0.0
    missed: tuple[float, ...] = (0.0,) * len(FACTORS)

    def add(self, other: "MissCurve") -> "MissCurve":
        """Both together."""
        missed = tuple(a + b for a, b in zip(self.missed, other.missed, strict=True))
        return MissCurve(self.requests + other.requests, missed)

    def at(self, factor: float) -> float:
        """How many miss if everything takes `factor` times as long, rounded up to the next factor; all beyond the last."""
        i = max(0, ceil(log(factor) / log(FACTORS[1]) - 1e-6))
        return self.missed[i] if i < len(FACTORS) else self.requests


QUEUED = MissCurve(0.0, (1.0,) * len(FACTORS))
"""What a growing queue counts as where it began: one more miss, before requests show any."""


def curve(requests: float, missed: Callable[[float], float]) -> MissCurve:
    """The curve of `missed`: factor -> how many requests miss."""
    return MissCurve(requests, tuple(missed(factor) for factor in FACTORS))


@dataclass(frozen=True, slots=True)
class Experience:
    """Curves of one latency by (load, level of the clock)."""

    cells: Mapping[tuple[int, int], MissCurve] = field(default_factory=dict)
    halved_s: float = 0.0

    def add(self, load: int, level: int, seen: MissCurve, now_s: float) -> "Experience":
        """With what an interval showed."""
        cells, halved_s = {**self.cells, (load, level): self.cells.get((load, level), MissCurve()).add(seen)}, self.halved_s
        if now_s - halved_s > _HALVED_S:
            cells = {key: MissCurve(one.requests / 2, tuple(n / 2 for n in one.missed)) for key, one in cells.items()}
            halved_s = now_s
        return Experience(cells, halved_s)

    def is_missed(self, load: int, level: int, share: float) -> bool:
        """Whether more than `share` missed there, with a smaller batch or at a higher clock; a single miss is chance."""
        easier = (cell for (b, i), cell in self.cells.items() if b <= load and i >= level)
        return any(cell.missed[0] > share * cell.requests + 1.0 for cell in easier)

    def at_most(self, load: int, level: int, grid: Sequence[int], few: float) -> tuple[float, float]:
        """`few` requests or more, and how many would miss at this load and clock at most: those that were seen there, else
        also those of the nearest loads and clocks.
        """
        own = self.cells.get((load, level), MissCurve())
        requests, missed = own.requests, own.missed[0]
        others = [
            (max(1.0, grid[i] / grid[level]) * _CROWD ** max(0, load - b), b < load, cell)
            for (b, i), cell in self.cells.items()
            if (b, i) != (load, level) and i < len(grid)
        ]
        for factor, _, cell in sorted(others, key=lambda other: other[:2]):
            if requests >= few:
                break
            requests, missed = requests + cell.requests, missed + cell.at(factor)
        return requests, missed
