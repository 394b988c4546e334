"""When a setting is on and off to be compared, and when the outcome is analysed. Pure.

Enforced time is cut into periods. In each, at a random place, the setting is off for one block and on for another, in random
order: a pair tells of its own period whatever drifts or ends, and no rhythm of the workload can meet that of the plan. Periods
are short at first and then longer, since what an off block costs is not needed twice.

Who looks at a 2.5 % bound again and again finds a saving in the end where there is none. So the plan says beforehand when it is
analysed, and the chances of all analyses together are 2.5 %: with a fixed number of pairs once, at their end; without end after
each 12 periods, the k-th time with 2.5 % / (k (k + 1)).
"""

import hashlib
from dataclasses import dataclass
from typing import Final

BETWEEN_LOOKS: Final = 12
_LONGEST: Final = 8  # times the first period
_CHANCE: Final = 0.025  # of a claim on nothing, of all analyses together


@dataclass(frozen=True, slots=True)
class Plan:
    """One pair of blocks in each period of enforced time; place and order are drawn from `seed`.

    Args:
        seed: draws place and order.
        pairs: how many; None: without end.
        seconds: length of a block. One in which no work ended goes on until some has.
        settle_s: left out at the start of each.
        every_s: length of the first periods; None: as long as a pair.

    Raises:
        ValueError: no pairs, blocks that are all settling, or pairs that do not fit a period.
    """

    seed: int
    pairs: int | None
    seconds: float
    settle_s: float
    every_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        none = self.pairs is not None and self.pairs < 1
        if none or not 0 <= self.settle_s < self.seconds or (self.every_s is not None and self.every_s < 2 * self.seconds):
            raise ValueError(f"cannot plan {self.pairs} pairs of {self.seconds} s with {self.settle_s} s to settle")

    def is_over(self, periods: int) -> bool:
        """Whether there is no period after so many."""
        return self.pairs is not None and periods >= self.pairs

    def length_s(self, number: int) -> float:
        """Length of a period, numbered from 0."""
        first = 2 * self.seconds if self.every_s is None else self.every_s
        return first if self.pairs is not None else first * min(_LONGEST, 1 << number // BETWEEN_LOOKS)

    def place_s(self, number: int) -> float:
        """When in its period the pair starts."""
        return (self.length_s(number) - 2 * self.seconds) * self._draw(number, "place") / (1 << 32)

    def is_on_first(self, number: int) -> bool:
        """Whether the block with the setting comes first."""
        return self._draw(number, "order") % 2 == 0

    def is_look(self, periods: int) -> bool:
        """Whether it is analysed after so many periods."""
        return periods == self.pairs if self.pairs is not None else periods > 0 and periods % BETWEEN_LOOKS == 0

    def chance(self, look: int) -> float:
        """The chance of a claim on nothing that an analysis has, numbered from 1."""
        return _CHANCE if self.pairs is not None else _CHANCE / (look * (look + 1))

    def _draw(self, number: int, what: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{number}:{what}".encode()).digest()[:4])
