"""Attribution conserves whole microjoules for any allocation, and proves the energy that it assigns to a workload."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Interval, Method, MigUse, State
from energy_agent.metering.attribution import Holding, Shape, shares
from tests.support import examples

ALL = 1_000_003
law = settings(deadline=None, max_examples=examples(200))
names = st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=8)
holdings = st.none() | st.builds(
    Holding, st.dictionaries(names, st.integers(0, 10**6), max_size=6), st.just(True), unseen=st.just(0) | st.integers(0, 10**7)
)
intervals = st.builds(
    Interval,
    device=st.just("GPU-a"),
    start_ns=st.just(10**18),
    end_ns=st.integers(10**18 + 1, 10**18 + 10**13),
    energy_uj=st.integers(0, 10**15),
    method=st.sampled_from(Method),
    edge_uj=st.integers(0, 10**9),
    active=st.none() | st.booleans(),
)


@law
@given(intervals, holdings, holdings, st.sampled_from([State.STARTING, State.UNKNOWN_OWNER]))
def test_energy_edges_and_time_are_conserved_exactly(interval, before, after, reason):
    entries = shares(interval, before, after, reason)
    assert sum(e.energy_uj for e in entries) == interval.energy_uj
    assert sum(e.edge_uj for e in entries) == interval.edge_uj
    owned_entries = [e for e in entries if e.workload]
    assert sum(e.gpu_ns for e in owned_entries) == (interval.end_ns - interval.start_ns if owned_entries else 0)
    for entry in entries:
        assert (entry.start_ns, entry.end_ns, entry.device) == (interval.start_ns, interval.end_ns, "GPU-a")
        assert entry.method is interval.method
        assert min(entry.energy_uj, entry.edge_uj, entry.gpu_ns) >= 0
        assert bool(entry.workload) == (entry.state in {State.ACTIVE, State.IDLE})


@law
@given(intervals, holdings, holdings)
def test_every_holder_has_a_row_of_its_own(interval, before, after):
    entries = shares(interval, before, after)
    assert len({e.workload for e in entries}) == len(entries)
    if before is not None and before.weights and interval.method is not Method.BRIDGED:
        assert {e.workload for e in entries if e.workload} == set(before.weights)


@law
@given(intervals, holdings, holdings)
@example(
    Interval("GPU-a", 10**18, 10**18 + 10**9, 7, Method.COUNTER, 0, True), Holding({"a": 0}, True, unseen=1), Holding({}, True)
)
def test_energy_of_unseen_sm_time_is_unattributed(interval, before, after):
    """Whatever others do, no holder pays more than its part of all SM time that was measured."""
    interval = replace(interval, method=Method.COUNTER, active=True)
    measured = before if after is None or before is None or not set(after.weights) >= set(before.weights) else after
    holding = before or after
    if holding is None or not holding.weights:
        return
    measured = measured or after
    total = sum(measured.weights[name] for name in holding.weights) + measured.unseen
    unseen = [e.energy_uj for e in shares(interval, before, after) if e.state is State.UNKNOWN_OWNER]
    assert unseen == ([pytest.approx(interval.energy_uj * measured.unseen / total, abs=1)] if measured.unseen else [])


def interval(method=Method.COUNTER, *, active=True, uj=ALL):
    return Interval("GPU-a", 10**18, 10**18 + 10**9, uj, method, 50, active)


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        (Holding({"a": 0}), Holding({"a": 0}), State.ACTIVE),
        (Holding({"a": 0}), Holding({"b": 0}), State.GAP),
        (Holding({"a": 0}), Holding({"a": 0, "b": 0}), State.GAP),
        (Holding({"a": 0, "b": 0}), Holding({"a": 0}), State.GAP),
        (Holding({"a": 5}), Holding({"a": 9}), State.ACTIVE),  # weights may change, holders may not
        (Holding({}), Holding({}), State.GAP),  # whatever ran in between was nobody's idle time
        (Holding({}), Holding({"a": 0}), State.GAP),
        (None, Holding({"a": 0}), State.GAP),
        (None, Holding({}), State.GAP),
        (Holding({"a": 0}), None, State.STARTING),
    ],
)
def test_bridged_energy_stays_only_with_a_holder_proven_at_both_ends(before, after, state):
    assert {e.state for e in shares(interval(Method.BRIDGED), before, after)} == {state}


@law
@given(intervals, holdings, holdings, st.booleans())
def test_over_a_gap_nothing_is_proven_idle(interval, before, after, same):
    entries = shares(replace(interval, method=Method.BRIDGED), before, before if same else after)
    assert not {State.UNALLOCATED, State.IDLE} & {entry.state for entry in entries}


@pytest.mark.parametrize("active_ppm", [None, 0, 500_000])
def test_mig_energy_without_owner_at_both_ends_of_a_gap_is_unattributed(active_ppm):
    shape = Shape((MigUse("MIG-1", 3, 7, 60, active_ppm), MigUse("MIG-2", 2, 7, 40, active_ppm)), 70_000)
    holding = Holding({"a": 0}, slices={"MIG-1": {"a": 0}, "MIG-2": {}})
    over_a_gap = shares(interval(Method.BRIDGED), holding, holding, shape=shape)
    assert {e.workload for e in over_a_gap if e.state is State.ACTIVE} == {"a"}
    assert not {State.UNALLOCATED, State.IDLE} & {e.state for e in over_a_gap}
    assert sum(e.energy_uj for e in over_a_gap) == ALL
    assert State.GAP in {e.state for e in over_a_gap}
    assert State.UNALLOCATED in {e.state for e in shares(interval(), holding, holding, shape=shape)}


A, A_OR_B = {"a": 0}, [("a", State.ACTIVE, 750_002), ("b", State.ACTIVE, 250_001)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # Who held at the start
        (Holding({"old": 0}), Holding({"new": 0}), [("old", State.ACTIVE, ALL)]),
        (Holding({}), Holding({"new": 0}), [("", State.UNALLOCATED, ALL)]),
        (None, Holding({"new": 0}), [("new", State.ACTIVE, ALL)]),  # the agent has just started
        (Holding({"a": 0}), Holding({"a": 77}), [("a", State.ACTIVE, ALL)]),
        (None, None, [("", State.STARTING, ALL)]),
        # By the SM time that was measured over the interval, equally without it
        (Holding({"a": 1, "b": 1}), Holding({"a": 3, "b": 1, "c": 4}), A_OR_B),
        (None, Holding({"a": 30, "b": 10}), A_OR_B),
        (None, Holding({"b": 0, "a": 0}), [("a", State.ACTIVE, 500_002), ("b", State.ACTIVE, 500_001)]),
    ],
)
def test_energy_goes_to_owners_at_the_start_by_measured_weights(before, after, expected):
    entries = shares(interval(), before, after)
    assert [(e.workload, e.state, e.energy_uj) for e in entries] == expected
    assert sum(e.gpu_ns for e in entries) == (10**9 if expected[0][0] else 0)


@pytest.mark.parametrize(
    ("active", "holding", "state"),
    [(True, A, State.ACTIVE), (False, A, State.IDLE), (None, A, State.ACTIVE), (True, None, State.UNKNOWN_OWNER)],
)
def test_idle_has_to_be_proven_and_an_unknown_holder_is_named_by_its_reason(active, holding, state):
    (entry,) = shares(interval(active=active), holding and Holding(holding), None, State.UNKNOWN_OWNER)
    assert entry.state is state
