"""The counter of one board, or its power, reading by reading -> entries and gaps; see `imported` for the laws. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median_low
from typing import Final

from energy_agent.core.energy import Entry, Gap, Method
from energy_agent.core.meters.difference import CounterFault, ceiling_uj, energy_uj, gap_of, growth_uj, mean_mw, trapezoid_uj
from energy_agent.core.meters.plausible import gpu_max_mw
from energy_agent.ledger.history_import.samples import RESET, TICK_NS, ExporterBounds, ExporterReading, whose

JUMP: Final = "impossible counter difference"
STUCK: Final = "sensor stuck"
UNREAD: Final = "no energy counter and no power readings"


@dataclass
class _Board:
    """What is known of one board, and what was made of its readings; readings further apart than `hole_ns` leave a hole."""

    device: str
    terms: ExporterBounds
    hole_ns: int = 150_000_000_000
    entries: list[Entry] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    event_counts: Counter[str] = field(default_factory=Counter)

    def _learn_period(self, readings: Sequence[ExporterReading]) -> None:
        """Expect readings as often as these: two and a half of their usual periods without one are a hole."""
        steps = [b.t_ns - a.t_ns for a, b in pairwise(readings)]
        if len(steps) > 1:
            self.hole_ns = 5 * median_low(steps) // 2

    def _entry(
        self,
        last: ExporterReading,
        reading: ExporterReading,
        method: Method,
        amounts: tuple[int, int],
        named: set[frozenset[str]],
    ) -> None:
        """Add an entry over two readings; `amounts` are energy and edge in uJ."""
        owner = whose(named, method)
        held_ns = reading.t_ns - last.t_ns if owner[0] else 0
        self.entries.append(Entry(last.t_ns, reading.t_ns, self.device, *owner, method, *amounts, held_ns))

    def _gap(self, last: ExporterReading, reading: ExporterReading, reason: str, seen_uj: int = 0) -> None:
        max_mw = self.terms.power_max_mw
        self.gaps.append(gap_of(self.device, last.t_ns, reading.t_ns, max_mw, reason, age_ns=TICK_NS, seen_uj=seen_uj))


@dataclass
class CounterAccount(_Board):
    """The energy counter of one GPU, reading by reading."""

    _last: ExporterReading | None = None  # where the counter last moved
    _still: ExporterReading | None = None  # the newest reading with the same value
    _named: set[frozenset[str]] = field(default_factory=set)
    _suspect: ExporterReading | None = None
    _power_mw: int = 0  # the largest mean between two readings, for a GPU without known limits

    def take(self, readings: Sequence[ExporterReading]) -> None:
        """Record readings in order of time."""
        self._learn_period([b for a, b in pairwise(readings) if b.value != a.value])
        for reading in readings:
            self._one(reading)

    def end(self) -> None:
        """Settle what the last readings left open; no reading follows."""
        if self._suspect is not None:
            self._confirm(self._suspect)
        if self._last is not None and self._still is not None and self._stood(self._still) > self._long_ns():
            self._gap(self._last, self._still, STUCK)
        self._last = self._still = self._suspect = None

    def _one(self, reading: ExporterReading) -> None:
        last, still = self._last, self._still
        if last is None or still is None:
            self._anchor(reading)
            return
        if reading.t_ns <= (self._suspect or still).t_ns:
            return
        if reading.source != still.source and 0 < last.value - reading.value <= self._ceiling_uj(self.terms.age_ns):
            self.event_counts["older readings of another series ignored"] += 1
            return
        if self._suspect is not None:
            suspect, self._suspect = self._suspect, None
            if self._taken_back(last, suspect, reading):
                self.event_counts["single implausible readings ignored"] += 1
            else:
                self._confirm(suspect)
                self._one(reading)
                return
        if self._plausible(last, reading):
            self._book(last, still, reading, reading.value - last.value)
        else:
            self._suspect = reading

    def _taken_back(self, last: ExporterReading, suspect: ExporterReading, reading: ExporterReading) -> bool:
        """Whether a reading shows that the previous one was invalid, and not a counter that restarted and rises again."""
        rises = suspect.value < last.value and self._plausible(suspect, reading)
        return not rises and self._plausible(last, reading)

    def _plausible(self, last: ExporterReading, reading: ExporterReading) -> bool:
        most_uj = self._ceiling_uj(reading.t_ns - last.t_ns + self.terms.age_ns)
        return not isinstance(growth_uj(last.value, reading.value, most_uj), CounterFault)

    def _confirm(self, reading: ExporterReading) -> None:
        """Record a fall, or an increase beyond the GPU's maximum energy, that the next reading did not revert.

        NVML and DCGM count in 64 bits, so a fall is never treated as a 32-bit wrap: that would record energy without evidence.
        """
        last, still = self._last, self._still
        assert last is not None
        assert still is not None
        duration_ns = reading.t_ns - last.t_ns
        most_uj = self._ceiling_uj(duration_ns + self.terms.age_ns)
        if reading.value > last.value:
            self._gap(last, reading, JUMP)
            self._anchor(reading)
        elif reading.value > most_uj:  # part of the count is older than `last`, and it is unknown which part
            self._gap(last, reading, RESET)
            self._anchor(reading)
        else:  # the counter restarted at 0 after `last`, so its whole value is new
            self.event_counts["counter restarts"] += 1
            self._gap(last, reading, RESET, reading.value)
            self._book(last, still, reading, reading.value)

    def _book(self, last: ExporterReading, still: ExporterReading, reading: ExporterReading, delta_uj: int) -> None:
        self._named.add(reading.owners)
        if reading.value == last.value:
            self._still = reading
            return
        duration_ns = reading.t_ns - last.t_ns
        if self._stood(still) > self._long_ns() and delta_uj <= self._ceiling_uj(reading.t_ns - still.t_ns + self.terms.age_ns):
            # The counter may have frozen and resumed: its increase may belong to the last interval alone.
            self._gap(last, still, STUCK)
        if delta_uj == 0:  # the counter restarted and is still 0
            self._anchor(reading)
            return
        method = Method.COUNTER if duration_ns <= self.hole_ns else Method.BRIDGED
        self._power_mw = max(self._power_mw, mean_mw(delta_uj, duration_ns))
        edge_uj = energy_uj(self.terms.power_max_mw or self._power_mw, self.terms.age_ns + 2 * TICK_NS)
        self._entry(last, reading, method, (delta_uj, edge_uj), self._named)
        self._anchor(reading)

    def _anchor(self, reading: ExporterReading) -> None:
        self._last = self._still = reading
        self._named = {reading.owners}

    def _stood(self, still: ExporterReading) -> int:
        return still.t_ns - self._last.t_ns if self._last is not None else 0

    def _long_ns(self) -> int:
        return max(self.hole_ns, 3 * self.terms.age_ns)

    def _ceiling_uj(self, duration_ns: int) -> int:
        return ceiling_uj(self.terms.power_max_mw or gpu_max_mw(), duration_ns, TICK_NS)


@dataclass
class PowerAccount(_Board):
    """The energy of a GPU that reports only power: trapezoids between readings that are close in time."""

    _last: ExporterReading | None = None

    def take(self, readings: Sequence[ExporterReading]) -> None:
        """Record readings in order of time."""
        self._learn_period(readings)
        for reading in readings:
            if not 0 <= reading.value <= (self.terms.power_max_mw or gpu_max_mw()):
                self.event_counts["single implausible readings ignored"] += 1
            elif self._last is None or reading.t_ns > self._last.t_ns:
                if self._last is not None:
                    self._book(self._last, reading)
                self._last = reading

    def end(self) -> None:
        """No reading follows."""
        self._last = None

    def _book(self, last: ExporterReading, reading: ExporterReading) -> None:
        duration_ns = reading.t_ns - last.t_ns
        if duration_ns > self.hole_ns:
            self._gap(last, reading, UNREAD)
            return
        amounts = trapezoid_uj(last.value, reading.value, duration_ns)
        self._entry(last, reading, Method.INTEGRATED, amounts, {last.owners, reading.owners})


Account = CounterAccount | PowerAccount
