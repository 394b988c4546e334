"""The agent's unix socket for programs on its node: joules of a window, what their workload used, counts of training.

Off unless the configuration names the socket. HTTP/1.1 is spoken: `curl --unix-socket PATH http://agent/v1/me`. Every user may
connect, from a container that mounts the socket's folder too; who connected the kernel says (energy_agent/client_peers.py).
Clients are hostile: places, times, sizes and rates are bounded, for each workload as for all together.
"""

import errno
import logging
import os
import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

from energy_agent.client_peers import Peer, Peers, StrangerError
from energy_agent.client_routes import BODY_MAX_B, Routes, reply
from energy_agent.core.errors import UsageError
from energy_agent.http1 import BadRequestError, Reader, Response, send, serialize

log = logging.getLogger("wattlens.agent")
_PLACES, _PLACES_EACH = 64, 16
_WAIT_S = 5.0
_RATE_S, _BURST_S = 50.0, 200.0
_OWNERS_MAX = 1024
_PROBE_S = 1.0


class ClientApi:
    """Serves on a unix socket that every user may connect to."""

    def __init__(self, path: Path, routes: Routes, peers: Peers) -> None:
        """Nothing is opened before `start`."""
        self._path, self._routes, self._peers = path, routes, peers
        self._places = threading.BoundedSemaphore(_PLACES)
        self._owners = _Owners()
        self._listener: socket.socket | None = None
        self._made: tuple[int, int] | None = None  # device and inode of the socket that is ours

    def start(self) -> None:
        """Bind and serve in the background.

        Raises:
            UsageError: the socket cannot be made there, or it is another's.
        """
        listener = socket.socket(socket.AF_UNIX)
        try:
            self._clear()
            listener.bind(str(self._path))
            self._made = _inode(self._path)
            self._path.chmod(0o666)
            listener.listen(64)
        except UsageError:
            listener.close()
            raise
        except OSError as error:
            listener.close()
            self._remove()
            raise UsageError(f"client.socket: cannot listen on {self._path}: {error.strerror or error}") from None
        self._listener = listener
        log.info("client socket: %s", self._path)
        threading.Thread(target=self._accept, args=(listener,), name="client-api", daemon=True).start()

    def stop(self) -> None:
        """Close the socket and remove it."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._remove()

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
        while True:
            try:
                client, _ = listener.accept()
            except OSError as error:
                if self._listener is None or listener.fileno() < 0 or error.errno in (9, 22):
                    return
                time.sleep(0.05)  # no descriptor or memory is left; clients come again
                continue
            if not self._places.acquire(blocking=False):
                client.close()  # somebody holds them all; each does so for a few times _WAIT_S at most
                continue
            try:
                threading.Thread(target=self._serve, args=(client,), name="client-api", daemon=True).start()
            except RuntimeError:  # no thread to be had
                self._places.release()
                client.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, suppress(OSError):
                try:
                    peer = self._peers.who(client)
                except StrangerError as stranger:
                    self._exchange(client, None, str(stranger))
                    return
                if not self._owners.enter(peer.place):
                    return  # its other connections hold what one workload may hold
                try:
                    self._exchange(client, peer, "")
                finally:
                    self._owners.leave(peer.place)
        finally:
            self._places.release()

    def _exchange(self, client: socket.socket, peer: Peer | None, stranger: str) -> None:
        reader = Reader(client)
        try:
            request = reader.request(_WAIT_S, _WAIT_S)
            if request is None:
                return
            body = b""
            if request.method == "POST":
                body = reader.body(request, BODY_MAX_B, _WAIT_S)
            response = self._answer(peer, stranger, request.method, request.path, body)
        except BadRequestError as bad:
            response = reply(bad.status, {"reason": str(bad)})
        send(client, serialize(response, body=True, close=True), _WAIT_S)
        reader.drain()

    def _answer(self, peer: Peer | None, stranger: str, method: str, path: str, body: bytes) -> Response:
        if peer is None:
            return reply(403, {"reason": stranger})
        if not self._owners.may(peer.place):
            return reply(429, {"reason": f"more than {_RATE_S:g} requests a second"})
        return self._routes.answer(peer, method, path, body)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        there = path.lstat()
    except OSError:
        return None
    return there.st_dev, there.st_ino


class _Owners:
    """What each workload (or user, where processes belong to none) takes of the socket: places, and requests a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: dict[str, int] = {}
        self._spent: dict[str, tuple[float, float]] = {}  # tokens left, when

    def enter(self, place: str) -> bool:
        with self._lock:
            inside = self._inside.get(place, 0)
            if inside >= _PLACES_EACH:
                return False
            self._inside[place] = inside + 1
            return True

    def leave(self, place: str) -> None:
        with self._lock:
            self._inside[place] -= 1
            if not self._inside[place]:
                del self._inside[place]

    def may(self, place: str) -> bool:
        now_s = time.monotonic()
        with self._lock:
            if len(self._spent) >= _OWNERS_MAX:
                self._spent = {p: s for p, s in self._spent.items() if now_s - s[1] < _BURST_S / _RATE_S}
            left, then_s = self._spent.get(place, (_BURST_S, now_s))
            left = min(_BURST_S, left + (now_s - then_s) * _RATE_S)
            self._spent[place] = max(0.0, left - 1), now_s
            return left >= 1
