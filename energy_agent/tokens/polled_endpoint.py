"""A polled metrics endpoint: its source, its account, and its health."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from energy_agent.config.tokens import TokenSource
from energy_agent.core.energy import SourceHealth
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.tokens import TokenTotals
from energy_agent.runtime.poller import Poller
from energy_agent.tokens.account import EndpointAccount
from energy_agent.tokens.server_spec import TokenServer

log = logging.getLogger("wattlens.tokens")

AFTER_S = 0.02
"""Devices are read at whole seconds of UTC, and endpoints once the loop has taken these readings: none waits for another."""
QUIET_NS = 60 * NS_PER_S
PATIENCE_NS = 10 * NS_PER_S
"""How long an endpoint that has answered may be silent before that is logged. A pod that ends is known as ended much sooner."""
NOBODY_NS = 60 * NS_PER_S
NOBODY = (
    "no workload of this name has used a GPU of this node in the last 15 minutes, so its tokens have no energy: see "
    "wattlens_workload_info for the names; if other workloads use the GPUs, set `group` in this entry"
)


class Poll(Poller[None]):
    """A polled metrics endpoint; change it only under the lock of its TokenPoller.

    Args:
        clock: the agent's.
        source: the server, and the page's `url`.
        server: how to read it.
        read: reads it and records what it counted.
        hang_s: it is down when a reading takes longer.
    """

    def __init__(
        self,
        clock: Clock,
        source: TokenSource,
        url: str,
        server: TokenServer,
        read: Callable[["Poll"], None],
        hang_s: float,
    ) -> None:
        self.key = f"{source.workload} {url}"
        super().__init__(
            clock,
            f"tokens:{source.workload}",
            partial(read, self),
            source.period_s,
            log,
            f"metrics endpoint of {self.key}",
            retry_max_s=None,  # one that fails costs as much as one that answers
            phase_s=AFTER_S,
            hang_s=hang_s,
        )
        self.source, self.url, self.server = source, url, server
        live, group = server.moves == "step", source.group or ""
        self.account = EndpointAccount(
            source.workload, self.key, live=live, group=group, precision=source.precision, role=source.role
        )
        self.first_boot_ns: int | None = None  # CLOCK_BOOTTIME of the first reading that was recorded
        self.totals: tuple[TokenTotals, ...] = ()
        self.missing_names: frozenset[str] | None = None  # what `mapping` names and the page has never had; None: never read
        self.fed_boot_ns: int | None = None  # CLOCK_BOOTTIME of the last reading that was recorded
        self.read_boot_ns = 0  # CLOCK_BOOTTIME of the middle of that reading
        self.cost_s = 0.0  # CPU time of a reading, its state in the journal included
        self._told_down, self._quiet_until_boot_ns = False, 0
        self._silent_since_boot_ns: int | None = None  # of the first failed reading since the last good one

    def report(self, before: SourceHealth, health: SourceHealth) -> None:
        """Log that it went or came back, once; of one that does so all the time, every now and then."""
        boot_ns = self._clock.boot_ns()
        if health.up:
            self._silent_since_boot_ns = None
            if self._told_down:
                self._told_down = False
                super().report(before, health)
            return
        if self._silent_since_boot_ns is None:
            self._silent_since_boot_ns = boot_ns
        patient = health.last_success_ns is not None and boot_ns - self._silent_since_boot_ns < PATIENCE_NS
        if not self._told_down and not patient and boot_ns >= self._quiet_until_boot_ns:
            self._told_down, self._quiet_until_boot_ns = True, boot_ns + QUIET_NS
            log.warning("cannot read the metrics endpoint of %s: %s", self.key, health.reason)

    @property
    def nobody(self) -> bool:
        """Whether tokens came for so long that their workload should have been seen."""
        counted = any(t.counts.get("generation") for t in self.totals)
        seen_ns = 0 if self.first_boot_ns is None or self.fed_boot_ns is None else self.fed_boot_ns - self.first_boot_ns
        return self.health().up and counted and self.source.group is None and seen_ns >= NOBODY_NS


_ROUNDING: Final = 1e-9
SHARE_EACH: Final = 0.02
SHARE_ALL: Final = 0.03
"""Of a processor core: at most for one endpoint, and for all of them."""


def periods_s(costs: Sequence[tuple[float, float]]) -> list[float]:
    """Return the seconds between two readings of each endpoint, whole multiples of its own period.

    The shares are max-min fair: an endpoint that costs less than its part keeps its period, whatever the others cost.

    Args:
        costs: of each endpoint the CPU time in s of a reading, and the period that the configuration gives it.
    """
    limit, remaining = SHARE_EACH, SHARE_ALL
    for place, share in enumerate(sorted(cost_s / period_s for cost_s, period_s in costs)):
        part = remaining / (len(costs) - place)
        if share > part:
            limit = min(limit, part)
            break
        remaining -= share
    return [period_s * max(1, math.ceil(cost_s / limit / period_s - _ROUNDING)) for cost_s, period_s in costs]
