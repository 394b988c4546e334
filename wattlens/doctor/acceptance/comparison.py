"""The agent's energy of one GPU against readings of its raw energy counter, interval by interval. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from energy_agent.core.units import NS_PER_S
from wattlens.doctor.acceptance.result import Estimate

_TOLERANCE_J = 0.002
"""The counter's step of 1 mJ at each end."""
Bounds = tuple[float, float]


@dataclass(slots=True)
class CounterReadings:
    """Readings of a counter in order of time: its value, and the ns of a clock just before and just after the call.

    `scale`: of a value in the unit of `at`, such as 1000 where readings are in mJ and `at` is in J.
    """

    before_ns: list[int] = field(default_factory=list)
    after_ns: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    resets: int = 0
    scale: int = 1

    def add(self, before_ns: int, after_ns: int, value: int) -> None:
        """Append a reading."""
        if self.values and value < self.values[-1]:
            self.resets += 1
        self.before_ns.append(before_ns)
        self.after_ns.append(after_ns)
        self.values.append(value)

    def at(self, from_ns: int, to_ns: int) -> Bounds | None:
        """Bounds of what another reader saw at some instant between two; None outside of the readings.

        The counter never falls between resets, so its last reading before and its first one after are bounds.
        """
        low = bisect_right(self.after_ns, from_ns) - 1
        high = bisect_left(self.before_ns, to_ns)
        if low < 0 or high >= len(self.before_ns):
            return None
        return self.values[low] / self.scale, self.values[high] / self.scale


@dataclass(frozen=True, slots=True)
class AgentReading:
    """The agent's totals of one GPU as of its reading at `t_ns`, UTC; the driver answered within `took_ns` before."""

    t_ns: int
    took_ns: int
    energy_j: float
    edge_j: float
    gap_j: float


def compare(readings: Sequence[AgentReading], counter: CounterReadings, from_ns: int, to_ns: int) -> dict[str, Any]:
    """Figures of a `GpuResult`.

    Args:
        readings: of the agent, in order of time, each once.
        counter: readings of the raw counter.
        from_ns: UTC ns of the start of the window.
        to_ns: UTC ns of its end.
    """
    pairs = [(reading, bounds) for reading in readings if (bounds := counter.at(reading.t_ns - reading.took_ns, reading.t_ns))]
    times = [from_ns, *(reading.t_ns for reading, _ in pairs), to_ns]
    figures: dict[str, Any] = {
        "silent_s": round(max(after - before for before, after in pairwise(times)) / NS_PER_S, 3),
        "resets": counter.resets,
    }
    if counter.resets:
        return figures | {"reason": "the raw counter restarted"}
    if len(pairs) < 2:
        return figures | {"reason": "fewer than two readings of the agent"}
    (first, first_at), (last, last_at) = pairs[0], pairs[-1]
    lower, upper = _difference(first_at, last_at)
    misses = [_miss_j(*before, *after) for before, after in pairwise(pairs)]
    return figures | {
        "agent_j": round(last.energy_j - first.energy_j, 6),
        "counter_j": Estimate(round((lower + upper) / 2, 6), round(lower, 6), round(upper, 6)),
        "edge_j": round(first.edge_j + last.edge_j, 6),
        "intervals": len(misses),
        "covered": sum(miss == 0 for miss in misses),
        "miss_j": round(max(misses), 6),
        "gap_j": round(last.gap_j - first.gap_j, 6),
    }


def _difference(first: Bounds, last: Bounds) -> Bounds:
    return last[0] - first[1], last[1] - first[0]


def _miss_j(before: AgentReading, before_at: Bounds, after: AgentReading, after_at: Bounds) -> float:
    """Distance between the bounds of the agent's interval and those of the counter's difference; 0 if they overlap."""
    lower, upper = _difference(before_at, after_at)
    energy_j, edge_j = after.energy_j - before.energy_j, before.edge_j + after.edge_j
    gap_j = max(0.0, after.gap_j - before.gap_j)
    miss = max(energy_j - edge_j - upper, lower - (energy_j + edge_j + gap_j))
    return miss if miss > _TOLERANCE_J else 0.0
