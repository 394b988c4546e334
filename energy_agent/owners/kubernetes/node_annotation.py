"""The annotation wattlens.io/dvfs of this agent's own node: a switch for whoever may annotate nodes.

    kubectl annotate node NAME wattlens.io/dvfs=off

Read every few seconds with `get` on this one node, and nothing else. What was read last holds while the API server is away: a
switch that is off stays off.
"""

import logging
import threading
from urllib.parse import quote

from energy_agent.core.energy import SourceHealth
from energy_agent.core.ports import Clock
from energy_agent.owners.kubernetes.api_client import Api, ApiError
from energy_agent.runtime.threads import start_thread

log = logging.getLogger("wattlens.holders")

ANNOTATION = "wattlens.io/dvfs"
SOURCE = "holders:node_annotation"
EVERY_S = 5.0
_FORBIDDEN_S = 30.0
_LONGEST = 512


class NodeNote:
    """Asks in a thread of its own; `text` answers from memory."""

    def __init__(self, api: Api, node: str, clock: Clock) -> None:
        self._api, self._node, self._clock = api, node, clock
        self._path = f"/api/v1/nodes/{quote(node, safe='')}"
        self._stop = threading.Event()
        self._text, self._up, self._reason = "", False, "not read yet"
        self._success_ns: int | None = None

    def start(self) -> None:
        """Begin to ask."""
        start_thread(threading.Thread(target=self._run, name="node-note", daemon=True))

    def stop(self) -> None:
        """End the thread with its next wait."""
        self._stop.set()

    def text(self) -> str:
        """The annotation as it was read last, "" where there is none."""
        return self._text

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether the node can be read."""
        return (SourceHealth(SOURCE, self._up, "", self._reason, self._success_ns),)

    def _run(self) -> None:
        while True:
            wait_s = EVERY_S
            try:
                metadata = self._api.get(self._path)["metadata"]
                if metadata["name"] != self._node:
                    raise ValueError("another node")
                value = (metadata.get("annotations") or {}).get(ANNOTATION, "")
                text = "".join(c for c in value if c.isprintable() or c == "\n")
                self._text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
                if not self._up and self._reason != "not read yet":
                    log.info("annotation of the node: ok")
                self._up, self._reason, self._success_ns = True, "", self._clock.utc_ns()
            except ApiError as error:
                hint = " (its role: get on nodes, see docs/dvfs.md)" if error.status in (401, 403) else ""
                wait_s = _FORBIDDEN_S if error.status in (401, 403) else EVERY_S
                self._failed(f"{error}{hint}")
            except Exception:  # noqa: BLE001 - a server may answer anything; none of it ends this thread
                self._failed("an answer that is no node")
            if self._stop.wait(wait_s):
                return

    def _failed(self, reason: str) -> None:
        if self._up or self._reason != reason:
            log.warning("annotation of the node: %s", reason)
        self._up, self._reason = False, reason
