"""The HTTP client of all processes: HTTP/1.1 with one deadline for a request, and bounds for a server that is not trusted.

Plain sockets rather than a library: on Python 3.13 a poll of a metrics endpoint takes 0.05 ms of CPU and 1 MiB once, against
0.10 ms and 5 MiB of http.client, 0.19 ms and 11 MiB of urllib3, and a library bounds neither the time of a whole response nor
the size of its head. Redirects and compression are not supported: no server that Wattlens reads needs them, and both are ways
to lead a client elsewhere. Proxies of the environment are used except where a client is `direct`.
"""

import base64
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

from energy_agent.core.errors import WattlensError
from energy_agent.core.text import printable
from energy_agent.runtime.network.connection import (
    RESOLVER,
    WAIT_S,
    ConnectError,
    DeadlineError,
    Resolver,
    connect,
    remaining_s,
)
from energy_agent.runtime.network.proxy import Proxy, find_proxy
from energy_agent.runtime.network.tls import SYSTEM_TLS, TlsFiles

BODY_LIMIT_B: Final = 1 << 20
HEAD_LIMIT_B: Final = 64 << 10
HEADERS_MAX: Final = 100
CPU_LIMIT_S: Final = 2.0
_RECEIVE_B: Final = 64 << 10
_CHUNK_LINE_B: Final = 1 << 10
_QUEUE_FULL_S: Final = 0.002
_TEXT_MAX: Final = 300  # of a reason, of an address
_INTERIM_MAX: Final = 8  # responses such as "103 Early Hints" before the one that counts
_PORTS: Final = {"http": 80, "https": 443}
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: (.*))?")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET: Final = re.compile(r"/[!-~]*")
_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")


class HttpError(WattlensError):
    """A request without a usable response.

    The text is one printable line with the server's address. It contains no header, which may be a secret.
    `reason` is the line without the address.
    """

    def __init__(self, root: str, reason: str) -> None:
        self.reason = printable(reason[:_TEXT_MAX])
        super().__init__(f"{printable(root[:_TEXT_MAX])}: {self.reason}")


class HttpUnreachableError(HttpError):
    """No connection, or one that ended before a response began (`is_closed`). `errno` is the system's error, or 0."""

    def __init__(self, root: str, reason: str, *, is_closed: bool = False, errno: int = 0) -> None:
        super().__init__(root, reason)
        self.is_closed, self.errno = is_closed, errno


class HttpTimeoutError(HttpError):
    """The deadline passed before the response was complete."""


class HttpCertificateError(HttpError):
    """The server's certificate is not trusted."""


class HttpTlsError(HttpError):
    """The TLS connection failed; `alert` is OpenSSL's name of the reason, in upper case."""

    def __init__(self, root: str, alert: str) -> None:
        self.alert = alert
        super().__init__(root, f"TLS failed: {alert.lower().replace('_', ' ')}")


class HttpProtocolError(HttpError):
    """The response is not HTTP."""


class HttpTruncatedError(HttpError):
    """The connection ended within the response."""


class HttpTooLargeError(HttpError):
    """The response is larger than its bound."""


class HttpCostError(HttpError):
    """Reading the response took more CPU time than its bound."""


def basic_authorization(user: str, password: str) -> str:
    """Return the value of the header `Authorization` for a user name and a password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response. Header names are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx; a redirect is not."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class HttpClient:
    """Sends requests to one server; each opens a connection.

    Args:
        url: http:// or https:// with host, and optionally port and a path that comes before each request's.
        timeout_s: for a whole request: name resolution, connection, TLS, request, head and body.
        tls: files for https.
        ca_option: the option or key that names `tls.ca_file`, for the message about a certificate that is not trusted.
        body_limit_b: maximum size of a body.
        cpu_limit_s: maximum CPU time of the thread for one response.
        unix_socket: connect to this socket instead of the URL's host.
        resolver: resolves the URL's host.
        direct: never use a proxy of the environment: a proxy would hide a tenant's server from its own node.
    """

    url: str
    timeout_s: float
    tls: TlsFiles = SYSTEM_TLS
    ca_option: str = ""
    body_limit_b: int = BODY_LIMIT_B
    cpu_limit_s: float = CPU_LIMIT_S
    unix_socket: Path | None = None
    resolver: Resolver = RESOLVER
    direct: bool = False

    @property
    def root(self) -> str:
        """The URL without a slash at its end."""
        return self.url.rstrip("/")

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> HttpResponse:
        """Send a request and return the whole response.

        Raises:
            HttpError: no usable response.
        """
        with self.stream(method, path, headers, body) as response:
            return HttpResponse(response.status, response.reason, response.headers, response.read())

    @contextmanager
    def stream(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Iterator["ResponseStream"]:
        """Send a request; the body is read within the `with`. `path` begins with a slash.

        Raises:
            HttpError: no usable response.
        """
        connection, response = self._open(method, path, headers or {}, body)
        try:
            yield response
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[socket.socket, "ResponseStream"]:
        deadline_s = time.monotonic() + self.timeout_s
        connection: socket.socket | None = None
        try:
            parts = urlsplit(self.root)
            host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
            proxy = self._find_proxy(parts.scheme, host, port)
            if proxy is not None and parts.scheme == "http":
                headers = {**headers, **_proxy_headers(proxy)}
            head = self._head(method, parts.path + path, headers, body, through=proxy is not None and parts.scheme == "http")
            connection = self._connect(host, port, deadline_s, proxy)
            if parts.scheme == "https":
                if proxy is not None:
                    self._open_tunnel(connection, host, port, proxy, deadline_s)
                connection = self._secure(connection, host, deadline_s)
            with suppress(BrokenPipeError):  # a server that refused before it read everything has sent its reason
                _send(connection, head + (body or b""), deadline_s)
            response = _read_head(_Wire(self, connection, deadline_s), method)
            if proxy is not None and response.status == 407:
                _refuse_proxy(self.root, proxy, response)
            return connection, response
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, OSError | ConnectError | DeadlineError):
                raise self.failure(error) from None
            if isinstance(error, ValueError | KeyError):  # of a URL, name or header that cannot be sent
                raise HttpProtocolError(self.root, "cannot send the request") from None
            raise

    def failure(self, error: Exception) -> HttpError:
        """Return the HttpError for an error of a socket."""
        match error:
            case DeadlineError():
                return HttpTimeoutError(self.root, f"{error} ({self.timeout_s:g} s)")
            case TimeoutError():
                return HttpTimeoutError(self.root, f"no response in time ({self.timeout_s:g} s)")
            case ConnectError():
                return HttpUnreachableError(self.root, str(error))
            case ssl.SSLCertVerificationError():
                hint = f"; set {self.ca_option} to the certificate of its issuer" if self.ca_option else ""
                return HttpCertificateError(self.root, f"certificate is not trusted ({error.verify_message}){hint}")
            case ssl.SSLError():
                return HttpTlsError(self.root, (error.reason or str(error)).upper())
            case OSError():
                is_closed = isinstance(error, ConnectionResetError | BrokenPipeError)
                reason = (error.strerror or type(error).__name__).lower()
                return HttpUnreachableError(self.root, reason, is_closed=is_closed, errno=error.errno or 0)
        return HttpError(self.root, str(error) or type(error).__name__)

    def _find_proxy(self, scheme: str, host: str, port: int) -> Proxy | None:
        if self.direct or self.unix_socket is not None:
            return None
        try:
            return find_proxy(scheme, host, port)
        except ValueError as error:
            raise HttpUnreachableError(self.root, str(error)) from None

    def _open_tunnel(self, connection: socket.socket, host: str, port: int, proxy: Proxy, deadline_s: float) -> None:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": target} | _proxy_headers(proxy)).items())
        _send(connection, f"CONNECT {target} HTTP/1.1\r\n{lines}\r\n".encode("ascii"), deadline_s)
        wire = _Wire(self, connection, deadline_s)
        response = _read_head(wire, "CONNECT")
        if not 200 <= response.status < 300:
            _refuse_proxy(self.root, proxy, response)
        if wire.buffer:
            wire.refuse(f"{proxy}: sent data before the connection was used")

    def _head(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, *, through: bool) -> bytes:
        server = urlsplit(self.root).netloc.rpartition("@")[2]
        default_headers = {"Host": server, "Connection": "close", "Accept-Encoding": "identity"}
        if body is not None:
            default_headers["Content-Length"] = str(len(body))
        lines = default_headers | dict(headers)
        if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
            raise ValueError("expected a request line")
        if not all(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value) for name, value in lines.items()):
            raise ValueError("not a header")  # a line feed would begin another header
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        whole = f"http://{server}{target}" if through else target
        return f"{method} {whole} HTTP/1.1\r\n{text}\r\n".encode("latin-1")

    def _connect(self, host: str, port: int, deadline_s: float, proxy: Proxy | None) -> socket.socket:
        if proxy is not None:
            try:
                return connect(proxy.host, proxy.port, deadline_s, self.resolver)
            except ConnectError as error:
                raise ConnectError(f"{proxy}: {error}") from None
        if self.unix_socket is None:
            return connect(host, port, deadline_s, self.resolver)
        connection = socket.socket(socket.AF_UNIX)
        try:
            while True:
                connection.settimeout(remaining_s(deadline_s))
                try:
                    connection.connect(str(self.unix_socket))
                    break
                except BlockingIOError:  # its queue is full of others
                    time.sleep(_QUEUE_FULL_S)
        except BaseException:
            connection.close()
            raise
        return connection

    def _secure(self, connection: socket.socket, host: str, deadline_s: float) -> socket.socket:
        try:
            context = self.tls.context()
        except (OSError, ValueError) as error:
            connection.close()
            text = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            files = ", ".join(str(f) for f in (self.tls.ca_file, self.tls.cert_file, self.tls.key_file) if f is not None)
            raise HttpCertificateError(self.root, f"{files}: no usable certificates ({text})") from None
        connection.settimeout(remaining_s(deadline_s))
        try:
            return context.wrap_socket(connection, server_hostname=host)  # a handshake has one timeout for all its bytes
        except BaseException:
            connection.close()
            raise


def _proxy_headers(proxy: Proxy) -> dict[str, str]:
    return {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}


def _refuse_proxy(root: str, proxy: Proxy, response: "ResponseStream") -> NoReturn:
    raise HttpUnreachableError(root, f"{proxy}: {response.status} {response.reason}".rstrip())


def _send(connection: socket.socket, data: bytes, deadline_s: float) -> None:
    view = memoryview(data)
    while view:
        connection.settimeout(remaining_s(deadline_s))
        view = view[connection.send(view[:_RECEIVE_B]) :]


class _Wire:
    """Bytes from the server, counted against the bounds of the client."""

    def __init__(self, client: HttpClient, connection: socket.socket, deadline_s: float) -> None:
        self.root, self.client, self._connection = client.root, client, connection
        self.buffer = bytearray()
        self.begin(deadline_s, HEAD_LIMIT_B)

    def begin(self, deadline_s: float, limit_b: int) -> None:
        """Count from here on: at most `limit_b` bytes until a deadline."""
        self.deadline_s, self._limit_b, self._received_b = deadline_s, limit_b, len(self.buffer)
        self._cpu_until_s = time.thread_time() + self.client.cpu_limit_s

    def receive(self) -> bool:
        """Add to the buffer; False at the end of the connection."""
        try:
            data = self._wait()
        except (OSError, DeadlineError) as error:
            raise self.client.failure(error) from None
        self._received_b += len(data)
        if self._received_b > self._limit_b + self._limit_b // 32 + _RECEIVE_B:  # the framing of chunks included
            self.too_large(self._limit_b)
        if time.thread_time() > self._cpu_until_s:
            raise HttpCostError(self.root, f"the response takes more than {self.client.cpu_limit_s:g} s of CPU time to parse")
        self.buffer += data
        return bool(data)

    def _wait(self) -> bytes:
        while True:
            self._connection.settimeout(min(remaining_s(self.deadline_s), WAIT_S))
            with suppress(TimeoutError):
                return self._connection.recv(_RECEIVE_B)

    def line(self, limit_b: int) -> bytes:
        """The next line, without its end.

        Raises:
            HttpError: the connection ends before, or it is longer than `limit_b`.
        """
        begin = 0
        while (end := self.buffer.find(b"\n", begin)) < 0:
            begin = len(self.buffer)
            if begin > limit_b:
                self.too_large(limit_b)
            if not self.receive():
                self.truncated()
        if end > limit_b:
            self.too_large(limit_b)
        return self.take(end + 1).rstrip(b"\r\n")

    def take(self, size: int) -> bytes:
        """Bytes of the buffer, at most `size`."""
        data = bytes(memoryview(self.buffer)[:size])
        del self.buffer[:size]
        return data

    def too_large(self, limit_b: int) -> NoReturn:
        """Raise: more than `limit_b` bytes."""
        raise HttpTooLargeError(self.root, f"the response is larger than {limit_b} bytes")

    def truncated(self) -> NoReturn:
        """Raise: the connection ended."""
        raise HttpTruncatedError(self.root, "the response is incomplete")

    def refuse(self, reason: str = "the response is not HTTP") -> NoReturn:
        """Raise: not what HTTP/1.1 allows."""
        raise HttpProtocolError(self.root, reason)


def _read_head(wire: _Wire, method: str) -> "ResponseStream":
    for _ in range(_INTERIM_MAX):
        if not wire.buffer and not wire.receive():
            raise HttpUnreachableError(wire.root, "the server closed the connection without a response", is_closed=True)
        if not b"HTTP/1.".startswith(bytes(wire.buffer[:7])):
            wire.refuse()
        match = _STATUS.fullmatch(wire.line(HEAD_LIMIT_B))
        if match is None:
            wire.refuse()
        headers: dict[str, str] = {}
        for count in range(HEADERS_MAX + 1):
            line = wire.line(HEAD_LIMIT_B).decode("latin-1")
            if not line:
                break
            name, colon, value = line.partition(":")
            if count == HEADERS_MAX or not colon or not _TOKEN.fullmatch(name):
                wire.refuse()
            name, value = name.lower(), value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status = int(match[1])
        if status >= 200:
            return ResponseStream(wire, method, status, printable((match[2] or b"").decode("latin-1")[:_TEXT_MAX]), headers)
    raise HttpProtocolError(wire.root, "no response was received")


@dataclass(slots=True)
class ResponseStream:
    """A response whose body is not read yet. Header names are in lower case."""

    _wire: _Wire
    _method: str
    status: int
    reason: str
    headers: Mapping[str, str]
    _length: int | None = field(init=False, default=None)
    _chunked: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        coding = self.headers.get("transfer-encoding", "").lower()
        lengths = {each.strip() for each in self.headers.get("content-length", "").split(",")} - {""}
        self._chunked = coding == "chunked"
        if (coding and not self._chunked) or self.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            self._wire.refuse("the response is compressed, although compression was not requested")
        if self._method == "HEAD" or self.status in (204, 304):
            self._length, self._chunked = 0, False
        elif lengths and not self._chunked:
            text = lengths.pop()
            if lengths or not (text.isascii() and text.isdigit() and len(text) < 19):
                self._wire.refuse()
            self._length = int(text)
        self._wire.begin(self._wire.deadline_s, self._limit_b)

    @property
    def _limit_b(self) -> int:
        return self._wire.client.body_limit_b

    def read(self) -> bytes:
        """The whole body.

        Raises:
            HttpError: it is too large, too slow or incomplete.
        """
        if self._length is not None and self._length > self._limit_b:
            self._wire.too_large(self._limit_b)
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, in parts of any size.

        Raises:
            HttpError: it is too large, too slow or incomplete.
        """
        total_b = 0
        for data in self._parts():
            total_b += len(data)
            if total_b > self._limit_b:
                self._wire.too_large(self._limit_b)
            yield data

    def lines(self, limit_b: int, silence_s: float) -> Iterator[bytes]:
        """The lines of a body without end. Each must be complete within `silence_s` of the previous one.

        Raises:
            HttpError: a line is longer than `limit_b` or too slow, or the connection breaks.
        """
        wire = self._wire
        line = bytearray()
        wire.begin(time.monotonic() + silence_s, limit_b)
        for data in self._parts():
            first, *more = data.split(b"\n")
            line += first
            for part in more:
                yield bytes(line)
                line[:] = part
                wire.begin(time.monotonic() + silence_s, limit_b)
            if len(line) > limit_b:
                wire.too_large(limit_b)
        if line:
            wire.truncated()

    def _parts(self) -> Iterator[bytes]:
        wire = self._wire
        if self._chunked:
            while size := self._chunk_size():
                yield from self._exactly(size)
                if wire.line(_CHUNK_LINE_B):
                    wire.refuse()
        elif self._length is not None:
            yield from self._exactly(self._length)
        else:
            while wire.buffer or wire.receive():
                yield wire.take(_RECEIVE_B)

    def _chunk_size(self) -> int:
        text = self._wire.line(_CHUNK_LINE_B).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", text):
            self._wire.refuse()
        return int(text, 16)

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._wire.buffer and not self._wire.receive():
                self._wire.truncated()
            data = self._wire.take(min(size, _RECEIVE_B))
            size -= len(data)
            yield data
