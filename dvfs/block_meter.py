"""Paired blocks as they happen: tells whether the setting is on now, and cuts the counters into blocks. Pure.

A pair in which the setting was not as the schedule wants it (the policy let go, the actuator refused) is spoiled and left out.
"""

from collections.abc import Mapping, Sequence

from dvfs.savings import Block, Counter, Reading, Slot, collect, slot_at
from dvfs.types import Progress

_LATE_NS = 5_000_000_000  # a counter that is silent for so long after a block's end will not tell about it any more


class BlockMeter:
    """One run of a schedule, from `start_ns` on."""

    def __init__(self, schedule: Sequence[Slot], start_ns: int, *, open_arrivals: bool = False) -> None:
        """Start; nothing is measured yet. `open_arrivals`: see dvfs.savings."""
        self._schedule = tuple(schedule)
        self._start_ns = start_ns
        self._open_arrivals = open_arrivals
        self._next = 0
        self._series: dict[Counter, list[Reading]] = {"energy_uj": [], "work": []}
        self._spoiled: set[int] = set()
        self._blocks: list[Block] = []

    @property
    def blocks(self) -> list[Block]:
        """What is measured so far, without spoiled pairs."""
        return [b for b in self._blocks if b.pair not in self._spoiled]

    @property
    def spoiled(self) -> int:
        """How many pairs are left out because the setting was not as scheduled."""
        return len(self._spoiled)

    @property
    def done(self) -> bool:
        """Whether the schedule is over."""
        return self._next >= len(self._schedule)

    def slot(self, now_ns: int) -> Slot | None:
        """The block of this instant; None after the last."""
        return slot_at(self._schedule, (now_ns - self._start_ns) / 1e9)

    def feed(self, readings: Mapping[Counter, Reading], now_ns: int, on: bool) -> bool:
        """Take the readings that there are and whether the setting is on right now; True when the schedule is over."""
        slot = self.slot(now_ns)
        if slot is not None and now_ns >= self._ns(slot.settled_s) and on != slot.on:
            self._spoiled.add(slot.pair)
        for counter, reading in readings.items():
            series = self._series.setdefault(counter, [])
            if not series or reading.t_ns > series[-1].t_ns:
                series.append(reading)
        told_ns = min(series[-1].t_ns if series else 0 for series in self._series.values())
        while not self.done and max(told_ns, now_ns - _LATE_NS) >= self._ns(self._schedule[self._next].end_s):
            slot = self._schedule[self._next]
            self._blocks += collect([slot], self._start_ns, self._series, open_arrivals=self._open_arrivals)
            self._next += 1
        if not self.done:
            keep_ns = self._ns(self._schedule[self._next].start_s)
            for series in self._series.values():
                del series[: max(0, sum(r.t_ns < keep_ns for r in series) - 1)]
        return self.done

    def _ns(self, seconds: float) -> int:
        return self._start_ns + int(seconds * 1e9)


def progress_readings(progress: Progress | None) -> dict[Counter, Reading]:
    """The counters of a group's work that are told."""
    if progress is None:
        return {}
    told: dict[Counter, float | None] = {
        "work": progress.work,
        "latency_sum_s": progress.latency_sum_s,
        "latency_count": progress.latency_count,
    }
    return {counter: Reading(progress.boot_ns, value) for counter, value in told.items() if value is not None}
