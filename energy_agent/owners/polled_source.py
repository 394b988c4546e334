"""Base class of claim sources that poll a scheduler in a background thread.

A failed or hung poll is reported in health. The last good response stays; `join` decides how long it is used.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

from energy_agent.core.energy import SourceHealth
from energy_agent.core.ports import Clock
from energy_agent.owners.claims import Claim, Claims
from energy_agent.runtime.poller import Poller

log = logging.getLogger("wattlens.holders")

NAMED_UNKNOWN = 16
ABSENT_S = 5.0
"""Time between two looks for a scheduler that is not there: each wakes a thread."""


class PolledClaimSource(Poller[Claims]):
    """A `ClaimSource`. While it is not wanted it says that nobody was given anything, and nothing of its health."""

    source: ClassVar[str]
    called: ClassVar[str]  # in the log

    def __init__(
        self,
        clock: Clock,
        period_s: float,
        *,
        wanted: bool,
        retry_max_s: float,
        rest: float = 0.0,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        """Send no request before `start`; the other arguments are those of `Poller`."""
        poller_args = (clock, self.source, self._claim, period_s, log, self.called)
        super().__init__(*poller_args, retry_max_s=retry_max_s, rest=rest, close=close)
        self._wanted, self._present_s = wanted, period_s
        self._absent: Claims | None = None  # where there is no such scheduler
        self._since: dict[str, int] = {}  # when each workload was first claimed
        self._unknown: Mapping[str, str] = {}  # assigned device that cannot be identified -> its workload

    def is_present(self) -> bool:
        """Whether there is such a scheduler on this node; asked until there is one."""
        raise NotImplementedError

    def ask(self, now_ns: int) -> tuple[Iterable[Claim], Mapping[str, str]]:
        """The claims, and the workloads of assigned devices that cannot be identified; `now_ns` is UTC. May raise anything."""
        raise NotImplementedError

    def claims(self) -> Claims | None:
        """The last good answer."""
        return self.value or self._absent

    def rows(self) -> tuple[SourceHealth, ...]:
        """Whether it answers, and the first assigned devices that are unknown; empty without such a scheduler."""
        if not self._wanted:
            return ()
        named = list(self._unknown.items())[:NAMED_UNKNOWN]
        unknown = (SourceHealth(self.source, False, device, f"unknown device, assigned to {to}") for device, to in named)
        return (self.health(), *unknown)

    def since(self, workload: str, now_ns: int) -> int:
        """When a workload was first claimed: now, unless it was before."""
        return self._since.setdefault(workload, now_ns)

    def _claim(self) -> Claims | None:
        asked_ns, before = self._clock.boot_ns(), self.value
        self._wanted = self._wanted or self.is_present()
        self.period_s = self._present_s if self._wanted else max(self._present_s, ABSENT_S)
        if not self._wanted:
            self._absent = Claims(asked_ns)
            return None
        unordered, unknown = self.ask(self._clock.utc_ns())
        claims = tuple(sorted(unordered, key=lambda claim: (claim.device, claim.workload)))
        named = {claim.workload for claim in claims} | set(unknown.values())
        self._since = {name: since for name, since in self._since.items() if name in named}
        for device in unknown.keys() - self._unknown.keys():
            log.warning(
                "cannot identify the GPU of device %s, which is assigned to %s; see docs/attribution.md",
                device,
                unknown[device],
            )
        self._unknown = unknown
        # The same tuple while nothing changes: callers compare it by identity.
        same = before is not None and before.claims == claims
        return Claims(asked_ns, before.claims if same and before is not None else claims, len(unknown))
