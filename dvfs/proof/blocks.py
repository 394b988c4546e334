"""When a setting is on and off to be compared: pairs of blocks in random order, and when their outcome is looked at. Pure.

Who looks at a 2.5 % bound again and again finds a saving in the end where there is none. So a plan says beforehand at which
numbers of pairs it is looked at, and the chances of all looks together are 2.5 %: with a fixed number of pairs one look at
their end; without end looks at 12, 24, 48, ... pairs with chances of 1.25 %, 0.625 %, ...
After each look pairs come half as often: what is proven need not be proven again at the same price.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

FIRST_LOOK = 12
_READING_S = 1.0  # between two readings of a counter
_CHANCE = 0.025  # of a claim on nothing, of all looks together


@dataclass(frozen=True, slots=True)
class Slot:
    """One block of a plan, in seconds from its start; what is counted from `settled_s` to `until_s` is compared."""

    pair: int
    on: bool
    start_s: float
    settled_s: float
    until_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Pairs of an on and an off block of `seconds` each; the order within a pair is drawn from `seed`.

    Args:
        seed: draws the order.
        pairs: how many; None: without end.
        seconds: length of a block.
        settle_s: left out at the start of each.
        every_s: a pair begins so often, at first; None: at once after the last. Between pairs the setting is on.

    Raises:
        ValueError: no pairs, blocks that are all settling, or pairs that overlap.
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

    def slot(self, number: int) -> Slot | None:
        """The block of this number from 0, two a pair; None after the last."""
        pair, half = divmod(number, 2)
        if self.pairs is not None and pair >= self.pairs:
            return None
        first = hashlib.sha256(f"{self.seed}:{pair}".encode()).digest()[0] % 2 == 0
        start = self._begin_s(pair) + half * self.seconds
        end = start + self.seconds
        # Between two readings a counter is taken to rise evenly; one that spans the switch would carry a part of it over.
        until = end - min(_READING_S, (self.seconds - self.settle_s) / 4)
        return Slot(pair, first == (half == 0), start, start + self.settle_s, until, end)

    def slot_at(self, elapsed_s: float) -> Slot | None:
        """The block in which `elapsed_s` lies; None between pairs, before the start and after the last."""
        if elapsed_s < 0:
            return None
        first, begin, period = 0, 0.0, self._period_s
        size = FIRST_LOOK if self.pairs is None else self.pairs
        while self.pairs is None and elapsed_s >= begin + size * period:
            first, begin, size, period = first + size, begin + size * period, max(size, first + size), 2 * period
        pair = first + int((elapsed_s - begin) / period)
        half = int(elapsed_s - self._begin_s(pair) >= self.seconds)
        slot = self.slot(2 * pair + half)
        return slot if slot is not None and slot.start_s <= elapsed_s < slot.end_s else None

    @property
    def _period_s(self) -> float:
        return 2 * self.seconds if self.every_s is None else self.every_s

    def _begin_s(self, pair: int) -> float:
        """When a pair begins: without end, the pairs up to each look come half as often as those before."""
        if self.pairs is not None or pair < FIRST_LOOK:
            return pair * self._period_s
        first, begin, period, size = FIRST_LOOK, FIRST_LOOK * self._period_s, 2 * self._period_s, FIRST_LOOK
        while pair >= first + size:
            first, begin, period, size = first + size, begin + size * period, 2 * period, 2 * size
        return begin + (pair - first) * period

    def slots(self) -> Iterator[Slot]:
        """All blocks in order; without end where `pairs` is None."""
        number = 0
        while (slot := self.slot(number)) is not None:
            yield slot
            number += 1

    def chance(self, pairs: int) -> float | None:
        """The chance of a claim on nothing that a look after so many pairs has; None: it is not looked at then."""
        if self.pairs is not None:
            return _CHANCE if pairs == self.pairs else None
        look, chance = FIRST_LOOK, _CHANCE / 2
        while look < pairs:
            look, chance = 2 * look, chance / 2
        return chance if look == pairs else None
