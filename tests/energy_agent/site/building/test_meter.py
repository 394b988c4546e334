"""A facility meter's register bridges intervals without readings; a hung meter is distinguished from a coarse one."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Method
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.site.building.meter import SAME_POWER, STOOD_STILL, follow

S = 10**9
GAP = 150 * S
KWH = 3_600_000_000_000
MAX_MW = 200_000_000  # 200 kW


def register(t_s, uj, *, boot_s=None, power_mw=None, step_uj=KWH // 10, **more):
    boot_ns = (t_s if boot_s is None else boot_s) * S
    return MeterReading("main", Scope.FACILITY, t_s * S, boot_ns, uj, None, power_mw, MAX_MW, step_uj, 1000, **more)


def power(t_s, mw):
    return MeterReading("main", Scope.FACILITY, t_s * S, t_s * S, None, None, mw, MAX_MW, 1, 1000)


def play(readings, boots=None, **more):
    state, intervals, gaps, faults = None, [], [], []
    for n, reading in enumerate(readings):
        step = follow(state, reading, boots[n] if boots else "boot", GAP, **more)
        state = step.state
        intervals += [step.interval] if step.interval else []
        gaps += [step.gap] if step.gap else []
        faults.append(step.fault)
    return state, intervals, gaps, faults


@given(st.lists(st.integers(0, 3 * KWH), min_size=1, max_size=30), st.sampled_from([60, 600, 7200]))
def test_a_register_telescopes_over_holes_of_any_length(steps, period_s):
    at, readings = 10**12, [register(1000, 10**12)]
    for n, step in enumerate(steps):
        at += min(step, MAX_MW * period_s * 1000 // 2)
        readings.append(register(1000 + (n + 1) * period_s, at, step_uj=10 * KWH))  # too coarse for anything to look stuck
    state, intervals, gaps, _ = play(readings)
    assert not gaps
    assert sum(s.energy_uj for s in intervals) == state.last.total_uj
    last = max((n for n, r in enumerate(readings) if n and r.energy_uj != readings[n - 1].energy_uj), default=0)
    assert state.last.total_uj == readings[last].energy_uj - readings[0].energy_uj
    assert {s.method for s in intervals} <= ({Method.COUNTER} if period_s == 60 else {Method.BRIDGED})


def test_the_readers_own_reboot_is_bridged_by_utc():
    """Three hours away, the last of them in a new boot whose clock has counted for a minute: the meter counted on."""
    readings = [register(0, 0, boot_s=50_000), register(60, 2 * KWH, boot_s=50_060), register(10_860, 362 * KWH, boot_s=60)]
    state, intervals, gaps, _ = play(readings, ["one", "one", "two"])
    assert not gaps
    assert [(s.start_ns // S, s.end_ns // S, s.energy_uj // KWH, s.method) for s in intervals] == [
        (0, 60, 2, Method.COUNTER),
        (60, 10_860, 360, Method.BRIDGED),
    ]
    assert state.last.boot_id == "two"


def test_power_without_readings_leaves_a_gap_bounded_by_the_maximum():
    _, intervals, gaps, _ = play([power(0, 100_000_000), power(60, 100_000_000), power(3660, 100_000_000)])
    assert [s.energy_uj for s in intervals] == [100_000 * 60 * 10**6]
    assert [(g.reason, g.bound_uj) for g in gaps] == [("no readings", 200_000 * 3600 * 10**6)]


def test_a_clock_that_went_back_over_a_reboot_is_a_gap_that_nothing_bounds():
    readings = [register(5000, 0), register(4000, KWH, boot_s=10)]
    _, intervals, gaps, _ = play(readings, ["one", "two"])
    assert not intervals
    assert gaps[0].reason.startswith("no bound known")


def hanging(lost: bool):
    """60 kW: one kWh a minute. The register stands for an hour; the truth goes on. Then it has lost it, or catches up."""
    truth = [n * KWH for n in range(180)]
    register_uj = [uj if n <= 60 else truth[60] if n <= 120 else uj - (60 * KWH if lost else 0) for n, uj in enumerate(truth)]
    return truth, [register(60 * n, uj) for n, uj in enumerate(register_uj)]


def test_a_register_that_hung_and_lost_what_flowed_leaves_a_gap_that_bounds_it():
    truth, readings = hanging(lost=True)
    _, intervals, gaps, faults = play(readings)
    assert [g.reason for g in gaps] == [STOOD_STILL]
    recorded = sum(s.energy_uj for s in intervals)
    assert recorded <= truth[-1] - truth[0] <= recorded + gaps[0].bound_uj
    assert "does not advance" in faults[70]
    assert not faults[10]


def test_a_register_that_caught_up_is_booked_whole():
    truth, readings = hanging(lost=False)
    _, intervals, gaps, faults = play(readings)
    assert not gaps
    assert sum(s.energy_uj for s in intervals) == truth[-1] - truth[0]
    assert "does not advance" in faults[110]


def test_a_register_that_is_renewed_every_quarter_of_an_hour_is_read_every_minute():
    """10 kW behind a 20 kW breaker: the register moves by 2.5 kWh; readings in between are valid, even if the load may rest."""
    register_uj = [10 * KWH * (n // 15) * 15 // 60 for n in range(24 * 60 + 1)]
    for rests in (True, False):
        readings = [
            MeterReading("m", Scope.FACILITY, 60 * n * S, 60 * n * S, uj, None, None, 20_000_000, KWH // 100, 1000)
            for n, uj in enumerate(register_uj)
        ]
        _, intervals, gaps, faults = play(readings, rests=rests)
        assert not gaps
        assert not any(faults[40:])
        assert sum(s.energy_uj for s in intervals) == register_uj[-1]
        assert max(s.doubt_uj for s in intervals[2:]) == 0


def test_one_sample_of_a_short_pulse_makes_no_gap_of_the_hours_after_it():
    """A pump that ran for seconds while its power was read: 5 kW once, then nothing for seven hours."""
    samples = [(0, 0)] * 20 + [(0, 5_000_000)] + [(0, 0)] * 420 + [(KWH // 50, 5_000_000)] * 2
    readings = [register(60 * n, 10**12 + uj, power_mw=mw, step_uj=KWH // 100) for n, (uj, mw) in enumerate(samples)]
    _, intervals, gaps, _ = play(readings, rests=True)
    assert not gaps
    assert sum(s.energy_uj for s in intervals) == KWH // 50
    assert sum(s.doubt_uj for s in intervals) >= 5 * KWH // 60 - KWH // 50


def test_a_coarse_register_of_a_small_load_is_not_taken_for_one_that_hangs():
    """50 W on a register of whole kWh: it moves once in 20 hours."""
    readings = [register(600 * n, (50 * 600 * n * 10**6) // KWH * KWH, step_uj=KWH) for n in range(500)]
    _, intervals, gaps, faults = play(readings)
    assert not gaps
    assert not any(faults)
    assert sum(s.energy_uj for s in intervals) == readings[-1].energy_uj


def test_constant_power_of_a_variable_load_is_rejected():
    moving = [power(60 * n, 80_000_000 + 400_000 * (n % 7)) for n in range(180)]
    stuck = [power(10_800 + 60 * n, 81_000_000) for n in range(60)]
    _, intervals, gaps, faults = play(moving + stuck)
    assert {g.reason for g in gaps} == {SAME_POWER}
    assert SAME_POWER in faults[-1]
    # Intervals recorded before the detection have a doubt derived from the usual changes of the load.
    late = [s for s in intervals if s.start_ns >= 10_800 * S]
    assert late
    assert all(s.doubt_uj > 0 for s in late)


def test_a_load_that_never_changed_may_stay_as_it_is():
    _, _, gaps, faults = play([power(60 * n, 80_000_000) for n in range(100)])
    assert not gaps
    assert not any(faults)


def test_lights_that_are_switched_are_no_load_that_always_changed():
    """5 kW exactly, on and off in turns of half a day, by power alone."""
    readings = [power(60 * n, 5_000_000 if n // 720 % 2 else 0) for n in range(5 * 720)]
    _, intervals, gaps, faults = play(readings)
    assert not gaps
    assert not any(faults)
    assert abs(sum(s.energy_uj for s in intervals) - 2 * 12 * 5 * KWH) <= 5 * KWH // 10


def test_sunset_is_distinguished_from_a_stuck_register():
    """Twelve hours of 10 kW, twelve of 0 kW: from the register alone, and from the register and power, to the last step."""
    register_uj, total = [], 0
    for n in range(3 * 1440):
        total += 10 * KWH // 60 if n % 1440 < 720 else 0
        register_uj.append(total // (KWH // 10) * (KWH // 10))
    _, intervals, gaps, faults = play([register(60 * n, uj) for n, uj in enumerate(register_uj)], rests=True)
    assert not gaps
    assert not any(faults)
    assert sum(s.energy_uj for s in intervals) == register_uj[-1] - register_uj[0]
    readings = [register(60 * n, uj, power_mw=10_000_000 if n % 1440 < 720 else 0) for n, uj in enumerate(register_uj)]
    for rests in (True, False):
        _, intervals, gaps, faults = play(readings, rests=rests)
        assert not gaps
        assert not any(faults)
        assert sum(s.energy_uj for s in intervals) == register_uj[-1] - register_uj[0]
        night = [s for s in intervals if s.start_ns >= 730 * 60 * S and s.end_ns <= 1440 * 60 * S]
        assert sum(s.end_ns - s.start_ns for s in night) >= 700 * 60 * S  # it is metered, as nothing, while it lasts


def test_declared_power_counts_without_readings_as_modelled():
    readings = [power(0, 1_000_000), power(60, 1_000_000), power(36_060, 1_000_000)]
    _, intervals, gaps, _ = play(readings, stated=True)
    assert not gaps
    assert sum(s.energy_uj for s in intervals) == 1000 * 36_060 * 10**6
    assert {s.method for s in intervals} == {Method.MODELLED}


@given(st.lists(st.tuples(st.integers(-3600, 3600), st.integers(0, 10 * KWH), st.booleans()), max_size=40))
def test_whatever_comes_is_never_booked_twice_nor_negative(steps):
    """Clocks jump and registers fall: intervals never overlap on the boot clock, and bounds are not negative."""
    t_s, boot_s, readings = 10**6, 1000, []
    for jump, uj, step in steps:
        t_s, boot_s = max(1, t_s + (jump if step else 60)), boot_s + 60
        readings.append(register(t_s, uj, boot_s=boot_s))
    _, intervals, gaps, _ = play(readings)
    assert all(a.end_boot_ns <= b.start_boot_ns for a, b in itertools.pairwise(intervals))
    assert all(s.energy_uj >= 0 and s.doubt_uj >= 0 and s.start_ns <= s.end_ns for s in intervals)
    assert all(g.bound_uj >= 0 and g.start_ns <= g.end_ns for g in gaps)
