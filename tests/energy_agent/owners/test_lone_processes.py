"""Lone processes are workloads of their own up to a rate; a user who starts too many takes nothing from others."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import ProcessUse
from energy_agent.core.units import NS_PER_S
from energy_agent.owners.lone_processes import MANY_USERS, OF_NODE, OF_USER, USERS_MAX, LoneProcesses, is_shared
from energy_agent.owners.processes import ProcessOwners
from energy_agent.owners.subordinate_uids import SubordinateUids, parse_ranges

T0 = 1_790_000_000 * NS_PER_S
HOUR = 3600 * NS_PER_S


class Node:
    """A /proc in which processes come and go."""

    def __init__(self, root):
        self.etc, self.root, self.pid = root / "1/root/etc", root, 100
        self.etc.mkdir(parents=True)
        self.owners = ProcessOwners(root)

    def start(self, uid, now_ns, cgroup="0::/user.slice/user-1000.slice/session-1.scope\n", pids="", uid_map=None):
        """Start a process, list it, end it; returns its workload."""
        pid = self.run(uid, cgroup, pids, uid_map)
        device_owners, facts = self.owners.resolve([ProcessUse(pid)], now_ns)
        (workload,) = device_owners.holding.weights
        assert [fact.workload for fact in facts] == [workload]
        for file in (self.root / str(pid)).iterdir():
            file.unlink()
        (self.root / str(pid)).rmdir()
        return workload

    def run(self, uid, cgroup="0::/\n", pids="", uid_map=None):
        self.pid += 1
        folder = self.root / str(self.pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{self.pid} (x) S " + "0 " * 18 + "5 0 0")
        (folder / "cgroup").write_text(cgroup)
        (folder / "comm").write_text("fork\n")
        if uid is not None:
            (folder / "status").write_text(f"Name:\tfork\nUid:\t{uid}\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t{self.pid}{pids}\n")
        if uid_map is not None:
            (folder / "uid_map").write_text(uid_map)
        return self.pid


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_processes_of_one_user_share_a_bounded_number_of_workloads(node):
    hostile = [node.start(1000, T0 + i * NS_PER_S // 20) for i in range(600)]
    assert len(set(hostile)) <= OF_USER + 3
    assert hostile.count("processes-of-uid-1000") > 600 - OF_USER - 3
    honest = [node.start(1001, T0 + 30 * NS_PER_S) for _ in range(20)]
    assert len(set(honest)) == 20
    assert not set(honest) & set(hostile)


def test_an_hour_later_a_user_has_names_again_and_a_clock_set_back_gives_none(node):
    for _ in range(OF_USER + 1):
        node.start(1000, T0)
    assert node.start(1000, T0 - 5 * HOUR) == "processes-of-uid-1000"
    assert node.start(1000, T0 - 4 * HOUR - 1) == "processes-of-uid-1000"
    names = {node.start(1000, T0 - 4 * HOUR) for _ in range(2 * OF_USER)}
    assert len(names) == OF_USER + 1


@pytest.mark.smoke
def test_many_uids_fill_the_node_once_and_pods_containers_units_are_not_counted(node):
    names = [node.start(100_000 + i, T0) for i in range(OF_NODE + 2 * USERS_MAX)]
    assert len(set(names)) == OF_NODE + USERS_MAX + 1
    assert names[-1] == MANY_USERS
    assert node.start(7, T0, "0::/system.slice/vllm.service\n") == "vllm"


def test_process_of_unknown_user_is_one_of_many(node):
    names = [node.start(None, T0) for _ in range(OF_USER + 1)]
    assert (len(set(names)), names[-1]) == (OF_USER + 1, MANY_USERS)


def test_a_process_of_a_shared_workload_does_not_speak_for_it(node):
    for uid in (None, 1000):
        for _ in range(OF_USER):
            node.start(uid, T0)
        pid = node.run(uid)
        device_owners, _ = node.owners.resolve([ProcessUse(pid)], T0)
        assert all(is_shared(workload) for workload in device_owners.process_weights)
        assert node.owners.owner_of((pid, 5)) is None


NOT_OF_THE_HOST = (
    {"uid": 65534},
    {"uid": 1000, "pids": "\t7"},
    {"uid": 0, "pids": "\t1"},
    {"uid": 1000, "uid_map": "         0       1000          1\n"},
    {"uid": 300_000, "uid_map": "         0     300000      65536\n"},
)


def test_unidentified_uid_shares_no_workload_with_a_user(node):
    for process in NOT_OF_THE_HOST:
        attacker = {node.start(now_ns=T0, **process) for _ in range(OF_USER + 2)}
        shared = {name for name in attacker if not name.startswith("process-")}
        assert shared == {MANY_USERS}
    for uid in (1000, 0):
        names = [node.start(uid, T0) for _ in range(OF_USER + 1)]
        assert len(set(names)) == OF_USER + 1
        assert names[-1] == f"processes-of-uid-{uid}"


def test_a_process_of_the_hosts_user_namespace_is_its_users(node):
    (node.root / "self").mkdir()
    (node.root / "self/uid_map").write_text("         0     100000      65536\n")
    for uid_map in ("         0          0 4294967295\n", "         0     100000      65536\n"):
        names = [node.start(1000, T0, uid_map=uid_map) for _ in range(OF_USER + 1)]
        assert names[-1] == "processes-of-uid-1000"


def test_subordinate_uids_count_to_their_owner(node):
    (node.etc / "passwd").write_text("root:x:0:0:::\nalice:x:1000:1000:::\nbob:x:1001:1001:::\n")
    (node.etc / "subuid").write_text("alice:100000:65536\n1001:200000:65536\n\nnot a line\nalice:x:9\n")
    uid_map = "         0     100000      65536\n"
    alice = [node.start(100_000 + i, T0, uid_map=uid_map if i % 2 else None) for i in range(OF_NODE + 2 * USERS_MAX)]
    assert len(set(alice)) == OF_USER + 1
    assert alice[-1] == node.start(1000, T0) == "processes-of-uid-1000"
    bob = [node.start(200_000 + i, T0) for i in range(OF_USER + 1)]
    assert (len(set(bob)), bob[-1]) == (OF_USER + 1, "processes-of-uid-1001")


def test_ranges_of_several_or_unknown_owners_identify_none(tmp_path):
    assert parse_ranges("alice:100:10\n", "") == ((100, 110, None),)
    etc = tmp_path / "1/root/etc"
    etc.mkdir(parents=True)
    (etc / "subuid").write_text("1:100:10\n2:105:10\ncarol:200:10\n")
    uids = SubordinateUids(tmp_path)
    assert [uids.owner_of(uid, T0)[0] for uid in (99, 100, 104, 105, 109, 110, 114, 115, 200)] == [
        None, 1, 1, None, None, 2, 2, None, None,
    ]  # fmt: skip
    (etc / "subuid").write_text("3:100:10\n")
    assert uids.owner_of(100, T0 + NS_PER_S)[0] == 1
    assert uids.owner_of(100, T0 + HOUR)[0] == 3


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.from_regex(r"([a-z0-9]{0,3}:[0-9]{0,12}:[0-9]{0,12}\n?){0,4}"))
def test_whatever_a_file_of_ranges_holds_a_range_has_two_bounds(text):
    for start, end, owner in parse_ranges(text, "a:x:7:7\n"):
        assert 0 <= start <= end
        assert owner is None or owner >= 0


def test_units_and_containers_that_a_user_names_count_like_processes(node):
    mine = "0::/user.slice/user-1000.slice/user@1000.service/"
    for scope in (
        lambda i: f"a{i}{'x' * 110}.scope",
        lambda i: f"{i:012x}".ljust(64, "0") + ".scope",
        lambda i: f"app.slice/u{i}.service",
    ):
        node.owners = ProcessOwners(node.root)
        names = [node.start(1000, T0, f"{mine}{scope(i)}\n") for i in range(OF_USER + 200)]
        assert len(set(names)) == OF_USER + 1
        assert names[-1] == node.start(1000, T0) == "processes-of-uid-1000"
        assert node.start(1001, T0, "0::/user.slice/user-1001.slice/user@1001.service/a.scope\n") == "a@1001"
        assert node.start(7, T0, "0::/system.slice/vllm.service\n") == "vllm"


def test_a_unit_counts_once_an_hour_and_keeps_its_name_while_it_lives(node):
    cgroup = "0::/user.slice/user-1000.slice/user@1000.service/job.service\n"
    node.owners.resolve([ProcessUse(node.run(1000, cgroup))], T0)
    assert {node.start(1000, T0, cgroup) for _ in range(3 * OF_USER)} == {"job@1000"}
    assert len({node.start(1000, T0 + HOUR) for _ in range(2 * OF_USER)}) == OF_USER + 1
    assert node.start(1000, T0 + HOUR, cgroup) == "job@1000"


def test_names_of_an_hour_ago_make_room_for_other_users():
    lone = LoneProcesses()
    for uid in range(1000, 1000 + USERS_MAX + 8):
        for i in range(OF_USER):
            if not lone.is_own(f"process-{uid}-{i}", uid, T0):
                lone.shared_name(uid)
    assert (lone.is_own("process-5", 5, T0 + HOUR - 1), lone.shared_name(5)) == (False, MANY_USERS)
    assert all(lone.is_own(f"process-5-{i}", 5, T0 + HOUR) for i in range(OF_USER))
    assert (lone.is_own("process-5", 5, T0 + HOUR), lone.shared_name(5)) == (False, "processes-of-uid-5")


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 300)), min_size=1, max_size=30))
def test_users_at_their_limit_leave_names_for_others(bursts):
    lone = LoneProcesses()
    for burst, (uid, count) in enumerate(bursts):
        for i in range(count):
            lone.is_own(f"process-{burst}-{i}", uid, T0)
    users = len({uid for uid, _ in bursts})
    honest = sum(lone.is_own(f"honest-{i}", 1000, T0) for i in range(2 * OF_USER))
    assert min(OF_USER, OF_NODE * 0.8**users / 5 - 2) <= honest <= OF_USER


def test_a_process_keeps_its_name_over_a_restart_of_the_agent(node):
    pid = node.run(1000)
    (name,) = node.owners.resolve([ProcessUse(pid)], T0)[0].holding.weights
    again = node.owners = ProcessOwners(node.root)
    again.restore([name])
    for _ in range(OF_USER + 1):
        node.start(1000, T0)
    assert set(again.resolve([ProcessUse(pid)], T0)[0].holding.weights) == {name}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-HOUR, HOUR), st.integers(1, 400)), max_size=20))
def test_whatever_the_clock_does_a_user_and_the_node_have_no_more_names_in_any_hour(bursts):
    lone, now_ns, forward_ns, starts = LoneProcesses(), T0, 0, []
    for burst, (uid, step_ns, count) in enumerate(bursts):
        now_ns, forward_ns = now_ns + step_ns, forward_ns + max(0, step_ns if burst else 0)
        starts += [(forward_ns, uid) for i in range(count) if lone.is_own(f"{burst}-{i}", uid, now_ns)]
        in_hour = Counter(uid for at_ns, uid in starts if at_ns > forward_ns - HOUR)
        assert max(in_hour.values(), default=0) <= OF_USER
        assert in_hour.total() <= OF_NODE
