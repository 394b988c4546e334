"""The agent's web server: /metrics, /healthz, /readyz and a landing page, over HTTP/1.1.

Own and small, because the stock one answers clients one after another while a handshake runs and has no limits. A scrape never
touches hardware: it gets the body of the newest snapshot, which is built once. Every client has its own thread, a bounded
request and deadlines; when all places are taken, the client that has been silent longest gives way, so that nobody who only
holds a connection can keep a scraper out.
"""

import errno
import html
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.units import NS_PER_S
from energy_agent.exposition import Format, negotiate, render
from energy_agent.http1 import BadRequestError, Reader, Request, Response, serialize
from energy_agent.page_cache import PageCache

Source = Callable[[], Snapshot | None]
"""Gives the newest published snapshot, None before the first; must not wait."""

_log = logging.getLogger(__name__)
_PLAIN = "text/plain; charset=utf-8"
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Wattlens agent</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}}
td{{padding-right:1.5rem}}</style></head><body>
<h1>Wattlens agent</h1><p>{state}</p>
<table>{facts}</table>
<ul><li><a href="/metrics">/metrics</a> for Prometheus</li><li><a href="/readyz">/readyz</a> snapshots are taken</li>
<li><a href="/healthz">/healthz</a> the process lives</li></ul></body></html>
"""


class Server:
    """Serves the snapshots of `source` on `address:port` (port 0: any free one, told by `port` after `start`).

    Args:
        source: the newest snapshot.
        clock: the clock that snapshots are stamped by.
        stale_after_s: a snapshot older than this is not shown; /metrics and /readyz then answer 503 with the reason.
        connections: clients served at once.
        request_s: a client has this long to send a request's head once it began, and its first request after it connected.
        idle_s: how long a connection may rest between two requests.
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
    ) -> None:
        """Nothing is opened before `start`."""
        self._address, self.port = address, port
        self._source, self._clock, self._stale_after_s = source, clock, stale_after_s
        self._connections, self._request_s, self._idle_s = connections, request_s, idle_s
        self._pages = {fmt: PageCache(partial(render, fmt=fmt)) for fmt in Format}
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, float] = {}  # since when it has been silent; inf while it is being answered
        self._threads: set[threading.Thread] = set()
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Bind and serve in the background.

        Raises:
            UsageError: the address cannot be bound: in use, not permitted, or not of this machine.
        """
        self._listener = _listen(self._address, self.port)
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept, self._listener)

    def published(self, snapshot: Snapshot) -> None:
        """There is a newer snapshot: who scrapes every one finds its page made."""
        for page in self._pages.values():
            page.ahead(snapshot)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Close the listener and every connection, and wait for their threads at most `timeout_s`."""
        with self._lock:
            self._stopping.set()
            ends = [*self._clients, *([self._listener] if self._listener else [])]
            threads = list(self._threads)
        for end in ends:
            _hang_up(end)
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, target: Callable[[socket.socket], None], end: socket.socket) -> None:
        def run() -> None:
            try:
                target(end)
            finally:
                with self._lock:
                    self._clients.pop(end, None)
                    self._threads.discard(thread)
                end.close()

        thread = threading.Thread(target=run, name="web", daemon=True)
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no thread to be had: this client is lost, the server is not
            _log.warning("cannot serve a client: %s", error)
            with self._lock:
                self._clients.pop(end, None)
                self._threads.discard(thread)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = listener.accept()
            except OSError as error:
                if self._stopping.is_set():
                    return
                _log.warning("cannot accept a client: %s", error)  # out of file descriptors: it will pass
                time.sleep(0.1)
                continue
            with self._lock:
                if self._stopping.is_set():
                    client.close()
                    return
                if len(self._clients) >= self._connections:
                    silent = min(self._clients, key=self._clients.__getitem__)
                    del self._clients[silent]
                    _hang_up(silent)
                self._clients[client] = time.monotonic()
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        # A TLS handshake belongs here, in the client's own thread, under the same deadline.
        reader = Reader(client)
        wait_s = self._request_s
        with suppress(OSError):  # the client went, was silent for too long, or the server stops
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._stopping.is_set():
                try:
                    request = reader.request(wait_s, self._request_s)
                except BadRequestError as bad:
                    client.sendall(serialize(Response(bad.status, _PLAIN, f"{bad}\n".encode()), body=True, close=True))
                    reader.drain()
                    return
                if request is None:
                    return
                self._mark(client, float("inf"))
                response = self._answer(request)
                client.settimeout(self._request_s)
                client.sendall(serialize(response, body=request.method != "HEAD", close=request.close))
                if request.close:
                    reader.drain()
                    return
                self._mark(client, time.monotonic())
                wait_s = self._idle_s

    def _mark(self, client: socket.socket, since: float) -> None:
        with self._lock:
            if client in self._clients:
                self._clients[client] = since

    def _answer(self, request: Request) -> Response:
        handlers = {"/metrics": self._metrics, "/healthz": self._health, "/readyz": self._ready, "/": self._landing}
        handler = handlers.get(request.path)
        if handler is None:
            return Response(404, _PLAIN, f"there is: {' '.join(sorted(handlers))}\n".encode())
        if request.method not in ("GET", "HEAD"):
            return Response(405, _PLAIN, b"GET or HEAD\n", (("Allow", "GET, HEAD"),))
        return handler(request)

    def _trouble(self, snapshot: Snapshot | None) -> str:
        """Why there is nothing fit to show, or ''."""
        if snapshot is None:
            return "no snapshot has been taken yet"
        age_s = (self._clock.utc_ns() - snapshot.t_ns) / NS_PER_S
        return f"the last snapshot is {age_s:.0f} s old" if age_s > self._stale_after_s else ""

    def _metrics(self, request: Request) -> Response:
        snapshot = self._source()
        trouble = self._trouble(snapshot)
        if snapshot is None or trouble:
            return Response(503, _PLAIN, f"{trouble}\n".encode())
        fmt = negotiate(request.headers.get("accept", ""))
        return Response(200, fmt.value, self._pages[fmt].body(snapshot))

    def _health(self, _: Request) -> Response:
        return Response(200, _PLAIN, b"ok\n")

    def _ready(self, _: Request) -> Response:
        trouble = self._trouble(self._source())
        return Response(503 if trouble else 200, _PLAIN, f"{trouble or 'ok'}\n".encode())

    def _landing(self, _: Request) -> Response:
        snapshot = self._source()
        facts: dict[str, str] = {}
        if snapshot is not None:
            identity = snapshot.identity
            up = sum(view.up for view in snapshot.devices)
            facts = {"Version": identity.version, "Cluster": identity.cluster, "Node": identity.node}
            facts["GPUs"] = f"{up} of {len(snapshot.devices)} answer" + (" (simulated hardware)" if identity.simulated else "")
        rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
        state = html.escape(f"Not ready: {trouble}." if (trouble := self._trouble(snapshot)) else "Ready.")
        page = _PAGE.format(state=state, facts=rows).encode("utf-8", "replace")
        policy = ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        return Response(200, "text/html; charset=utf-8", page, (policy,))


def _listen(address: str, port: int) -> socket.socket:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {where}: {error.strerror}; set web.listen to an address of this machine") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        todo = "stop the program that holds it or set web.listen to another address and port"
        if error.errno == errno.EACCES:
            todo = "ports below 1024 are root's; set web.listen to a higher one"
        raise UsageError(f"cannot listen on {where}: {reason}; {todo}") from None
    return listener


def _hang_up(end: socket.socket) -> None:
    """Wake the thread that waits on the socket; it closes it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
