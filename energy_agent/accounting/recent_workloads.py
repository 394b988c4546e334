"""When each workload last had a device. Ended workloads stay on /metrics for the retention, so that their final values are
scraped. Pure.

Ends are states of the journal, one per workload, written once: the cost of a commit does not grow with their number.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.fair_shares import first_of_largest

RETENTION_NS = 15 * 60 * NS_PER_S
ENDED_MAX = 1_000
"""How many workloads that have ended are kept; of more, the first of the owner with the most leave before their time."""


class RecentWorkloads:
    """UTC ns by workload."""

    def __init__(self, retention_ns: int = RETENTION_NS) -> None:
        self.retention_ns = retention_ns
        self._seen_ns: dict[str, int] = {}

    def see(self, workloads: Iterable[str], t_ns: int) -> None:
        """These are there at `t_ns`."""
        self._seen_ns |= dict.fromkeys(workloads, t_ns)

    def names(self) -> set[str]:
        """Workloads that were seen within the retention, as of the last call of `forget_ended`."""
        return set(self._seen_ns)

    def forget_ended(
        self, now_ns: int, holding: Collection[str] = (), owner: Callable[[str], str] = lambda _: ""
    ) -> Collection[str]:
        """Remove workloads whose retention is over, and return the others; those that are `holding` a device have not ended.

        `owner` names who pays with earlier ends of its own where too many have ended.
        """
        # After a step back of the clock the retention begins again.
        recent_ns = {w: min(seen_ns, now_ns) for w, seen_ns in self._seen_ns.items() if now_ns - seen_ns <= self.retention_ns}
        ended = [w for w in recent_ns if w not in holding] if len(recent_ns) > ENDED_MAX else []
        if len(ended) > ENDED_MAX:
            for workload in first_of_largest(sorted(ended, key=recent_ns.__getitem__), owner, len(ended) - ENDED_MAX):
                del recent_ns[workload]
        self._seen_ns = recent_ns
        return recent_ns

    def dump(self, holding: Collection[str]) -> dict[str, str]:
        """States of those that have ended; those that are `holding` a device are in the states of their devices."""
        return {w: str(seen_ns) for w, seen_ns in self._seen_ns.items() if w not in holding}

    def restore(self, states: Mapping[str, str], now_ns: int) -> None:
        """Go on from what `dump` wrote.

        Raises:
            ValueError: it is something else; nothing has changed.
        """
        self._seen_ns = {w: min(int(text), now_ns) for w, text in states.items()} | self._seen_ns
