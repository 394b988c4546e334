"""Requests of a process to the node's agent over its Unix socket, such as the energy of a window."""

import time
from functools import lru_cache
from typing import Any

from energy_agent.runtime.network.agent_socket import agent_socket, ask
from energy_agent.runtime.network.http import HttpClient, HttpError

_ANSWER_S = 1.0
_LOOK_S = 30.0
DEFAULT_PORT = 9479
_PATIENCE_S = 3.0


def agent_window(start_ns: int, end_ns: int) -> dict[str, Any]:
    """The agent's answer for a window in UTC ns, or {"reason"}. It reads once a second: waits for its next reading."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            _, window = ask("GET", f"/v1/window/{start_ns}/{end_ns}")
        except (OSError, ValueError) as error:
            return {"reason": describe_silence(error)}
        if not window.get("later") or time.monotonic() > deadline_s:
            return window
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
            f"the agent of this node has no client socket at {agent_socket()} (set client.socket in its configuration; "
            "in a container, mount the folder of the socket)"
        )
    if isinstance(error, FileNotFoundError):
        return f"no agent responds at {agent_socket()}"
    return f"no agent responds at {agent_socket()} ({error})"


@lru_cache(maxsize=4)
def _serves_metrics(port: int, _period: float) -> bool:
    """Whether an agent has that port; looked at once per period, by the name in its landing page or in its challenge."""
    try:
        response = HttpClient(f"http://127.0.0.1:{port}", _ANSWER_S / 2).request("GET", "/")
    except HttpError:
        return False
    return b"wattlens" in response.body.lower() or "wattlens" in str(response.headers).lower()
