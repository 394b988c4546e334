"""One page that is polled: its source, its account, how it answers, and what there is to say of that."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from energy_agent.config.tokens import TokenSource
from energy_agent.core.text import printable
from energy_agent.core.tokens import TokenTotals
from energy_agent.core.units import NS_PER_S
from energy_agent.tokens.account import PageAccount
from energy_agent.tokens.beat import Follower
from energy_agent.tokens.server_spec import TokenServer

log = logging.getLogger("wattlens.tokens")

QUIET_NS = 60 * NS_PER_S
PATIENCE_NS = 10 * NS_PER_S
"""How long an endpoint that has answered may be silent before that is logged. A pod that ends is known as ended much sooner."""
NOBODY_NS = 60 * NS_PER_S
NOBODY = (
    "no workload of this name has held a GPU here in the last 15 minutes, so no joules are beside its tokens: "
    "wattlens_workload_info has the names; where others hold the GPUs give the entry their group"
)


@dataclass(slots=True, eq=False)
class Poll:
    """A page; whoever changes it holds the lock of the poller."""

    source: TokenSource
    url: str
    server: TokenServer
    account: PageAccount
    stop: threading.Event = field(default_factory=threading.Event)
    up: bool = False
    reason: str = "not read yet"
    first_boot_ns: int | None = None  # CLOCK_BOOTTIME of the first reading that was recorded
    last_success_ns: int | None = None
    totals: tuple[TokenTotals, ...] = ()
    lacking: frozenset[str] = frozenset()  # what `mapping` names and the page has never had
    told_down: bool = False
    quiet_until_boot_ns: int = 0
    silent_since_boot_ns: int | None = None  # of the first failed reading since the last good one
    since_s: float | None = None  # monotonic start of a reading under way
    fed_boot_ns: int | None = None  # CLOCK_BOOTTIME of the last reading that was recorded
    read_boot_ns: int = 0  # likewise, of the middle of that reading
    cost_s: float = 0.0  # CPU time of a reading, its state in the journal included
    pace: Follower = field(init=False)

    def tell(self, boot_ns: int) -> None:
        """Log that it went or came back, once; of one that does so all the time, every now and then."""
        if self.up:
            self.silent_since_boot_ns = None
            if self.told_down:
                self.told_down = False
                log.info("metrics page of %s: ok", self.key)
            return
        if self.silent_since_boot_ns is None:
            self.silent_since_boot_ns = boot_ns
        patient = self.last_success_ns is not None and boot_ns - self.silent_since_boot_ns < PATIENCE_NS
        if self.told_down or patient or self.stop.is_set() or boot_ns < self.quiet_until_boot_ns:
            return
        self.told_down, self.quiet_until_boot_ns = True, boot_ns + QUIET_NS
        said = printable(self.reason[:300])
        log.warning("metrics page of %s is not read: %s", self.key, said)

    @property
    def nobody(self) -> bool:
        """Whether tokens came for so long that their workload should have been seen."""
        counted = any(t.counts.get("generation") for t in self.totals)
        seen_ns = 0 if self.first_boot_ns is None or self.fed_boot_ns is None else self.fed_boot_ns - self.first_boot_ns
        return self.up and counted and self.source.group is None and seen_ns >= NOBODY_NS

    def __post_init__(self) -> None:
        self.pace = Follower(self.source.period_s)

    @property
    def key(self) -> str:
        """Names the page."""
        return f"{self.source.workload} {self.url}"


SHARE_EACH: Final = 0.02
SHARE_ALL: Final = 0.03
"""Of a processor core: at most for one endpoint, and for all of them."""


def periods_s(costs: Sequence[tuple[float, float]]) -> list[float]:
    """Return the seconds between two readings of each endpoint.

    The shares are max-min fair: an endpoint that costs less than its part keeps its period, whatever the others cost.

    Args:
        costs: of each endpoint the CPU time in s of a reading, and the period that the configuration gives it.
    """
    limit, left = SHARE_EACH, SHARE_ALL
    for place, share in enumerate(sorted(cost_s / period_s for cost_s, period_s in costs)):
        part = left / (len(costs) - place)
        if share > part:
            limit = min(limit, part)
            break
        left -= share
    return [max(period_s, cost_s / limit) for cost_s, period_s in costs]
