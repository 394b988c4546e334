"""The meters of a simulated building against the truth of a second building that has none."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sim.building import faults
from energy_agent.sim.building.faults import MeterFault, MeterFaultLog
from energy_agent.sim.building.meters import COUNTS, UJ_PER_WH, MeteredFacility, MeterSpec
from energy_agent.sim.building.model import FacilityModel as Params
from energy_agent.sim.building.model import MeterModel
from energy_agent.sim.building.truth import FacilityPhysics
from tests.support import refusal

S = 10**9
MW = 6_000_000
WATTS = 50_000  # about what the building draws

meters = st.builds(
    MeterModel,
    accuracy_percent=st.sampled_from([0.2, 1.0, 5.0]),
    energy_step_wh=st.sampled_from([1, 10, 100, 1000]),
    power_step_w=st.sampled_from([1, 10, 1000]),
    refresh_s=st.sampled_from([0.5, 1, 10, 60]),
    start_wh=st.sampled_from([None, 0, COUNTS - 3, 100 * COUNTS - 5]),
)


def building(**main):
    return Params(meters={"main": MeterModel(**{"gain": 1.0, "start_wh": 0, **main})})


def exact(params, seed, at_ns, mw=MW):
    """What really flowed at `main` up to an instant, by a building without meters."""
    physics = FacilityPhysics(params, seed)
    physics.advance(at_ns, mw)
    return physics.truth().energy_uj.total


def last_tick(spec, now_ns):
    return now_ns - (now_ns - spec.phase_ns) % spec.refresh_ns


@given(meters, st.integers(0, 50), st.lists(st.integers(0, 30 * S), min_size=1, max_size=10))
def test_a_register_is_the_gain_times_the_truth_at_the_last_tick_in_whole_steps(meter, seed, pieces):
    params = Params(meters={"main": meter})
    spec = MeterSpec.of(meter, seed, "main")
    assert abs(spec.gain_ppb / 1e9 - 1) <= meter.accuracy_percent / 100
    assert 0 <= spec.phase_ns < spec.refresh_ns
    facility = MeteredFacility(params, seed)
    for dt_ns in pieces:
        facility.advance(dt_ns, MW)
    tick_ns = last_tick(spec, facility.elapsed_ns)
    sensed_uj = spec.start_uj + (exact(params, seed, tick_ns) * spec.gain_ppb // 10**9 if tick_ns > 0 else 0)
    registers = facility.registers("main")
    assert registers.count == sensed_uj // spec.step_uj % COUNTS
    assert registers.energy_wh == sensed_uj // spec.step_uj * meter.energy_step_wh
    if tick_ns > 0:
        reference = FacilityPhysics(params, seed)
        reference.advance(tick_ns, MW)
        power_w = reference.truth().power_mw.total * spec.gain_ppb / 1e12
        assert abs(registers.power * meter.power_step_w - power_w) <= meter.power_step_w / 2


@given(
    st.integers(0, 9),
    st.sampled_from(sorted(faults.KINDS)),
    st.integers(0, 1),
    st.tuples(st.integers(1, 99), st.integers(1, 99), st.integers(1, 99)),
    st.lists(st.integers(0, 300 * S), max_size=20),
)
def test_however_time_is_cut_meters_with_faults_show_the_same(seed, kind, value, seconds, cuts):
    value = value if faults.KINDS[kind].value else 0

    def run(cuts):
        facility, readings, now_ns = MeteredFacility(Params(), seed), [], 0
        for n, length in enumerate(seconds):
            edges = [now_ns, *sorted(c for c in cuts if now_ns < c < now_ns + length * S), now_ns + length * S]
            for a, b in itertools.pairwise(edges):
                facility.advance(b - a, MW)
            now_ns = edges[-1]
            readings.append(facility.registers("main"))
            if n == 0:
                facility.fault("main", kind, value)
            elif n == 1:
                facility.clear("main", kind)
        return readings

    assert run(cuts) == run([])


def test_register_wraps_at_2_32_counts_even_if_offline_or_slow():
    facility, twin = (MeteredFacility(building(energy_step_wh=1, start_wh=COUNTS - 1), 1) for _ in range(2))
    assert facility.registers("main").count == COUNTS - 1
    for kind, value, hidden in (
        ("offline", 0, (True, False, 0)),
        ("offline", 1, (False, True, 0)),
        ("slow", 250, (False, False, 0.25)),
    ):
        facility.fault("main", kind, value)
        for each in (facility, twin):
            each.advance(60 * S, MW)
        registers = facility.registers("main")
        assert (registers.silent, registers.gateway_failure, registers.delay_s) == hidden
        facility.clear("main")
        assert facility.registers("main") == twin.registers("main")
        assert 0 < facility.registers("main").count < 10_000
        assert facility.registers("main").energy_wh == facility.registers("main").count + COUNTS


@pytest.mark.parametrize("lost", [0, 1])
def test_a_stuck_meter_catches_up_or_has_lost_the_energy(lost):
    params = building()
    facility = MeteredFacility(params, 1)
    facility.advance(600 * S, MW)
    before = facility.registers("main")
    facility.fault("main", "stuck", lost)
    facility.advance(600 * S, MW)
    assert facility.registers("main") == before
    assert before.power > 0
    facility.clear("main", "stuck")
    facility.advance(600 * S, MW)
    unseen_uj = exact(params, 1, 1200 * S) - exact(params, 1, 600 * S) if lost else 0
    assert unseen_uj > 0 or not lost
    assert facility.registers("main").count == (shown_uj(params, 1800 * S) - unseen_uj) // UJ_PER_WH
    assert facility.truth().energy_uj.total == exact(params, 1, 1800 * S)  # the truth went on all the time


def shown_uj(params, now_ns):
    """The true energy at the last tick of `main` of seed 1."""
    return exact(params, 1, last_tick(MeterSpec.of(params.meter("main"), 1, "main"), now_ns))


def test_a_reset_a_jump_and_what_comes_after():
    params = building(start_wh=5_000_000)
    facility = MeteredFacility(params, 1)
    facility.advance(600 * S, MW)
    assert facility.registers("main").count > 5_000_000
    facility.fault("main", "reset")
    assert facility.registers("main").count == 0
    facility.advance(600 * S, MW)
    since_wh = (shown_uj(params, 1200 * S) - exact(params, 1, 600 * S)) // UJ_PER_WH
    assert facility.registers("main").count == since_wh
    facility.fault("main", "jump", 77_000)
    now = facility.registers("main").count
    assert since_wh + 77_000 <= now <= since_wh + 77_000 + WATTS // 3600 + 1  # and what flowed since the tick
    facility.fault("main", "jump", -1_000_000)
    assert facility.registers("main").count == 0  # no register is below 0


def test_a_gain_that_drifts_and_is_set_right_again():
    params = building()
    facility = MeteredFacility(params, 1)
    facility.fault("main", "drift", 20_000)  # 2 % an hour
    facility.advance(3600 * S, MW)
    assert facility.gains_ppb["main"] == pytest.approx(1.02e9, rel=1e-5)
    true_wh = exact(params, 1, 3600 * S) / UJ_PER_WH
    assert facility.registers("main").count / true_wh == pytest.approx(1.01, abs=0.001)  # 1 % on average
    facility.clear("main")
    assert facility.gains_ppb["main"] == 10**9
    before, from_ns = facility.registers("main").count, facility.elapsed_ns
    facility.advance(3600 * S, MW)
    later_wh = (exact(params, 1, 7200 * S) - exact(params, 1, from_ns)) / UJ_PER_WH
    assert (facility.registers("main").count - before) / later_wh == pytest.approx(1, abs=0.001)


def test_wrong_fault_is_reported_in_one_line():
    for kind, value, says in (
        ("offlin", 0, "'offline'"), ("zzz", 0, "offline, slow"), ("reset", 1, "take a value"), ("slow", -1, "at least 0"),
        ("jump", 10**10, "expected -1000000000"),
    ):  # fmt: skip
        assert says in refusal(MeteredFacility(building(), 1).fault, "main", kind, value)


def test_what_is_set_after_sets_and_clears(tmp_path):
    log = MeterFaultLog(tmp_path / "faults")
    assert log.fresh() == []
    log.append([MeterFault(0, "main", "offline"), MeterFault(1, "ups", "stuck", 1), MeterFault(2, "main", "reset")])
    with (tmp_path / "faults").open("ab") as file:
        file.write(b'what somebody wrote by hand\n{"at_ns": 1, "meter": "main", "kind": "no"}\n[]\n{"half')
    assert faults.active(log.fresh()) == [MeterFault(0, "main", "offline"), MeterFault(1, "ups", "stuck", 1)]
    assert log.fresh() == []
    cleared = [MeterFault(0, "main", "offline"), MeterFault(0, "main", "slow", 5), MeterFault(3, "main", "", clear=True)]
    assert faults.active(cleared) == []
