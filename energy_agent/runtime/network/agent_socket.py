"""Requests of programs on a node to its agent: HTTP/1.1 with JSON over the agent's Unix socket."""

import json
import os
from pathlib import Path
from typing import Any

from energy_agent.runtime.network.http import (
    HttpClient,
    HttpError,
    HttpProtocolError,
    HttpTooLargeError,
    HttpTruncatedError,
    HttpUnreachableError,
)


def agent_socket() -> Path:
    """Where an agent would listen: WATTLENS_AGENT_SOCKET, else its usual place."""
    return Path(os.environ.get("WATTLENS_AGENT_SOCKET") or "/run/wattlens/client/agent.sock")


def ask(method: str, path: str, body: object = None, within_s: float = 1.0) -> tuple[int, dict[str, Any]]:
    """Status and answer of the agent.

    Raises:
        OSError: it does not answer.
        ValueError: its answer is not understood.
    """
    client = HttpClient("http://agent", within_s, unix_socket=agent_socket())
    try:
        response = client.request(method, path, body=None if body is None else json.dumps(body).encode())
    except (HttpProtocolError, HttpTooLargeError, HttpTruncatedError) as error:
        raise ValueError(error.reason) from None
    except HttpUnreachableError as error:
        reason = (error.errno, error.reason) if error.errno else (error.reason,)  # a missing socket is a FileNotFoundError
        raise OSError(*reason) from None
    except HttpError as error:
        raise OSError(error.reason) from None
    document = json.loads(response.body)
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object in the agent's response")
    return response.status, document
