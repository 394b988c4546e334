"""The annotation wattlens.io/dvfs of this agent's own node: a switch for users who may annotate nodes.

    kubectl annotate node NAME wattlens.io/dvfs=off

The agent reads it every few seconds with `get` on this one node, and reads nothing else. The last value stays valid while the
API server is unreachable: a switch that is off stays off.
"""

import logging
from urllib.parse import quote

from energy_agent.core.ports import Clock
from energy_agent.owners.kubernetes.api_client import RETRY_MAX_S, Api, ApiError
from energy_agent.runtime.poller import Poller

log = logging.getLogger("wattlens.holders")

ANNOTATION = "wattlens.io/dvfs"
SOURCE = "holders:node_annotation"
EVERY_S = 5.0
_LONGEST = 512


class NodeNote(Poller[str]):
    """The annotation, read in a thread of its own; `text` answers from memory."""

    def __init__(self, api: Api, node: str, clock: Clock) -> None:
        self._api, self._node = api, node
        self._path = f"/api/v1/nodes/{quote(node, safe='')}"
        super().__init__(clock, SOURCE, self._get, EVERY_S, log, "annotation of the node", retry_max_s=RETRY_MAX_S)

    def text(self) -> str:
        """The last value of the annotation, "" if the node does not have it."""
        return self.value or ""

    def _get(self) -> str:
        try:
            metadata = self._api.get(self._path)["metadata"]
            if metadata["name"] != self._node:
                raise ValueError("another node")
            value = (metadata.get("annotations") or {}).get(ANNOTATION, "")
            text = "".join(c for c in value if c.isprintable() or c == "\n")
        except ApiError as error:
            hint = " (the required role is get on nodes, see docs/dvfs.md)" if error.status in (401, 403) else ""
            raise ApiError(f"{error}{hint}") from None
        except Exception:  # noqa: BLE001 - a server may answer anything
            raise ApiError("expected a node in the response") from None
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
