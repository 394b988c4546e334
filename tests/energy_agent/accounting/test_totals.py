"""What /metrics shows is, whatever came in whatever order, the sum of what was committed; and the same after a restart."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.accounting.owner_energy import OTHER_OWNERS, OWNERS_MAX
from energy_agent.accounting.totals import NAMESPACES_MAX, Booked
from energy_agent.core.energy import Entry, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.ledger.rows.totals import Totals
from tests.energy_agent.ledger.cases import T0, batches

WORKLOADS = ("w1", "w2", "éà\n")
facts = st.builds(
    WorkloadFacts,
    st.sampled_from(WORKLOADS),
    st.just(T0),
    st.just("pod"),
    st.sampled_from([{}, {"namespace": "a"}, {"namespace": "b"}]),
)
steps = st.lists(
    st.one_of(batches, facts, st.tuples(st.sampled_from(["GPU-a", "GPU-b"]), st.sampled_from(WORKLOADS))), max_size=8
)


@given(steps)
def test_sums_are_those_of_all_that_was_committed(sequence):
    booked, book, first, entries, tokens, done = Booked(), Book(), {}, [], [], []
    for step in sequence:
        if isinstance(step, WorkloadFacts):
            before = dict(booked.namespace_uj)
            booked.learn(step)
            assert all(booked.namespace_uj[namespace] >= uj for namespace, uj in before.items()), (
                "joules move between namespaces"
            )
            if step.labels:
                first.setdefault(step.workload, step)
        elif isinstance(step, tuple):
            booked.see(*step)
        else:
            booked.add(step.entries, step.gaps, step.tokens, step.steps)
            book.add(step)
            entries += step.entries
            tokens += step.tokens
            done += step.steps
    by_device = Counter()
    by_workload, by_namespace, gpu_ns = Counter(), Counter(), Counter()
    for e in entries:
        by_device[e.device] += e.energy_uj
        if e.workload:
            by_workload[e.workload, e.device, e.state, e.method] += e.energy_uj
            gpu_ns[e.workload, e.state] += e.gpu_ns
            if e.workload in first:
                by_namespace[first[e.workload].labels["namespace"]] += e.energy_uj
    again = Booked.of(Totals(**book.totals.sums), first.values(), {})
    for found in (booked, again):
        held = Counter()
        for device, own in found.devices.items():
            assert sum(own.by_method.values()) == by_device[device]
            held[device] = own.unheld + sum(own.unattributed.values())
        for w in found.energy(WORKLOADS, {"GPU-a", "GPU-b"}):
            assert w.energy_uj == by_workload[w.workload, w.device, w.state, w.method]
            held[w.device] += w.energy_uj
        assert held == by_device  # so nothing of a device is left out
        assert +Counter(found.namespace_uj) == +by_namespace
        assert +Counter(found.gpu_ns(WORKLOADS)) == +gpu_ns
        assert sum(t.tokens for t in found.tokens({"w1", "w2"})) == sum(t.tokens for t in tokens)
        assert sum(s.steps for s in found.steps({"w1", "w2"})) == sum(s.steps for s in done)


def test_an_ended_workloads_tokens_go_with_its_energy_and_a_gateways_stay():
    booked = Booked()
    booked.see("GPU-a", "w1")
    batch = Batch(tokens=[_tokens("w1"), _tokens("gateway")])
    booked.add((), (), batch.tokens)
    assert {t.workload for t in booked.tokens({"w1"})} == {"w1", "gateway"}
    assert {t.workload for t in booked.tokens(())} == {"gateway"}
    assert [w.energy_uj for w in booked.energy(["w1"], ["GPU-a"])] == [0, 0]
    assert booked.gpu_ns(["w1"]) == {("w1", State.ACTIVE): 0, ("w1", State.IDLE): 0}


def _tokens(workload):
    return Tokens(T0, T0 + 1, workload, "m", "prompt", 3)


def pod(workload, owner, namespace="ml"):
    labels = {"namespace": namespace} | ({"owner": owner} if owner else {})
    return WorkloadFacts(workload, T0, "pod", labels)


def used(workload, uj, device="GPU-a"):
    return Entry(T0, T0 + 1, device, workload, State.ACTIVE, Method.COUNTER, uj, 0, 1)


def test_an_owner_has_the_energy_of_all_its_pods_and_never_loses_any():
    booked = Booked()
    booked.add([used("a", 5)], (), ())
    booked.learn(pod("a", ""))
    booked.learn(pod("a", "Job/train"))  # known late: what was used before is its own too
    booked.learn(pod("b", "Job/train"))
    booked.learn(pod("c", "Job/train", "other"))
    booked.add([used("a", 1), used("b", 10), used("c", 100), used("a", 1000, "host:chassis")], (), ())
    booked.learn(pod("b", "Job/adopted"))
    booked.add([used("b", 20)], (), ())
    assert booked.owner_uj == {("ml", "Job/train"): 36, ("other", "Job/train"): 100}


def test_owners_beyond_the_bound_are_together_and_nothing_is_lost():
    booked = Booked()
    for number in range(OWNERS_MAX + 5):
        booked.learn(pod(f"w{number}", f"Job/j{number}"))
        booked.add([used(f"w{number}", 7)], (), ())
    booked.learn(pod("again", "Job/j3"))
    booked.add([used("again", 1)], (), ())
    assert len(booked.owner_uj) == OWNERS_MAX + 1
    assert booked.owner_uj["ml", OTHER_OWNERS] == 5 * 7
    assert booked.owner_uj["ml", "Job/j3"] == 8
    assert sum(booked.owner_uj.values()) == booked.namespace_uj["ml"]


def test_namespaces_beyond_the_bound_are_together_and_no_sum_changes_when_their_workloads_are_forgotten():
    booked = Booked()
    for number in range(NAMESPACES_MAX + 5):
        booked.learn(pod(f"w{number}", "", f"ns{number}"))
        booked.add([used(f"w{number}", 7)], (), ())
    assert len(booked.namespace_uj) == NAMESPACES_MAX + 1
    assert booked.namespace_uj[OTHER_OWNERS] == 5 * 7
    before = dict(booked.namespace_uj)
    states = booked.states_without([f"w{number}" for number in range(NAMESPACES_MAX + 5)])
    booked.forget([f"w{number}" for number in range(NAMESPACES_MAX + 5)])
    assert booked.namespace_uj == before
    assert Booked.of(Totals(), (), states).namespace_uj == before


def test_the_owners_of_one_namespace_take_no_place_of_another_and_no_joule_is_lost():
    booked = Booked()
    booked.learn(pod("early", "Job/early", "small"))
    booked.add([used("early", 5)], (), ())
    for number in range(2 * OWNERS_MAX):
        booked.learn(pod(f"w{number}", f"Job/j{number}", "large"))
        booked.add([used(f"w{number}", 1)], (), ())
        booked.forget([f"w{number}"])
    booked.learn(pod("late", "Job/late", "small"))
    booked.add([used("late", 7), used("early", 1)], (), ())
    assert booked.owner_uj["small", "Job/early"] == 6
    assert booked.owner_uj["small", "Job/late"] == 7
    assert sum(uj for (namespace, _), uj in booked.owner_uj.items() if namespace == "large") == 2 * OWNERS_MAX
    assert ("large", f"Job/j{2 * OWNERS_MAX - 1}") in booked.owner_uj  # those that ended first made room
    assert ("large", "Job/j0") not in booked.owner_uj


@given(st.lists(st.sampled_from([1, 1 << 53, INT64_MAX]), max_size=6))
def test_a_count_stops_at_the_largest_that_the_ledger_stores_and_is_named_once(amounts):
    booked, named = Booked(), []
    for amount in amounts:
        named += booked.add([], [], [Tokens(T0, T0, "w1", "m", "training", amount)], [Steps(T0, T0, "w2", "training", amount)])
    expected = min(sum(amounts), INT64_MAX)
    assert [count.tokens for count in booked.tokens(["w1"])] == [expected][: len(amounts)]
    assert [count.steps for count in booked.steps(["w2"])] == [expected][: len(amounts)]
    assert sorted(named) == (["w1", "w2"] if sum(amounts) >= INT64_MAX else [])
