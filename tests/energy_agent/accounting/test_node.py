"""The account of the node: recorded energy, energy that is only shown, and restarts without lost or duplicate energy."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.accounting.node import NEVER, PATIENCE_NS, NodeAccount, NodePlan
from energy_agent.core.boundary import Boundary, CounterScope, boundary, is_gpu, part
from energy_agent.core.energy import DeviceInfo, DeviceSample, Entry, Identity, Method, State
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.ledger.journal.journal import Totals
from energy_agent.owners.processes import ProcessOwners

S = 10**9
IDENTITY = Identity("c", "n", "boot", "v", True)
HOST = "host:c:n"


def plan(record="redfish", gain=0.05, most=None):
    names = ("redfish", "ipmi", "psu", "rapl")
    return NodePlan(record, dict.fromkeys(names, (25 * S, gain)), 0.05, most)


def node(t_s, uj=None, mw=None, scope=Scope.NODE, domain="node"):
    return MeterReading(domain, scope, t_s * S, t_s * S, energy_uj=uj, power_mw=mw, max_mw=10_000_000)


def gpu(account, t_s, uj, since_s, uuid="g"):
    row = Entry(since_s * S, t_s * S, uuid, "w", State.ACTIVE, Method.COUNTER, uj, 0, (t_s - since_s) * S)
    account.gpu(uuid, t_s * S, [row], None)


def begin(account, uuid="g"):
    account.gpu(uuid, 0, [], None)


def test_with_a_meter_of_record_the_rest_is_the_host_and_rapl_is_shown_only():
    account = NodeAccount(IDENTITY, plan())
    begin(account)
    for t in (0, 10):
        account.feed("rapl", [node(t, uj=t * 10**8, scope=Scope.PACKAGE, domain="package-0")])
        account.feed("redfish", [node(t, uj=t * 10**9)])
        account.feed("ipmi", [node(t, mw=900_000)])
    gpu(account, 12, 7 * 12 * 10**8, 0)
    entries, gaps = account.settle(12 * S, {"g"})
    assert gaps == []
    assert [(e.device, e.workload, e.energy_uj) for e in entries] == [(HOST, "w", 10**10 - 7 * 10**9)]
    account.committed()
    views_uj = {(v.source, v.domain): v.energy_uj for v in account.views({"node:rapl", "node:redfish"})}
    assert views_uj == {("rapl", "package-0"): 10**9, ("redfish", "node"): 10**10}


def test_without_one_processors_are_devices_of_their_own_and_the_boundary_is_never_node():
    account = NodeAccount(IDENTITY, plan(record=None))
    begin(account)
    for t in (0, 10):
        account.feed("rapl", [node(t, uj=t * 10**8, scope=Scope.PACKAGE, domain="package-0")])
        account.feed("ipmi", [node(t, mw=900_000)])
    gpu(account, 10, 10**9, 0)
    entries, _ = account.settle(10 * S, {"g"})
    assert [(e.device, e.energy_uj) for e in entries] == [(part(HOST, "package-0"), 10**9)]
    assert boundary(e.device for e in entries) is Boundary.GPU_CPU
    assert not any(is_gpu(e.device) for e in entries)


@pytest.mark.parametrize("within_gpus", [True, False])
def test_a_module_is_never_summed_with_its_gpu(within_gpus):
    """The counter of a GPU may include its processor; and a sensor of a module contains the GPU."""
    account = NodeAccount(IDENTITY, plan(record=None))
    begin(account)
    for t in (0, 10):
        account.feed("rapl", [node(t, uj=t * 10**8, scope=Scope.PACKAGE, domain="package-0")], within_gpus=within_gpus)
        account.feed("psu", [node(t, mw=900_000, scope=Scope.MODULE, domain="module-0")], within_gpus=within_gpus)
        account.feed("psu", [node(t, mw=90_000, scope=Scope.SOCKET, domain="grace-0")], within_gpus=within_gpus)
    gpu(account, 10, 10**9, 0)
    entries, gaps = account.settle(10 * S, {"g"})
    assert {e.device for e in entries} == (set() if within_gpus else {part(HOST, "package-0")})
    assert gaps == []


def test_a_stretch_waits_for_the_gpus_and_then_becomes_a_gap():
    account = NodeAccount(IDENTITY, plan())
    begin(account)
    for t in (0, 10):
        account.feed("redfish", [node(t, uj=t * 10**9)])
    gpu(account, 5, 10**9, 0)
    assert account.settle(11 * S, {"g"}) == ([], [])
    entries, (gap,) = account.settle(10 * S + PATIENCE_NS + 1, {"g"})
    assert entries == []
    assert gap.device == HOST
    assert gap.bound_uj >= 10**10


def test_a_gpu_that_was_never_found_keeps_its_energy_out_of_the_host():
    account = NodeAccount(IDENTITY, plan())
    begin(account)
    for t in (0, 10):
        account.feed("redfish", [node(t, uj=t * 10**9)])
    gpu(account, 20, 10**9, 0)
    assert account.settle(20 * S, {"g", "index 1"}) == ([], [])


def test_meter_reading_below_its_gpus_is_a_fault():
    account = NodeAccount(IDENTITY, plan())
    begin(account)
    for t in (0, 10):
        account.feed("redfish", [node(t, mw=300_000)])
    gpu(account, 10, 7 * 10**9, 0)
    entries, gaps = account.settle(10 * S, {"g"})
    assert (entries, len(gaps)) == ([], 1)
    assert "less than its GPUs" in account.faults["redfish"]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 8 * 10**8), st.booleans()), min_size=2, max_size=25))
def test_no_restart_loses_a_joule_or_books_it_twice(steps):
    """Steps of (seconds, GPU power in uW, restart after it). What was not committed is read again from the counters."""
    account = NodeAccount(IDENTITY, plan(gain=0.45))
    begin(account)
    account.feed("redfish", [node(0, uj=0)])
    account.settle(0, {"g"})
    committed, anchor = account.dump(), 0
    t, gpu_uj, node_uj, recorded_at, recorded_gpu, host_uj = 0, 0, 0, 0, 0, 0
    for seconds, power, restart in steps:
        t += seconds
        gpu_uj += power * seconds
        node_uj += (power + 10**8) * seconds
        account.feed("redfish", [node(t, uj=node_uj)])
        if restart:  # killed before this was committed; the GPU's counter bridges from the last commit on
            account = NodeAccount(IDENTITY, plan(gain=0.45))
            account.restore(committed, {"g": anchor})
            continue
        gpu(account, t, gpu_uj - recorded_gpu, recorded_at)
        recorded_at, recorded_gpu = t, gpu_uj
        entries, gaps = account.settle(t * S, {"g"})
        assert gaps == []
        host_uj += sum(e.energy_uj for e in entries)
        committed, anchor = account.dump(), t * S
    account.feed("redfish", [node(t + 1, uj=node_uj)])
    gpu(account, t + 1, gpu_uj - recorded_gpu, recorded_at)
    entries, gaps = account.settle((t + 1) * S, {"g"})
    host_uj += sum(e.energy_uj for e in entries)
    assert gaps == []
    settled = account._meters["redfish", "node"].settled
    curve, book = account._curves["g"], account._books[HOST]
    after = curve.energy_uj - curve.at(settled.boot_ns)  # of the GPU, after the last instant that the meter recorded
    assert host_uj + gpu_uj - after - book.carried_uj == settled.total_uj == settled.energy_uj


@given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=20), st.integers(1, 60),
    st.sampled_from([None, 5_000_000]), st.booleans(),
)  # fmt: skip
def test_the_time_before_a_first_answer_is_a_gap_to_the_nanosecond(turns, last, most, answers):
    """Turns of (seconds to the next look, restart after it). UTC is an hour ahead of the boot clock."""
    hour, t, gaps = 3600 * S, 0, []
    account = NodeAccount(IDENTITY, plan(most=most))
    gaps += account.unseen(hour, 0)
    for seconds, restart in turns:
        t += seconds
        gaps += account.unseen(hour + t * S, t * S)
        if restart:
            committed, account = account.dump(), NodeAccount(IDENTITY, plan(most=most))
            account.restore(committed, {})
    if answers:
        t += last
        account.feed("redfish", [MeterReading("node", Scope.NODE, hour + t * S, t * S, energy_uj=7, max_mw=most)])
        gaps += account.settle(t * S, set())[1]
        assert account.unseen(hour + 10 * t * S, 10 * t * S) == []  # from now on it is known to answer
    gap_ns = sum(gap.end_ns - gap.start_ns for gap in gaps)
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(gaps))
    assert all(gap.device == HOST and (gap.bound_uj > 0) == (most is not None) for gap in gaps)
    assert sum(gap.bound_uj for gap in gaps) == (most or 0) * gap_ns // 10**6
    assert all(NEVER in gap.reason for gap in gaps)
    assert t * S - gap_ns <= (0 if answers and gaps else 25 * S)
    assert gap_ns in (0, t * S) or not answers


def test_a_meter_that_answers_at_once_leaves_no_gap_and_neither_does_one_that_is_not_of_record():
    account = NodeAccount(IDENTITY, plan())
    account.unseen(0, 0)
    account.feed("redfish", [node(3, uj=0)])
    assert account.settle(3 * S, set()) == ([], [])
    assert account.unseen(100 * S, 100 * S) == []
    assert NodeAccount(IDENTITY, plan(record=None)).unseen(100 * S, 100 * S) == []


def test_a_boot_begins_the_wait_anew():
    account = NodeAccount(IDENTITY, plan())
    account.unseen(0, 0)
    other = NodeAccount(Identity("c", "n", "another boot", "v", True), plan())
    other.restore(account.dump(), {})
    assert other.unseen(1000 * S, 1 * S) == []


def test_a_state_that_is_not_ours_is_refused():
    for text in (
        "{",
        "[]",
        '{"meters": {}, "books": {}, "unseen": ["boot", 1]}',
        '{"meters": {"a|b": ["node", 1]}, "books": {}}',
        '{"meters": {}}',
    ):
        with pytest.raises(ValueError, match="not a state"):
            NodeAccount(IDENTITY, plan()).restore(text, {})


@pytest.mark.parametrize("name", ["NVIDIA GH200 480GB", "NVIDIA GB200", "NVIDIA GB300", "NVIDIA H100 80GB HBM3"])
@pytest.mark.parametrize("scope", [CounterScope.GPU_STATED, CounterScope.MODULE_STATED, CounterScope.UNKNOWN])
def test_what_a_counter_includes_is_stated_and_never_read_off_its_name(tmp_path, name, scope):
    """The ledger states the scope of each GPU; processors are recorded unless it is stated that a GPU's counter has them."""
    account = NodeAccount(IDENTITY, plan(record=None))
    accountant = Accountant(IDENTITY, ProcessOwners(tmp_path), SensorFor(25 * S, counter_scope=scope), {}, 0.05, account)
    assert accountant.restore({}, Totals(), (), 0) == []
    infos = {"g": DeviceInfo("g", 0, name, "Hopper", "0", "580")}
    devices, entries = [], []
    for t in (0, 10):
        accountant.feed([DeviceSample("g", t * S, t * S, energy_mj=10**6 + t * 10**5, power_mw=100_000)], infos)
        package = node(t, uj=t * 10**8, scope=Scope.PACKAGE, domain="package-0")
        accountant.add_node([("rapl", (package,))], t * S, t * S, {"g"})
        batch = accountant.batch()
        devices += batch.devices
        entries += batch.entries
        accountant.committed()
    assert {d.counter_scope for d in devices if d.uuid == "g"} == {scope}
    recorded = {e.device: e.energy_uj for e in entries if not is_gpu(e.device)}
    assert recorded == ({} if scope is CounterScope.MODULE_STATED else {part(HOST, "package-0"): 10**9})
