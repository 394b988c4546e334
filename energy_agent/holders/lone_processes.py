"""Names of processes that are in no pod, container, unit or job: each is a workload of its own, up to a rate. Pure.

Anyone may start a process each 50 ms, and each workload costs memory, series and rows. Beyond the rate the processes of a user
are one workload together. A user's rate does not depend on other users, as long as the node's suffices for all.
"""

from dataclasses import dataclass, field

from energy_agent.core.units import NS_PER_S

OF_USER, OF_NODE = 128, 1_024
"""How many workloads of their own an hour; a user or node that was quiet for an hour can have as many at once."""
USERS_MAX = 64
MANY_USERS = "processes-of-many-users"
_HOUR_NS = 3600 * NS_PER_S


@dataclass(slots=True)
class _Budget:
    size: int
    left: float
    at_ns: int

    def refill(self, now_ns: int) -> bool:
        """Whether one more fits by now. The clock may step: a step back refills nothing."""
        self.left = min(self.size, self.left + self.size * max(0, now_ns - self.at_ns) / _HOUR_NS)
        self.at_ns = now_ns
        return self.left >= 1


@dataclass(slots=True)
class LoneProcesses:
    """Decides which processes are workloads of their own."""

    _users: dict[int | None, _Budget] = field(default_factory=dict)
    _node: _Budget = field(default_factory=lambda: _Budget(OF_NODE, OF_NODE, 0))
    _together: set[int] = field(default_factory=set)  # users whose further processes are one workload each

    def is_own(self, uid: int | None, now_ns: int) -> bool:
        """Whether one more process of a user is a workload of its own; None is a user that is not known."""
        if len(self._users) > 2 * OF_NODE:
            self._users = {user: budget for user, budget in self._users.items() if not _is_full(budget, now_ns)}
        user = self._users.setdefault(uid, _Budget(OF_USER, OF_USER, now_ns))
        if not (user.refill(now_ns) and self._node.refill(now_ns)):
            return False
        user.left, self._node.left = user.left - 1, self._node.left - 1
        return True

    def shared_name(self, uid: int | None) -> str:
        """The workload of a user's further processes; that of several users where there are many such users."""
        if uid is None or (uid not in self._together and len(self._together) >= USERS_MAX):
            return MANY_USERS
        self._together.add(uid)
        return f"processes-of-uid-{uid}"


def _is_full(budget: _Budget, now_ns: int) -> bool:
    budget.refill(now_ns)
    return budget.left >= budget.size
