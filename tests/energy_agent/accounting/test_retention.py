"""Workloads that have ended leave memory, page and journal after the retention, and no sum changes by it."""

import contextlib
import shutil
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.accounting import recent_workloads
from energy_agent.accounting.accountant import FORGET_EVERY, Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.accounting.recent_workloads import ENDED_MAX, RecentWorkloads
from energy_agent.core.energy import Tokens, WorkloadFacts
from energy_agent.core.errors import JournalError
from energy_agent.core.saved_state import Component
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.tokens import TokenTotals
from energy_agent.ledger import chain
from energy_agent.ledger.journal import log
from energy_agent.ledger.journal.journal import Batch
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.owners.claims import Claim, Claims
from energy_agent.owners.processes import ProcessOwners
from energy_agent.owners.resolver import OwnerResolver
from tests.doubles.failing_files import FailingFiles
from tests.energy_agent.accounting.test_accountant import IDENTITY, SECOND, T0, UUIDS, Node
from tests.support import examples

RETENTION_S = 60


class RetainingNode(Node):
    """One board of 300 W, and processes that come and go on it; time is counted, not spent."""

    def __init__(self, folder, *schedulers):
        self.schedulers, self.started, self.bytes = schedulers, {}, []
        super().__init__(folder, retention_ns=RETENTION_S * SECOND)

    def open(self, **options):
        self.settings["joined"] = OwnerResolver(self.schedulers, 10**12)
        super().open(**options)

    def start(self, pid, unit):
        super().start(pid, unit)
        self.started[pid] = unit

    def end(self, pid):
        shutil.rmtree(self.procfs / str(pid))
        del self.started[pid]

    def second(self):
        for scheduler in self.schedulers:
            scheduler.now_ns = (self.now_s + 1) * SECOND + 10**12
        self.sweep(self.started, uuids=UUIDS[:1])
        batch = self.accountant.batch()
        self.bytes.append(len(log.encode(replace(batch, ended={}))))
        self.journal.commit(batch)
        self.accountant.committed()
        return self.snapshot()

    def seconds(self, count):
        for _ in range(count):
            snapshot = self.second()
        return snapshot

    def names(self):
        totals = self.journal.totals()
        return {workload for _, workload, *_ in totals.energy if workload} | {
            workload for workload, _ in totals.gpu_ns if workload
        }

    def verify(self):
        folder = [self.folder / "segments"] if (self.folder / "segments").exists() else []
        return chain.verify(folder, read_journal(self.folder / "journal.db")).faults


@pytest.fixture
def node(tmp_path):
    new_node = RetainingNode(tmp_path)
    yield new_node
    new_node.journal.close()


def device_uj(snapshot):
    (view,) = snapshot.devices
    return dict(view.energy_uj)


def test_an_ended_workload_leaves_the_journal_after_the_retention_and_no_total_changes(node):
    node.start(10, "job")
    node.seconds(10)
    node.end(10)
    for _ in range(RETENTION_S - 1):
        assert {w.workload for w in node.second().workloads} == {"job"}
    before = sum(node.journal.totals().energy.values())
    snapshot = node.seconds(2 * FORGET_EVERY)
    assert (snapshot.workloads, snapshot.facts, snapshot.workload_gpu_ns) == ((), (), {})
    assert node.names() == set()
    assert sum(node.journal.totals().energy.values()) == before + 2 * FORGET_EVERY * 300_000_000
    totals_uj = device_uj(snapshot)
    node.open()
    assert device_uj(node.second()) == {method: uj + 300_000_000 for method, uj in totals_uj.items()}
    assert node.verify() == ()


def test_facts_stay_until_the_last_row_of_a_workload_is_sealed(node):
    node.start(10, "job")
    node.seconds(5)
    node.end(10)
    node.seconds(RETENTION_S + FORGET_EVERY)
    assert [fact.workload for fact in node.journal.facts()] == ["job"]
    node.open()
    node.journal.seal(None)
    assert [fact.workload for fact in node.journal.facts()] == []
    (segment,) = (node.folder / "segments").iterdir()
    rows = chain.segment.read(segment).rows
    assert [row.workload for row in rows if isinstance(row, WorkloadFacts)] == ["job"]


def test_facts_that_changed_often_leave_with_the_rows_that_they_were_of(node):
    node.start(10, "service")
    for number in range(200):
        pid = 1000 + number
        node.start(pid, "other")
        node.second()
        node.end(pid)
        node.second()
    assert len(node.journal.facts()) > 200, "each change of the share policy is a fact"
    node.now_s += 7200
    node.seconds(3)
    node.journal.seal(T0 + node.now_s * SECOND)
    assert len(node.journal.facts()) <= 4


def test_bytes_per_commit_and_rows_of_the_journal_do_not_grow_with_ended_workloads(node):
    node.start(1, "service")
    node.seconds(30)
    quiet = max(node.bytes[-20:])
    for number in range(600):
        node.start(100 + number, f"job-{number}")
        node.second()
        node.end(100 + number)
    churning = sorted(node.bytes[-300:])[150]
    assert churning < quiet + 2_000
    assert len(node.names()) <= RETENTION_S + 2 * FORGET_EVERY
    assert len(node.journal.states()) <= RETENTION_S + 10
    assert len(node.snapshot().facts) <= RETENTION_S + 2
    node.seconds(RETENTION_S + FORGET_EVERY)
    assert max(node.bytes[-20:]) < quiet + 20
    assert node.names() == {"service"}


def test_a_workload_that_returns_begins_again_at_0_and_keeps_its_facts(node):
    node.start(10, "job")
    node.seconds(10)
    node.end(10)
    node.seconds(RETENTION_S + 2 * FORGET_EVERY)
    node.start(11, "job")
    snapshot = node.second()
    assert {w.energy_uj for w in snapshot.workloads} == {0}
    snapshot = node.seconds(4)
    assert sum(w.energy_uj for w in snapshot.workloads) == 4 * 300_000_000
    assert [fact.workload for fact in snapshot.facts] == ["job"]
    node.journal.seal(None)
    assert node.verify() == ()
    assert {fact.workload for fact in node.journal.facts()} == {"job"}
    node.open()
    assert sum(w.energy_uj for w in node.snapshot().workloads) == 4 * 300_000_000


def test_a_process_that_lives_on_without_a_gpu_is_not_forgotten(node):
    node.start(10, "job")
    node.seconds(10)
    unit = node.started.pop(10)  # the process releases the GPU and keeps running
    node.seconds(RETENTION_S + 3 * FORGET_EVERY)
    assert node.snapshot().workloads == ()
    node.started[10] = unit
    snapshot = node.seconds(2)
    assert [fact.workload for fact in snapshot.facts] == ["job"]
    assert sum(w.energy_uj for w in snapshot.workloads) == 11 * 300_000_000


def test_of_too_many_that_ended_the_first_leave_before_their_time_and_holders_never(node):
    for pid in range(ENDED_MAX + 50):
        node.start(10 + pid, f"job-{pid:05}")
    node.seconds(2)
    for pid in range(50):
        node.end(10 + pid)
    node.second()
    for pid in range(50, ENDED_MAX + 20):
        node.end(10 + pid)
    workloads = {w.workload for w in node.second().workloads}
    assert workloads == {f"job-{pid:05}" for pid in range(20, ENDED_MAX + 50)}


def test_many_containers_that_end_do_not_end_the_workloads_of_units_early(node, monkeypatch):
    monkeypatch.setattr(recent_workloads, "ENDED_MAX", 40)
    units = [f"job-{number}" for number in range(5)]
    for pid, unit in enumerate(units, 10):
        node.start(pid, unit)
    node.second()
    for pid in list(node.started):
        node.end(pid)
    node.second()
    for pid in range(100, 150):
        node.start(pid, "")
        (node.procfs / f"{pid}/cgroup").write_text(f"0::/system.slice/docker-{f'{pid:012x}'.ljust(64, '0')}.scope\n")
    node.second()
    for pid in list(node.started):
        node.end(pid)
    workloads = {w.workload for w in node.second().workloads}
    assert set(units) <= workloads
    assert len(workloads) == 40


def test_of_too_many_that_ended_those_of_the_owner_with_the_most_leave():
    last = RecentWorkloads(900 * NS_PER_S)
    honest = [f"pod-{i}" for i in range(20)]
    last.see(honest, 0)
    for t in range(1, 900):
        last.see([f"x{t}-{k}.scope@1000" for k in range(20)], t * NS_PER_S)
        remaining = last.forget_ended(t * NS_PER_S, (), lambda workload: workload.partition("@")[2])
        assert set(honest) <= set(remaining)
        assert len(remaining) == min(20 * (t + 1), ENDED_MAX)
    assert {w for w in remaining if w.startswith("x899-")} == {f"x899-{k}.scope@1000" for k in range(20)}
    # Two with as many: each pays with its first.
    last = RecentWorkloads(900 * NS_PER_S)
    for t in range(ENDED_MAX):
        last.see([f"a-{t:05}", f"b-{t:05}"], t)
    remaining = last.forget_ended(ENDED_MAX, (), lambda workload: workload[0])
    assert set(remaining) == {f"{owner}-{t:05}" for owner in "ab" for t in range(ENDED_MAX // 2, ENDED_MAX)}


def test_the_clock_set_back_makes_an_ended_workload_stay_for_one_retention(node):
    node.start(10, "job")
    node.seconds(5)
    node.end(10)
    node.second()
    last_s, node.now_s = node.now_s, -3600
    assert {w.workload for w in node.snapshot().workloads} == {"job"}
    node.now_s += RETENTION_S + 1
    assert node.snapshot().workloads == ()
    node.now_s = last_s


def test_workloads_of_a_journal_that_kept_them_all_leave_when_it_is_opened(node):
    for pid in range(10, 40):
        node.start(pid, f"job-{pid}")
        node.second()
        node.end(pid)
    node.second()
    kept = dict.fromkeys(node.journal.states()[Component.ENDED_WORKLOADS], "") | {"job-39": str(T0 + node.now_s * SECOND)}
    node.journal.commit(Batch(states={Component.ENDED_WORKLOADS: kept}))
    node.open()
    assert {w.workload for w in node.snapshot().workloads} == {"job-39"}
    before = sum(node.journal.totals().energy.values())
    node.seconds(FORGET_EVERY)
    assert node.names() <= {"job-39"}
    assert sum(node.journal.totals().energy.values()) == before + FORGET_EVERY * 300_000_000
    assert Component.ENDED_WORKLOADS not in node.journal.states()
    assert node.verify() == ()


def test_energy_by_namespace_that_cannot_be_read_is_named(node):
    node.second()
    for key in ("no", "[1]", '["a","b","c"]', '{"a":"b"}'):
        fresh = Accountant(IDENTITY, ProcessOwners(node.procfs), SensorFor(2_500_000_000), {}, 0.05)
        states = node.journal.states() | {Component.ENDED_ENERGY: {key: "1"}}
        assert fresh.restore(states, node.journal.totals(), (), T0) == ["energy of ended workloads by namespace and owner"]


class Scheduler:
    """Gives the board to pods."""

    def __init__(self):
        self.pods, self.now_ns = {}, 0

    def claims(self):
        return Claims(self.now_ns, tuple(self.pods.values()))

    def health(self):
        return ()

    def stop(self):
        return None


def claim(number):
    labels = {"namespace": ("ml", "web", "")[number % 3], "pod": f"p{number}", "owner": f"Job/{number // 2}"}
    return Claim("GPU-a", WorkloadFacts(f"{labels['namespace']}/p{number}", 0, "pod", labels))


def rows_of(folder):
    """Return energy by workload over all rows ever recorded."""
    energy = Counter()
    for located in read_rows(folder):
        if isinstance(located.row, Cell) and located.row.workload:
            energy[located.row.workload] += located.row.energy_uj
    return energy


moves = st.one_of(
    st.tuples(st.sampled_from(["start", "end"]), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, RETENTION_S, RETENTION_S + 2 * FORGET_EVERY])),
    st.tuples(st.sampled_from(["restart", "seal", "die while sealing"]), st.integers(0, 2)),
)


@given(st.lists(moves, max_size=14))
@settings(max_examples=examples(30, quick=10), deadline=None)
def test_whatever_ends_returns_and_restarts_all_sums_are_those_of_what_was_measured(tmp_path_factory, sequence):
    scheduler = Scheduler()
    node = RetainingNode(tmp_path_factory.mktemp("node"), scheduler)
    snapshot = node.second()
    try:
        for move, value in [*sequence, ("wait", 1)]:
            if move == "start":
                scheduler.pods[value] = claim(value)
            elif move == "end":
                scheduler.pods.pop(value, None)
            elif move == "restart":
                node.open()
            elif move == "seal":
                node.journal.seal(None)
            elif move == "die while sealing":
                node.open(files=FailingFiles(value))
                with contextlib.suppress(JournalError):
                    node.journal.seal(None)
                node.open()
            for _ in range(value if move == "wait" else 1):
                before, snapshot = snapshot, node.second()
                for name in ("namespace_uj", "owner_uj"):
                    after = getattr(snapshot, name)
                    assert all(uj <= after[key] for key, uj in getattr(before, name).items()), "no counter falls"
        by_method = Counter()
        for (_, _, _, method), uj in node.journal.totals().energy.items():
            by_method[method] += uj
        assert device_uj(snapshot) == by_method
        assert sum(by_method.values()) == (node.now_s - 1) * 300_000_000
        assert node.verify() == ()
        of_namespace, of_owner = Counter(), Counter()
        for workload, uj in rows_of(node.folder).items():
            (labels,) = [c.facts.labels for c in map(claim, range(6)) if c.workload == workload]
            of_owner[labels["namespace"], labels["owner"]] += uj
            of_namespace[labels["namespace"]] += uj if labels["namespace"] else 0
        assert +Counter(snapshot.namespace_uj) == +of_namespace
        assert +Counter(snapshot.owner_uj) == +of_owner
    finally:
        node.journal.close()


def test_a_gateway_is_kept_while_its_page_is_polled_and_for_the_retention_after(node):
    def poll(*pages, tokens=0):
        now_ns = T0 + node.now_s * SECOND
        node.accountant.add_tokens([Tokens(now_ns, now_ns, "gateway", "m", "prompt", tokens)] if tokens else [], {}, pages)
        return {(count.workload, count.tokens) for count in node.second().tokens}

    page = TokenTotals(T0, "gateway", "m", "", "", "gateway http://x", {"requests": 1})  # it has not answered since
    poll(page, tokens=5)
    for _ in range(RETENTION_S + 2 * FORGET_EVERY):
        assert poll(page) == {("gateway", 5)}
    for _ in range(RETENTION_S):
        assert poll() == {("gateway", 5)}
    node.seconds(2 * FORGET_EVERY)
    assert poll() == set()
    assert node.verify() == ()
