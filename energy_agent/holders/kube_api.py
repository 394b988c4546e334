"""Asks the API server as a service account does: stdlib HTTP over TLS, token and CA from files that rotate, bounded answers."""

import http.client
import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_ANSWER_B = 32 << 20
MAX_EVENT_B = 4 << 20  # etcd takes no object above 1.5 MiB
_TIMEOUT_S = 15.0
_RETRY_MAX_S = 30.0


def retry_delay_s(failures: int) -> float:
    """How long to wait after so many failures in a row, refusals included: as client-go, whose limit is half a minute too."""
    return min(2.0 ** min(failures - 1, 6), _RETRY_MAX_S)


class ApiError(OSError):
    """No good answer. `status` is that of HTTP, 0 where there was none."""

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
        connection, answer = self._open(path, _TIMEOUT_S)
        try:
            raw = answer.read(MAX_ANSWER_B + 1)
            if len(raw) > MAX_ANSWER_B:
                raise ApiError(f"an answer of more than {MAX_ANSWER_B} bytes")
            return _object(raw)
        except (OSError, http.client.HTTPException) as error:
            raise error if isinstance(error, ApiError) else ApiError(_words(error)) from None
        finally:
            connection.close()

    def events(self, path: str, silence_s: float) -> Iterator[dict[str, Any]]:
        """Events of a watch, until the server ends it, or is silent for `silence_s`.

        Raises:
            ApiError: as `get`.
        """
        connection, answer = self._open(path, silence_s)
        try:
            while line := answer.readline(MAX_EVENT_B + 1):
                if len(line) > MAX_EVENT_B:
                    raise ApiError(f"an event of more than {MAX_EVENT_B} bytes")
                yield _object(line)
        except (OSError, http.client.HTTPException) as error:
            raise error if isinstance(error, ApiError) else ApiError(_words(error)) from None
        finally:
            connection.close()

    def _open(self, path: str, timeout_s: float) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        where = urlsplit(self.address)
        try:
            with (self.account / "token").open("rb") as file:  # it rotates about once an hour
                token = file.read(16_384).decode("ascii").strip()
            connection: http.client.HTTPConnection
            if where.scheme == "https":
                context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
                connection = http.client.HTTPSConnection(where.hostname or "", where.port, timeout=timeout_s, context=context)
            else:
                connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout_s)
        except (OSError, ValueError) as error:
            raise ApiError(f"service account: {_words(error)}") from None
        try:
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "wattlens"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise ApiError(_words(error)) from None
        if answer.status != 200:
            connection.close()
            raise ApiError(f"HTTP {answer.status} for {path.partition('?')[0]}", answer.status)
        return connection, answer


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise ApiError("an answer that is no JSON") from None
    if not isinstance(found, dict):
        raise ApiError("an answer that is no object")
    return found


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)[:160]
