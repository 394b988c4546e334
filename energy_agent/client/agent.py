"""What a process asks the node's agent over its unix socket, such as the joules of a window that it cannot read itself."""

import http.client
import json
import os
import socket
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

_ANSWER_S = 1.0
_ANSWER_B = 1 << 20
_AGAIN_S = 0.002
_LOOK_S, _PAGE_B = 30.0, 4096
DEFAULT_PORT = 9479
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
            return {"reason": describe_silence(error)}
        if not found.get("later") or time.monotonic() > deadline_s:
            return found
        time.sleep(0.1)


def describe_silence(error: Exception, metrics_port: int = DEFAULT_PORT) -> str:
    """Why the socket gave no response: there is no agent on this node, or one that serves no socket here.

    Args:
        error: that `ask` raised.
        metrics_port: where an agent would serve its metrics.
    """
    if isinstance(error, FileNotFoundError | ConnectionRefusedError) and _serves_metrics(
        metrics_port, time.monotonic() // _LOOK_S
    ):
        return (
            f"the agent of this node serves no client socket at {agent_socket()} "
            "(set client.socket in its configuration; in a container, mount the socket's folder)"
        )
    return f"no agent answers at {agent_socket()} ({error})"


@lru_cache(maxsize=4)
def _serves_metrics(port: int, _period: float) -> bool:
    """Whether an agent has that port; looked at once per period, by the name in its landing page or in its challenge."""
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_S / 2) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            page = b""
            while len(page) < _PAGE_B and (data := client.recv(_PAGE_B)):
                page += data
            return b"wattlens" in page.lower()
    except OSError:
        return False
