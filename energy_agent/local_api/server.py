"""The agent's Unix socket for programs on its node: energy of a window, use of their workload, training counts.

It is off unless the configuration names the socket. The protocol is HTTP/1.1: `curl --unix-socket PATH http://agent/v1/me`.
Any user may connect, also from a container that mounts the socket's folder; the kernel identifies the client (peers.py).
Clients are untrusted: connections, times, sizes and rates are bounded per workload and in total.
"""

import errno
import logging
import math
import os
import socket
import stat
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.local_api.peers import ClientProcess, Peers, StrangerError
from energy_agent.local_api.routes import BODY_MAX_B, Routes, reply
from energy_agent.runtime.files.permissions import make_folder, require_safe
from energy_agent.runtime.threads import start_thread
from energy_agent.web.http1 import Exchange, HttpRefusalError, ServerResponse
from energy_agent.web.limits import Buckets, ClientConnection, ConnectionSlots

log = logging.getLogger("wattlens.agent")
PLACES, PLACES_EACH = 64, 16
RATE_S, BURST_S = 50.0, 200.0
ARRIVALS_PER_S, ARRIVALS_AT_ONCE = 100.0, 200.0
ACCEPTS_PER_S = 250.0
"""Limit of connections from all clients that are examined, so that a flood costs a bounded share of a core."""
_WAIT_S = 5.0
_QUEUE = 64
_PROBE_S = 1.0


class ClientApi:
    """Serves on a unix socket that every user may connect to."""

    def __init__(self, path: Path, routes: Routes, peers: Peers, *, simulated: bool = False) -> None:
        """Nothing is opened before `start`."""
        self._path, self._routes, self._peers, self._simulated = path, routes, peers, simulated
        self._places = ConnectionSlots(PLACES, PLACES_EACH)
        self._requests, self._arrivals = Buckets(RATE_S, BURST_S), Buckets(ARRIVALS_PER_S, ARRIVALS_AT_ONCE)
        self._accepts = Buckets(ACCEPTS_PER_S, ACCEPTS_PER_S)
        self._listener: socket.socket | None = None
        self._socket_id: tuple[int, int] | None = None  # device and inode of the socket that is ours

    def start(self) -> None:
        """Bind and serve in the background; a missing folder is created where nobody but root and this user can interfere.

        Raises:
            UsageError: the socket cannot be made there, or it is another's.
        """
        folder = self._path.parent
        make_folder(folder, "client.socket", 0o755, folders_above=not self._simulated)
        require_safe(folder, "client.socket", folders_above=not self._simulated)
        listener = socket.socket(socket.AF_UNIX)
        try:
            self._clear()
            listener.bind(str(self._path))
            self._socket_id = _inode(self._path)
            self._path.chmod(0o666)
            listener.listen(_QUEUE)
            self._listener = listener
            start_thread(threading.Thread(target=self._accept, args=(listener,), name="client-api", daemon=True))
        except UsageError:
            listener.close()
            raise
        except (OSError, RuntimeError) as error:
            self._listener = None
            listener.close()
            self._remove()
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"client.socket: cannot listen on {self._path}: {reason}") from None
        log.info("client socket: %s", self._path)

    def stop(self) -> None:
        """Close the socket and remove it; may be started again."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            self._remove()

    def fault(self) -> str:
        """Why clients do not reach the socket any more; "" while they do."""
        at_path = _inode(self._path)
        if at_path == self._socket_id:
            return ""
        return f"the socket {self._path} was " + ("removed" if at_path is None else "replaced by another file")

    def _clear(self) -> None:
        """Remove the socket of an agent that was killed; raises UsageError where it is another's, or somebody listens there."""
        try:
            status = self._path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(status.st_mode):
            return  # binding says what is wrong
        if status.st_uid != os.geteuid():
            raise UsageError(
                f"client.socket: {self._path} is a socket of uid {status.st_uid}: remove it, or configure another path"
            )
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PROBE_S)
            error = probe.connect_ex(str(self._path))
        if error == errno.ECONNREFUSED:
            self._path.unlink(missing_ok=True)
        elif error != errno.ENOENT:
            raise UsageError(f"client.socket: another program listens on {self._path}: stop it, or configure another path")

    def _remove(self) -> None:
        """Remove the socket that we made; one that lies there by now may be another's."""
        if self._socket_id is not None and self._socket_id == _inode(self._path):
            self._path.unlink(missing_ok=True)
        self._socket_id = None

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                client, _ = listener.accept()
            except OSError:  # no descriptor or memory is left, and clients come again; or the server stops
                time.sleep(0.05)
                continue
            while wait_s := self._accepts.take(""):  # others wait in the kernel's queue
                time.sleep(wait_s)
            connection = None
            with suppress(OSError):  # the client has gone, or no descriptor is left to look it up
                connection = self._admit(client)
            if connection is None:
                client.close()

    def _admit(self, client: socket.socket) -> ClientConnection | None:
        """Serve a client in a thread of its own; None where it is sent away. Raises OSError where it cannot be looked up."""
        if self._arrivals.take(self._peers.origin(client)):
            return None
        try:
            peer: ClientProcess | StrangerError = self._peers.who(client)
        except StrangerError as stranger:
            peer = stranger
        connection = ClientConnection(client, peer.place if isinstance(peer, ClientProcess) else "")
        if not self._places.enter(connection):
            return None
        try:
            start_thread(threading.Thread(target=self._serve, args=(peer, connection), name="client-api", daemon=True))
        except RuntimeError:  # no thread to be had
            self._places.leave(connection)
        return connection

    def _serve(self, peer: ClientProcess | StrangerError, connection: ClientConnection) -> None:
        try:
            with suppress(OSError):
                Exchange(connection.end, partial(self._answer, peer, connection), _WAIT_S, _WAIT_S, _refusal)
        finally:
            self._places.leave(connection)

    def _answer(self, peer: ClientProcess | StrangerError, connection: ClientConnection, exchange: Exchange) -> ServerResponse:
        exchange.close_connection = True
        if isinstance(peer, StrangerError):
            raise HttpRefusalError(403, str(peer))
        body = exchange.read_body(BODY_MAX_B) if exchange.command == "POST" else b""
        if self._requests.take(peer.place):
            raise HttpRefusalError(429, f"more than {RATE_S:g} requests per second")
        connection.since_s = math.inf
        response = self._routes.answer(peer, exchange.command, exchange.path.partition("?")[0], body)
        connection.since_s = time.monotonic()
        return response


def _refusal(status: int, reason: str) -> ServerResponse:
    return reply(status, {"reason": reason})


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
