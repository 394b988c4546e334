"""Paired blocks as they happen: tells whether the setting is on now, and cuts the counters into blocks. Pure.

A pair in which the setting was not as the plan wants it (the policy let go, the actuator refused) is spoiled and left out.
"""

from collections.abc import Mapping

from dvfs.proof.blocks import Plan, Slot
from dvfs.proof.estimate import Block, Counter, Reading, collect
from dvfs.types import Progress

_LATE_NS = 5_000_000_000  # a counter that is silent for so long after a block's end will not tell about it any more


class BlockMeter:
    """One run of a plan, from `start_ns` on."""

    def __init__(self, plan: Plan, start_ns: int, *, open_arrivals: bool = False) -> None:
        """Start; nothing is measured yet. `open_arrivals`: see dvfs.proof.estimate."""
        self.plan = plan
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
        """How many pairs are left out because the setting was not as planned."""
        return len(self._spoiled)

    @property
    def passed(self) -> int:
        """How many pairs are over, spoiled ones too."""
        return self._next // 2

    @property
    def done(self) -> bool:
        """Whether the plan is over."""
        return self.plan.slot(self._next) is None

    def slot(self, now_ns: int) -> Slot | None:
        """The block of this instant; None between pairs and after the last."""
        return self.plan.slot_at((now_ns - self._start_ns) / 1e9)

    def feed(self, readings: Mapping[Counter, Reading], now_ns: int, on: bool) -> bool:
        """Take the readings that there are and whether the setting is on right now; True when a pair is over."""
        slot = self.slot(now_ns)
        if slot is not None and now_ns >= self._ns(slot.settled_s) and on != slot.on:
            self._spoiled.add(slot.pair)
        for counter, reading in readings.items():
            series = self._series.setdefault(counter, [])
            if not series or reading.t_ns > series[-1].t_ns:
                series.append(reading)
        told_ns = min(series[-1].t_ns if series else 0 for series in self._series.values())
        before = self.passed
        while (due := self.plan.slot(self._next)) is not None and max(told_ns, now_ns - _LATE_NS) >= self._ns(due.end_s):
            self._blocks += collect([due], self._start_ns, self._series, open_arrivals=self._open_arrivals)
            self._next += 1
        if (coming := self.plan.slot(self._next)) is not None:
            keep_ns = min(self._ns(coming.start_s), told_ns)
            for series in self._series.values():
                del series[: max(0, sum(r.t_ns < keep_ns for r in series) - 1)]
        return self.passed > before

    def cut(self, now_ns: int) -> None:
        """The counters are those of other devices from now on: a pair that has begun is left out."""
        slot = self.slot(now_ns)
        if slot is not None:
            self._spoiled.add(slot.pair)
        for series in self._series.values():
            series.clear()

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
