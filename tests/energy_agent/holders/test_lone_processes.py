"""Lone processes are workloads of their own up to a rate; a user who starts too many takes nothing from others."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.types import ProcessUse
from energy_agent.core.units import NS_PER_S
from energy_agent.holders.lone_processes import MANY_USERS, OF_NODE, OF_USER, USERS_MAX, LoneProcesses
from energy_agent.holders.processes import ProcessHolders

T0 = 1_790_000_000 * NS_PER_S
HOUR = 3600 * NS_PER_S


class Node:
    """A /proc in which processes come and go."""

    def __init__(self, root):
        self.root, self.pid = root, 100
        self.holders = ProcessHolders(root)

    def start(self, uid, now_ns, cgroup="0::/user.slice/user-1000.slice/session-1.scope\n"):
        """Start a process, list it, end it; returns its workload."""
        pid = self.run(uid, cgroup)
        found, facts = self.holders.resolve([ProcessUse(pid)], now_ns)
        (workload,) = found.holding.weights
        assert [fact.workload for fact in facts] == [workload]
        for file in (self.root / str(pid)).iterdir():
            file.unlink()
        (self.root / str(pid)).rmdir()
        return workload

    def run(self, uid, cgroup="0::/\n"):
        self.pid += 1
        folder = self.root / str(self.pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{self.pid} (x) S " + "0 " * 18 + "5 0 0")
        (folder / "cgroup").write_text(cgroup)
        (folder / "comm").write_text("fork\n")
        if uid is not None:
            (folder / "status").write_text(f"Name:\tfork\nUid:\t{uid}\t0\t0\t0\nGid:\t0\t0\t0\t0\n")
        return self.pid


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_a_user_who_starts_20_processes_a_second_has_a_bounded_number_of_workloads_and_others_keep_theirs(node):
    hostile = [node.start(1000, T0 + i * NS_PER_S // 20) for i in range(600)]
    assert len(set(hostile)) <= OF_USER + 3
    assert hostile.count("processes-of-uid-1000") > 600 - OF_USER - 3
    honest = [node.start(1001, T0 + 30 * NS_PER_S) for _ in range(20)]
    assert len(set(honest)) == 20
    assert not set(honest) & set(hostile)


def test_a_quiet_hour_gives_a_user_names_again_and_a_clock_set_back_gives_none(node):
    for _ in range(OF_USER + 1):
        node.start(1000, T0)
    assert node.start(1000, T0 - 5 * HOUR) == "processes-of-uid-1000"
    assert node.start(1000, T0 - 5 * HOUR + HOUR // OF_USER + 1).startswith("process-fork-")
    assert node.start(1000, T0 - 5 * HOUR + HOUR // OF_USER + 2) == "processes-of-uid-1000"
    names = {node.start(1000, T0) for _ in range(2 * OF_USER)}
    assert len(names) == OF_USER + 1


def test_one_who_is_many_users_fills_the_node_once_and_pods_containers_and_units_are_not_counted(node):
    names = [node.start(100_000 + i, T0) for i in range(OF_NODE + 2 * USERS_MAX)]
    assert len(set(names)) == OF_NODE + USERS_MAX + 1
    assert names[-1] == MANY_USERS
    assert node.start(7, T0, "0::/system.slice/vllm.service\n") == "vllm"


def test_a_process_whose_user_is_not_told_is_one_of_many(node):
    names = [node.start(None, T0) for _ in range(OF_USER + 1)]
    assert (len(set(names)), names[-1]) == (OF_USER + 1, MANY_USERS)


def test_a_process_that_shares_a_workload_with_other_users_is_not_known_by_it(node):
    for _ in range(OF_USER):
        node.start(None, T0)
    pid = node.run(None)
    node.holders.resolve([ProcessUse(pid)], T0)
    assert node.holders.known((pid, 5)) is None
    for _ in range(OF_USER):
        node.start(1000, T0)
    pid = node.run(1000)
    node.holders.resolve([ProcessUse(pid)], T0)
    assert node.holders.known((pid, 5)).workload == "processes-of-uid-1000"


def test_a_process_keeps_its_name_over_a_restart_of_the_agent(node):
    pid = node.run(1000)
    (name,) = node.holders.resolve([ProcessUse(pid)], T0)[0].holding.weights
    again = node.holders = ProcessHolders(node.root)
    again.restore([name])
    for _ in range(OF_USER + 1):
        node.start(1000, T0)
    assert set(again.resolve([ProcessUse(pid)], T0)[0].holding.weights) == {name}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-HOUR, HOUR), st.integers(1, 400)), max_size=20))
def test_whatever_the_clock_does_a_user_has_no_more_names_than_the_rate_gives(bursts):
    lone, now_ns, forward_ns, own = LoneProcesses(), T0, 0, Counter()
    for uid, step_ns, count in bursts:
        now_ns, forward_ns = now_ns + step_ns, forward_ns + max(0, step_ns)
        own[uid] += sum(lone.is_own(uid, now_ns) for _ in range(count))
    for count in own.values():
        assert count <= OF_USER * (1 + forward_ns / HOUR)
    assert sum(own.values()) <= OF_NODE * (1 + forward_ns / HOUR)
