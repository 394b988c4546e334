"""Energy recorded ahead of its measurement is settled by later energy; recorded energy never decreases."""

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.metering.attribution import policies
from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy
from energy_agent.metering.sharing.settlement import Resting, Settlement
from tests.support import examples

SM_TIME = next(p for p in policies() if p.name == "sm_time")
S = 10**9


def use_of(**weights):
    return DeviceUse(weights, measured=True)


def recorded_energy(turns):
    """(uJ, active, measured or None to use the last) each; what every holder got in all."""
    settlement, last, got = Settlement(), use_of(a=1, b=1), {}
    for uj, active, measured in turns:
        last = measured or last
        parts = settlement.divide(SM_TIME, SharedEnergy(uj, S, active), last, closes=measured is not None)
        assert sum(p.energy_uj for p in parts) == uj
        assert all(p.energy_uj >= 0 for p in parts)
        assert sum(settlement.owed_uj.values()) == 0
        for part in parts:
            got[part.workload] = got.get(part.workload, 0) + part.energy_uj
    return got, settlement


def test_a_window_is_shared_by_what_was_measured_over_it_and_not_by_the_measurement_before():
    quiet = [(100, True, use_of(a=1, b=1)), *[(100, True, None)] * 4]  # b gets half of what turns out to be a's
    got, settlement = recorded_energy([*quiet, (400, True, use_of(a=3, b=1))])
    assert got == {"a": 50 + 600, "b": 50 + 200}  # half of the first; of the window's 800 three quarters and one
    assert not any(settlement.owed_uj.values())


def test_a_debt_that_one_stretch_cannot_pay_is_paid_by_the_next_ones():
    turns = [(100, True, use_of(a=1, b=1)), *[(1000, True, None)] * 4, (10, True, use_of(a=1, b=0))]
    got, settlement = recorded_energy(turns)
    assert got == {"a": 50 + 2000 + 10, "b": 50 + 2000}  # too little came to make it good
    assert settlement.owed_uj == {"a": 2000, "b": -2000}
    got, settlement = recorded_energy([*turns, (5000, True, use_of(a=1, b=1))])
    assert got == {"a": 50 + 4010 + 2500, "b": 50 + 2500}
    assert not any(settlement.owed_uj.values())


def test_what_was_drawn_while_nothing_ran_is_no_part_of_a_window():
    got, _ = recorded_energy([(100, True, use_of(a=1, b=1)), (400, False, None), (100, True, use_of(a=1, b=0))])
    assert got == {"a": 50 + 200 + 100, "b": 50 + 200}


def test_a_holder_that_left_is_forgotten_and_debts_still_sum_to_nothing():
    settlement = Settlement(owed_uj={"a": 500, "b": -300, "gone": -200})
    parts = settlement.divide(SM_TIME, SharedEnergy(1000, S, True), use_of(a=1, b=1), closes=False)
    assert {p.workload: p.energy_uj for p in parts} == {"a": 800, "b": 200}
    assert settlement.owed_uj == {"a": 0, "b": 0}


@settings(deadline=None, max_examples=examples(300))
@given(st.lists(st.tuples(st.integers(1, 10**9), st.none() | st.tuples(*[st.integers(0, 9)] * 3)), min_size=1, max_size=30))
def test_over_time_every_holder_has_what_was_measured_of_it_but_for_what_is_owed(turns):
    turns = [*turns, (1, (1, 1, 1))]
    got, settlement = recorded_energy([(uj, True, w and use_of(a=w[0], b=w[1], c=w[2])) for uj, w in turns])
    right, window = dict.fromkeys("abc", 0.0), 0
    for uj, weights in turns:
        window += uj
        if weights is not None:
            for name, weight in zip("abc", weights, strict=True):
                right[name] += window * (weight / sum(weights) if any(weights) else 1 / 3)
            window = 0
    if "c" in got and turns[0][1] is not None:  # all three from the start
        for name in "abc":
            assert abs(got[name] + settlement.owed_uj.get(name, 0) - right[name]) <= 2 * len(turns)


def test_the_resting_power_is_the_least_that_was_seen_and_never_more_than_boards_have():
    """In milliwatts: 90 J in 1.5 s are 60 W."""
    resting = Resting()
    assert resting.power_mw(700_000) == 77_777
    resting.learn(500_000_000, 10**9)  # busy from the start
    assert resting.power_mw(700_000) == 77_777
    resting.learn(90_000_000, 1_500_000_000)
    assert resting.power_mw(700_000) == 60_000
