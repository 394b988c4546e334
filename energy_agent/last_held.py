"""When each workload last held a device: for a while after its end it stays on the page, so that its last second is scraped.

Pure. Who has ended is kept in the journal, or a restart of the agent would take what it used off the page at once.
"""

import json
from collections.abc import Collection, Iterable

from energy_agent.core.units import NS_PER_S

HELD_STATE = "held/"
"""The key among the journal's states."""
ENDED_STAYS_NS = 15 * 60 * NS_PER_S


class LastHeld:
    """UTC ns by workload."""

    def __init__(self) -> None:
        self._seen_ns: dict[str, int] = {}

    def see(self, workloads: Iterable[str], t_ns: int) -> None:
        """These hold a device at `t_ns`."""
        self._seen_ns |= dict.fromkeys(workloads, t_ns)

    def names(self) -> set[str]:
        """Workloads that hold a device, or did so in the last quarter of an hour."""
        return set(self._seen_ns)

    def shown(self, now_ns: int) -> Collection[str]:
        """The same, after those were let go that ended longer ago."""
        self._seen_ns = {w: seen for w, seen in self._seen_ns.items() if now_ns - seen <= ENDED_STAYS_NS}
        return self._seen_ns

    def dump(self, holding: Collection[str]) -> str:
        """Those that have ended, as JSON; those that are `holding` one stand in the states of their devices."""
        return json.dumps({w: seen for w, seen in self._seen_ns.items() if w not in holding}, separators=(",", ":"))

    def restore(self, text: str, now_ns: int) -> None:
        """Go on from what `dump` wrote; "": nobody had ended.

        Raises:
            ValueError: it is something else; nothing has changed.
        """
        found = json.loads(text or "{}")
        if not isinstance(found, dict) or not all(type(seen) is int for seen in found.values()):
            raise ValueError("not the workloads that have ended")
        self._seen_ns = {w: min(seen, now_ns) for w, seen in found.items()} | self._seen_ns
