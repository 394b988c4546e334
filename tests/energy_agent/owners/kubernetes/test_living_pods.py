"""Pods by the processes of a node: none that lives is taken for ended, and nobody who asks waits for a pass."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.owners.cgroup import unchecked
from energy_agent.owners.kubernetes.living_pods import GONE_MAX, LivingPods
from energy_agent.runtime.clock import RealClock
from tests.support import eventually

UIDS = [f"{digit * 8}-0000-4000-8000-000000000001" for digit in "123"]


class Node:
    """Processes of pods, and of nobody, in a folder as /proc."""

    def __init__(self, procfs):
        self.procfs = procfs
        self.pods = LivingPods(RealClock(), procfs, unchecked)
        (procfs / "self").mkdir()
        self.run(1, "0::/system.slice/cron.service\n")

    def run(self, pid, cgroup):
        (self.procfs / str(pid)).mkdir(exist_ok=True)
        (self.procfs / str(pid) / "cgroup").write_text(cgroup)

    def start(self, pid, uid):
        self.run(pid, f"0::/kubepods/besteffort/pod{uid}/{'a' * 64}\n")

    def ask(self, uids):
        return {uid for uid in uids if not self.pods.lives(uid)}


changes = st.tuples(st.sampled_from(["start", "end", "ask", "ask", "pass"]), st.sampled_from(UIDS), st.integers(1, 5))


@given(st.lists(changes, max_size=60))
def test_a_pod_that_lives_is_never_ended_and_one_that_ended_is_found_out(script):
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder))
        processes, living, ended, gone_uids = {}, set(), set(), set()
        for action, uid, number in script:
            pid = 10 * number + 11_000 * UIDS.index(uid) + 10
            if action == "start" and uid not in ended:
                node.start(pid, uid)
                processes[pid] = uid
                living.add(uid)
            elif action == "end" and processes.pop(pid, None):
                shutil.rmtree(node.procfs / str(pid))
                if uid not in processes.values():
                    living.discard(uid)
                    ended.add(uid)
            elif action == "ask":
                gone_uids |= node.ask({uid} & (living | ended) if number % 2 else living | ended)
            elif action == "pass":
                assert node.pods.poll()
            assert not gone_uids & living
        for _ in range(2):
            node.pods.poll()
            gone_uids |= node.ask(living | ended)
        assert gone_uids >= ended
        assert not gone_uids & living


def test_process_with_the_uid_only_inside_its_cgroup_name_is_not_the_pods(tmp_path):
    node = Node(tmp_path)
    node.run(7, f"0::/user.slice/pod{UIDS[0]}\n")
    assert not node.ask(UIDS[:1])
    for _ in range(3):  # the first pass finds out, and further ones for nobody forget nothing
        node.pods.poll()
    assert node.ask(UIDS[:1]) == {UIDS[0]}


def test_processes_are_read_only_on_request_and_unreadable_folder_ends_no_pod(tmp_path):
    node = Node(tmp_path)
    shutil.rmtree(tmp_path)
    assert node.pods.poll()
    assert not node.ask(UIDS)
    assert not node.pods.poll()
    assert not node.ask(UIDS)


def test_unread_answers_are_bounded(tmp_path):
    node = Node(tmp_path)
    for n in range(3 * GONE_MAX):
        assert node.pods.lives(f"uid-{n}")
        if n % 100 == 0:
            node.pods.poll()
    assert sum(not node.pods.lives(f"uid-{n}") for n in range(3 * GONE_MAX)) <= GONE_MAX


def test_its_thread_answers(tmp_path):
    node = Node(tmp_path)
    node.pods.start()
    try:
        eventually(lambda: node.ask(UIDS[:1]))
    finally:
        node.pods.stop()
