"""The actuator's worker: serves the socket, drives the core, and watches the supervisor.

Only root and the actuator's own user may talk to it (file mode 0600, and the peer's credentials are checked). A peer that sends
invalid messages or does not read its responses is disconnected. When the supervisor is gone, the worker restores and ends.
"""

import contextlib
import logging
import os
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dvfs.actuator.core import ActuatorCore
from dvfs.actuator.kill_switch import KillSwitch
from dvfs.actuator.knobs.port import RestoreResult
from dvfs.actuator.records.history import ActuatorHistory
from dvfs.actuator.requests import Caller, Requests, refuse
from dvfs.actuator.watch import PeerHeartbeat, Stop, restore_until
from dvfs.actuator.wire import Decoder, WireError
from energy_agent.core.errors import UsageError, WattlensError

LOG = logging.getLogger("wattlens.actuator")
TICK_S = 0.25  # settings of a client that died are back within 6 s: its grace of 5 s, a tick, and the writes
_MAX_CONNECTIONS = 16
_MAX_WAITING = 4096  # messages of a peer: more than fit its socket's buffer come only from who floods
_IDLE_S = 1.0
_FRAME_S = 5.0  # an unfinished frame may wait that long
_RESTORE_TRIES_S = 10.0


@dataclass(slots=True)
class _Peer:
    socket: socket.socket
    caller: Caller
    decoder: Decoder = field(default_factory=Decoder)
    out: bytes = b""
    partial_since: float | None = None
    waiting: deque[dict[str, Any]] = field(default_factory=deque)  # messages that are not answered yet
    spoke: float = field(default_factory=time.monotonic)


class ActuatorWorker:
    """The actuator's event loop. `run` returns the exit code."""

    def __init__(
        self,
        core: ActuatorCore,
        socket_path: Path,
        watch: PeerHeartbeat,
        stop: Stop,
        history: ActuatorHistory,
        kill_switch: KillSwitch,
    ) -> None:
        self._requests = Requests(core, history, kill_switch)
        self._core = core
        self._path = socket_path
        self._watch = watch
        self._stop = stop
        self._selector = selectors.DefaultSelector()
        self._peers: dict[int, _Peer] = {}
        self._next = 1

    def run(self) -> int:
        """Reconcile, serve until stopped or the supervisor has exited, restore."""
        self._report(self._core.restore_all())
        listener = listen(self._path)
        inode = self._path.stat().st_ino
        try:
            self._selector.register(listener, selectors.EVENT_READ, None)
            self._selector.register(self._watch.pair, selectors.EVENT_READ, None)
            self._selector.register(self._stop.reader, selectors.EVENT_READ, None)
            LOG.info("listening on %s", self._path)
            self._serve(listener)
        finally:
            listener.close()
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_ino == inode:
                    self._path.unlink()
        return 0 if restore_until(self._core.restore_all, _RESTORE_TRIES_S, self._watch.service) else 1

    def _serve(self, listener: socket.socket) -> None:
        next_tick = 0.0
        while not self._stop.asked and self._watch.service():
            busy = any(peer.waiting for peer in self._peers.values())
            wait_s = 0.0 if busy else min(TICK_S, max(0.0, next_tick - time.monotonic()))
            for key, events in self._selector.select(wait_s):
                if key.fileobj is listener:
                    self._accept(listener)
                elif isinstance(key.data, _Peer):
                    self._guard(key.data, partial(self._exchange, events=events))
            # One message of each peer per round: a peer with a thousand queued requests delays only itself.
            for peer in [p for p in self._peers.values() if p.waiting]:
                self._guard(peer, self._answer_one)
            # After the messages, so that a heartbeat that already arrived counts before its lease expires.
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_S
                self._tick()

    def _guard(self, peer: _Peer, serve: Callable[[_Peer], None]) -> None:
        """Serve one peer; an error closes the connection of that peer only."""
        try:
            serve(peer)
        except Exception:
            LOG.exception("%s: connection dropped", peer.caller.holder)
            self._drop(peer)

    def _tick(self) -> None:
        for peer in list(self._peers.values()):
            if peer.partial_since is not None and time.monotonic() - peer.partial_since > _FRAME_S:
                self._drop(peer)
        try:
            self._core.last_restored = []
            self._core.tick()
            self._report(self._core.last_restored)
        except WattlensError as error:  # a journal that cannot be written now: leases stay, the next tick tries again
            LOG.error("%s", error)

    def _report(self, results: list[RestoreResult]) -> None:
        for one in results:
            LOG.log(logging.INFO if one.closed else logging.WARNING, "%s %s: %s", one.device, one.knob, one.outcome)

    # Peers.

    def _accept(self, listener: socket.socket) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return  # it left again
        pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if uid in (0, os.geteuid()) and len(self._peers) >= _MAX_CONNECTIONS:
            self._make_room()
        if uid not in (0, os.geteuid()) or len(self._peers) >= _MAX_CONNECTIONS:
            LOG.warning("refused a connection of pid %d, uid %d", pid, uid)
            peer.close()
            return
        peer.setblocking(False)
        one = _Peer(peer, Caller(self._next, pid))
        self._next += 1
        self._peers[one.caller.number] = one
        self._selector.register(peer, selectors.EVENT_READ, one)

    def _make_room(self) -> None:
        """End the connection that has been silent for longest, of those that hold no lease."""
        idle = [p for p in self._peers.values() if not p.caller.leases and time.monotonic() - p.spoke > _IDLE_S]
        if idle:
            self._drop(min(idle, key=lambda p: p.spoke))

    def _drop(self, peer: _Peer) -> None:
        if self._peers.pop(peer.caller.number, None) is not None:
            self._selector.unregister(peer.socket)
            peer.socket.close()
            self._core.closed(peer.caller.number)

    def _exchange(self, peer: _Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                data = peer.socket.recv(65536)
                if not data:
                    self._drop(peer)
                    return
                peer.waiting.extend(peer.decoder.feed(data))
                peer.spoke = time.monotonic()
        except BlockingIOError:
            pass
        except WireError as error:
            with contextlib.suppress(OSError):
                peer.socket.send(refuse(None, "bad_request", str(error)))
            self._drop(peer)
            return
        except OSError:
            self._drop(peer)
            return
        self._send(peer)

    def _answer_one(self, peer: _Peer) -> None:
        peer.out += self._requests.reply(peer.caller, peer.waiting.popleft())
        self._send(peer)

    def _send(self, peer: _Peer) -> None:
        try:
            if peer.out:
                peer.out = peer.out[peer.socket.send(peer.out) :]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(peer)
            return
        if len(peer.out) > 65536 or len(peer.waiting) > _MAX_WAITING:
            self._drop(peer)  # it sends requests and never reads
            return
        peer.partial_since = (peer.partial_since or time.monotonic()) if peer.decoder.partial else None
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.out else 0)
        self._selector.modify(peer.socket, wanted, peer)


def listen(path: Path) -> socket.socket:
    """Bind the socket with mode 0600 in a folder that exists; the caller holds the instance lock.

    A socket left by an earlier process is removed.

    Raises:
        UsageError: the path is too long, is not a socket, or cannot be bound.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise UsageError(f"{path}: cannot listen: {error.strerror or error}; choose another --socket") from error
    listener.setblocking(False)
    return listener
