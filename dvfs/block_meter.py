"""Paired blocks as they happen: tells whether the setting is on now, and cuts the counters into blocks. Pure.

A pair in which the setting was not as the schedule wants it (the policy let go, the actuator refused) is spoiled and left out.
"""

from collections.abc import Sequence

from dvfs.savings import Block, Reading, Slot, collect, slot_at


class BlockMeter:
    """One run of a schedule, from `start_ns` on."""

    def __init__(self, schedule: Sequence[Slot], start_ns: int) -> None:
        """Start; nothing is measured yet."""
        self._schedule = tuple(schedule)
        self._start_ns = start_ns
        self._next = 0
        self._readings: list[Reading] = []
        self._spoiled: set[int] = set()
        self._blocks: list[Block] = []

    @property
    def blocks(self) -> list[Block]:
        """What is measured so far, without spoiled pairs."""
        return [b for b in self._blocks if b.pair not in self._spoiled]

    @property
    def done(self) -> bool:
        """Whether the schedule is over."""
        return self._next >= len(self._schedule)

    def slot(self, now_ns: int) -> Slot | None:
        """The block of this instant; None after the last."""
        return slot_at(self._schedule, (now_ns - self._start_ns) / 1e9)

    def feed(self, reading: Reading | None, now_ns: int, on: bool) -> bool:
        """Take a reading (None: not readable now) and whether the setting is on right now; True when the schedule is over."""
        slot = self.slot(now_ns)
        settled = slot is not None and now_ns >= self._ns(slot.settled_s)
        if slot is not None and settled and on != slot.on:
            self._spoiled.add(slot.pair)
        if reading is not None and (not self._readings or reading.t_ns > self._readings[-1].t_ns):
            self._readings.append(reading)
        last_ns = self._readings[-1].t_ns if self._readings else 0
        while not self.done and (last_ns >= self._ns(self._schedule[self._next].end_s) or slot is None):
            self._blocks += collect([self._schedule[self._next]], self._start_ns, self._readings)
            self._next += 1
            if slot is None and last_ns < now_ns - 5_000_000_000:
                continue  # readings stopped: the rest of the schedule has none
            if not self.done:
                keep_ns = self._ns(self._schedule[self._next].start_s)
                before = sum(r.t_ns < keep_ns for r in self._readings)
                del self._readings[: max(0, before - 1)]
        return self.done

    def _ns(self, seconds: float) -> int:
        return self._start_ns + int(seconds * 1e9)
