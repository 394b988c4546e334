"""Client of the API server with a service account: rotating token and CA files, bounded responses."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energy_agent.core.text import printable
from energy_agent.runtime.network.http import HttpClient, HttpError, ResponseStream
from energy_agent.runtime.network.tls import TlsFiles

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_ANSWER_B = 32 << 20
MAX_EVENT_B = 4 << 20  # etcd takes no object above 1.5 MiB
_TIMEOUT_S = 15.0
_CPU_LIMIT_S = 5.0
RETRY_MAX_S = 30.0
"""How long to wait after failures in a row, refusals included, at most: as client-go."""


class ApiError(OSError):
    """A failed request. `status` is the HTTP status, 0 if there was no response."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Api:
    """Where the API server is, and the files that let us in."""

    address: str  # https://HOST:PORT; http on a simulated node alone
    account: Path

    @classmethod
    def in_cluster(cls) -> "Api | None":
        """As a pod finds it; None outside of one, or without a service account's token."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (ACCOUNT / "token").exists():
            return None
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", ACCOUNT)

    @classmethod
    def simulated(cls, folder: Path) -> "Api | None":
        """That of a simulated node, if it has one."""
        try:
            return cls((folder / "kube-api/address").read_text().strip(), folder / "kube-api")
        except OSError:
            return None

    def get(self, path: str) -> dict[str, Any]:
        """One object or list.

        Raises:
            ApiError: no answer, a status that is not 200, or no object.
        """
        with self._open(path) as response:
            return _object(response.read())

    def events(self, path: str, silence_s: float) -> Iterator[dict[str, Any]]:
        """Events of a watch, until the server ends it, or is silent for `silence_s`.

        Raises:
            ApiError: as `get`.
        """
        with self._open(path) as response:
            for line in response.lines(MAX_EVENT_B, silence_s):
                yield _object(line)

    @contextmanager
    def _open(self, path: str) -> Iterator[ResponseStream]:
        try:
            with (self.account / "token").open("rb") as file:  # it rotates about once an hour
                token = file.read(16_384).decode("ascii").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a token"
            raise ApiError(f"service account: {printable(str(reason)[:160])}") from None
        tls = TlsFiles(self.account / "ca.crt")
        client = HttpClient(self.address, _TIMEOUT_S, tls, body_limit_b=MAX_ANSWER_B, cpu_limit_s=_CPU_LIMIT_S, direct=True)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "wattlens"}
        try:
            with client.stream("GET", path, headers) as response:
                if response.status != 200:
                    raise ApiError(f"HTTP {response.status} for {path.partition('?')[0]}", response.status)
                yield response
        except HttpError as error:
            raise ApiError(error.reason) from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ApiError("expected JSON in the response") from None
    if not isinstance(body, dict):
        raise ApiError("expected a JSON object in the response")
    return body
