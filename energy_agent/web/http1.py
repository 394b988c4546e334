"""The part of HTTP/1.1 that the agent's servers need: bounded request heads and bodies in, whole responses out. No chunks."""

import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from energy_agent.web.tls import say_goodbye

_MAX_LINE_B = 4_096
_HELLO = b"\x16\x03"  # how a TLS client begins (RFC 8446, 5.1)
_MAX_HEAD_B = 16_384
_DRAIN_B = 262_144
_DRAIN_S = 1.0
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
PLAIN = "text/plain; charset=utf-8"
_REASONS = {
    200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 411: "Length Required", 413: "Content Too Large",
    414: "URI Too Long", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
}  # fmt: skip
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class BadRequestError(Exception):
    """What came is no request that we serve; the connection ends after the answer."""

    def __init__(self, status: int, text: str) -> None:
        """`text` is what the client is told."""
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request. Header names are lower case; `close` says that no other request follows."""

    method: str
    path: str  # without the query
    headers: dict[str, str]
    close: bool


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with its whole body."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Reader:
    """Reads request heads from a socket; what a client sent ahead stays for the next call."""

    def __init__(self, client: socket.socket) -> None:
        """The socket stays the caller's."""
        self._client = client
        self._ahead = b""

    def request(self, wait_s: float, head_s: float) -> Request | None:
        """The next request; None when the client is done or stays silent for `wait_s`.

        The deadline is for the whole head, so that a client which sends a byte now and then does not hold its place.

        Raises:
            BadRequestError: malformed, too large, or not complete `head_s` after its first byte.
            OSError: the connection broke.
        """
        data = self._ahead
        deadline = time.monotonic() + (head_s if data else wait_s)
        while b"\r\n\r\n" not in data:
            if b"\r\n" not in data[: _MAX_LINE_B + 2] and len(data) > _MAX_LINE_B:
                raise BadRequestError(414, "the request line is too long")
            if len(data) > _MAX_HEAD_B:
                raise BadRequestError(431, "the request head is too large")
            chunk = self._receive(deadline)
            if not chunk and not data:
                return None
            if not chunk:
                raise BadRequestError(408, "the request did not come to its end in time")
            if not data:
                deadline = time.monotonic() + head_s
            data += chunk
            if data.startswith(_HELLO):  # it would wait for the end of a line that never comes
                raise BadRequestError(400, "this port speaks plain HTTP")
        head, _, self._ahead = data.partition(b"\r\n\r\n")
        if len(head) > _MAX_HEAD_B:
            raise BadRequestError(431, "the request head is too large")
        return parse(head)

    def body(self, request: Request, most_b: int, wait_s: float) -> bytes:
        """The body that follows a request's head.

        Raises:
            BadRequestError: its length is not told, it is larger than `most_b`, or it is not there in `wait_s`.
            OSError: the connection broke.
        """
        length = request.headers.get("content-length", "")
        if "transfer-encoding" in request.headers or not (length.isascii() and length.isdigit()):
            raise BadRequestError(411, "Content-Length has to tell how long the body is")
        if len(length) > 9 or int(length) > most_b:
            raise BadRequestError(413, f"the body is larger than {most_b} bytes")
        deadline, data = time.monotonic() + wait_s, self._ahead
        while len(data) < int(length):
            chunk = self._receive(deadline)
            if not chunk:
                raise BadRequestError(408, "the body did not come to its end in time")
            data += chunk
        self._ahead = data[int(length) :]
        return data[: int(length)]

    def drain(self) -> None:
        """Say that nothing more is sent and swallow a little of what still comes: a close over unread bytes is a reset, which
        would throw away the answer on its way.
        """
        with suppress(OSError):
            say_goodbye(self._client, _DRAIN_S)
        self._client.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _DRAIN_S
        swallowed = 0
        while swallowed < _DRAIN_B and (chunk := self._receive(deadline)):
            swallowed += len(chunk)

    def _receive(self, deadline: float) -> bytes:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return b""
        self._client.settimeout(left_s)
        try:
            return self._client.recv(_MAX_LINE_B)
        except TimeoutError:
            return b""


def parse(head: bytes) -> Request:
    """The request of a head (without its empty line).

    Raises:
        BadRequestError: it is none.
    """
    line, *rest = head.decode("latin-1").split("\r\n")
    if len(line) > _MAX_LINE_B:
        raise BadRequestError(414, "the request line is too long")
    parts = line.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not parts[1].startswith("/"):
        raise BadRequestError(400, "not an HTTP request")
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequestError(505 if version.startswith("HTTP/") else 400, "HTTP/1.1 is spoken here")
    headers: dict[str, str] = {}
    for field in rest:
        name, colon, value = field.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or "\n" in value or "\r" in value or "\0" in value:
            raise BadRequestError(400, "malformed header")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if version == "HTTP/1.1" and "host" not in headers:
        raise BadRequestError(400, "no Host header")
    options = [option.strip() for option in headers.get("connection", "").lower().split(",")]
    keep = version == "HTTP/1.1" or "keep-alive" in options
    # A body that is not read cannot be told from what follows it.
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    return Request(method, target.partition("?")[0], headers, close=not keep or "close" in options or has_body)


def send(client: socket.socket, data: bytes, timeout_s: float) -> None:
    """Send all of it within `timeout_s`, however little the client takes at a time (`sendall` of TLS starts anew each time).

    Raises:
        OSError: it did not take all in time, or went.
    """
    deadline = time.monotonic() + timeout_s
    view = memoryview(data)
    while view:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the client does not read")
        client.settimeout(left_s)
        view = view[client.send(view) :]


def serialize(response: Response, body: bool, close: bool, extra: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The bytes on the wire; `body=False` for HEAD. A header of `extra` stands in for one of the same name."""
    instead = {name for name, _ in extra}
    own = (("X-Content-Type-Options", "nosniff"), *response.headers)
    head = [
        f"HTTP/1.1 {response.status} {_REASONS[response.status]}",
        f"Date: {http_date(time.time())}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        *(f"{name}: {value}" for name, value in (*(h for h in own if h[0] not in instead), *extra)),
        f"Connection: {'close' if close else 'keep-alive'}",
    ]
    return "\r\n".join(head).encode("ascii") + b"\r\n\r\n" + (response.body if body else b"")


def http_date(t_s: float) -> str:
    """UTC seconds since 1970 as an IMF-fixdate (RFC 9110, 5.6.7), whatever the locale."""
    t = time.gmtime(t_s)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
    )
