"""TCP connections within a deadline: name resolution, which the system does not bound, and all addresses of a name together."""

import errno
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from energy_agent.core.errors import WattlensError
from energy_agent.runtime.threads import start_thread

LOOKUPS_MAX: Final = 16
ADDRESSES_MAX: Final = 8
_STAGGER_S: Final = 0.25
"""The next address is tried next to the previous ones after this time (RFC 8305, Happy Eyeballs)."""
WAIT_S: Final = 1.0
"""No wait for a server is longer at once.

Python notes a signal and handles it between two of its own instructions. One that arrives after the last of them, and before
the system call that waits, is handled when that call ends: a Ctrl-C at that moment would last for the whole deadline.
"""
_SHORTEST_S: Final = 0.001  # a socket's timeout of 0 would mean: do not wait at all

Address = tuple[int, int, int, str, Any]
"""An element of what socket.getaddrinfo returns."""


class ConnectError(WattlensError):
    """No connection: the name is unknown, or no address accepts one."""


class DeadlineError(WattlensError):
    """The deadline passed."""


def remaining_s(deadline_s: float) -> float:
    """Seconds until a deadline of time.monotonic(), never 0.

    Raises:
        DeadlineError: it has passed.
    """
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise DeadlineError("no response in time")
    return max(_SHORTEST_S, left_s)


@dataclass(slots=True)
class _Lookup:
    done: threading.Event = field(default_factory=threading.Event)
    addresses: list[Address] = field(default_factory=list)
    reason: str = ""


class Resolver:
    """Resolves names within a deadline.

    The system's getaddrinfo cannot be interrupted, so each name is resolved in a thread. All requests for a name share the
    thread that resolves it, and there are never more than `limit` threads: beyond that, a lookup fails at once.
    """

    def __init__(self, getaddrinfo: Callable[..., list[Any]] = socket.getaddrinfo, limit: int = LOOKUPS_MAX) -> None:
        self._getaddrinfo, self._limit = getaddrinfo, limit
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, int, int], _Lookup] = {}

    @property
    def pending(self) -> int:
        """Number of lookups without a result."""
        return len(self._pending)

    def resolve(self, host: str, port: int, deadline_s: float, kind: int = socket.SOCK_STREAM) -> list[Address]:
        """Return the addresses of a host, at most ADDRESSES_MAX.

        Raises:
            ConnectError: the name is unknown, or too many lookups hang.
            DeadlineError: the deadline passed.
        """
        try:
            return [*socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)]
        except (OSError, ValueError):
            pass  # not an IP address
        with self._lock:
            lookup = self._pending.get((host, port, kind))
            if lookup is None:
                if len(self._pending) >= self._limit:
                    raise ConnectError(f"name resolution hangs: {self._limit} lookups have no result")
                lookup = _Lookup()
                thread = threading.Thread(target=self._run, args=(lookup, host, port, kind), name="lookup", daemon=True)
                try:
                    start_thread(thread)
                except RuntimeError:
                    raise ConnectError("name resolution: the system cannot start more threads") from None
                self._pending[host, port, kind] = lookup  # the thread needs the lock to take it away
        try:
            while not lookup.done.wait(min(remaining_s(deadline_s), WAIT_S)):
                pass
        except DeadlineError:
            raise DeadlineError("name resolution takes too long") from None
        if lookup.reason:
            raise ConnectError(lookup.reason)
        return lookup.addresses

    def _run(self, lookup: _Lookup, host: str, port: int, kind: int) -> None:
        try:
            lookup.addresses = list(self._getaddrinfo(host, port, type=kind))[:ADDRESSES_MAX]
        except OSError as error:
            lookup.reason = (error.strerror or "unknown host").lower()
        except ValueError:  # a label that is empty or longer than 63 characters
            lookup.reason = "invalid host name"
        finally:
            with self._lock:
                del self._pending[host, port, kind]
            lookup.done.set()


RESOLVER: Final = Resolver()


def connect(host: str, port: int, deadline_s: float, resolver: Resolver = RESOLVER) -> socket.socket:
    """Connect to the first address of a host that accepts; all addresses share the deadline.

    Raises:
        ConnectError: no address accepts a connection.
        DeadlineError: the deadline passed.
    """
    waiting: dict[int, socket.socket] = {}
    poll = select.poll()
    addresses, reason, next_s = resolver.resolve(host, port, deadline_s), "no address", 0.0
    try:
        while addresses or waiting:
            if addresses and (not waiting or time.monotonic() >= next_s):
                family, kind, protocol, _, address = addresses[0]
                addresses, next_s = addresses[1:], time.monotonic() + _STAGGER_S
                code, connection = _begin(family, kind, protocol, address)
                if connection is None:
                    reason = os.strerror(code).lower()
                    continue
                waiting[connection.fileno()] = connection
                poll.register(connection, select.POLLOUT)
            left_s = remaining_s(deadline_s)
            left_s = min(left_s, max(0.0, next_s - time.monotonic())) if addresses else left_s
            for descriptor, _ in poll.poll(math.ceil(min(left_s, WAIT_S) * 1000)):
                poll.unregister(descriptor)
                connection = waiting.pop(descriptor)
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or _self_connection(connection)
                if not code:
                    return connection
                connection.close()
                reason = os.strerror(code).lower()
    finally:
        for other in waiting.values():
            other.close()
    raise ConnectError(reason)


def _begin(family: int, kind: int, protocol: int, address: Any) -> tuple[int, socket.socket | None]:
    connection = None
    try:
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        code = connection.connect_ex(address)
    except OSError as error:  # the system has no IPv6, or no descriptor left
        code = error.errno or errno.EADDRNOTAVAIL
    if code in (0, errno.EINPROGRESS):
        return 0, connection
    if connection is not None:
        connection.close()
    return code, None


def _self_connection(connection: socket.socket) -> int:
    """The error of a connection to itself, as TCP makes one now and then to a local port that nobody listens on."""
    try:
        return errno.ECONNREFUSED if connection.getsockname() == connection.getpeername() else 0
    except OSError as error:
        return error.errno or errno.ENOTCONN
