"""How far an energy counter and integrated power readings differ, by duration. Pure.

A counter that samples power is wrong for as long as its samples meet the same phase of the work. Power readings have a clock
of their own, so their integral then differs from the counter. Differences of adjacent intervals of one length give the Allan
variance (D. W. Allan, Proc. IEEE 54, 1966, p. 221), in which a constant gain of the power sensor cancels.
"""

from dataclasses import dataclass
from math import sqrt

_WEIGHT = 1 / 16  # of the latest pair of intervals in a mean
_PAIRS = 3  # of intervals, before which their length shows nothing
_LEVELS = 20
_GAIN = 0.05  # power readings may differ from the counter by this share, always
_SHORTEST_S = 2.0  # below, the windows and delays of power readings hide what the samples miss


@dataclass(slots=True)
class _Level:
    """Intervals of one length: the one that waits for its pair (length, energy, difference), and means over pairs."""

    waiting: tuple[float, float, float] | None = None
    pairs: int = 0
    length_s: float = 0.0
    variance_j2: float = 0.0
    bias_j2: float = 0.0


class PowerDifferences:
    """The counter against integrated power, over intervals of one tick, of two, of four, and so on."""

    def __init__(self) -> None:
        """Nothing was read so far."""
        self._levels: list[_Level] = [_Level() for _ in range(_LEVELS)]

    def add(self, length_s: float, energy_j: float, difference_j: float) -> None:
        """The counter's energy over a tick, and how much more that is than by power readings."""
        for level in self._levels:
            if level.waiting is None:
                level.waiting = length_s, energy_j, difference_j
                return
            before_s, earlier_j, before_j = level.waiting
            level.waiting = None
            level.pairs += 1
            weight = max(_WEIGHT, 1 / level.pairs)
            level.length_s += weight * ((before_s + length_s) / 2 - level.length_s)
            level.variance_j2 += weight * ((difference_j - before_j) ** 2 / 2 - level.variance_j2)
            length_s, energy_j, difference_j = before_s + length_s, earlier_j + energy_j, before_j + difference_j
            bias_j = max(0.0, abs(difference_j) - _GAIN * energy_j) / 2
            level.bias_j2 += weight * (bias_j**2 - level.bias_j2)

    def restart(self) -> None:
        """Readings are missing: intervals do not go on."""
        for level in self._levels:
            level.waiting = None

    def deviation_j(self, length_s: float) -> float:
        """Standard deviation of the difference over an interval, J.

        The highest that intervals of this length and longer ones show; of intervals that are too long to have occurred, by the
        longest that did: its differences are then independent, but a bias goes on.
        """
        levels = [level for level in self._levels if level.pairs >= _PAIRS and level.length_s > _SHORTEST_S]
        longer = [level for level in levels if level.length_s * 1.5 >= length_s]
        if longer:
            return max(sqrt(max(x.variance_j2, x.bias_j2)) * min(1.0, length_s / x.length_s) for x in longer)
        if not levels:
            return 0.0
        longest = levels[-1]
        times = length_s / longest.length_s
        return sqrt(max(longest.variance_j2 * times, longest.bias_j2 * times * times))
