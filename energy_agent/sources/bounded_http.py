"""One HTTP request to a service that is not trusted: no redirect, no proxy, bounded size, and one deadline for all of it."""

import base64
import functools
import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from energy_agent.core.meter_types import MeterError

ANSWER_LIMIT_B: Final = 1 << 20
_CHUNK_B: Final = 1 << 16
_HTTP_PORT: Final = 80
_HTTPS_PORT: Final = 443
_LEAST_S: Final = 0.001  # a timeout of 0 would mean: do not wait at all


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered. `headers` knows no case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def good(self) -> bool:
        """Whether it is what was asked for; a redirect is not."""
        return 200 <= self.status < 300


class HttpService:
    """A service below `url`; each request opens a connection of its own.

    Args:
        url: http:// or https:// with host, and with port and path where there are any.
        timeout_s: how long a request may take, from its first byte to its last.
        ca_file: certificates to check the service's with, where the system's do not.
        verify: check the service's certificate.
        keys: where its configuration stands, for messages that name a key; None: it has none for certificates.
    """

    def __init__(
        self, url: str, timeout_s: float, *, ca_file: Path | None = None, verify: bool = True, keys: str | None = ""
    ) -> None:
        self.root = url.rstrip("/")
        self._timeout_s, self._keys = timeout_s, keys
        parts = urlsplit(self.root)
        self._path = parts.path
        self._context = _context(ca_file, verify) if parts.scheme == "https" else None
        self._usual_port = _HTTP_PORT if self._context is None else _HTTPS_PORT
        try:
            self._host, self._port = parts.hostname or "", parts.port or self._usual_port
        except ValueError:
            raise MeterError(f"{self.root}: no such port") from None

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Ask once. `path` begins with a slash.

        Raises:
            MeterError: nobody answered, not in time, not HTTP, not the whole, or too much. No header stands in the message:
                it may be a key.
        """
        deadline_s = time.monotonic() + self._timeout_s
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        connection.default_port = self._usual_port
        connection.response_class = functools.partial(_Response, deadline_s=deadline_s)  # type: ignore[assignment]
        try:
            connection.connect()
            connection.sock.settimeout(_left_s(deadline_s))
            if self._context is not None:
                connection.sock = self._context.wrap_socket(connection.sock, server_hostname=self._host)
                connection.sock.settimeout(_left_s(deadline_s))
            connection.request(method, self._path + path, body, {"Connection": "close", **headers})
            with connection.getresponse() as answer:
                return Answer(answer.status, answer.headers, self._body(answer))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise MeterError(f"{self.root}: {self._said(error)}") from None
        finally:
            connection.close()

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        body = bytearray()
        while chunk := answer.read1(_CHUNK_B):
            body += chunk
            if len(body) > ANSWER_LIMIT_B:
                raise MeterError(f"{self.root} answers with more than {ANSWER_LIMIT_B} bytes")
        if answer.length:  # what it announced and did not send
            raise MeterError(f"{self.root}: the answer broke off")
        return bytes(body)

    def _said(self, reason: Exception) -> str:
        if isinstance(reason, ssl.SSLCertVerificationError):
            hint = "" if self._keys is None else f"; name its issuer in {self._keys}ca_file"
            return f"its certificate is not trusted ({reason.verify_message}){hint}"
        match reason:
            case TimeoutError():
                return f"no answer in time ({self._timeout_s:g} s)"
            case http.client.IncompleteRead():
                return "the answer broke off"
            case http.client.HTTPException():
                return "what answers does not speak HTTP"
            case OSError():
                return reason.strerror or type(reason).__name__
        return "the request cannot be sent"


class _Response(http.client.HTTPResponse):
    """Reads status, headers and body until one deadline; a socket's timeout alone begins anew with every byte."""

    def __init__(self, sock: socket.socket, *args: Any, deadline_s: float, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_UntilDeadline(sock, deadline_s))


class _UntilDeadline(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._socket, self._deadline_s = sock, deadline_s
        self._bytes = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(_left_s(self._deadline_s))
        return self._bytes.readinto(buffer)

    def close(self) -> None:
        self._bytes.close()
        super().close()


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return max(_LEAST_S, left_s)


def basic(user: str, password: str) -> str:
    """The header `Authorization` of a user's name and password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode('ascii')}"


def _context(ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    if not verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise MeterError(f"{ca_file}: no certificates ({getattr(error, 'strerror', error)})") from None
