"""The raw energy counter of a GPU over the comparison: its readings, and its value at an instant between two of them. Pure."""

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field


@dataclass(slots=True)
class CounterReadings:
    """Readings in order of time. Each is the counter's value in mJ, and the UTC ns just before and just after the call."""

    before_ns: "array[int]" = field(default_factory=lambda: array("q"))
    after_ns: "array[int]" = field(default_factory=lambda: array("q"))
    energy_mj: "array[int]" = field(default_factory=lambda: array("q"))
    resets: int = 0

    def add(self, before_ns: int, after_ns: int, energy_mj: int) -> None:
        """Append a reading."""
        if self.energy_mj and energy_mj < self.energy_mj[-1]:
            self.resets += 1
        self.before_ns.append(before_ns)
        self.after_ns.append(after_ns)
        self.energy_mj.append(energy_mj)

    def at(self, from_ns: int, to_ns: int) -> tuple[float, float] | None:
        """Bounds in J of what another reader saw at some instant between two; None outside of the readings.

        The counter never falls between resets, so its last reading before and its first one after are bounds.
        """
        low = bisect_right(self.after_ns, from_ns) - 1
        high = bisect_left(self.before_ns, to_ns)
        if low < 0 or high >= len(self.before_ns):
            return None
        return self.energy_mj[low] / 1000, self.energy_mj[high] / 1000
