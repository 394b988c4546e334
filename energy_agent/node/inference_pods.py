"""Follow pods whose annotations name a metrics endpoint: pods known to the informer become polled endpoints.

The agent's loop calls it. Unchanged pods cost one comparison in total, so thousands of annotated pods cost no more.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import energy_agent.tokens.servers as servers
from energy_agent.core import plugin
from energy_agent.core.energy import SourceHealth
from energy_agent.owners.kubernetes.grants import PodFact
from energy_agent.owners.resolver import OwnerResolver
from energy_agent.tokens.discovery import sources
from energy_agent.tokens.poller import TokenPoller
from energy_agent.tokens.server_spec import TokenServer

log = logging.getLogger("wattlens.tokens")

EVERY_S = 0.8  # the loop turns once a second, and at once when a GPU stops answering
NAMED_REFUSED = 16


@dataclass(slots=True)
class ServingPods:
    """The pods as they were last, and which of them could not be followed."""

    _last: list[tuple[str, PodFact]] | None = None
    _refused: Mapping[str, str] = field(default_factory=dict)
    _servers: tuple[str, ...] = ()
    _nameless: tuple[str, ...] = ()
    _next_s: float = 0.0

    def follow(self, joined: OwnerResolver, tokens: TokenPoller, *, simulated: bool) -> None:
        """Poll the pages of the pods that are there now; pods of a simulated node are at this host's loopback."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + EVERY_S
        pods = joined.serving()
        if pods is None or pods == self._last:
            return
        self._last = pods
        if pods and not self._servers:
            token_servers: dict[str, TokenServer] = plugin.discover(servers)
            self._servers = tuple(token_servers)
            self._nameless = tuple(name for name, server in token_servers.items() if not server.model_label)
        asked = [replace(fact.endpoint, workload=name, facts=fact.labels) for name, fact in pods if fact.endpoint is not None]
        followed, refused = sources(asked, self._servers, self._nameless, simulated=simulated)
        named = dict(list(refused.items())[:NAMED_REFUSED])
        for workload, reason in named.items():
            if self._refused.get(workload) != reason:
                log.warning("annotations of %s are ignored: %s", workload, reason)
        self._refused = named
        tokens.discover(followed)

    def health(self) -> tuple[SourceHealth, ...]:
        """The first pods whose annotations are ignored, with the reason; the workload may have an entry of its own as well."""
        return tuple(SourceHealth(f"annotations:{workload}", False, "", reason) for workload, reason in self._refused.items())
