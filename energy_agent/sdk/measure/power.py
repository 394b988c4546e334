"""Windows on a GPU without an energy counter: its power readings, integrated. Pure.

A reading is of power up to a sensor's reach ago, and shows nothing of what power did since the reading before. So a change
between two readings may have come anywhere within the reach, each end of a window may lie that far off, and a share of
the energy is added for swings that no reading shows. All of these are bounds, which add up.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from energy_agent.metering.interpolation import Tick

_KEEP_S: Final = 5.0
INSTANT_S: Final = 0.2
"""Instant power changes every 25 to 100 ms, and is the mean of up to as long before: a reading reaches so far back."""
AVERAGE_S: Final = 1.1
"""From Ampere on, nvmlDeviceGetPowerUsage is a mean of the last second; on GPUs before, nothing is published."""
_FINE_S: Final = 0.02
_HIDDEN: Final = 0.05
"""Share of the energy, and of the power at the ends, for swings between the readings: an assumption."""
_UNSEEN: Final = 0.5
"""The same at the end of a window that is answered before the readings show all of it: an average may be a second late."""


@dataclass(frozen=True, slots=True)
class PowerReading(Tick):
    """A reading: the energy integrated up to it, and the bound of that integral's error, J."""

    doubt_j: float = 0.0


class PowerReadings:
    """One GPU. Instants are of the node's clock, in s."""

    resets: Final = 0
    has_period: Final = True
    delays_s: Final = (0.0, 0.0, 0.0)

    def __init__(self, period_s: float) -> None:
        """`period_s`: how far back a reading reaches."""
        self.period_s = period_s
        self.ticks: deque[PowerReading] = deque()

    def feed(self, asked_s: float, answered_s: float, power_w: float) -> None:
        """A reading, made somewhere between the two instants."""
        at_s, half_s = (asked_s + answered_s) / 2, (answered_s - asked_s) / 2
        energy_j = doubt_j = 0.0
        if self.ticks:
            last = self.ticks[-1]
            apart_s, last_w = at_s - last.at_s, last.power_w or 0.0
            energy_j = last.energy_j + (last_w + power_w) / 2 * apart_s
            unseen_w = max(last_w, power_w) if apart_s > 2.5 * self.period_s else abs(power_w - last_w) / 2
            doubt_j = last.doubt_j + unseen_w * max(apart_s, self.period_s)
        self.ticks.append(PowerReading(at_s, half_s, energy_j, power_w, doubt_j=doubt_j))
        while self.ticks[0].at_s < at_s - _KEEP_S:
            self.ticks.popleft()

    def ticks_since(self, at_s: float) -> int:
        """2 once the readings show all power up to an instant, else 0."""
        return 2 * (bool(self.ticks) and self.ticks[-1].at_s >= at_s + self.period_s)

    def due_s(self, now_s: float, fine: bool) -> float:
        """When to read again: the counter of others covers the time between readings, here nothing does."""
        return now_s + (_FINE_S if fine else self.period_s / 2)


def integrated(readings: Sequence[Tick], period_s: float, start_s: float, end_s: float) -> tuple[float, float]:
    """Energy of a window and its half-width, J; the readings reach over both ends or nearly so."""
    (first_j, first_doubt_j), (last_j, last_doubt_j) = (_at(readings, at_s) for at_s in (start_s, end_s))
    ends_j = sum(_swing_w(readings, at_s, period_s) * period_s for at_s in (start_s, end_s))
    joules = last_j - first_j
    return joules, last_doubt_j - first_doubt_j + ends_j + _HIDDEN * joules


def _at(readings: Sequence[Tick], at_s: float) -> tuple[float, float]:
    """Energy and doubt at an instant, along straight lines, which go on before the first reading and after the last."""
    k = next((k for k in range(1, len(readings)) if readings[k].at_s >= at_s), len(readings) - 1)
    a, b = readings[k - 1], readings[k]
    share = (at_s - a.at_s) / max(1e-4, b.at_s - a.at_s)
    doubts = [tick.doubt_j if isinstance(tick, PowerReading) else 0.0 for tick in (a, b)]
    return a.energy_j + share * (b.energy_j - a.energy_j), doubts[0] + min(1.0, max(0.0, share)) * (doubts[1] - doubts[0])


def _swing_w(readings: Sequence[Tick], at_s: float, period_s: float) -> float:
    """What power may have differed by around an instant."""
    near_s = max(period_s + _FINE_S, min(abs(tick.at_s - at_s) for tick in readings))
    near_w = [tick.power_w or 0.0 for tick in readings if abs(tick.at_s - at_s) <= near_s]
    return max(max(near_w) - min(near_w), max(near_w) * (_HIDDEN if readings[-1].at_s >= at_s + period_s else _UNSEEN))
