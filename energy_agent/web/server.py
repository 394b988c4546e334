"""The agent's web server: sockets, threads and limits. energy_agent/web/pages.py has the content.

Each client has its own thread, which also does its TLS handshake. Requests and times are bounded. One address gets at most half
of the connection slots.
"""

import logging
import math
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

from energy_agent.core.ports import Clock
from energy_agent.exposition.openmetrics import render
from energy_agent.runtime.threads import start_thread
from energy_agent.web.access import AccessControl, AccessSettings
from energy_agent.web.auth import Gate, too_many
from energy_agent.web.http1 import Exchange, ServerResponse, plain
from energy_agent.web.limits import Buckets, ClientConnection, ConnectionSlots, owner_of
from energy_agent.web.listening import listen
from energy_agent.web.pages import ALL, PROBES, Render, RequestHandler, Source

_log = logging.getLogger(__name__)
_RESET = struct.pack("ii", 1, 0)
_OPEN = AccessSettings()


class WebServer:
    """Serves the snapshots of `source` on `address:port` (port 0: any free one; `port` has it after `start`).

    Args:
        source: the newest snapshot.
        clock: the clock that snapshots are stamped by.
        stale_after_s: a snapshot older than this is not shown; /metrics and /readyz then respond 503 with the reason.
        connections: clients served at once.
        request_s: a client has this long for its handshake, its first request, each request's head and to take a response.
        idle_s: how long a connection may rest between two requests.
        access: TLS, credentials and headers; None: plain HTTP for everyone.
        probes_only: /healthz and /readyz are all there is.
        arrivals_per_s: new connections of one address per second, and three times as many at once.
        requests_per_s: requests of one address per second, and twice as many at once.
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
        access: AccessControl | None = None,
        probes_only: bool = False,
        arrivals_per_s: float = 100.0,
        requests_per_s: float = 300.0,
        render: Render = render,
    ) -> None:
        """Nothing is opened before `start`."""
        self._address, self.port, self._key = address, port, "web.probe_listen" if probes_only else "web.listen (or --listen)"
        self._pages = RequestHandler(source, clock, stale_after_s, render, PROBES if probes_only else ALL)
        self._places, self._access, self._gate = ConnectionSlots(connections, max(1, connections // 2)), access, Gate()
        self._request_s, self._idle_s = request_s, idle_s
        self._arrivals = Buckets(arrivals_per_s, 3 * arrivals_per_s)
        self._requests = Buckets(requests_per_s, 2 * requests_per_s)
        self._listener: socket.socket | None = None
        self._quiet_until_s = 0.0

    def start(self) -> None:
        """Bind and serve in the background.

        Raises:
            UsageError: the address cannot be bound (in use, not permitted, of another machine), or a file of `access` is wrong.
        """
        if self._access is not None:
            self._access.open()
        self._listener = listen(self._address, self.port, self._key)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), name="web", daemon=True)
        start_thread(self._thread)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Close the listener and every connection."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
            self._thread.join(timeout_s)
            listener.close()
        self._places.clear()

    def fault(self) -> str:
        """Nothing takes a port away from the one that has it."""
        return ""

    def prepare(self) -> None:
        """Build the response to the next scrape ahead, if one is expected soon; may be called as often as one likes."""
        self._pages.prepare()

    def __enter__(self) -> "WebServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def terms(self) -> AccessSettings:
        """TLS, credentials and headers for the next client or request."""
        return self._access.terms() if self._access is not None else _OPEN

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                end, address = listener.accept()
            except OSError:  # out of file descriptors, which passes, or the server stops
                time.sleep(0.1 if self._listener is listener else 0.0)
                continue
            client = ClientConnection(end, owner_of(str(address[0])))
            if self._arrivals.take(client.owner) or not self._places.enter(client):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # nothing of it stays
                end.close()
                continue
            try:
                start_thread(threading.Thread(target=self._serve, args=(client,), name="web", daemon=True))
            except RuntimeError as error:  # no thread to be had: this client is lost, the server is not
                self._warn("cannot serve a client: %s", error)
                self._places.leave(client)

    def _serve(self, client: ClientConnection) -> None:
        try:
            client.end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._secure(client, self.terms())
            Exchange(client.end, partial(self._answer, client), self._request_s, self._idle_s)
        except OSError:  # the client went, was silent for too long, or the server stops
            pass
        finally:
            self._places.leave(client)

    def _secure(self, client: ClientConnection, terms: AccessSettings) -> None:
        """Speak TLS where the client begins so; raises OSError where it fails."""
        client.end.settimeout(self._request_s)
        if client.end.recv(1, socket.MSG_PEEK) != b"\x16":  # how a TLS client begins (RFC 8446, 5.1)
            return
        if terms.context is None:
            client.end.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nthis port speaks plain HTTP\n")
            raise ConnectionError
        client.end = secure = terms.context.wrap_socket(client.end, server_side=True, do_handshake_on_connect=False)
        try:
            secure.do_handshake()
            if terms.allowed_sans is not None and terms.allowed_sans.isdisjoint(_names_of(secure.getpeercert())):
                raise ConnectionError("the client certificate has no name listed in client_allowed_sans")
        except OSError as error:
            self._warn("TLS with %s failed: %s", client.owner, error)
            raise

    def _answer(self, client: ClientConnection, exchange: Exchange) -> ServerResponse:
        client.since_s, terms = math.inf, self.terms()
        response = self._response(exchange, client, terms)
        exchange.close_connection |= response.status in (400, 401, 429)
        client.proven |= response.status == 200
        client.since_s = time.monotonic()
        return replace(response, headers={**response.headers, **terms.headers})

    def _response(self, exchange: Exchange, client: ClientConnection, terms: AccessSettings) -> ServerResponse:
        if terms.context is not None and not hasattr(client.end, "getpeercert"):
            return plain(400, "this port speaks HTTPS")
        wait_s = self._requests.take(client.owner)
        if wait_s:
            return too_many(wait_s)
        refusal = self._gate.refusal(terms.credentials, exchange.headers.get("Authorization", ""), client.owner)
        path, headers = exchange.path.partition("?")[0], exchange.headers
        return refusal or self._pages.answer(
            exchange.command, path, headers.get("Accept", ""), headers.get("Accept-Encoding", "")
        )

    def _warn(self, message: str, *values: object) -> None:
        """Log, but not as often as a stranger likes."""
        if time.monotonic() >= self._quiet_until_s:
            self._quiet_until_s = time.monotonic() + 10.0
            _log.warning(message, *values)


def _names_of(certificate: object) -> set[str]:
    """Subject alternative names of a verified certificate."""
    names = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
    return {str(value) for _, value in names}
