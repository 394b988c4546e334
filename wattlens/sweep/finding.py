"""The agent's page for a sweep: read with patience, and looked through until the workload is there and counts its work."""

import math
import time
from collections import deque

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.ports import Clock
from energy_agent.runtime.network.http import HttpError
from wattlens.scrape.access import AgentAccess
from wattlens.sweep.gpu import committed_ns
from wattlens.sweep.hold import Hold
from wattlens.sweep.target import SweepTarget, TargetRequest, target
from wattlens.sweep.work import Work, of_agent, spread_over_nodes
from wattlens.top.metrics import MetricsResponse, parse

TIMEOUT_S = 2.0
"""Of a read: well below the time after which a lease ends that nobody renews."""
PATIENCE_S = 15.0  # of the first one, before there is a lease
GONE_S = 30.0  # real time without any page, once there was one
_APART = 3  # pages between which a workload must be seen to use energy


class TargetFinder:
    """Finds the GPUs and workloads of a sweep on one agent's metrics endpoint."""

    def __init__(self, access: AgentAccess, clock: Clock, hold: Hold) -> None:
        """Raises UsageError if the address or a file of credentials is not valid."""
        self._access, self._hold = access, hold
        self._fetch = access.opener()
        self._read_s = -math.inf  # when a page was read last
        self.period_s = max(0.1, clock.real_seconds(0.5))
        """Real time between two reads: the agent has news once a second of the node's time."""

    def reachable(self) -> None:
        """Raise WattlensError where no agent answers at the address."""
        self.read(PATIENCE_S)

    def read(self, timeout_s: float = TIMEOUT_S) -> MetricsResponse | None:
        """The page; None where none comes now. Raises WattlensError where none has come for long."""
        try:
            page = parse(self._fetch(timeout_s).decode(), 0.0)
        except (HttpError, ValueError) as error:
            if time.monotonic() - self._read_s > GONE_S:
                at = f"{self._access.url}: {self._access.why_not(error)}"
                raise WattlensError(f"no response from the agent at {at}; is `wattlens agent` running?") from None
            return None
        self._read_s = time.monotonic()
        return page

    def find(
        self, request: TargetRequest, named_work: Work | None, what: str | None, wait_s: float
    ) -> tuple[SweepTarget, Work]:
        """The workload with its GPUs and the counter of its work; waits until both are there, `wait_s` of real time at most.

        Raises:
            EndedError: a signal asked to end.
            WattlensError: they are not there; says what is missing.
            UsageError: no time will help.
        """
        end_s, reason = time.monotonic() + wait_s, "the agent has not read its GPUs yet"
        pages: deque[MetricsResponse] = deque(maxlen=_APART)
        while True:
            page = self.read()
            if page is not None and (not pages or committed_ns(page) != committed_ns(pages[-1])):
                pages.append(page)
            if page is not None and len(pages) == _APART:
                match = target(pages[0], page, request, named_work=named_work is not None)
                if isinstance(match, SweepTarget):
                    if why_not := spread_over_nodes(match.workloads):
                        raise UsageError(why_not)
                    work = named_work or of_agent(match.workloads, what, page)
                    if work is not None and work.sample(page) is not None:
                        return match, work
                    match = _no_work(match, work, what)
                reason = match
            if time.monotonic() > end_s:
                raise WattlensError(reason)
            self._hold.pause(self.period_s)


def _no_work(swept: SweepTarget, work: Work | None, what: str | None) -> str:
    if work is not None:
        return f"no {work.what} at the given address"
    return (
        f"the agent counts no {what or 'steps or tokens'} of {', '.join(swept.workloads)}: call wattlens.step in its code "
        "(docs/training.md), add its inference server to the agent's configuration (docs/tokens.md), or give --work-from "
        "and --work-metric"
    )
