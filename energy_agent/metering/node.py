"""Readings of a node's meter become stretches of energy, or gaps. Pure.

A counter is differenced, over its wrap if it has one; power is integrated by trapezoid. What cannot be told is a gap: a counter
that fell or grew more than the domain can draw, power readings too far apart, a reboot. A counter that stands still books
nothing; when it moves again it closes the time.
"""

from dataclasses import replace

from energy_agent.core.boundary import JOURNAL_LOST, UNBOUNDED
from energy_agent.core.energy import Gap, Method
from energy_agent.core.meters import MeterReading
from energy_agent.core.record import record

_UJ_SCALE = 1_000_000  # mW x ns = 1e-6 uJ
_SLEW_NS = 50_000_000


@record(frozen=True, slots=True)
class NodeState:
    """The last reading that was booked; survives in the journal.

    Args:
        total_uj: energy booked by this meter since it was first read.
        seen_boot_ns: when the counter was last seen to stand still; 0: not since that reading.
    """

    boot_id: str
    t_ns: int
    boot_ns: int
    energy_uj: int | None
    power_mw: int | None
    total_uj: int = 0
    seen_boot_ns: int = 0


@record(frozen=True, slots=True)
class Stretch:
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


@record(frozen=True, slots=True)
class NodeStep:
    """What one reading adds. The gap's device is "": whoever books it knows which."""

    state: NodeState
    stretch: Stretch | None = None
    gap: Gap | None = None


def advance(state: NodeState | None, reading: MeterReading, boot_id: str, gap_ns: int) -> NodeStep:
    """Book the time between the last booked reading and `reading`.

    Readings further apart than `gap_ns` are a hole, which only a counter can bridge.
    """
    if state is None:
        return NodeStep(_anchor(reading, boot_id, 0))
    if boot_id != state.boot_id:
        return _lost(state, reading, boot_id, max(0, reading.t_ns - state.t_ns), "reboot")
    duration_ns = reading.boot_ns - state.boot_ns
    if duration_ns <= 0:
        return NodeStep(state)
    if reading.energy_uj is not None and state.energy_uj is not None:
        return _by_counter(state, reading, duration_ns, gap_ns, reading.energy_uj - state.energy_uj)
    if reading.power_mw is None and reading.energy_uj is None:
        return NodeStep(state)
    if reading.power_mw is None or state.power_mw is None:
        return _lost(state, reading, boot_id, duration_ns, "the meter changed between counter and power")
    if duration_ns > gap_ns:
        return _lost(state, reading, boot_id, duration_ns, "no readings")
    return _by_power(state, reading, duration_ns, state.power_mw, reading.power_mw)


def energy_uj(power_mw: int, duration_ns: int) -> int:
    """Energy in uJ of a constant power over a duration."""
    return power_mw * duration_ns // _UJ_SCALE


def _by_counter(state: NodeState, reading: MeterReading, duration_ns: int, gap_ns: int, delta_uj: int) -> NodeStep:
    ceiling_uj = None
    if reading.max_mw is not None:
        ceiling_uj = energy_uj(reading.max_mw, duration_ns + 2 * reading.age_ns) + 2 * reading.step_uj
    wrap_uj = reading.wrap_uj
    if wrap_uj is not None and _wraps_twice(reading, reading.boot_ns - max(state.boot_ns, state.seen_boot_ns), gap_ns):
        return _lost(state, reading, state.boot_id, duration_ns, "the counter may have wrapped more than once")
    fell = delta_uj < 0
    if fell and wrap_uj is not None and delta_uj + wrap_uj >= 0:
        delta_uj += wrap_uj
        if ceiling_uj is None and delta_uj > wrap_uj // 2:  # a small step back looks like nearly a whole wrap
            return _lost(state, reading, state.boot_id, duration_ns, "counter fell")
    if delta_uj < 0:
        return _lost(state, reading, state.boot_id, duration_ns, "counter fell")
    if delta_uj == 0:
        return NodeStep(replace(state, seen_boot_ns=reading.boot_ns))
    if ceiling_uj is not None and delta_uj > ceiling_uj:
        reason = "counter fell" if fell else "impossible counter difference"
        return _lost(state, reading, state.boot_id, duration_ns, reason)
    method = Method.COUNTER if duration_ns <= gap_ns else Method.BRIDGED
    # What a stale reading lacks is bounded by the power around it: that read with it, where it is, and the mean.
    stale_uj = energy_uj(max(state.power_mw or 0, reading.power_mw or 0), reading.age_ns)
    edge_uj = reading.step_uj + max(stale_uj, delta_uj * reading.age_ns // duration_ns)
    return _booked(state, reading, duration_ns, delta_uj, method, edge_uj, 0)


def _wraps_twice(reading: MeterReading, unseen_ns: int, gap_ns: int) -> bool:
    """Whether the counter may have passed its whole range since it was last seen."""
    if reading.max_mw is None or reading.wrap_uj is None:
        return unseen_ns > gap_ns
    return energy_uj(reading.max_mw, unseen_ns) >= reading.wrap_uj


def _by_power(state: NodeState, reading: MeterReading, duration_ns: int, before_mw: int, after_mw: int) -> NodeStep:
    """Trapezoid. Its doubt: the change of power between the readings, its resolution, and a reading's age at both ends.

    A counter that is there at one end alone shares that reading with a neighbour whose error nothing here cancels.
    """
    uj = energy_uj(before_mw + after_mw, duration_ns) // 2
    swing = abs(after_mw - before_mw)
    doubt_uj = energy_uj(swing + reading.step_mw, duration_ns) // 2 + energy_uj(swing, reading.age_ns)
    if state.energy_uj is not None or reading.energy_uj is not None:
        doubt_uj += reading.step_uj + energy_uj(max(before_mw, after_mw), reading.age_ns)
    return _booked(state, reading, duration_ns, uj, Method.INTEGRATED, 0, doubt_uj)


def _booked(
    state: NodeState, reading: MeterReading, duration_ns: int, uj: int, method: Method, edge_uj: int, doubt_uj: int
) -> NodeStep:
    start_ns = start_of(state, reading, duration_ns)
    powers = (state.power_mw or 0, reading.power_mw or 0)
    stretch = Stretch(start_ns, reading.t_ns, state.boot_ns, reading.boot_ns, uj, method, edge_uj, doubt_uj, *powers)
    return NodeStep(_anchor(reading, state.boot_id, state.total_uj + uj), stretch)


def _lost(state: NodeState, reading: MeterReading, boot_id: str, duration_ns: int, reason: str) -> NodeStep:
    start_ns = start_of(state, reading, duration_ns)
    return NodeStep(
        _anchor(reading, boot_id, state.total_uj), None, gap_of(start_ns, reading.t_ns, duration_ns, reading.max_mw, reason)
    )


def gap_of(start_ns: int, end_ns: int, duration_ns: int, max_mw: int | None, reason: str) -> Gap:
    """A gap of no device yet, bounded by the most that can be drawn; without a number where nobody knows that."""
    if max_mw is None:
        return Gap("", start_ns, max(start_ns, end_ns), 0, UNBOUNDED + reason)
    return Gap("", start_ns, max(start_ns, end_ns), energy_uj(max_mw, duration_ns), reason)


def unrecorded(since_ns: int, end_ns: int, max_mw: int | None) -> Gap:
    """The gap from the last row in the ledger to a reading, where the last reading was lost with the journal."""
    if end_ns < since_ns:  # UTC was set back: how long it was is not known
        return gap_of(end_ns, end_ns, 0, None, JOURNAL_LOST)
    return gap_of(since_ns, end_ns, end_ns - since_ns, max_mw, JOURNAL_LOST)


def _anchor(reading: MeterReading, boot_id: str, total_uj: int) -> NodeState:
    return NodeState(boot_id, reading.t_ns, reading.boot_ns, reading.energy_uj, reading.power_mw, total_uj)


def start_of(state: NodeState, reading: MeterReading, duration_ns: int) -> int:
    """UTC start of the stretch; where UTC was stepped meanwhile, the stretch is as long as the boot clock says."""
    elapsed_ns = reading.t_ns - state.t_ns
    stepped = abs(elapsed_ns - duration_ns) > max(_SLEW_NS, duration_ns // 100)
    return max(0, reading.t_ns - duration_ns) if stepped or elapsed_ns <= 0 else state.t_ns
