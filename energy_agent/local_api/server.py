"""The agent's unix socket for programs on its node: joules of a window, what their workload used, counts of training.

Off unless the configuration names the socket. HTTP/1.1 is spoken: `curl --unix-socket PATH http://agent/v1/me`. Every user may
connect, from a container that mounts the socket's folder too; who connected the kernel says (energy_agent/local_api/peers.py).
Clients are hostile: places, times, sizes and rates are bounded, for each workload as for all together.
"""

import errno
import logging
import os
import socket
import stat
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.local_api.peers import Peer, Peers, StrangerError
from energy_agent.local_api.places import PLACES, PLACES_EACH, RATE_S, Connection, Places
from energy_agent.local_api.routes import BODY_MAX_B, Routes, reply
from energy_agent.runtime.files import make_folder, require_safe
from energy_agent.runtime.threads import start_thread
from energy_agent.web.http1 import BadRequestError, Reader, send, serialize

log = logging.getLogger("wattlens.agent")
_WAIT_S = 5.0
_ACCEPTS_PER_S, _ACCEPTS_AT_ONCE = 250.0, 250.0
_QUEUE = 64
_PARKED = 16
_PROBE_S = 1.0


class ClientApi:
    """Serves on a unix socket that every user may connect to."""

    def __init__(self, path: Path, routes: Routes, peers: Peers, *, simulated: bool = False) -> None:
        """Nothing is opened before `start`."""
        self._path, self._routes, self._peers, self._simulated = path, routes, peers, simulated
        self._places = Places()
        self._listener: socket.socket | None = None
        self._made: tuple[int, int] | None = None  # device and inode of the socket that is ours

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
            self._made = _inode(self._path)
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
        if at_path == self._made:
            return ""
        return f"the socket {self._path} was " + ("removed" if at_path is None else "replaced by another file")

    def _clear(self) -> None:
        """Remove the socket of an agent that was killed; raises UsageError where it is another's, or somebody listens there."""
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(there.st_mode):
            return  # binding says what is wrong
        if there.st_uid != os.geteuid():
            raise UsageError(f"client.socket: {self._path} is a socket of uid {there.st_uid}: remove it, or name another")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PROBE_S)
            error = probe.connect_ex(str(self._path))
        if error == errno.ECONNREFUSED:
            self._path.unlink(missing_ok=True)
        elif error != errno.ENOENT:
            raise UsageError(f"client.socket: another program listens on {self._path}: stop it, or name another socket")

    def _remove(self) -> None:
        """Remove the socket that we made; one that lies there by now may be another's."""
        if self._made is not None and self._made == _inode(self._path):
            self._path.unlink(missing_ok=True)
        self._made = None

    def _accept(self, listener: socket.socket) -> None:
        pace, refusals = _Pace(), _Refusals()
        while True:
            try:
                client, _ = listener.accept()
            except OSError as error:
                if self._listener is not listener or listener.fileno() < 0 or error.errno in (errno.EBADF, errno.EINVAL):
                    refusals.close()
                    return
                time.sleep(0.05)  # no descriptor or memory is left; clients come again
                continue
            pace.wait()
            if not self._places.may_connect(self._peers.origin(client)):
                client.close()
                continue
            try:
                peer = self._peers.who(client)
            except StrangerError as stranger:
                refusals.answer(client, 403, str(stranger))
                continue
            except OSError:  # the client has gone, or no descriptor is left to look it up
                client.close()
                continue
            connection = Connection(peer.place, lambda end=client: _hang_up(end))  # type: ignore[misc]
            if not self._places.enter(connection):
                refusals.answer(
                    client, 429, f"too many connections: {PLACES_EACH} of one workload or user at most, {PLACES} of all"
                )
                continue
            try:
                start_thread(
                    threading.Thread(target=self._serve, args=(client, peer, connection), name="client-api", daemon=True)
                )
            except RuntimeError:  # no thread to be had
                self._places.leave(connection)
                client.close()

    def _serve(self, client: socket.socket, peer: Peer, connection: Connection) -> None:
        try:
            with suppress(OSError):
                self._exchange(client, peer, connection)
        finally:
            self._places.leave(connection)
            client.close()  # only now: who hangs up needs the descriptor to be this client's

    def _exchange(self, client: socket.socket, peer: Peer, connection: Connection) -> None:
        reader = Reader(client)
        try:
            request = reader.request(_WAIT_S, _WAIT_S)
            if request is None:
                return
            body = b""
            if request.method == "POST":
                body = reader.body(request, BODY_MAX_B, _WAIT_S)
            connection.answering()
            if self._places.may_ask(peer.place):
                response = self._routes.answer(peer, request.method, request.path, body)
            else:
                response = reply(429, {"reason": f"more than {RATE_S:g} requests a second"})
        except BadRequestError as bad:
            response = reply(bad.status, {"reason": str(bad)})
        connection.waiting()
        send(client, serialize(response, body=True, close=True), _WAIT_S)
        reader.drain()


class _Pace:
    """Bounds the connections per second that are looked at, so that a flood costs a bounded share of a core.

    Others wait meanwhile in the kernel's queue, a quarter of a second at most.
    """

    def __init__(self) -> None:
        self._next_s = time.monotonic()

    def wait(self) -> None:
        now_s = time.monotonic()
        self._next_s = max(self._next_s, now_s - _ACCEPTS_AT_ONCE / _ACCEPTS_PER_S) + 1 / _ACCEPTS_PER_S
        if self._next_s > now_s:
            time.sleep(self._next_s - now_s)


class _Refusals:
    """Answers clients that may not be here, without reading from them and without a thread.

    The last few stay half open, so that one that is still sending gets the answer and no broken pipe.
    """

    def __init__(self) -> None:
        self._parked: deque[socket.socket] = deque()

    def answer(self, client: socket.socket, status: int, reason: str) -> None:
        with suppress(OSError):
            client.setblocking(False)
            client.send(serialize(reply(status, {"reason": reason}), body=True, close=True))
            client.shutdown(socket.SHUT_WR)
        self._parked.append(client)
        if len(self._parked) > _PARKED:
            self._parked.popleft().close()

    def close(self) -> None:
        while self._parked:
            self._parked.popleft().close()


def _hang_up(client: socket.socket) -> None:
    """Wake the thread that waits for the client; it closes the socket."""
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        there = path.lstat()
    except OSError:
        return None
    return there.st_dev, there.st_ino
