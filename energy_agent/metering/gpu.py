"""The meter: two readings of one device become an interval of energy, or a gap with its bound. Pure.

Laws (tests/energy_agent/metering/test_gpu.py):

- Telescoping: while the counter neither resets nor stands still, the intervals between any two readings sum to exactly the
  difference of the counter, however many readings lie between them; so a lost reading or a dead agent loses nothing.
- Once: energy recorded by integration while the counter stood still is subtracted again unless the counter is known not to have
  gone on behind its face; the doubt is a Gap.
- Absent: a device without energy counter and without power has a Gap and device time, and no energy, for as long as that lasts.
- Bounded: whatever no sensor saw is a Gap whose bound is no less than the energy the device can have drawn. A reset between two
  readings that follow each other is closed by instant power, within the same bounds. Over a reboot or a load of the driver the
  counter is known to have begun again, whatever it shows. A fall is a wrap only if the device cannot have drawn a whole range:
  otherwise the counter may have wrapped twice, and only what it shows is recorded. A reset that nobody can see is the one
  exception: between two readings the GPU alone was reset (or the driver was reloaded and its epoch is not known), and the
  counter grew past its old value.

The counter ticks about every 100 ms with jitter; a reading is therefore up to one tick old, which is `edge_uj` at each end of
an interval. Between two intervals that share a reading the edges are the same error with opposite signs and cancel.
"""

from dataclasses import dataclass, replace

from energy_agent.core.boundary import NO_SENSOR, CounterScope
from energy_agent.core.energy import DeviceSample, Gap, Interval, Method
from energy_agent.core.meters.difference import CounterFault, ceiling_uj, energy_uj, gap_of, growth_uj, start_of, trapezoid_uj
from energy_agent.core.units import NS_PER_S, UJ_PER_MJ

_WRAPS_UJ = ((1 << 32) * UJ_PER_MJ, (1 << 64) * UJ_PER_MJ)
_PATIENCE_NS = 900 * NS_PER_S
"""A counter that returns within this time closes the time without it; later the time is a gap."""
RESET, RELOAD, REBOOT = "counter reset", "driver reload", "reboot"
"""Why a counter restarted, as the reason of the gap."""


@dataclass(frozen=True, slots=True)
class SensorLimits:
    """What the meter may assume of a device's sensor.

    Args:
        tick_ns: the longest time between two ticks of the energy counter, jitter included.
        power_max_mw: what the device can draw at most, transients included; bounds every gap and unmasks impossible readings.
        gap_ns: readings further apart than this are a gap in our own readings: the counter bridges it, integration cannot.
        counter_scope: what its energy counter includes.
        limit_known: the device reports its highest power limit; else `power_max_mw` is that of any board, and what a device
            without sensor draws has no bound.
    """

    tick_ns: int
    power_max_mw: int
    gap_ns: int
    limit_known: bool = True
    counter_scope: CounterScope = CounterScope.UNKNOWN


@dataclass(frozen=True, slots=True)
class MeterState:
    """The last reading that was recorded, and what is owed. Goes into the journal with every commit.

    Args:
        still_since_ns: boot-clock instant at which the counter last moved.
        integrated_uj: recorded by integration since the counter stood still.
        blind_ns: time since the counter stood still in which power stood still too, so that nothing could be recorded.
        surplus_uj: recorded too much by integration; later counter differences pay it back before they are recorded.
        slack_uj: what the last counter difference can lack, should the counter have frozen within that interval.
        driver_epoch: names the load of the driver whose counter was read; "" where it is not known.
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
    slack_uj: int = 0
    driver_epoch: str = ""

    @property
    def stuck(self) -> bool:
        """The counter stands still although a powered device always draws something."""
        return self.integrated_uj > 0 or self.blind_ns > 0

    @property
    def still_ns(self) -> int:
        """How long the counter had stood still at the last reading."""
        return self.boot_ns - self.still_since_ns


@dataclass(frozen=True, slots=True)
class MeterStep:
    """What one reading adds. `time` is that of a device without a sensor: its energy is in no sum."""

    state: MeterState
    interval: Interval | None = None
    gap: Gap | None = None
    time: Interval | None = None


def advance(
    state: MeterState | None, sample: DeviceSample, sensor: SensorLimits, boot_id: str, driver_epoch: str = ""
) -> MeterStep:
    """Record the time between the last recorded reading and `sample`, which was read in this boot from this load of the driver.

    An epoch "" is unknown and equals any other: it neither indicates a reload nor hides a counter that fell.

    Returns a MeterStep without interval or gap if there is nothing to record yet: at the first reading ever, or while the
    counter has not ticked since the last reading.
    """
    if state is None:
        return MeterStep(_anchor(sample, boot_id, driver_epoch))
    if boot_id != state.boot_id:
        # UTC that stepped back over the reboot says nothing; the time since the boot then does.
        elapsed_ns = sample.t_ns - state.t_ns
        since = replace(state, boot_id=boot_id, driver_epoch=driver_epoch)
        return _restarted(since, sample, sensor, elapsed_ns if elapsed_ns > 0 else sample.boot_ns, REBOOT)
    duration_ns = sample.boot_ns - state.boot_ns
    if duration_ns <= 0:
        return MeterStep(state)
    if driver_epoch != state.driver_epoch:
        before, state = state.driver_epoch, replace(state, driver_epoch=driver_epoch)
        if before and driver_epoch:
            return _restarted(state, sample, sensor, duration_ns, RELOAD)
    if sample.energy_mj is not None and state.energy_mj is not None:
        return _by_counter(state, sample, sensor, duration_ns, state.energy_mj, sample.energy_mj)
    return _by_power(state, sample, sensor, duration_ns)


def _anchor(sample: DeviceSample, boot_id: str, driver_epoch: str, surplus_uj: int = 0, slack_uj: int = 0) -> MeterState:
    read = (sample.t_ns, sample.boot_ns, sample.energy_mj, sample.power_mw, sample.boot_ns)
    return MeterState(boot_id, *read, surplus_uj=surplus_uj, slack_uj=slack_uj, driver_epoch=driver_epoch)


def _by_counter(
    state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int, before_mj: int, after_mj: int
) -> MeterStep:
    most_uj = _most_uj(sensor, duration_ns + state.still_ns)
    if after_mj > before_mj:
        most_uj += state.slack_uj
    wraps_uj = (w for w in _WRAPS_UJ if most_uj < w)  # a range that was passed twice looks like a reset
    delta_uj = growth_uj(before_mj * UJ_PER_MJ, after_mj * UJ_PER_MJ, most_uj, wraps_uj)
    if delta_uj is CounterFault.FELL:
        return _restarted(state, sample, sensor, duration_ns, RESET)
    if delta_uj is CounterFault.IMPOSSIBLE:
        return _unseen(state, sample, sensor, duration_ns, "impossible counter difference")
    if delta_uj == 0:
        return _still(state, sample, sensor, duration_ns)
    if state.stuck:
        return _released(state, sample, sensor, duration_ns, delta_uj)
    method = Method.COUNTER if duration_ns <= sensor.gap_ns else Method.BRIDGED
    recorded, surplus = _pay_back(delta_uj, state.surplus_uj)
    interval = _interval(state, sample, sensor, duration_ns, recorded, method)
    anchor = _anchor(sample, state.boot_id, state.driver_epoch, surplus, max(0, _most_uj(sensor, duration_ns) - delta_uj))
    return MeterStep(anchor, interval)


def _still(state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int) -> MeterStep:
    """No tick: normal for less than a few ticks; a stuck sensor beyond, since a powered device always draws something."""
    if sample.boot_ns - state.still_since_ns <= 3 * sensor.tick_ns:
        return MeterStep(state)
    next_state = replace(state, t_ns=sample.t_ns, boot_ns=sample.boot_ns, power_mw=sample.power_mw)
    moved = sample.power_mw is not None and state.power_mw is not None and sample.power_mw != state.power_mw
    if not moved or duration_ns > sensor.gap_ns:  # power does not change either: neither value is plausible
        return MeterStep(replace(next_state, blind_ns=state.blind_ns + duration_ns))
    interval = _trapezoid(state, sample, sensor, duration_ns)
    return MeterStep(replace(next_state, integrated_uj=state.integrated_uj + interval.energy_uj), interval)


def _released(state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int, delta_uj: int) -> MeterStep:
    """A stuck counter moves again: did it go on behind its face, or resume where it froze?

    It went on for certain if the difference is more than the last interval alone can hold. It resumed if the difference is far
    less than what was integrated meanwhile. In between nothing is recorded twice, and the doubt is in the bound of the gap.
    """
    most_uj = _most_uj(sensor, duration_ns)
    went_on = delta_uj > most_uj
    resumed = not went_on and 4 * delta_uj < state.integrated_uj
    owed_uj = 0 if resumed else state.integrated_uj
    recorded, surplus = _pay_back(delta_uj, state.surplus_uj + owed_uj)
    interval = _interval(state, sample, sensor, duration_ns, recorded, Method.COUNTER if resumed else Method.BRIDGED)
    gap = None if went_on else _gap(state, sample, sensor, duration_ns, most_uj - delta_uj + owed_uj, "sensor stuck")
    return MeterStep(_anchor(sample, state.boot_id, state.driver_epoch, surplus), interval, gap)


def _restarted(state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int, reason: str) -> MeterStep:
    """The counter began again: what it shows was never seen before; what was drawn before it began is a gap.

    The device drew at most `power_max_mw` all the time, and what the counter shows is part of that. A counter that stood still
    may have begun again while we integrated: that part is not recorded twice. `state` has the boot and epoch of `sample`.
    """
    seen_uj = (sample.energy_mj or 0) * UJ_PER_MJ
    most_uj = _most_uj(sensor, duration_ns)
    if seen_uj > most_uj:  # it counted before we came (a reboot, then a start long after): only the possible part is new
        return _unseen(state, sample, sensor, duration_ns, reason)
    powered = state.power_mw is not None and sample.power_mw is not None
    if reason == RESET and powered and duration_ns <= sensor.gap_ns and not state.stuck:
        return _over_reset(state, sample, sensor, duration_ns, seen_uj, most_uj)
    recorded, surplus = _pay_back(seen_uj, state.surplus_uj + state.integrated_uj)
    gap = _gap(state, sample, sensor, duration_ns, most_uj - seen_uj + state.integrated_uj, reason)
    method = Method.COUNTER if duration_ns <= sensor.gap_ns else Method.BRIDGED
    interval = _interval(state, sample, sensor, duration_ns, recorded, method) if recorded else None
    return MeterStep(_anchor(sample, state.boot_id, state.driver_epoch, surplus), interval, gap)


def _over_reset(
    state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int, seen_uj: int, most_uj: int
) -> MeterStep:
    """A reset between two readings that follow each other: the counter lost a part of it, instant power saw both ends.

    Its energy is at least what the counter shows and at most what the device can draw; the bound reaches to both.
    """
    estimate = _trapezoid(state, sample, sensor, duration_ns)
    total_uj = max(estimate.energy_uj, seen_uj)
    doubt_uj = max(total_uj - seen_uj, most_uj - total_uj)
    recorded, surplus = _pay_back(total_uj, state.surplus_uj)
    interval = replace(estimate, energy_uj=recorded, edge_uj=(doubt_uj + 1) // 2)
    return MeterStep(_anchor(sample, state.boot_id, state.driver_epoch, surplus), interval)


def _unseen(state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int, reason: str) -> MeterStep:
    gap = _gap(state, sample, sensor, duration_ns, _most_uj(sensor, duration_ns), reason)
    return MeterStep(_anchor(sample, state.boot_id, state.driver_epoch, state.surplus_uj), None, gap)


def _by_power(state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int) -> MeterStep:
    """Without a counter at one of the two readings: power, where both have it and lie close enough."""
    if sample.power_mw is None and sample.energy_mj is None:
        if state.power_mw is None and state.energy_mj is None:
            return _unmetered(state, sample, sensor, duration_ns)
        if duration_ns <= _PATIENCE_NS:
            return MeterStep(state)  # nothing to measure with; the next reading that has something closes the gap
    if sample.power_mw is None or state.power_mw is None or duration_ns > sensor.gap_ns:
        return _unseen(state, sample, sensor, duration_ns, NO_SENSOR)
    gap = _gap(state, sample, sensor, 0, 0, "sensor stuck") if state.blind_ns else None
    interval = _trapezoid(state, sample, sensor, duration_ns)
    return MeterStep(_anchor(sample, state.boot_id, state.driver_epoch, state.surplus_uj), interval, gap)


def _unmetered(state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int) -> MeterStep:
    """Neither reading has energy or power: a gap, and the time for the device's owners where readings follow each other."""
    start_ns = start_of(state.t_ns, sample.t_ns, duration_ns)
    max_mw = sensor.power_max_mw if sensor.limit_known else None
    gap = gap_of(sample.uuid, start_ns, sample.t_ns, max_mw, NO_SENSOR, duration_ns=duration_ns)
    time = Interval(sample.uuid, start_ns, sample.t_ns, 0, Method.MODELLED, 0, _active(sample))
    anchor = _anchor(sample, state.boot_id, state.driver_epoch, state.surplus_uj)
    return MeterStep(anchor, None, gap, time if duration_ns <= sensor.gap_ns else None)


def _most_uj(sensor: SensorLimits, duration_ns: int) -> int:
    return ceiling_uj(sensor.power_max_mw, duration_ns, sensor.tick_ns)


def _gap(state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int, bound_uj: int, reason: str) -> Gap:
    """The gap of the last `duration_ns`; if the sensor was stuck, also of the time since its last complete interval."""
    start_ns, end_ns = start_of(state.t_ns, sample.t_ns, duration_ns), sample.t_ns
    if not duration_ns:
        start_ns = end_ns = state.t_ns
    if state.stuck:
        bound_uj += energy_uj(sensor.power_max_mw, state.blind_ns) + state.slack_uj
        start_ns = max(0, start_ns - state.still_ns)
    return Gap(sample.uuid, start_ns, end_ns, bound_uj, reason)


def _trapezoid(state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int) -> Interval:
    """Trapezoid of instant power; its error bound is what the power may have done between the two readings."""
    before, after = state.power_mw or 0, sample.power_mw or 0
    uj, doubt_uj = trapezoid_uj(before, after, duration_ns)
    edge_uj = doubt_uj + energy_uj(max(before, after), sensor.tick_ns)
    start_ns = start_of(state.t_ns, sample.t_ns, duration_ns)
    return Interval(sample.uuid, start_ns, sample.t_ns, uj, Method.INTEGRATED, edge_uj, _active(sample))


def _interval(
    state: MeterState, sample: DeviceSample, sensor: SensorLimits, duration_ns: int, uj: int, method: Method
) -> Interval:
    peak_mw = max(state.power_mw or 0, sample.power_mw or 0) or sensor.power_max_mw
    # One tick for the age of a reading, one for what a counter that samples 25 ms in 100 may miss or make up at an edge:
    # whether boards of this kind do so is not published, so both are assumed.
    start_ns, edge_uj = start_of(state.t_ns, sample.t_ns, duration_ns), energy_uj(peak_mw, 2 * sensor.tick_ns)
    return Interval(sample.uuid, start_ns, sample.t_ns, uj, method, edge_uj, _active(sample))


def _active(sample: DeviceSample) -> bool | None:
    return None if sample.gpu_percent is None else sample.gpu_percent > 0


def _pay_back(amount_uj: int, owed_uj: int) -> tuple[int, int]:
    """(what is recorded, what is still owed)."""
    paid = min(amount_uj, owed_uj)
    return amount_uj - paid, owed_uj - paid


def gap_threshold_ns(period_ns: int) -> int:
    """Readings further apart than this are a gap: two and a half periods, and at least 2.5 s."""
    return max(5 * period_ns // 2, 5 * NS_PER_S // 2)
