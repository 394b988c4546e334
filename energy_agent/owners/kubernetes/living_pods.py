"""Which pods still have a process on the node. A separate thread scans all processes while callers request a pod.

Reading the cgroup of a process costs some 12 us, and any user may start many processes. So one pass serves all callers, and
passes take at most one part in COST_MAX of the time.
"""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from energy_agent.core.ports import Clock
from energy_agent.owners.cgroup import TrustedPath, membership
from energy_agent.owners.processes import read_proc
from energy_agent.runtime.poller import Poller

PERIOD_S = 0.5
COST_MAX = 20.0
GONE_MAX = 1_000
_log = logging.getLogger("wattlens.holders")


class LivingPods(Poller[None]):
    """Answers for pods by uid; a pod that lives has its sandbox's process at least.

    Args:
        clock: the agent's.
        procfs: root of the proc file system.
        trust: cuts the path of a cgroup to what root named.
    """

    def __init__(self, clock: Clock, procfs: Path, trust: Callable[[str, str], TrustedPath]) -> None:
        self._procfs, self._trust = procfs, trust
        self._lock, self._question = threading.Lock(), threading.Event()
        self._asked: set[str] = set()  # uids that the next pass looks for
        self._gone: set[str] = set()  # uids that a pass did not find and nobody has asked for since
        super().__init__(clock, "holders:living_pods", self._look, PERIOD_S, _log, "processes of the node", rest=COST_MAX)

    def lives(self, uid: str) -> bool:
        """Whether a pod has a process, from memory; False once a whole pass that began after this question found none."""
        with self._lock:
            if uid in self._gone:
                self._gone.discard(uid)
                return False
            self._asked.add(uid)
            self._question.set()
            return True

    def pause(self, took_s: float) -> None:
        """Wait for a question too: most nodes and most hours have none."""
        super().pause(took_s)
        if not self.is_stopping:
            self._question.wait()

    def stop(self) -> None:
        """End the thread with its next wait."""
        super().stop()
        self._question.set()

    def _look(self) -> None:
        with self._lock:
            self._question.clear()
            if not self._asked:
                return
            uids = self._asked | self._gone
        alive: set[str] = set()
        for pid in os.listdir(self._procfs):  # noqa: PTH208 - names alone
            cgroup = (read_proc(self._procfs, pid, "cgroup") or "") if pid.isdecimal() else ""
            if any(uid in cgroup or uid.replace("-", "_") in cgroup for uid in uids):
                member = membership(cgroup, self._trust)
                alive |= {member.labels["pod_uid"]} if member is not None and member.kind == "pod" else set()
        with self._lock:
            self._asked -= uids
            self._gone = uids - alive if len(uids) <= GONE_MAX else set()  # callers repeat their request for dropped pods
