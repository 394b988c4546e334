"""What /metrics shows is, whatever came in whatever order, the sum of what was committed; and the same after a restart."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.accounting.owner_energy import OTHER_OWNERS, OWNERS_MAX
from energy_agent.accounting.totals import NAMESPACES_MAX, RecordedTotals
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


class Node:
    """What the journal has, and whose it is."""

    def __init__(self):
        self.book = Book()
        self.recorded = RecordedTotals(Totals(**self.book.totals.sums))

    def commit(self, *entries, tokens=(), steps=(), ended=()):
        states = self.recorded.states_without(ended)
        self.book.add(Batch(entries=entries, tokens=tokens, steps=steps, ended=dict.fromkeys(ended, T0)))
        named = self.recorded.find_full(tokens, steps)
        self.recorded.forget()
        return states, named

    @property
    def sums(self):
        return self.recorded.sums()


@given(steps)
def test_sums_are_those_of_all_that_was_committed(sequence):
    node, first, entries, tokens, done = Node(), {}, [], [], []
    for step in sequence:
        if isinstance(step, WorkloadFacts):
            before = node.sums.namespace_uj
            node.recorded.learn(step)
            after = node.sums.namespace_uj
            assert all(after[namespace] >= uj for namespace, uj in before.items()), "joules move between namespaces"
            if step.labels:
                first.setdefault(step.workload, step)
        elif isinstance(step, tuple):
            node.recorded.see(*step)
        else:
            node.book.add(step)
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
    again = RecordedTotals.of(Totals(**node.book.totals.sums), first.values(), {})
    for sums in (node.sums, again.sums()):
        recorded_uj = Counter()
        for device, device_totals in sums.devices.items():
            assert sum(device_totals.by_method.values()) == by_device[device]
            recorded_uj[device] = device_totals.unallocated + sum(device_totals.unattributed.values())
        for w in sums.energy(WORKLOADS, {"GPU-a", "GPU-b"}):
            assert w.energy_uj == by_workload[w.workload, w.device, w.state, w.method]
            recorded_uj[w.device] += w.energy_uj
        assert recorded_uj == by_device  # so nothing of a device is left out
        assert +Counter(sums.namespace_uj) == +by_namespace
        assert +Counter(sums.gpu_ns(WORKLOADS)) == +gpu_ns
        assert sum(t.tokens for t in sums.tokens({"w1", "w2"})) == sum(t.tokens for t in tokens)
        assert sum(s.steps for s in sums.steps({"w1", "w2"})) == sum(s.steps for s in done)


def test_an_ended_workloads_tokens_go_with_its_energy_and_a_gateways_stay():
    node = Node()
    node.recorded.see("GPU-a", "w1")
    node.commit(tokens=[_tokens("w1"), _tokens("gateway")])
    assert {t.workload for t in node.sums.tokens({"w1"})} == {"w1", "gateway"}
    assert {t.workload for t in node.sums.tokens(())} == {"gateway"}
    assert [w.energy_uj for w in node.sums.energy(["w1"], ["GPU-a"])] == [0, 0]
    assert node.sums.gpu_ns(["w1"]) == {("w1", State.ACTIVE): 0, ("w1", State.IDLE): 0}


def _tokens(workload):
    return Tokens(T0, T0 + 1, workload, "m", "prompt", 3)


def pod(workload, owner, namespace="ml"):
    labels = {"namespace": namespace} | ({"owner": owner} if owner else {})
    return WorkloadFacts(workload, T0, "pod", labels)


def used(workload, uj, device="GPU-a"):
    return Entry(T0, T0 + 1, device, workload, State.ACTIVE, Method.COUNTER, uj, 0, 1)


def test_an_owner_has_the_energy_of_all_its_pods_and_never_loses_any():
    node = Node()
    node.commit(used("a", 5))
    node.recorded.learn(pod("a", ""))
    node.recorded.learn(pod("a", "Job/train"))  # known late: what was used before is its own too
    node.recorded.learn(pod("b", "Job/train"))
    node.recorded.learn(pod("c", "Job/train", "other"))
    node.commit(used("a", 1), used("b", 10), used("c", 100), used("a", 1000, "host:chassis"))
    node.recorded.learn(pod("b", "Job/adopted"))
    node.commit(used("b", 20))
    assert node.sums.owner_uj == {("ml", "Job/train"): 36, ("other", "Job/train"): 100}


def test_owners_beyond_the_bound_are_together_and_nothing_is_lost():
    node = Node()
    for number in range(OWNERS_MAX + 5):
        node.recorded.learn(pod(f"w{number}", f"Job/j{number}"))
    node.commit(*(used(f"w{number}", 7) for number in range(OWNERS_MAX + 5)))
    node.recorded.learn(pod("again", "Job/j3"))
    node.commit(used("again", 1))
    owner_uj = node.sums.owner_uj
    assert len(owner_uj) == OWNERS_MAX + 1
    assert owner_uj["ml", OTHER_OWNERS] == 5 * 7
    assert owner_uj["ml", "Job/j3"] == 8
    assert sum(owner_uj.values()) == node.sums.namespace_uj["ml"]


def test_namespaces_beyond_the_bound_are_together_and_no_sum_changes_when_their_workloads_are_forgotten():
    node, names = Node(), [f"w{number}" for number in range(NAMESPACES_MAX + 5)]
    for number, name in enumerate(names):
        node.recorded.learn(pod(name, "", f"ns{number}"))
    node.commit(*(used(name, 7) for name in names))
    before = node.sums.namespace_uj
    assert len(before) == NAMESPACES_MAX + 1
    assert before[OTHER_OWNERS] == 5 * 7
    states, _ = node.commit(ended=names)
    assert node.sums.namespace_uj == before
    assert set(node.recorded.workloads()) == set()
    assert RecordedTotals.of(Totals(), (), states).sums().namespace_uj == before


def test_the_owners_of_one_namespace_take_no_place_of_another_and_no_joule_is_lost():
    node = Node()
    node.recorded.learn(pod("early", "Job/early", "small"))
    node.commit(used("early", 5))
    for number in range(2 * OWNERS_MAX):
        node.recorded.learn(pod(f"w{number}", f"Job/j{number}", "large"))
        node.commit(used(f"w{number}", 1))
        node.commit(ended=[f"w{number}"])
    node.recorded.learn(pod("late", "Job/late", "small"))
    node.commit(used("late", 7), used("early", 1))
    owner_uj = node.sums.owner_uj
    assert owner_uj["small", "Job/early"] == 6
    assert owner_uj["small", "Job/late"] == 7
    assert sum(uj for (namespace, _), uj in owner_uj.items() if namespace == "large") == 2 * OWNERS_MAX
    assert ("large", f"Job/j{2 * OWNERS_MAX - 1}") in owner_uj  # those that ended first made room
    assert ("large", "Job/j0") not in owner_uj


@given(st.lists(st.sampled_from([1, 1 << 53, INT64_MAX]), max_size=6))
def test_a_count_stops_at_the_largest_that_the_ledger_stores_and_is_named_once(amounts):
    node, named = Node(), []
    for amount in amounts:
        tokens, steps = [Tokens(T0, T0, "w1", "m", "training", amount)], [Steps(T0, T0, "w2", "training", amount)]
        named += node.commit(tokens=tokens, steps=steps)[1]
    expected = min(sum(amounts), INT64_MAX)
    assert [count.tokens for count in node.sums.tokens(["w1"])] == [expected][: len(amounts)]
    assert [count.steps for count in node.sums.steps(["w2"])] == [expected][: len(amounts)]
    assert sorted(named) == (["w1", "w2"] if sum(amounts) >= INT64_MAX else [])
    again = RecordedTotals.of(node.recorded.totals, (), {})
    assert again.find_full([Tokens(T0, T0, "w1", "m", "training", 1)], ()) == set(), "named before a restart too"
