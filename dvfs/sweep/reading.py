"""Time per work, power and binding limit of an interval, from readings of counters. Pure.

The instants of counter readings are not under our control, and work is counted in whole steps. So nothing is cut at the
interval's own edges: each rate is taken between two readings within it. Work is counted between the first and the last reading
with an increment: the delay of a reading is the same at both ends on average, and an unfinished step counts at neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dvfs.governor.effect import ineffective
from dvfs.types import BINDING_REASONS, DeviceObservation, Setting

BOUND_RATIO = 0.05
"""A reason for a lower clock counts for an interval if it was active for at least this share."""
_NS = 1e9


@dataclass(frozen=True, slots=True)
class Sample:
    """A cumulative count at an instant, in UTC ns. `doing`: other work of the workload then, such as a checkpoint."""

    t_ns: int
    count: float
    doing: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """Work between two readings: `count` of it within `seconds`, seen to go on at `changes` readings."""

    count: float
    seconds: float
    changes: int

    @property
    def time_s(self) -> float:
        """Time per work."""
        return self.seconds / self.count


def pace(samples: Sequence[Sample], from_ns: int) -> Pace | None:
    """Rate of work since `from_ns` according to `samples`; None before two readings show an increment.

    Raises:
        ValueError: the count fell, so what was done is not known.
    """
    readings: list[Sample] = []
    for before, after in pairwise(samples):
        if after.count < before.count:
            raise ValueError("its count fell, so it was restarted")
        if after.count > before.count and after.t_ns > max(before.t_ns, from_ns):
            readings.append(after)
    if len(readings) < 2:
        return None
    first, last = readings[0], readings[-1]
    return Pace(last.count - first.count, (last.t_ns - first.t_ns) / _NS, len(readings))


def power_w(energy: Sequence[Sample], from_ns: int) -> float | None:
    """Mean power from an energy counter in J; None where it has no two readings from `from_ns` on.

    Raises:
        ValueError: the counter fell.
    """
    within = [sample for sample in energy if sample.t_ns >= from_ns]
    if len(within) < 2 or within[-1].t_ns <= within[0].t_ns:
        return None
    joules = within[-1].count - within[0].count
    if joules < 0:
        raise ValueError("the energy counter fell")
    return joules / (within[-1].t_ns - within[0].t_ns) * _NS


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One reading of a device. `event_s`: cumulative time of each clock event reason."""

    t_ns: int
    sm_clock_mhz: int | None
    power_limit_mw: int | None
    busy_percent: int | None
    event_s: Mapping[str, float]


def bindings(readings: Sequence[DeviceReading], setting: Setting, from_ns: int) -> tuple[str, ...]:
    """Why a device did not run at the requested clock: reasons active during part of the interval, and signs of no effect."""
    within = [each for each in readings if each.t_ns >= from_ns]
    if len(within) < 2:
        return ()
    first, last = within[0], within[-1]
    seconds = (last.t_ns - first.t_ns) / _NS
    named = {name: bit for bit, name in BINDING_REASONS.items()}
    reasons = {
        reason
        for reason, lasted in last.event_s.items()
        if reason in named and lasted - first.event_s.get(reason, 0.0) > BOUND_RATIO * seconds
    }
    vain: dict[str, int] = {}
    for before, after in pairwise(within):
        bits = sum(named[r] for r, s in after.event_s.items() if r in named and s > before.event_s.get(r, 0.0))
        why = ineffective(_observed(after, bits), setting)
        vain[why] = vain.get(why, 0) + 1
    reasons |= {why for why, times in vain.items() if why and times > BOUND_RATIO * (len(within) - 1)}
    return tuple(sorted(reasons))


def _observed(reading: DeviceReading, bits: int) -> DeviceObservation:
    return DeviceObservation("", "", 0, reading.sm_clock_mhz, None, reading.power_limit_mw, bits, reading.busy_percent)
