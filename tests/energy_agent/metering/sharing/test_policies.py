"""Each policy sums to what it divides, and divides as it says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Interval, Method, MigUse, State
from energy_agent.metering.attribution import Holding, Shape, known_of, policies, policy_for, shares
from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, Slice
from tests.support import examples

law = settings(deadline=None, max_examples=examples(200))
names = st.sampled_from("abcdef")
weights = st.dictionaries(names, st.integers(0, 10**9), min_size=1)
slices = st.lists(
    st.builds(
        Slice, st.integers(1, 4), st.integers(1, 132), st.none() | st.integers(0, 10**6), st.none() | weights | st.just({})
    ),
    max_size=7,
)
knowns = st.builds(
    DeviceUse, weights, st.booleans(), slices.map(tuple), st.just(7), st.integers(0, 200_000), st.sampled_from([0, 1, 10**6])
)
shared_energies = st.builds(SharedEnergy, st.integers(0, 10**13), st.integers(1, 10**11), st.none() | st.booleans())


def test_there_is_a_policy_for_each_kind_of_knowledge():
    assert [p.name for p in policies()] == ["exclusive", "sm_time", "equal", "mig_activity", "mig_slice"]
    assert len({p.rank for p in policies()}) == len(policies())
    assert all(p.help for p in policies())


@law
@given(knowns, shared_energies)
def test_a_policy_that_applies_divides_all_of_it(use, shared):
    for policy in policies():
        if policy.applies(use):
            parts = policy.divide(shared, use)
            assert sum(p.energy_uj for p in parts) == shared.energy_uj
            assert all(p.energy_uj >= 0 and p.time >= 0 for p in parts)
            assert sum(p.time for p in parts) > 0


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (DeviceUse({"a": 0}), "exclusive"),
        (DeviceUse({"a": 0, "b": 0}), "equal"),
        (DeviceUse({"a": 0, "b": 0}, measured=True), "sm_time"),
        (DeviceUse({"a": 5}, measured=True, unseen=1), "sm_time"),
        (DeviceUse({"a": 0}, slices=(Slice(1, 16, None, {"a": 0}),), slices_total=7), "mig_slice"),
        (DeviceUse({"a": 0}, slices=(Slice(1, 16, 0, {"a": 0}),), slices_total=7), "mig_activity"),
    ],
)
def test_the_policy_follows_from_what_is_known(use, name):
    assert policy_for(use).name == name
    assert policy_for(DeviceUse({})) is None


def interval(uj, *, seconds=1, active=None):
    return Interval("GPU-a", 10**18, 10**18 + seconds * 10**9, uj, Method.COUNTER, 0, active)


def energies(entries):
    return {(e.workload, e.state): e.energy_uj for e in entries}


def mig(*devices):
    """(uuid, slices, activity) each, and a base of 70 W."""
    return Shape(tuple(MigUse(u, n, 7, 16 * n, None if x is None else round(x * 1e6)) for u, n, x in devices), 70_000)


def test_mig_by_slice_gives_the_resting_power_to_all_slices_and_the_rest_to_the_held_ones():
    """At 70 W of rest and 370 W drawn: 10 W a slice for seven slices, 300 W by 3 : 1 for the held four."""
    holding = Holding({"a": 0, "b": 0}, slices={"M3": {"a": 0}, "M1": {"b": 0}, "M2": {}})
    entries = shares(interval(370_000_000), None, holding, shape=mig(("M3", 3, None), ("M1", 1, None), ("M2", 2, None)))
    assert energies(entries) == {
        ("a", State.ACTIVE): 255_000_000,
        ("b", State.ACTIVE): 85_000_000,
        ("", State.UNALLOCATED): 30_000_000,  # the two slices nobody holds, and the one that is in no instance
    }
    assert [e.gpu_ns for e in entries if e.workload] == [pytest.approx(3 / 7 * 1e9, abs=1), pytest.approx(1 / 7 * 1e9, abs=1)]


A, B = ("a", State.ACTIVE), ("b", State.ACTIVE)
A_IDLE, B_IDLE, STRANGER = ("a", State.IDLE), ("b", State.IDLE), ("", State.UNKNOWN_OWNER)
BOTH = {"M3": {"a": 0}, "M4": {"b": 0}}


@pytest.mark.parametrize(
    ("watts", "slices", "uses", "expected"),
    [
        (470, BOTH, [("M3", 3, 1.0), ("M4", 4, 0.25)], {A: 330, B: 140}),  # 48 and 16 SMs worked: 3 : 1
        (470, BOTH, [("M3", 3, 0.5), ("M4", 4, 0.0)], {A: 430, B_IDLE: 40}),  # who rests pays the rest
        (70, BOTH, [("M3", 3, 0.0), ("M4", 4, 0.0)], {A_IDLE: 30, B_IDLE: 40}),
        (470, BOTH | {"M4": None}, [("M3", 3, 0.5), ("M4", 4, 0.0)], {A: 430, STRANGER: 40}),
        (470, BOTH | {"M4": {}}, [("M3", 3, 0.0), ("M4", 4, 0.5)], {A_IDLE: 30, STRANGER: 440}),  # it worked, for whom?
        (470, {"M7": {"a": 0, "b": 0}}, [("M7", 7, 1.0)], {A: 235, B: 235}),
        (100, {"M1": {"a": 0}}, [("M1", 1, 1.0)], {A: 40, ("", State.UNALLOCATED): 60}),  # 70 W are no 70 mW and no 70 kW
    ],
)
def test_mig_by_activity_gives_what_is_above_the_rest_to_the_sms_that_worked(watts, slices, uses, expected):
    holding = Holding({name: 0 for owners in slices.values() if owners for name in owners}, slices=slices)
    for seconds in (1, 10):
        got = energies(shares(interval(watts * seconds * 10**6, seconds=seconds), None, holding, shape=mig(*uses)))
        assert got == {key: share * seconds * 10**6 for key, share in expected.items()}
    assert known_of(holding, mig(*uses)).base_mw == 70_000
    resized = Holding({"c": 0}, slices={"M7": {"c": 0}})  # afterwards: the earlier interval is shared by the old sizes
    assert energies(shares(interval(watts * 10**6), holding, resized, shape=mig(*uses))).keys() == expected.keys()


@pytest.mark.parametrize(
    ("weights", "active", "expected"),
    [
        ({"a": 900_000, "b": 100_000}, True, {A: 900_000, B: 100_000}),
        ({"a": 900_000, "b": 100_000}, False, {A_IDLE: 500_000, B_IDLE: 500_000}),  # no kernel ran
        ({"a": 1, "b": 0}, True, {A: 1_000_000, B: 0}),  # b claims the GPU and has no process
    ],
)
def test_sm_time_divides_what_was_drawn_while_a_kernel_ran(weights, active, expected):
    assert energies(shares(interval(1_000_000, active=active), None, Holding(weights, measured=True))) == expected


@pytest.mark.parametrize("owners", [2, 3, 7])
def test_the_energy_of_a_gpu_is_not_repeated_to_every_holder(owners):
    """The mistake of exporters that label a device's counter with each pod that shares it."""
    named = {f"pod-{n}": 1 for n in range(owners)}
    parts = tuple((f"M{n}", 1, 1.0) for n in range(owners))
    by_slice = Holding(named, slices={f"M{n}": {f"pod-{n}": 0} for n in range(owners)})
    for holding, shape in ((Holding(named, measured=True), Shape()), (Holding(named), Shape()), (by_slice, mig(*parts))):
        entries = shares(interval(300_000_000, active=True), None, holding, shape=shape)
        assert sum(e.energy_uj for e in entries) == 300_000_000
        assert max(e.energy_uj for e in entries if e.workload) < 300_000_000
