"""Joules of a window from the node's agent, for a process that cannot read NVML itself."""

import http.client
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

_ANSWER_S = 1.0
_PATIENCE_S = 3.0


def agent_socket() -> Path:
    """Where an agent would listen: WATTLENS_AGENT_SOCKET, else its usual place."""
    return Path(os.environ.get("WATTLENS_AGENT_SOCKET") or "/run/wattlens/client/agent.sock")


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(str(agent_socket()))


def agent_window(start_ns: int, end_ns: int) -> dict[str, Any]:
    """The agent's answer for a window in UTC ns, or {"reason"}. It reads once a second: waits for its next reading."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        connection = _Connection("agent")
        try:
            connection.request("GET", f"/v1/window/{start_ns}/{end_ns}")
            found = json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            return {"reason": f"the agent at {agent_socket()} does not answer: {error}"}
        finally:
            connection.close()
        if not isinstance(found, dict):
            return {"reason": "the agent's answer is not understood"}
        if not found.get("later") or time.monotonic() > deadline_s:
            return found
        time.sleep(0.1)
