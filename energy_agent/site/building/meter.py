"""Readings of a facility meter become intervals of energy, or gaps. Pure.

`energy_agent.metering.node` computes differences and integrals. This module adds the behaviour of building meters: a meter
counts on while the machine that reads it is off or boots, so its register bridges that time; its register may be so coarse that
it does not move for many readings; and it may hang, which only its own past distinguishes from a coarse register.
"""

from dataclasses import dataclass, replace
from typing import Final

from energy_agent.core.energy import Gap, Method
from energy_agent.core.meters.difference import energy_uj, gap_of, mean_mw, start_of, trapezoid_uj
from energy_agent.core.meters.reading import MeterReading
from energy_agent.metering.node import DomainInterval, NodeState, NodeStep, advance

HANGS: Final = "its register does not advance although energy should flow"
STOOD_STILL: Final = "its register stood still while energy flowed"
SAME_POWER: Final = "it told the very same power again and again"
CLOCK_WENT_BACK: Final = "the clock went back over a restart"

_PPM: Final = 1_000_000
_LIVELY_PPM: Final = 50_000  # threshold of a load that changes all the time: once in twenty readings
_RUNS: Final = 8  # times as long as usual: of loads that change by chance, one pause in 3,000
_MEMORY: Final = 64  # readings over which that is a running mean
_TICKS: Final = 3  # a register that should have moved as often as this and did not is not just coarse
_POLLS: Final = 3
_LONGER: Final = 2  # than usual has a register to stand before that says anything
_SAME: Final = 10
_FINE: Final = 200  # a power that is fewer of its own steps may well stay the same
_USUAL: Final = 8  # readings over which the usual swing is a running mean


@dataclass(frozen=True, slots=True)
class FacilityState:
    """What survives in the journal of one meter.

    Args:
        last: the last reading that was recorded.
        heard_ns: UTC ns of the last reading of all, recorded or not; `heard_boot_ns` on the boot clock, `heard_mw` its power.
        usual_mw: mean power when the register last moved, 0: not known.
        swing_mw: how much power usually changes from one reading to the next.
        polls: readings since the register moved.
        drawn_uj: integral of the reported power since the register moved, if the meter reports power.
        hole: readings were too far apart since the register moved.
        same: how many consecutive readings had the very same power.
        lively_ppm: how many of the readings had another power than the one before.
        still_ns: how long the register usually stands still at most: some are renewed every quarter of an hour.
    """

    last: NodeState
    heard_ns: int
    heard_boot_ns: int
    heard_mw: int | None
    usual_mw: int = 0
    swing_mw: int = 0
    polls: int = 0
    drawn_uj: int = 0
    hole: bool = False
    same: int = 0
    lively_ppm: int = 0
    still_ns: int = 0


@dataclass(frozen=True, slots=True)
class FacilityStep:
    """What one reading adds. `fault`: why the meter's readings are not plausible now, "" if they are."""

    state: FacilityState
    interval: DomainInterval | None = None
    gap: Gap | None = None
    fault: str = ""


def follow(
    state: FacilityState | None,
    reading: MeterReading,
    boot_id: str,
    gap_ns: int,
    *,
    stated: bool = False,
    dated: bool = False,
    rests: bool = False,
) -> FacilityStep:
    """Record the time between the last recorded reading and `reading`.

    Args:
        state: as the last reading left it; None before the first.
        reading: the next one; one that is not later than the last adds nothing.
        boot_id: names the boot that its `boot_ns` counts from.
        gap_ns: readings further apart are a hole, which only a register can bridge.
        rests: the load may be zero for hours, as of lights and photovoltaics: a register that does not move is plausible then.
        dated: readings have times of their own, not the time of the read: a reading that is not later adds nothing.
        stated: nobody measures: the power is a constant that somebody states, also for the time in which nobody read it.
    """
    if state is None:
        step = advance(None, reading, boot_id, gap_ns)
        return FacilityStep(FacilityState(step.state, reading.t_ns, reading.boot_ns, reading.power_mw))
    if dated and reading.t_ns <= state.heard_ns:
        return FacilityStep(state)
    if boot_id != state.last.boot_id:
        if reading.t_ns <= state.heard_ns:
            gap = gap_of("", reading.t_ns, reading.t_ns, None, CLOCK_WENT_BACK)
            anchor = _anchored(state, advance(None, reading, boot_id, gap_ns).state, reading)
            return FacilityStep(anchor, None, gap)
        state = _carried_over(state, reading, boot_id)
    if reading.boot_ns <= state.heard_boot_ns:
        return FacilityStep(state)
    heard = _heard(state, reading, gap_ns)
    step = advance(state.last, reading, boot_id, (1 << 62) if stated else gap_ns)
    if step.gap is not None:
        return FacilityStep(_anchored(heard, step.state, reading), None, step.gap)
    if step.interval is None:
        return _standing(replace(heard, last=step.state), reading, state.heard_mw, rests)
    if stated:
        return FacilityStep(_anchored(heard, step.state, reading), replace(step.interval, method=Method.MODELLED))
    if step.interval.method is Method.INTEGRATED:
        return _integrated(heard, step, step.interval, reading)
    return _advance_register(heard, step, step.interval, reading, rests)


def _heard(state: FacilityState, reading: MeterReading, gap_ns: int) -> FacilityState:
    """Take note of a reading, recorded or not."""
    unheard_ns = reading.boot_ns - state.heard_boot_ns
    hole = state.hole or unheard_ns > gap_ns
    drawn_uj, swing_mw, same, lively_ppm = state.drawn_uj, state.swing_mw, 0, state.lively_ppm
    if reading.power_mw is not None and state.heard_mw is not None:
        drawn_uj += trapezoid_uj(state.heard_mw, reading.power_mw, unheard_ns)[0]
        swing = abs(reading.power_mw - state.heard_mw)
        same = state.same + 1 if not swing else 0
        # A meter that hangs shows no swing at all: what it showed before still is what is usual.
        swing_mw += (swing - swing_mw) // _USUAL if swing else 0
        swing_mw = max(swing_mw, swing) if not state.swing_mw else swing_mw
        lively_ppm += ((_PPM if swing else 0) - lively_ppm) // _MEMORY if same < _SAME else 0
    return replace(
        state, heard_ns=reading.t_ns, heard_boot_ns=reading.boot_ns, heard_mw=reading.power_mw, polls=state.polls + 1,
        drawn_uj=drawn_uj, swing_mw=swing_mw, hole=hole, same=same, lively_ppm=lively_ppm,
    )  # fmt: skip


def _anchored(state: FacilityState, last: NodeState, reading: MeterReading) -> FacilityState:
    """Go on from a reading that is recorded, or that begins again."""
    return replace(
        state, last=last, heard_ns=reading.t_ns, heard_boot_ns=reading.boot_ns, heard_mw=reading.power_mw,
        polls=0, drawn_uj=0, hole=False,
    )  # fmt: skip


def _carried_over(state: FacilityState, reading: MeterReading, boot_id: str) -> FacilityState:
    """The state on the clock of a new boot, which has another zero: only UTC gives the time for which the reader was off."""
    shift_ns = reading.boot_ns - (reading.t_ns - state.heard_ns) - state.heard_boot_ns
    last = replace(
        state.last,
        boot_id=boot_id,
        boot_ns=state.last.boot_ns + shift_ns,
        seen_boot_ns=state.last.seen_boot_ns + shift_ns if state.last.seen_boot_ns else 0,
    )
    return replace(state, last=last, heard_boot_ns=state.heard_boot_ns + shift_ns, hole=True)


def _expected_uj(state: FacilityState, duration_ns: int) -> int:
    """The expected count of a register: by the power that the meter reported, else by its usual power."""
    return state.drawn_uj if state.heard_mw is not None else energy_uj(state.usual_mw, duration_ns)


def _standing(state: FacilityState, reading: MeterReading, before_mw: int | None, rests: bool) -> FacilityStep:
    """A register that stands still. While the power next to it says that it should, that time is metered: as nothing."""
    duration_ns = reading.boot_ns - state.last.boot_ns
    off = reading.power_mw == 0 and before_mw == 0  # nothing flows, whatever a sample caught before
    if reading.power_mw is not None and (off or state.drawn_uj < reading.step_uj) and not state.hole:
        last = replace(state.last, t_ns=reading.t_ns, boot_ns=reading.boot_ns, power_mw=reading.power_mw, seen_boot_ns=0)
        start_ns = start_of(state.last.t_ns, reading.t_ns, duration_ns)
        doubt_uj = state.drawn_uj if off and state.drawn_uj >= reading.step_uj else 0
        interval = DomainInterval(
            start_ns, reading.t_ns, state.last.boot_ns, reading.boot_ns, 0, Method.COUNTER, reading.step_uj, doubt_uj
        )
        return FacilityStep(replace(state, last=last, polls=0, drawn_uj=0 if off else state.drawn_uj), interval)
    if duration_ns <= _LONGER * state.still_ns:
        return FacilityStep(state)
    expected_uj = _expected_uj(state, duration_ns)
    if state.polls < _POLLS or expected_uj < _TICKS * reading.step_uj or (rests and reading.power_mw is None):
        return FacilityStep(state)
    return FacilityStep(state, None, None, HANGS)


def _advance_register(
    state: FacilityState, step: NodeStep, interval: DomainInterval, reading: MeterReading, rests: bool
) -> FacilityStep:
    """A register that moved. After it hung it may have caught up, or have lost what flowed: then nobody knows how much.

    If the load may rest and only the register is available, the register is trusted: zero flow is likelier than a hang.
    """
    duration_ns = interval.end_boot_ns - interval.start_boot_ns
    expected_uj = _expected_uj(state, duration_ns)
    interval = replace(interval, method=Method.BRIDGED if state.hole else Method.COUNTER)
    usual_mw = mean_mw(interval.energy_uj, duration_ns) if reading.power_mw is None else reading.power_mw
    longer = duration_ns > _LONGER * state.still_ns
    still_ns = state.still_ns if longer and state.still_ns else max(duration_ns, state.still_ns * 15 // 16)
    if longer and state.polls > _POLLS and expected_uj >= _TICKS * reading.step_uj and not state.hole:
        if 2 * interval.energy_uj < expected_uj and not (rests and reading.power_mw is None):
            return _discarded(state, step, interval, reading, STOOD_STILL)
        interval = replace(interval, doubt_uj=abs(expected_uj - interval.energy_uj))
    return FacilityStep(replace(_anchored(state, step.state, reading), usual_mw=usual_mw, still_ns=still_ns), interval)


def _integrated(state: FacilityState, step: NodeStep, interval: DomainInterval, reading: MeterReading) -> FacilityStep:
    """Power, with the usual change between readings as its doubt, since two equal readings do not prove a steady load."""
    duration_ns = interval.end_boot_ns - interval.start_boot_ns
    power_mw = reading.power_mw or 0
    stuck = state.lively_ppm >= _LIVELY_PPM and state.same >= max(_SAME, _RUNS * _PPM // state.lively_ppm)
    if stuck and state.swing_mw >= 2 * reading.step_mw and power_mw >= _FINE * reading.step_mw:
        fault = f"{SAME_POWER}: {power_mw / 1000:g} W, {state.same + 1} times"
        return _discarded(state, step, interval, reading, SAME_POWER, fault)
    unseen_mw = max(0, state.swing_mw - abs(interval.end_mw - interval.start_mw))
    interval = replace(interval, doubt_uj=interval.doubt_uj + energy_uj(unseen_mw, duration_ns) // 2)
    usual_mw = mean_mw(interval.energy_uj, duration_ns)
    return FacilityStep(replace(_anchored(state, step.state, reading), usual_mw=usual_mw), interval)


def _discarded(
    state: FacilityState, step: NodeStep, interval: DomainInterval, reading: MeterReading, reason: str, fault: str = ""
) -> FacilityStep:
    """A gap instead of an interval that the meter reported wrongly."""
    duration_ns = interval.end_boot_ns - interval.start_boot_ns
    gap = gap_of("", interval.start_ns, interval.end_ns, reading.max_mw, reason, duration_ns=duration_ns)
    last = replace(step.state, total_uj=state.last.total_uj)
    return FacilityStep(_anchored(state, last, reading), None, gap, fault)
