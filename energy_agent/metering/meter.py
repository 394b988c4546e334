"""The meter: two readings of one device become an interval of energy, or a gap with its bound. Pure.

Laws (tests/energy_agent/metering/test_meter.py):

- Telescoping: while the counter neither resets nor stands still, the intervals between any two readings sum to exactly the
  difference of the counter, however many readings lie between them; so a lost reading or a dead agent loses nothing.
- Once: energy booked by integration while the counter stood still is subtracted again if the counter turns out to have gone on.
- Bounded: whatever no sensor saw is a Gap whose bound is no less than the energy the device can have drawn.

The counter ticks about every 100 ms with jitter; a reading is therefore up to one tick old, which is `edge_uj` at each end of
a stretch. Between two stretches that share a reading the edges are the same error with opposite signs and cancel.
"""

from dataclasses import dataclass, replace

from energy_agent.core.types import DeviceSample, Gap, Interval, Method
from energy_agent.core.units import NS_PER_S, UJ_PER_MJ

_UJ_SCALE = 1_000_000  # mW x ns = 1e-12 J = 1e-6 uJ
_WRAPS_MJ = (1 << 32, 1 << 64)


@dataclass(frozen=True, slots=True)
class Sensor:
    """What the meter may assume of a device's sensor.

    Args:
        tick_ns: the longest time between two ticks of the energy counter, jitter included.
        power_max_mw: what the device can draw at most, transients included; bounds every gap and unmasks impossible readings.
        gap_ns: readings further apart than this are a gap in our own readings: the counter bridges it, integration cannot.
    """

    tick_ns: int
    power_max_mw: int
    gap_ns: int


@dataclass(frozen=True, slots=True)
class MeterState:
    """The last reading that was booked, and what is owed. Goes into the journal with every commit.

    Args:
        still_since_ns: boot-clock instant at which the counter last moved.
        integrated_uj: booked by integration since the counter stood still.
        blind_ns: time since the counter stood still in which power stood still too, so that nothing could be booked.
        surplus_uj: booked too much by integration; later counter differences pay it back before they are booked.
    """

    boot_id: str
    t_ns: int
    boot_ns: int
    energy_mj: int | None
    power_mw: int | None
    still_since_ns: int
    integrated_uj: int = 0
    blind_ns: int = 0
    surplus_uj: int = 0

    @property
    def stuck(self) -> bool:
        """The counter stands still although a powered device always draws something."""
        return self.integrated_uj > 0 or self.blind_ns > 0


@dataclass(frozen=True, slots=True)
class Step:
    """What one reading adds."""

    state: MeterState
    interval: Interval | None = None
    gap: Gap | None = None


def energy_uj(power_mw: int, duration_ns: int) -> int:
    """Energy in uJ of a constant power in mW over a duration in ns."""
    return power_mw * duration_ns // _UJ_SCALE


def advance(state: MeterState | None, sample: DeviceSample, sensor: Sensor, boot_id: str) -> Step:
    """Book the time between the last booked reading and `sample`.

    Returns a Step without interval or gap where there is nothing to book yet: the first reading ever, or a counter that has not
    ticked since the last reading.
    """
    if state is None:
        return Step(_anchor(sample, boot_id))
    duration_ns = sample.boot_ns - state.boot_ns if boot_id == state.boot_id else sample.t_ns - state.t_ns
    if duration_ns <= 0:
        return Step(state)
    if boot_id != state.boot_id:
        return _restarted(state, sample, sensor, boot_id, duration_ns, "reboot")
    if sample.energy_mj is not None and state.energy_mj is not None:
        return _by_counter(state, sample, sensor, duration_ns, sample.energy_mj - state.energy_mj)
    if sample.energy_mj is not None:  # the counter came (back) into sight: from here on it counts
        return _unseen(state, sample, sensor, duration_ns, "counter appeared")
    return _by_power(state, sample, sensor, duration_ns)


def _anchor(sample: DeviceSample, boot_id: str, surplus_uj: int = 0) -> MeterState:
    return MeterState(
        boot_id, sample.t_ns, sample.boot_ns, sample.energy_mj, sample.power_mw, sample.boot_ns, surplus_uj=surplus_uj
    )


def _by_counter(state: MeterState, sample: DeviceSample, sensor: Sensor, duration_ns: int, delta_mj: int) -> Step:
    assert sample.energy_mj is not None
    ceiling_uj = energy_uj(sensor.power_max_mw, duration_ns + 2 * sensor.tick_ns)
    if delta_mj < 0:
        wrapped = next((delta_mj + w for w in _WRAPS_MJ if 0 <= (delta_mj + w) * UJ_PER_MJ <= ceiling_uj), None)
        if wrapped is None:
            return _restarted(state, sample, sensor, state.boot_id, duration_ns, "counter reset")
        delta_mj = wrapped
    if delta_mj == 0:
        return _still(state, sample, sensor, duration_ns)
    delta_uj = delta_mj * UJ_PER_MJ
    stood_ns = state.boot_ns - state.still_since_ns
    if delta_uj > ceiling_uj + energy_uj(sensor.power_max_mw, stood_ns):
        return _unseen(state, sample, sensor, duration_ns, "impossible counter difference")
    if state.stuck:
        return _released(state, sample, sensor, duration_ns, delta_uj)
    method = Method.COUNTER if duration_ns <= sensor.gap_ns else Method.BRIDGED
    booked, surplus = _pay_back(delta_uj, state.surplus_uj)
    interval = _interval(state, sample, sensor, booked, method)
    return Step(_anchor(sample, state.boot_id, surplus), interval)


def _still(state: MeterState, sample: DeviceSample, sensor: Sensor, duration_ns: int) -> Step:
    """No tick: normal for less than a few ticks; a stuck sensor beyond, since a powered device always draws something."""
    if sample.boot_ns - state.still_since_ns <= 3 * sensor.tick_ns:
        return Step(state)
    moved = sample.power_mw is not None and state.power_mw is not None and sample.power_mw != state.power_mw
    if not moved or duration_ns > sensor.gap_ns:  # power stands still as well: neither can be believed
        waiting = replace(
            state, t_ns=sample.t_ns, boot_ns=sample.boot_ns, power_mw=sample.power_mw, blind_ns=state.blind_ns + duration_ns
        )
        return Step(waiting)
    interval = _trapezoid(state, sample, sensor, duration_ns)
    going_on = replace(
        state,
        t_ns=sample.t_ns,
        boot_ns=sample.boot_ns,
        power_mw=sample.power_mw,
        integrated_uj=state.integrated_uj + interval.energy_uj,
    )
    return Step(going_on, interval)


def _released(state: MeterState, sample: DeviceSample, sensor: Sensor, duration_ns: int, delta_uj: int) -> Step:
    """A stuck counter moves again: did it go on behind its face, or resume where it froze?

    It went on if the difference is nearer to everything integrated since than to the last stretch alone. What the sensor was
    blind for and the difference does not cover is a gap.
    """
    last_uj = _trapezoid(state, sample, sensor, duration_ns).energy_uj
    went_on = delta_uj * 2 >= state.integrated_uj + 2 * last_uj
    owed = state.integrated_uj + state.surplus_uj if went_on else state.surplus_uj
    booked, surplus = _pay_back(delta_uj, owed)
    gap = None
    if state.blind_ns:
        start_ns = state.t_ns - state.blind_ns
        bound = energy_uj(sensor.power_max_mw, state.blind_ns + duration_ns + 2 * sensor.tick_ns) - booked
        gap = Gap(sample.uuid, start_ns, sample.t_ns, max(0, bound), "sensor stuck")
    interval = _interval(state, sample, sensor, booked, Method.BRIDGED if went_on else Method.COUNTER)
    return Step(_anchor(sample, state.boot_id, surplus), interval, gap)


def _restarted(state: MeterState, sample: DeviceSample, sensor: Sensor, boot_id: str, duration_ns: int, reason: str) -> Step:
    """The counter began anew: what it shows was never seen before; what was drawn before it began is a gap.

    The device drew at most power_max all the time, and what the counter shows is part of that.
    """
    seen_uj = (sample.energy_mj or 0) * UJ_PER_MJ
    ceiling_uj = energy_uj(sensor.power_max_mw, duration_ns + 2 * sensor.tick_ns)
    blind_uj = energy_uj(sensor.power_max_mw, state.blind_ns)
    if seen_uj > ceiling_uj:  # it counted before we came (a reboot, then a start long after): only the possible part is new
        return _unseen(state, sample, sensor, duration_ns, reason, boot_id)
    booked, surplus = _pay_back(seen_uj, state.surplus_uj)
    gap = Gap(sample.uuid, state.t_ns - state.blind_ns, sample.t_ns, ceiling_uj + blind_uj - seen_uj, reason)
    method = Method.COUNTER if duration_ns <= sensor.gap_ns else Method.BRIDGED
    interval = _interval(state, sample, sensor, booked, method) if booked else None
    return Step(_anchor(sample, boot_id, surplus), interval, gap)


def _unseen(
    state: MeterState, sample: DeviceSample, sensor: Sensor, duration_ns: int, reason: str, boot_id: str | None = None
) -> Step:
    bound = energy_uj(sensor.power_max_mw, duration_ns + state.blind_ns + 2 * sensor.tick_ns)
    gap = Gap(sample.uuid, state.t_ns - state.blind_ns, sample.t_ns, bound, reason)
    return Step(_anchor(sample, boot_id or state.boot_id, state.surplus_uj), None, gap)


def _by_power(state: MeterState, sample: DeviceSample, sensor: Sensor, duration_ns: int) -> Step:
    if sample.power_mw is None:
        return Step(state)  # nothing to measure with; the next reading that has something closes the gap
    if state.power_mw is None or duration_ns > sensor.gap_ns:
        return _unseen(state, sample, sensor, duration_ns, "no energy counter and no power readings")
    return Step(_anchor(sample, state.boot_id, state.surplus_uj), _trapezoid(state, sample, sensor, duration_ns))


def _trapezoid(state: MeterState, sample: DeviceSample, sensor: Sensor, duration_ns: int) -> Interval:
    """Trapezoid of instant power; its error bound is what the power may have done between the two readings."""
    before, after = state.power_mw or 0, sample.power_mw or 0
    uj = energy_uj(before + after, duration_ns) // 2
    edge = energy_uj(abs(after - before), duration_ns) // 2 + energy_uj(max(before, after), sensor.tick_ns)
    return Interval(sample.uuid, state.t_ns, sample.t_ns, uj, Method.INTEGRATED, edge, _active(sample))


def _interval(state: MeterState, sample: DeviceSample, sensor: Sensor, uj: int, method: Method) -> Interval:
    peak_mw = max(state.power_mw or 0, sample.power_mw or 0) or sensor.power_max_mw
    return Interval(sample.uuid, state.t_ns, sample.t_ns, uj, method, energy_uj(peak_mw, sensor.tick_ns), _active(sample))


def _active(sample: DeviceSample) -> bool | None:
    return None if sample.gpu_percent is None else sample.gpu_percent > 0


def _pay_back(amount_uj: int, owed_uj: int) -> tuple[int, int]:
    """(what is booked, what is still owed)."""
    paid = min(amount_uj, owed_uj)
    return amount_uj - paid, owed_uj - paid


def gap_threshold_ns(period_ns: int) -> int:
    """Readings further apart than this are a gap: two and a half periods, and at least 2.5 s."""
    return max(5 * period_ns // 2, 5 * NS_PER_S // 2)
