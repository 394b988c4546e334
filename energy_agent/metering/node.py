"""Turn readings of a node's meter into intervals of energy, or gaps. Pure.

A counter is differenced, across its wrap if it has one; power is integrated by the trapezoidal rule. The rest is a gap: a
counter that fell or grew by more than the domain can draw, power readings too far apart, a reboot. While a counter does not
change, nothing is recorded; its next change closes the interval.
"""

from dataclasses import dataclass, replace

from energy_agent.core.energy import Gap, Method
from energy_agent.core.meters.difference import CounterFault, ceiling_uj, energy_uj, gap_of, growth_uj, start_of, trapezoid_uj
from energy_agent.core.meters.reading import MeterReading


@dataclass(frozen=True, slots=True)
class NodeState:
    """The last reading that was recorded; survives in the journal.

    Args:
        total_uj: energy recorded by this meter since it was first read.
        seen_boot_ns: when the counter was last seen to stand still; 0: not since that reading.
    """

    boot_id: str
    t_ns: int
    boot_ns: int
    energy_uj: int | None
    power_mw: int | None
    total_uj: int = 0
    seen_boot_ns: int = 0


@dataclass(frozen=True, slots=True)
class DomainInterval:
    """Energy of one domain between two readings. `doubt_uj` is the error of the integration between them, 0 for a counter;
    `edge_uj` bounds the error of each of its two readings.
    """

    start_ns: int
    end_ns: int
    start_boot_ns: int
    end_boot_ns: int
    energy_uj: int
    method: Method
    edge_uj: int
    doubt_uj: int = 0
    start_mw: int = 0
    end_mw: int = 0


@dataclass(frozen=True, slots=True)
class NodeStep:
    """What one reading adds. The gap's device is ""; the caller that records the gap knows the device."""

    state: NodeState
    interval: DomainInterval | None = None
    gap: Gap | None = None


def advance(state: NodeState | None, reading: MeterReading, boot_id: str, gap_ns: int) -> NodeStep:
    """Record the time between the last recorded reading and `reading`.

    Readings further apart than `gap_ns` are a hole, which only a counter can bridge.
    """
    if state is None:
        return NodeStep(_anchor(reading, boot_id, 0))
    if boot_id != state.boot_id:
        gap = gap_of("", state.t_ns, reading.t_ns, reading.max_mw, "reboot")
        return NodeStep(_anchor(reading, boot_id, state.total_uj), None, gap)
    duration_ns = reading.boot_ns - state.boot_ns
    if duration_ns <= 0:
        return NodeStep(state)
    if reading.energy_uj is not None and state.energy_uj is not None:
        return _by_counter(state, reading, duration_ns, gap_ns, state.energy_uj, reading.energy_uj)
    if reading.power_mw is None and reading.energy_uj is None:
        return NodeStep(state)
    if reading.power_mw is None or state.power_mw is None:
        return _lost(state, reading, duration_ns, "the meter changed between counter and power")
    if duration_ns > gap_ns:
        return _lost(state, reading, duration_ns, "no readings")
    return _by_power(state, reading, duration_ns, state.power_mw, reading.power_mw)


def _by_counter(
    state: NodeState, reading: MeterReading, duration_ns: int, gap_ns: int, before_uj: int, after_uj: int
) -> NodeStep:
    most_uj = None
    if reading.max_mw is not None:
        most_uj = ceiling_uj(reading.max_mw, duration_ns, reading.age_ns, reading.step_uj)
    if reading.wrap_uj is not None and _wraps_twice(reading, reading.boot_ns - max(state.boot_ns, state.seen_boot_ns), gap_ns):
        return _lost(state, reading, duration_ns, "the counter may have wrapped more than once")
    delta_uj = growth_uj(before_uj, after_uj, most_uj, () if reading.wrap_uj is None else (reading.wrap_uj,))
    if isinstance(delta_uj, CounterFault):
        reason = "counter fell" if delta_uj is CounterFault.FELL else "impossible counter difference"
        return _lost(state, reading, duration_ns, reason)
    if delta_uj == 0:
        return NodeStep(replace(state, seen_boot_ns=reading.boot_ns))
    method = Method.COUNTER if duration_ns <= gap_ns else Method.BRIDGED
    # What a stale reading lacks is bounded by the power around it: that read with it, where it is, and the mean.
    stale_uj = energy_uj(max(state.power_mw or 0, reading.power_mw or 0), reading.age_ns)
    edge_uj = reading.step_uj + max(stale_uj, delta_uj * reading.age_ns // duration_ns)
    return _step_from(state, reading, duration_ns, delta_uj, method, edge_uj, 0)


def _wraps_twice(reading: MeterReading, unseen_ns: int, gap_ns: int) -> bool:
    """Whether the counter may have passed its whole range since it was last seen."""
    if reading.max_mw is None or reading.wrap_uj is None:
        return unseen_ns > gap_ns
    return energy_uj(reading.max_mw, unseen_ns) >= reading.wrap_uj


def _by_power(state: NodeState, reading: MeterReading, duration_ns: int, before_mw: int, after_mw: int) -> NodeStep:
    """Trapezoid. Its doubt: the change of power between the readings, its resolution, and a reading's age at both ends.

    A counter that is there at one end alone shares that reading with a neighbour whose error nothing here cancels.
    """
    uj, doubt_uj = trapezoid_uj(before_mw, after_mw, duration_ns, reading.step_mw)
    doubt_uj += energy_uj(abs(after_mw - before_mw), reading.age_ns)
    if state.energy_uj is not None or reading.energy_uj is not None:
        doubt_uj += reading.step_uj + energy_uj(max(before_mw, after_mw), reading.age_ns)
    return _step_from(state, reading, duration_ns, uj, Method.INTEGRATED, 0, doubt_uj)


def _step_from(
    state: NodeState, reading: MeterReading, duration_ns: int, uj: int, method: Method, edge_uj: int, doubt_uj: int
) -> NodeStep:
    start_ns = start_of(state.t_ns, reading.t_ns, duration_ns)
    powers = (state.power_mw or 0, reading.power_mw or 0)
    interval = DomainInterval(start_ns, reading.t_ns, state.boot_ns, reading.boot_ns, uj, method, edge_uj, doubt_uj, *powers)
    return NodeStep(_anchor(reading, state.boot_id, state.total_uj + uj), interval)


def _lost(state: NodeState, reading: MeterReading, duration_ns: int, reason: str) -> NodeStep:
    start_ns = start_of(state.t_ns, reading.t_ns, duration_ns)
    gap = gap_of("", start_ns, reading.t_ns, reading.max_mw, reason, duration_ns=duration_ns)
    return NodeStep(_anchor(reading, state.boot_id, state.total_uj), None, gap)


def _anchor(reading: MeterReading, boot_id: str, total_uj: int) -> NodeState:
    return NodeState(boot_id, reading.t_ns, reading.boot_ns, reading.energy_uj, reading.power_mw, total_uj)
