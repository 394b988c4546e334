"""What a process asks the node's agent over its unix socket, such as the joules of a window that it cannot read itself."""

import http.client
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_ANSWER_S = 1.0
_ANSWER_B = 1 << 20
_AGAIN_S = 0.002
_PATIENCE_S = 3.0


def agent_socket() -> Path:
    """Where an agent would listen: WATTLENS_AGENT_SOCKET, else its usual place."""
    return Path(os.environ.get("WATTLENS_AGENT_SOCKET") or "/run/wattlens/client/agent.sock")


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ANSWER_S)
        deadline_s = time.monotonic() + _ANSWER_S
        while True:
            try:
                return self.sock.connect(str(agent_socket()))
            except BlockingIOError:  # its queue is full of others
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(_AGAIN_S)


def ask(method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Status and answer of the agent.

    Raises:
        OSError: it does not answer.
        ValueError: its answer is not understood.
    """
    connection = _Connection("agent")
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


def agent_window(start_ns: int, end_ns: int) -> dict[str, Any]:
    """The agent's answer for a window in UTC ns, or {"reason"}. It reads once a second: waits for its next reading."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            _, found = ask("GET", f"/v1/window/{start_ns}/{end_ns}")
        except (OSError, ValueError) as error:
            return {"reason": f"the agent at {agent_socket()} does not answer: {error}"}
        if not found.get("later") or time.monotonic() > deadline_s:
            return found
        time.sleep(0.1)
