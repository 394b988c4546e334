"""Limits on workloads that users name: their processes, units and containers. Pure.

Anyone may start a process every 50 ms, and each workload costs memory, series and rows. Beyond the limit a user's processes are
one workload together. Owners that take all that they get leave room for others: an owner has at most a quarter of what the
node has left (the dynamic thresholds by which switches share their buffers: Choudhury and Hahne, 1998).
"""

import re
from collections import Counter, deque
from dataclasses import dataclass, field

from energy_agent.core.units import NS_PER_S

OF_USER, OF_NODE = 128, 1_024
"""How many workloads of their own in any hour."""
USERS_MAX = 64
MANY_USERS = "processes-of-many-users"
NOBODY = 65534
"""A uid that services with nothing in common have, and what the kernel shows for uids it cannot map."""
_HOUR_NS = 3600 * NS_PER_S
_SHARED = re.compile(r"processes-of-(uid-\d+|many-users)")


def is_shared(workload: str) -> bool:
    """Whether the workload is of processes beyond a limit. It requests, reads and steers nothing."""
    return _SHARED.fullmatch(workload) is not None


@dataclass(slots=True)
class LoneProcesses:
    """Decides which names are workloads of their own. An owner is a uid; None is all whose uid identifies no owner."""

    _starts: deque[tuple[int, str, int | None]] = field(default_factory=deque)  # of the last hour
    _names: set[str] = field(default_factory=set)  # of these
    _counts: Counter[int | None] = field(default_factory=Counter)  # of these, by owner
    _together: dict[int, int] = field(default_factory=dict)  # the last time of owners with a shared workload
    _elapsed_ns: int = 0  # a step back of the clock adds nothing
    _last_ns: int | None = None

    def is_own(self, name: str, owner: int | None, now_ns: int) -> bool:
        """Whether a name is a workload of its own; it counts once in an hour, however many processes have it."""
        self._advance(now_ns)
        if name in self._names:
            return True
        if self._counts[owner] >= min(OF_USER, (OF_NODE - len(self._starts)) / 4):
            return False
        self._starts.append((self._elapsed_ns, name, owner))
        self._names.add(name)
        self._counts[owner] += 1
        return True

    def shared_name(self, owner: int | None) -> str:
        """The workload of an owner's further processes; that of several owners where there are many such owners."""
        if owner is None or (owner not in self._together and len(self._together) >= USERS_MAX):
            return MANY_USERS
        self._together[owner] = self._elapsed_ns
        return f"processes-of-uid-{owner}"

    def _advance(self, now_ns: int) -> None:
        self._elapsed_ns += max(0, now_ns - (now_ns if self._last_ns is None else self._last_ns))
        self._last_ns = now_ns
        before_ns = self._elapsed_ns - _HOUR_NS
        while self._starts and self._starts[0][0] <= before_ns:
            _, name, owner = self._starts.popleft()
            self._names.discard(name)
            self._counts[owner] -= 1
            if not self._counts[owner]:
                del self._counts[owner]
        if any(last_ns <= before_ns for last_ns in self._together.values()):
            self._together = {owner: last_ns for owner, last_ns in self._together.items() if last_ns > before_ns}
