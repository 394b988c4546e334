"""The agent's web server over HTTP/1.1, plain or TLS: sockets, threads, places and limits. What it shows is in web/pages.

Own and small, because the stock one answers clients one after another while a handshake runs and has no limits. A scrape never
touches hardware: it gets the body of the newest snapshot, which is built once. Every client has its own thread, in which its
handshake runs too, a bounded request and deadlines. When all places are taken, a client that never got an answer gives way
before one that did, and the one that has been silent longest first, so that nobody who only holds a connection can keep a
scraper out. One address has half of the places at most.
"""

import logging
import math
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from energy_agent.core.ports import Clock
from energy_agent.exposition.openmetrics import render
from energy_agent.runtime.threads import start_thread
from energy_agent.web import tls
from energy_agent.web.access import Access, Terms
from energy_agent.web.auth import Gate
from energy_agent.web.http1 import PLAIN, BadRequestError, Reader, Request, Response, send, serialize
from energy_agent.web.limits import AddressLimits, Newcomers, owner_of
from energy_agent.web.listening import listen
from energy_agent.web.pages import ALL, PROBES, Pages, Render, Source

_log = logging.getLogger(__name__)
_OPEN = Terms()
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False, slots=True)
class _Client:
    """A connection."""

    end: socket.socket  # the one of TLS once it is shaken
    owner: str
    since: float  # since when it has been silent; inf while it is being answered
    proven: bool = False  # was let in and answered once


class Server:
    """Serves the snapshots of `source` on `address:port` (port 0: any free one, told by `port` after `start`).

    Args:
        source: the newest snapshot.
        clock: the clock that snapshots are stamped by.
        stale_after_s: a snapshot older than this is not shown; /metrics and /readyz then answer 503 with the reason.
        connections: clients served at once.
        request_s: a client has this long to send a request's head once it began, its first request after it connected, its
            handshake, and to take an answer.
        idle_s: how long a connection may rest between two requests.
        access: TLS, credentials and headers; None: plain HTTP for everyone.
        probes_only: /healthz and /readyz are all there is.
        arrivals_per_s: new connections of one address each second, and three times as many at once.
        requests_per_s: requests of one address each second, and twice as many at once.
        render: makes the body of /metrics of a snapshot in a format.
    """

    def __init__(
        self,
        address: str,
        port: int,
        source: Source,
        clock: Clock,
        stale_after_s: float = 15.0,
        connections: int = 64,
        request_s: float = 5.0,
        idle_s: float = 120.0,
        access: Access | None = None,
        probes_only: bool = False,
        arrivals_per_s: float = 100.0,
        requests_per_s: float = 300.0,
        render: Render = render,
    ) -> None:
        """Nothing is opened before `start`."""
        self._address, self.port, self._key = address, port, "web.probe_listen" if probes_only else "web.listen (or --listen)"
        self._pages = Pages(source, clock, stale_after_s, render, PROBES if probes_only else ALL)
        self._connections, self._request_s, self._idle_s = connections, request_s, idle_s
        self._share = max(1, connections // 2)
        self._access, self._gate = access, Gate()
        self._arrivals = AddressLimits(arrivals_per_s, 3 * arrivals_per_s, time.monotonic)
        self._newcomers = Newcomers(time.monotonic)
        self._requests = AddressLimits(requests_per_s, 2 * requests_per_s, time.monotonic)
        self._lock = threading.Lock()
        self._clients: set[_Client] = set()
        self._threads: set[threading.Thread] = set()
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()
        self._quiet_until_s = 0.0

    def start(self) -> None:
        """Bind and serve in the background.

        Raises:
            UsageError: the address cannot be bound (in use, not permitted, of another machine), or a file of `access` is wrong.
        """
        if self._access is not None:
            self._access.open()
        self._listener = listener = listen(self._address, self.port, self._key)
        self.port = int(listener.getsockname()[1])
        self._spawn(lambda: self._accept(listener), listener.close)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Close the listener and every connection, and wait for their threads at most `timeout_s`."""
        with self._lock:
            self._stopping.set()
            ends = [*(client.end for client in self._clients), *([self._listener] if self._listener else [])]
            threads = list(self._threads)
            for end in ends:
                _hang_up(end)
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def fault(self) -> str:
        """Nothing takes a port away from the one that has it."""
        return ""

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, work: Callable[[], None], end: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._threads.discard(thread)
                end()

        thread = threading.Thread(target=run, name="web", daemon=True)
        try:
            with self._lock:  # `stop` joins what is listed, and only a thread that has started can be joined
                start_thread(thread)
                self._threads.add(thread)
        except RuntimeError as error:  # no thread to be had: this client is lost, the server is not
            self._seldom("cannot serve a client: %s", error)
            end()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                end, address = listener.accept()
            except OSError as error:
                if self._stopping.is_set():
                    return
                _log.warning("cannot accept a client: %s", error)  # out of file descriptors: it will pass
                time.sleep(0.1)
                continue
            client = _Client(end, owner_of(str(address[0])), time.monotonic())
            if self._arrivals.take(client.owner) or not self._newcomers.may_connect(client.owner):
                with suppress(OSError):  # a reset: nothing of it stays
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.close()
                continue
            with self._lock:
                if self._stopping.is_set():
                    end.close()
                    return
                self._make_place(client.owner)
                self._clients.add(client)
            self._spawn(lambda client=client: self._serve(client), lambda client=client: self._forget(client))  # type: ignore[misc]

    def _make_place(self, owner: str) -> None:
        """Called with the lock."""
        rivals = [client for client in self._clients if client.owner == owner]
        if len(rivals) < self._share:
            rivals = list(self._clients) if len(self._clients) >= self._connections else []
        if rivals:
            loser = min(rivals, key=lambda client: (client.proven, client.since))
            self._clients.discard(loser)
            _hang_up(loser.end)

    def _forget(self, client: _Client) -> None:
        with self._lock:
            self._clients.discard(client)
            client.end.close()

    def _terms(self) -> Terms:
        return self._access.terms() if self._access is not None else _OPEN

    def _serve(self, client: _Client) -> None:
        with suppress(OSError):  # the client went, was silent for too long, or the server stops
            client.end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._secured(client, self._terms()):
                return
            reader = Reader(client.end)
            wait_s = self._request_s
            while not self._stopping.is_set():
                try:
                    request = reader.request(wait_s, self._request_s)
                except BadRequestError as bad:
                    self._send(client, Response(bad.status, PLAIN, f"{bad}\n".encode()), body=True, close=True)
                    reader.drain()
                    return
                if request is None:
                    return
                client.since = math.inf
                terms = self._terms()
                response = self._answer(request, client.owner, terms)
                close = request.close or response.status in (401, 429)
                client.proven = client.proven or response.status == 200
                self._send(client, response, request.method != "HEAD", close, terms.headers)
                if close:
                    reader.drain()
                    return
                client.since, wait_s = time.monotonic(), self._idle_s

    def _secured(self, client: _Client, terms: Terms) -> bool:
        """Speak TLS where the terms say so; False where the client cannot."""
        if terms.context is None:
            return True
        with self._lock:  # who hangs up finds the socket that is open
            client.end = secure = terms.context.wrap_socket(client.end, server_side=True, do_handshake_on_connect=False)
        try:
            tls.handshake(secure, terms.tls, self._request_s)
        except OSError as error:
            self._seldom("TLS with %s failed: %s", client.owner, error)
            if tls.speaks_http(error):
                with self._lock:
                    client.end = socket.socket(fileno=secure.detach())
                self._send(client, Response(400, PLAIN, b"this port speaks HTTPS\n"), body=True, close=True)
                Reader(client.end).drain()
            return False
        return True

    def _send(
        self, client: _Client, response: Response, body: bool, close: bool, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        send(client.end, serialize(response, body, close, headers), self._request_s)

    def _answer(self, request: Request, owner: str, terms: Terms) -> Response:
        wait_s = self._requests.take(owner) or terms.wait_s()
        if wait_s:
            return _later(wait_s)
        verdict = self._gate.judge(terms.credentials, request.headers.get("authorization", ""), owner)
        if verdict.status != 200:
            self._newcomers.guessed_wrong()
        elif terms.credentials.needed:
            self._newcomers.let_in(owner)
        if verdict.status == 429:
            return _later(verdict.wait_s)
        if verdict.status != 200:
            return Response(verdict.status, PLAIN, b"who are you?\n", terms.credentials.challenge)
        return self._pages.answer(request)

    def _seldom(self, message: str, *values: object) -> None:
        """Log, but not as often as a stranger likes."""
        if time.monotonic() >= self._quiet_until_s:
            self._quiet_until_s = time.monotonic() + 10.0
            _log.warning(message, *values)


def _later(wait_s: float) -> Response:
    return Response(429, PLAIN, b"too many requests\n", (("Retry-After", str(max(1, math.ceil(wait_s)))),))


def _hang_up(end: socket.socket) -> None:
    """Wake the thread that waits on the socket; it closes it. Below TLS, whose state is that thread's."""
    with suppress(OSError):
        socket.socket.shutdown(end, socket.SHUT_RDWR)
