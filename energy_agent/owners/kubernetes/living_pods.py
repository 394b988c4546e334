"""Which pods still have a process on the node, found in passes over all processes, of which each look does a bounded part.

Reading the cgroup of a process costs some 12 us, and anyone may start many. So a node's pods share one pass, and the agent's
loop stays free: a pass over 1,000 processes is one look, one over 30,000 takes thirty.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from energy_agent.core.units import NS_PER_S
from energy_agent.owners.cgroup import TrustedPath, membership

LOOK_MAX = 1_000
"""Processes per look."""
LOOK_EVERY_NS = NS_PER_S // 2


@dataclass(slots=True)
class LivingPods:
    """Answers for pods by uid; a pod that lives has its sandbox's process at least.

    Args:
        pids: lists the processes of the node; raises OSError.
        cgroup: the text of a process's cgroup file, "" where it is gone.
        trust: cuts the path of a cgroup to what root named.
    """

    pids: Callable[[], list[int]]
    cgroup: Callable[[int], str]
    trust: Callable[[str, str], TrustedPath]
    _pass: int = 0  # of those that began
    _left: list[int] = field(default_factory=list)  # processes that this pass has not reached
    _alive: set[str] = field(default_factory=set)  # uids that it found
    _waiting: dict[str, int] = field(default_factory=dict)  # the first pass that began after each was asked for, by uid
    _gone: set[str] = field(default_factory=set)
    _looked_ns: int | None = None

    def lives(self, uid: str, now_ns: int) -> bool:
        """Whether a pod has a process; False once a whole pass that began after this question found none."""
        self._waiting.setdefault(uid, self._pass + 1)
        if self._looked_ns is None or abs(now_ns - self._looked_ns) >= LOOK_EVERY_NS:
            self._looked_ns = now_ns
            self._look()
        if uid in self._gone:
            self._gone.discard(uid)
            return False
        return True

    def _look(self) -> None:
        if not self._left:
            try:
                self._left = self.pids()
            except OSError:
                return
            self._pass += 1
            self._alive = set()
        part, self._left = self._left[:LOOK_MAX], self._left[LOOK_MAX:]
        for pid in part:
            self._alive |= self._pods_in(self.cgroup(pid))
        if not self._left:
            self._gone |= {uid for uid, number in self._waiting.items() if number <= self._pass}
            self._gone -= self._alive
            self._waiting = {uid: number for uid, number in self._waiting.items() if number > self._pass}

    def _pods_in(self, cgroup: str) -> set[str]:
        """The pod of a process, where it is one that is asked for."""
        if not any(uid in cgroup or uid.replace("-", "_") in cgroup for uid in self._waiting):
            return set()
        member = membership(cgroup, self.trust)
        return {member.labels["pod_uid"]} if member is not None and member.kind == "pod" else set()
