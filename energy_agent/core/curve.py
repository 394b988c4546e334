"""A cumulative quantity over a clock, for instants between its readings. Pure.

Between two readings it is interpolated in proportion to time, in integers: the same instant always has the same value, so
differences telescope.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field


@dataclass(slots=True)
class CumulativeCurve:
    """Readings in order of time, such as the energy of a GPU in uJ.

    >>> curve = CumulativeCurve([0, 10], [0, 50])
    >>> curve.add(20, 250)
    >>> curve.at(15), curve.at(30), curve.gap_ns(15), curve.gap_ns(30)
    (150, 250, 10, None)
    """

    at_ns: list[int] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The last reading; 0 without one."""
        return self.totals[-1] if self.totals else 0

    def add(self, at_ns: int, total: int) -> None:
        """Add a reading."""
        self.at_ns.append(at_ns)
        self.totals.append(total)

    def at(self, t_ns: int) -> int:
        """The quantity at an instant; outside of the readings that of the nearest one."""
        k = bisect_right(self.at_ns, t_ns)
        if k in (0, len(self.at_ns)):
            return self.totals[max(0, k - 1)]
        (before_ns, after_ns), (before, after) = self.at_ns[k - 1 : k + 1], self.totals[k - 1 : k + 1]
        return before + (after - before) * (t_ns - before_ns) // (after_ns - before_ns)

    def gap_ns(self, t_ns: int) -> int | None:
        """Time between the readings around an instant: 0 at a reading, None outside of them."""
        before, after = bisect_right(self.at_ns, t_ns) - 1, bisect_left(self.at_ns, t_ns)
        return None if before < 0 or after == len(self.at_ns) else max(0, self.at_ns[after] - self.at_ns[before])

    def forget(self, before_ns: int) -> int:
        """Drop the readings before the last one up to an instant; returns how many."""
        count = max(0, bisect_right(self.at_ns, before_ns) - 1)
        del self.at_ns[:count], self.totals[:count]
        return count
