"""Accounting on a real journal: published is what is committed, and nothing is lost or counted twice when it cannot be."""

import resource
import shutil
import signal
from contextlib import contextmanager
from dataclasses import replace

import pytest

from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.accounting.pending import PENDING_MAX
from energy_agent.accounting.recent_workloads import RETENTION_NS
from energy_agent.core.energy import Action, DeviceInfo, DeviceSample, Identity, Method, ProcessUse, SourceHealth, Tokens
from energy_agent.core.errors import JournalError
from energy_agent.core.proof import SteeringRows
from energy_agent.core.saved_state import Component
from energy_agent.core.snapshot import LedgerStats
from energy_agent.ledger.journal.journal import Journal
from energy_agent.owners.kubernetes.grants import PodFact
from energy_agent.owners.processes import ProcessOwners
from energy_agent.owners.resolver import OwnerResolver
from energy_agent.reader.supervisor import DeviceHealth
from tests.energy_agent.owners.test_resolver import U1, Informer, Said

SECOND = 10**9
T0 = 1_790_000_000 * SECOND
IDENTITY = Identity("c", "n", "boot-1", "0", simulated=True)
UUIDS = ("GPU-a", "GPU-b")
INFOS = {u: DeviceInfo(u, i, "H100", "Hopper", f"00:0{i}.0", "580", power_limit_max_mw=700_000) for i, u in enumerate(UUIDS)}
UP = {u: DeviceHealth(up=True, reason="") for u in UUIDS}


class Node:
    """An accountant on a journal in a folder; each board draws 300 W."""

    journal: Journal | None = None

    def __init__(self, folder, **settings):
        self.settings = settings
        self.folder, self.now_s = folder, 0
        self.procfs = folder / "proc"
        self.procfs.mkdir(exist_ok=True)
        self.open()

    def open(self, **options):
        if self.journal is not None:
            self.journal.close()
        self.journal = Journal.open(self.folder / "journal.db", IDENTITY, **options)
        sensors = SensorFor(2_500_000_000)
        self.accountant = Accountant(IDENTITY, ProcessOwners(self.procfs), sensors, {}, 0.05, **self.settings)
        restored = self.journal.states(), self.journal.totals(), self.journal.facts(), T0 + self.now_s * SECOND
        assert self.accountant.restore(*restored) == []

    def start(self, pid, unit):
        folder = self.procfs / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} (x) S " + "0 " * 18 + f"{self.now_s} 0 0")
        (folder / "cgroup").write_text(f"0::/system.slice/{unit}.service\n")

    def sweep(self, pids=(), seconds=1, uuids=UUIDS, busy=50, **more):
        self.now_s += seconds
        samples = [
            DeviceSample(
                uuid,
                T0 + self.now_s * SECOND,
                self.now_s * SECOND + 10**12,
                energy_mj=10**6 + 300_000 * self.now_s,
                power_mw=300_000,
                gpu_percent=busy,
                memory_used_b=1,
                processes=tuple(map(ProcessUse, pids)),
                **more,
            )
            for uuid in uuids
        ]
        return self.accountant.feed(samples, INFOS)

    def commit(self):
        try:
            self.journal.commit(self.accountant.batch())
        except JournalError:
            self.accountant.not_committed()
            return False
        self.accountant.committed()
        return True

    def snapshot(self, health=UP):
        return self.accountant.snapshot(T0 + self.now_s * SECOND, health, (), LedgerStats())

    def recorded_uj(self):
        return sum(self.journal.totals().energy.values())


@contextmanager
def full_disk(limit_b):
    """No file may grow past `limit_b`: what a full disk is to SQLite."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_b, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def node(tmp_path):
    new_node = Node(tmp_path)
    yield new_node
    new_node.journal.close()


def shown_uj(snapshot):
    return {v.info.uuid: sum(v.energy_uj.values()) for v in snapshot.devices}


def assert_conserved(snapshot):
    for view in snapshot.devices:
        workloads_uj = sum(w.energy_uj for w in snapshot.workloads if w.device == view.info.uuid)
        assert sum(view.energy_uj.values()) == workloads_uj + view.unallocated_uj + sum(view.unattributed_uj.values())


@pytest.mark.parametrize("later", [{}, {U1: (("other", "a"), PodFact(U1))}], ids=["forgotten", "another namespace"])
def test_booked_joules_stay_in_their_namespace_whatever_is_learnt_later(node, later):
    source, informer = Said(), Informer(a=U1)
    source.say(1)
    node.start(10, "x")
    (node.procfs / "10/cgroup").write_text(f"0::/kubepods/besteffort/pod{U1}/{'a' * 64}\n")
    node.accountant.joined = OwnerResolver((source,), 10**12, informer)
    sums = []
    for pods in (informer.pods, later):
        informer.pods = pods
        for _ in range(3):
            source.say(10**12 + node.now_s * SECOND)
            node.sweep(pids=(10,))
            node.commit()
            sums.append(node.snapshot().namespace_uj)
    assert set(sums[-1]) == {"ml"}
    assert [s["ml"] for s in sums if s] == sorted(s["ml"] for s in sums if s)
    assert {fact.labels["namespace"] for fact in node.snapshot().facts} == {"ml"}
    node.open()
    assert node.snapshot().namespace_uj == sums[-1], "also after a restart"


def test_rows_wait_while_the_disk_is_full_and_are_committed_whole(node):
    node.sweep()
    assert node.commit()
    with full_disk(1):
        for _ in range(30):
            node.sweep()
            assert not node.commit()
            assert shown_uj(node.snapshot()) == dict.fromkeys(UUIDS, 0)
    assert node.commit()
    assert shown_uj(node.snapshot()) == dict.fromkeys(UUIDS, 30 * 300_000_000)
    assert node.recorded_uj() == 60 * 300_000_000


@pytest.mark.smoke
@pytest.mark.parametrize("committed_first", [False, pytest.param(True, marks=pytest.mark.proof)])
def test_when_too_many_rows_wait_the_readings_go_but_no_joule(node, committed_first):
    node.sweep()
    if committed_first:
        assert node.commit()
    node.start(10, "vllm")
    seconds = PENDING_MAX // len(UUIDS) + 5
    with full_disk(1):
        for i in range(seconds):
            node.sweep(pids=(10,), busy=50 * (i % 2))  # active and idle by turns: each its own row
            node.accountant.add_tokens([Tokens(T0, T0 + i + 1, "w", "m", phase, 7) for phase in ("prompt", "generation")], {})
            if i >= seconds - 10 or i % 997 == 0:
                assert not node.commit()
    pending = node.accountant.batch()
    assert len(pending.entries) < 100
    assert len(pending.tokens) < 100
    node.sweep(pids=(10,))
    assert node.commit()
    snapshot = node.snapshot()
    assert shown_uj(snapshot) == dict.fromkeys(UUIDS, (seconds + 1) * 300_000_000)
    assert_conserved(snapshot)
    assert snapshot.devices[0].energy_uj[Method.BRIDGED] > 0
    assert node.journal.totals().tokens == {("w", "m", "prompt"): 7 * seconds, ("w", "m", "generation"): 7 * seconds}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_gpu_that_was_free_before_and_after_an_hour_without_readings_was_not_idle_for_it(node, restarted):
    for _ in range(3):
        node.sweep()
    node.commit()
    if restarted:
        node.open()
    node.sweep(seconds=3600)
    node.sweep()
    node.commit()
    snapshot = node.snapshot()
    for view in snapshot.devices:
        assert view.unattributed_uj["gap"] == 3600 * 300_000_000
        assert view.unallocated_uj == 3 * 300_000_000
    assert_conserved(snapshot)


@pytest.mark.parametrize("owners", [(), (10,), (10, 11)])
def test_rows_that_wait_are_joined_without_losing_a_microjoule(node, owners):
    node.start(10, "a")
    node.start(11, "b")
    for i in range(1_000):
        node.sweep(pids=owners, busy=50 if i < 500 else 0)
    batch = node.accountant.batch()
    assert sum(e.energy_uj for e in batch.entries) == 2 * 999 * 300_000_000
    assert sum(e.gpu_ns for e in batch.entries) == (2 * 999 * SECOND if owners else 0)
    if len(owners) < 2:
        assert len(batch.entries) <= 8
    assert all(e.start_ns // (900 * SECOND) == (e.end_ns - 1) // (900 * SECOND) for e in batch.entries)
    assert node.commit()


def test_event_times_are_shown_only_once_committed_so_they_never_fall(node):
    def shown_value():
        return node.snapshot().devices[0].event_ns.get("sw_power_cap", 0)

    node.sweep(event_reasons=0x4)
    node.sweep(event_reasons=0x4)
    node.commit()
    assert shown_value() == SECOND
    with full_disk(1):
        node.sweep(event_reasons=0x4)
        assert not node.commit()
        assert shown_value() == SECOND
    node.open()
    node.sweep()
    assert shown_value() == SECOND


def test_xids_are_shown_across_readers_and_restarts(node):
    def shown_value():
        return dict(node.snapshot().devices[0].sample.xid_counts)

    node.sweep(xid_counts={})
    node.sweep(xid_counts={31: 2})
    node.commit()
    assert shown_value() == {31: 2}
    node.open()
    node.sweep(xid_counts={31: 1})
    node.commit()
    assert shown_value() == {31: 3}


def test_xids_of_a_reading_that_cannot_be_booked_are_counted_once(node, monkeypatch):
    def fail(*_):
        raise OSError("defect")

    node.sweep(xid_counts={31: 1})
    with monkeypatch.context() as broken:
        broken.setattr(node.accountant.joined, "of_sample", fail)
        node.sweep(xid_counts={31: 1, 79: 1})
    node.sweep(xid_counts={})
    node.commit()
    assert dict(node.snapshot().devices[0].sample.xid_counts) == {31: 2, 79: 1}
    assert node.recorded_uj() == len(UUIDS) * 2 * 300_000_000


def test_a_lost_device_shows_nothing_and_resumes_higher(node):
    node.start(10, "vllm")
    for _ in range(3):
        node.sweep(pids=(10,))
    node.commit()
    lost = UP | {"GPU-b": DeviceHealth(up=False, reason="GPU_IS_LOST (GetFieldValues)")}
    node.sweep(pids=(10,), uuids=("GPU-a",))
    node.commit()
    snapshot = node.snapshot(lost)
    view = snapshot.devices[1]
    assert (view.up, view.reason, view.sample, view.energy_uj) == (False, "GPU_IS_LOST (GetFieldValues)", None, {})
    assert {w.device for w in snapshot.workloads} == {"GPU-a"}
    node.sweep(pids=(10,), seconds=30)
    node.commit()
    assert shown_uj(node.snapshot())["GPU-b"] == 33 * 300_000_000


def test_stuck_sensor_is_down_with_reason(node):
    node.sweep()
    node.sweep()
    stuck = {"energy_mj": 10**6 + 300_000 * node.now_s}
    for _ in range(3):
        node.now_s += 1
        node.accountant.feed(
            [DeviceSample(u, T0 + node.now_s * SECOND, node.now_s * SECOND + 10**12, power_mw=300_000, **stuck) for u in UUIDS],
            INFOS,
        )
    node.commit()
    answers = (SourceHealth("nvml", True), *(SourceHealth("nvml", True, u) for u in UUIDS))
    snapshot = node.accountant.snapshot(T0 + node.now_s * SECOND, UP, answers, LedgerStats())
    assert all(not v.up and "stuck" in v.reason for v in snapshot.devices)
    assert [(h.up, "stuck" in h.reason) for h in snapshot.health] == [(True, False), (False, True), (False, True)]


def test_an_ended_workload_stays_a_quarter_of_an_hour(node):
    node.start(10, "vllm")
    for _ in range(3):
        node.sweep(pids=(10,))
    node.commit()
    (last_s,) = {node.now_s}
    node.sweep()
    node.commit()
    assert {w.workload for w in node.snapshot().workloads} == {"vllm"}
    assert {f.workload for f in node.snapshot().facts} == {"vllm"}
    node.now_s = last_s + RETENTION_NS // SECOND
    assert {w.workload for w in node.snapshot().workloads} == {"vllm"}
    node.now_s += 1
    after = node.snapshot()
    assert (after.workloads, after.facts, after.workload_gpu_ns) == ((), (), {})
    assert shown_uj(after) == dict.fromkeys(UUIDS, 3 * 300_000_000)  # the joules stay with the device


@pytest.mark.parametrize("sealed", [False, True])
def test_what_ended_stays_over_a_restart_and_the_page_sums_to_the_devices(node, sealed):
    node.start(10, "vllm")
    for _ in range(3):
        node.sweep(pids=(10,))
        node.commit()
    last_s = node.now_s
    for _ in range(2):
        node.sweep()
        node.commit()
    before = node.snapshot()
    assert before.workloads
    if sealed:
        node.journal.seal(None)
    for _ in range(2):  # what was restored is kept, too
        node.open()
        node.sweep()
        node.commit()
        after = node.snapshot()
        assert_conserved(after)
        assert set(after.workloads) == set(before.workloads), "also the series that are at 0"
        assert after.workload_gpu_ns == before.workload_gpu_ns
        assert [f.workload for f in after.facts] == ["vllm"]
    node.now_s = last_s + RETENTION_NS // SECOND + 1
    assert node.snapshot().workloads == ()


def test_an_unreadable_list_of_what_ended_is_named(node):
    node.start(10, "vllm")
    node.sweep(pids=(10,))
    node.sweep(pids=(10,))
    node.commit()
    for text in ("no", "[]", "1.5"):
        fresh = Accountant(IDENTITY, ProcessOwners(node.procfs), SensorFor(2_500_000_000), {}, 0.05)
        states = node.journal.states() | {Component.ENDED_WORKLOADS: {"vllm": text}}
        assert fresh.restore(states, node.journal.totals(), (), T0) == ["ended workloads"]


def test_the_end_of_a_holder_is_noticed(node):
    node.start(10, "vllm")
    node.sweep(pids=(10,))
    assert not node.sweep(pids=(10,))
    for file in (node.procfs / "10").iterdir():
        file.unlink()
    (node.procfs / "10").rmdir()
    node.now_s += 1
    reading = DeviceSample("GPU-a", T0 + node.now_s * SECOND, node.now_s * SECOND + 10**12, energy_mj=10**9, memory_used_b=1)
    assert node.accountant.feed([reading], INFOS)


def test_an_unreadable_state_starts_anew_and_is_named(node):
    node.sweep()
    node.commit()
    fresh = Accountant(IDENTITY, ProcessOwners(node.procfs), SensorFor(2_500_000_000), {}, 0.05)
    states = node.journal.states()
    states[Component.METERS]["GPU-b"] = "{}"
    assert fresh.restore(states, node.journal.totals(), (), T0) == ["GPU-b"]


def test_a_device_without_description_is_not_booked_until_it_has_one(node):
    node.accountant.feed([DeviceSample("GPU-z", T0, 10**12, energy_mj=1)], INFOS)
    assert node.snapshot().devices == ()


def test_calibration_is_shown(node):
    node.accountant = Accountant(IDENTITY, ProcessOwners(node.procfs), SensorFor(2_500_000_000), {"GPU-b": 0.01}, 0.05)
    node.sweep()
    assert [v.gain_uncertainty_ratio for v in node.snapshot().devices] == [0.05, 0.01]
    assert [d.gain_uncertainty_ratio for d in node.accountant.batch().devices] == [0.05, 0.01]


def test_a_new_driver_describes_its_devices_anew(node):
    node.sweep()
    node.commit()
    newer = {u: replace(i, driver="590") for u, i in INFOS.items()}
    node.accountant.feed([DeviceSample(UUIDS[0], T0 + 9 * SECOND, 10**12 + 9 * SECOND, energy_mj=10**7)], newer)
    assert node.snapshot().devices[0].info.driver == "590"


def test_the_policy_of_a_device_is_shown_and_stands_in_the_ledger_from_when_it_was_in_force(node):
    def share_facts():
        return [(f.workload, f.labels.get("share"), (f.since_ns - T0) // SECOND) for f in node.accountant.batch().facts]

    node.start(10, "a")
    node.start(11, "b")
    node.sweep(pids=())
    assert [view.sharing for view in node.snapshot().devices] == ["", ""]
    node.sweep(pids=(10,), uuids=UUIDS[:1])
    assert share_facts()[-1] == ("a", "exclusive", 2)
    node.sweep(pids=(10,), uuids=UUIDS[:1])
    node.commit()
    node.sweep(pids=(10, 11), uuids=UUIDS[:1])
    assert share_facts()[-2:] == [("a", "equal", 4), ("b", "equal", 4)]
    assert [view.sharing for view in node.snapshot().devices] == ["equal", ""]
    node.commit()
    node.open()
    assert {f.workload: f.labels["share"] for f in node.journal.facts()} == {"a": "equal", "b": "equal"}
    node.sweep(pids=(10, 11), uuids=UUIDS[:1])
    assert share_facts() == []  # as before: nothing new


@pytest.mark.parametrize("memory_b", [1, None], ids=["memory", "unified memory"])
def test_the_end_of_a_holder_is_noticed_on_every_board(node, memory_b):
    """A GPU with unified memory, such as GB10, does not report memory use."""

    def readings(**more):
        node.now_s += 1
        at_ns = node.now_s * SECOND
        return [DeviceSample("GPU-a", T0 + at_ns, 10**12 + at_ns, 10**6 + 300 * node.now_s, memory_used_b=memory_b, **more)]

    node.start(7, "train")
    assert not node.accountant.feed(readings(processes=(ProcessUse(7),)), INFOS)
    assert not node.accountant.feed(readings(), INFOS)
    shutil.rmtree(node.procfs / "7")
    assert not node.accountant.feed(readings(fast=True), INFOS)
    assert node.accountant.feed(readings(), INFOS)


def test_how_far_the_actuator_was_read_is_committed_with_its_rows_or_not_at_all(node):
    row = Action(T0, "GPU-a", "static", "set", "{}", "ok: knee", "job")

    def stored_history():
        return node.journal.states().get(Component.STEERING, {}).get("history", ""), [
            r for r in node.journal.open_rows() if isinstance(r, Action)
        ]

    node.accountant.add_steering(SteeringRows([row], [], {"history": "1"}))
    assert node.accountant.steering_states() == {"history": "1"}
    node.open()  # killed before it was committed
    assert (stored_history(), node.accountant.steering_states()) == (("", []), {})
    node.accountant.add_steering(SteeringRows([row], [], {"history": "1"}))
    node.commit()
    assert stored_history() == ("1", [row])
    node.open()
    node.sweep()
    node.commit()
    assert (stored_history(), node.accountant.steering_states()) == (("1", [row]), {"history": "1"})
