"""HTTP/1.1 for the agent's servers: the parser of `http.server` with deadlines and bounded requests."""

import io
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler

_HEAD_MAX_B = 16_384
_BUFFER_B = 8_192  # of a connection; Python 3.14 has 128 KiB by default
_EMPTY_LINE = re.compile(rb"\n\r?\n")  # ends a head too
PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class ServerResponse:
    """A whole response."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class _Input(io.RawIOBase):
    """What a client sends, up to a number of bytes and a deadline for all of them together."""

    def __init__(self, client: socket.socket) -> None:
        self._client, self._deadline_s, self._left_b = client, 0.0, 0

    def allow(self, seconds: float, size_b: int) -> None:
        self._deadline_s, self._left_b = time.monotonic() + seconds, size_b

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left_b:
            raise LineTooLong("request")
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._client.settimeout(left_s)
        count = self._client.recv_into(buffer, min(len(buffer), self._left_b))
        self._left_b -= count
        return count


class HttpRefusalError(Exception):
    """A request that is not served."""

    def __init__(self, status: int, text: str) -> None:
        """`text` is for the client."""
        super().__init__(text)
        self.status = status


def plain(status: int, text: str) -> ServerResponse:
    """A line of text."""
    return ServerResponse(status, PLAIN, f"{text}\n".encode())


class Exchange(BaseHTTPRequestHandler):
    """Serves one client, request after request, in the thread that makes the object."""

    protocol_version = "HTTP/1.1"
    requestline, request_version, command = "", "HTTP/1.1", ""  # until a request line is read

    def __init__(
        self,
        client: socket.socket,
        answer: Callable[["Exchange"], ServerResponse],
        request_s: float,
        idle_s: float,
        error: Callable[[int, str], ServerResponse] = plain,
    ) -> None:
        """Return when the client has gone or was sent away.

        Args:
            client: stays the caller's.
            answer: makes the response to a request; may raise HttpRefusalError.
            request_s: the client has this long to begin its first request, for each head and body, and to take a response.
            idle_s: it may be silent so long between two requests.
            error: makes the response to what is no request.
        """
        self._answer, self._error = answer, error
        self._request_s, self._wait_s, self._idle_s = request_s, request_s, idle_s
        super().__init__(client, "", None)  # type: ignore[arg-type]

    def setup(self) -> None:
        """Replace the files of the base class, which have no limits."""
        self._input = _Input(self.request)
        self.rfile = self._reader = io.BufferedReader(self._input, _BUFFER_B)
        self.wfile = io.BytesIO()
        self._head = b""

    def handle_one_request(self) -> None:
        """Wait for a request and serve it."""
        self.close_connection = True
        try:
            self._input.allow(self._wait_s, _HEAD_MAX_B)
            if begun := self._reader.peek(1):
                self._input.allow(self._request_s, _HEAD_MAX_B - len(begun))
                if self._head and begun.startswith(self._head):  # parsing takes longer than the rest of a request
                    self._reader.read(len(self._head))
                    self.close_connection = False
                    self.do_GET()
                else:
                    super().handle_one_request()
                    head, end, _ = begun.partition(b"\r\n\r\n")
                    reusable = end and not _EMPTY_LINE.search(head) and not self.close_connection
                    self._head = head + end if reusable and "Expect" not in self.headers else b""
        except LineTooLong:  # the base class responds to long header lines itself
            self.send_error(414)
        self._wait_s = self._idle_s

    def parse_request(self) -> bool:
        """Parse the head. The connection ends after a request with a body: one that is not read looks like the next request."""
        parsed = super().parse_request()
        if parsed and ("Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"):
            self.close_connection = True
        return parsed

    def handle_expect_100(self) -> bool:
        """Ask for the body; the base class would keep the text for ever."""
        self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def do_GET(self) -> None:
        """Serve a request."""
        try:
            response = self._answer(self)
        except HttpRefusalError as refused:
            self.send_error(refused.status, str(refused))
        else:
            self.respond(response)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def read_body(self, max_b: int) -> bytes:
        """The body of the request.

        Raises:
            HttpRefusalError: its length is unknown or more than `max_b`.
            OSError: it is not complete in time, or the connection broke.
        """
        length = ", ".join(self.headers.get_all("Content-Length", []))
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise HttpRefusalError(411, "Content-Length is required")
        if len(length) > 9 or int(length) > max_b:
            raise HttpRefusalError(413, f"the body is larger than {max_b} bytes")
        self._input.allow(self._request_s, int(length))
        return self.rfile.read(int(length))

    def respond(self, response: ServerResponse) -> None:
        """Send a response."""
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **response.headers,
            "Connection": "close" if self.close_connection else "keep-alive",
        }
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        head = "\r\n".join([*lines, "\r\n"]).encode("ascii")
        self.request.settimeout(self._request_s)
        self.request.sendall(head if self.command == "HEAD" else head + response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request and end the connection."""
        self.close_connection = True
        self.respond(self._error(code, message or HTTPStatus(code).phrase))

    def log_message(self, *_: object) -> None:
        """Log nothing: clients would fill the log."""
