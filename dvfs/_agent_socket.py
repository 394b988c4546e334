"""A request to the node's agent over its unix socket: HTTP/1.1 with JSON, by the standard library alone."""

import http.client
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_ANSWER_B = 1 << 20
_AGAIN_S = 0.002


def agent_socket() -> Path:
    """Where an agent would listen: WATTLENS_AGENT_SOCKET, else its usual place."""
    return Path(os.environ.get("WATTLENS_AGENT_SOCKET") or "/run/wattlens/client/agent.sock")


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        deadline_s = time.monotonic() + (self.timeout or 0)
        while True:
            try:
                return self.sock.connect(str(agent_socket()))
            except BlockingIOError:  # its queue is full of others
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(_AGAIN_S)


def ask(method: str, path: str, body: object = None, within_s: float = 1.0) -> tuple[int, dict[str, Any]]:
    """Status and answer of the agent.

    Raises:
        OSError: it does not answer.
        ValueError: its answer is not understood.
    """
    connection = _Connection("agent", timeout=within_s)
    try:
        with suppress(BrokenPipeError):  # refused before it was read: the reason is there all the same
            connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        found = json.loads(answer.read(_ANSWER_B))
    except http.client.HTTPException as error:
        raise ValueError(f"no HTTP: {error}") from None
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise ValueError("the agent's answer is not understood")
    return answer.status, found
