"""Token totals of inference servers: shown once committed, summed over a workload's endpoints, and a label of the workload."""

from dataclasses import replace
from pathlib import Path

from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.accounting.token_totals import TokenTotalsStore
from energy_agent.core.energy import Identity, Tokens, WorkloadFacts
from energy_agent.core.saved_state import Component
from energy_agent.core.snapshot import LedgerStats
from energy_agent.core.workloads.tokens import Latencies, TokenTotals
from energy_agent.exposition.openmetrics import Format, render
from energy_agent.ledger.journal.journal import Journal
from energy_agent.owners.processes import ProcessOwners

ONE = TokenTotals(
    10, "chat", "m", "g", "fp8", "chat a", {"requests": 3, "steps": 5}, 1, 0, itl=Latencies((0.1, 1.0), (4, 1, 0), 1.0)
)
TWO = replace(
    ONE, t_ns=20, source="chat b", counts={"requests": 4}, running=None, waiting=2, itl=Latencies((0.5, 1.0), (1, 1, 1), 9.0)
)


def test_nothing_is_shown_before_it_is_committed() -> None:
    served = TokenTotalsStore()
    served.add([ONE])
    assert served.totals({"chat"}) == ()
    served.committed()
    served.add([replace(ONE, counts={"requests": 9, "steps": 9})])
    assert served.totals({"chat"}) == (ONE,)


def test_pages_of_a_workload_are_one() -> None:
    served = TokenTotalsStore()
    served.add([ONE, TWO, replace(ONE, model="other"), replace(ONE, workload="else", source="else a")])
    served.committed()
    totals = {(t.workload, t.model): t for t in served.totals({"chat", "else"})}
    assert set(totals) == {("chat", "m"), ("chat", "other"), ("else", "m")}
    both = totals["chat", "m"]
    assert both.counts == {"requests": 7, "steps": 5}
    assert (both.running, both.waiting, both.t_ns) == (1, 2, 20)
    assert both.itl == Latencies((1.0,), (7, 1), 10.0)
    assert [t.workload for t in served.totals({"else"})] == ["else"]
    assert {t.workload for t in served.totals({"chat", "else"})} == {"else"}  # forgotten


def test_server_labels_are_added_to_reported_labels() -> None:
    served = TokenTotalsStore()
    fact = WorkloadFacts("chat", 1, "pod", {"namespace": "ns", "precision": "int4"})
    assert served.labelled([fact]) == [fact]
    assert served.add([ONE]) == ["chat"]
    assert served.add([ONE]) == []
    assert served.labelled([fact])[0].labels == {"namespace": "ns", "precision": "int4", "model": "m", "group": "g"}
    # A workload with two models has no one of them.
    assert served.add([ONE, replace(ONE, model="n", source="chat c")]) == ["chat"]
    assert "model" not in served.labelled([fact])[0].labels
    # A page that is not read any more says nothing.
    assert served.add([replace(ONE, model="n", source="chat c")]) == ["chat"]
    assert served.labelled([fact])[0].labels["model"] == "n"


def test_a_page_that_is_not_read_any_more_keeps_its_counts_and_has_no_requests_now() -> None:
    served = TokenTotalsStore()
    served.add([ONE, TWO])
    served.committed()
    served.add([TWO])
    [both] = served.totals({"chat"})
    assert (both.counts["requests"], both.running, both.waiting) == (7, None, 2)
    served.add([])
    [both] = served.totals({"chat"})
    assert (both.counts["requests"], both.running, both.waiting) == (7, None, None)


def test_what_pages_did_is_there_after_a_restart_also_of_those_that_are_gone() -> None:
    served = TokenTotalsStore()
    served.add([ONE, TWO])
    served.committed()
    served.add([])
    [before] = served.totals({"chat"})
    for _ in range(2):
        served, states = TokenTotalsStore(), served.dump()
        assert served.restore({}, states) == []
        [after] = served.totals({"chat"})
        assert (after.counts, after.ttft, after.itl, after.running) == (before.counts, before.ttft, before.itl, None)
    states |= dict.fromkeys(("chat c", "chat d"), "no")
    served = TokenTotalsStore()
    assert served.restore({"chat d": "no", "chat e": "no"}, states) == ["chat c"]  # the poller reports those that it reads
    [after] = served.totals({"chat"})
    assert after.counts == before.counts


def test_the_accountant_publishes_what_is_committed_and_journals_the_facts(tmp_path: Path) -> None:
    identity = Identity("c", "n", "boot-1", "0", simulated=True)
    journal = Journal.open(tmp_path / "journal.db", identity)
    accountant = Accountant(identity, ProcessOwners(tmp_path), SensorFor(2_500_000_000), {}, 0.05)
    accountant.restore({}, journal.totals(), [WorkloadFacts("chat", 1, "pod", {"namespace": "ns"})], 0)

    def served() -> tuple[TokenTotals, ...]:
        return accountant.snapshot(100, {}, (), LedgerStats()).served

    accountant.add_tokens([Tokens(10, 10, "chat", "m", "generation", 0)], {"chat a": "{}"}, [ONE])
    assert served() == ()
    journal.commit(accountant.batch())
    accountant.committed()
    assert served() == (ONE,)
    page = render(accountant.snapshot(100, {}, (), LedgerStats()), Format.TEXT).decode()
    assert 'wattlens_requests_total{workload="chat",model="m"} 3\n' in page
    assert 'wattlens_inter_token_latency_seconds_bucket{workload="chat",model="m",le="+Inf"} 5\n' in page
    [*_, fact] = journal.facts()
    assert (fact.since_ns, fact.labels) == (10, {"namespace": "ns", "model": "m", "precision": "fp8", "group": "g"})
    assert journal.states()[Component.TOKENS] == {"chat a": "{}"}
    journal.close()
