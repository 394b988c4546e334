"""Pods by the processes of a node: none that lives is taken for ended, and one look costs a bounded part of the processes."""

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.owners.cgroup import unchecked
from energy_agent.owners.kubernetes.living_pods import LOOK_EVERY_NS, LOOK_MAX, LivingPods

UIDS = [f"{digit * 8}-0000-4000-8000-000000000001" for digit in "123"]


class Node:
    """Processes of pods, and of nobody."""

    def __init__(self, others=0):
        self.cgroups = {10_000 + n: "0::/system.slice/cron.service\n" for n in range(others)}
        self.reads = 0
        self.now_ns = 0
        self.pods = LivingPods(lambda: sorted(self.cgroups), self.read, unchecked)

    def read(self, pid):
        self.reads += 1
        return self.cgroups.get(pid, "")

    def start(self, pid, uid):
        self.cgroups[pid] = f"0::/kubepods/besteffort/pod{uid}/{'a' * 64}\n"

    def ask(self, uids, wait_ns=LOOK_EVERY_NS):
        """Whether each of these lives; counts what was read for it."""
        self.now_ns += wait_ns
        self.reads = 0
        return {uid: self.pods.lives(uid, self.now_ns) for uid in uids}


changes = st.tuples(st.sampled_from(["start", "end", "ask", "ask"]), st.sampled_from(UIDS), st.integers(1, 5))


@given(st.lists(changes, max_size=60), st.sampled_from([0, 1, LOOK_MAX - 1, LOOK_MAX, LOOK_MAX * 3]))
def test_a_pod_that_lives_is_never_ended_and_one_that_ended_is_found_out(script, others):
    node = Node(others)
    living, ended, found = set(), set(), set()
    for action, uid, number in script:
        pid = number + 11_000 * UIDS.index(uid)  # before, among and behind the others
        if action == "start" and uid not in ended:
            node.start(pid, uid)
            living.add(uid)
        elif action == "end" and uid in living:
            node.cgroups.pop(pid, None)
            if not any(uid in cgroup for cgroup in node.cgroups.values()):
                living.discard(uid)
                ended.add(uid)
        answers = node.ask({uid} & (living | ended) if number % 2 else living | ended)
        found |= {each for each, lives in answers.items() if not lives}
        assert not found & living
        assert node.reads <= LOOK_MAX
    for _ in range(3 * (len(node.cgroups) // LOOK_MAX + 1)):
        found |= {each for each, lives in node.ask(living | ended).items() if not lives}
    assert found == ended


def test_pods_that_are_asked_for_at_once_share_a_look():
    node = Node(5)
    node.ask(UIDS)
    assert node.reads == 5


def test_a_process_whose_cgroup_only_contains_the_uid_is_not_the_pods():
    node = Node()
    node.cgroups[1] = f"0::/user.slice/pod{UIDS[0]}\n"
    assert node.ask(UIDS[:1]) == {UIDS[0]: False}
