"""Limits of the agent's servers in bounded memory: token buckets and connection slots. Thread-safe."""

import math
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network

KEYS = 1024
"""So many keys are remembered; one that was forgotten starts with a full bucket."""


class Buckets:
    """A token bucket per key: each may take `burst` at once, then `per_s` per second."""

    def __init__(self, per_s: float, burst: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` is a monotonic clock."""
        self._per_s, self._burst, self._now_s = per_s, burst, now_s
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left, and when

    def take(self, key: str) -> float:
        """0 where the key may go on, else the seconds to wait."""
        with self._lock:
            now_s = self._now_s()
            tokens, then_s = self._buckets.pop(key, (self._burst, now_s))
            tokens = min(self._burst, tokens + (now_s - then_s) * self._per_s)
            self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens), now_s
            if len(self._buckets) > KEYS:
                self._buckets.popitem(last=False)
        return 0.0 if tokens >= 1 else (1 - tokens) / self._per_s


@dataclass(eq=False, slots=True)
class ClientConnection:
    """A connection that has a place.

    Attributes:
        end: its socket; the one of TLS once it is there.
        owner: the address, workload or user that it counts for.
        since_s: when it began to wait for its client; inf while its response is made.
        proven: it was let in and served once.
    """

    end: socket.socket
    owner: str
    since_s: float = field(default_factory=time.monotonic)
    proven: bool = False

    def hang_up(self) -> None:
        """Wake the thread that waits for the client; it closes the socket. Below TLS, whose state is that thread's."""
        with suppress(OSError):
            socket.socket.shutdown(self.end, socket.SHUT_RDWR)


class ConnectionSlots:
    """Places for connections, and which one gives way where all of its owner or all together are taken.

    One that was never served gives way before one that was, then one of the owner with the most, then the one that has been
    silent longest; so nobody who only holds connections keeps others out. sshd limits them by source too.
    """

    def __init__(self, places: int, each: int) -> None:
        """`places` for all together, at most `each` for one owner."""
        self._places, self._each = places, each
        self._lock = threading.Lock()
        self._connections: set[ClientConnection] = set()

    def enter(self, connection: ClientConnection) -> bool:
        """Give the connection a place; False where responses are being made for all that could give way."""
        with self._lock:
            counts = Counter(other.owner for other in self._connections)
            is_owner_full = counts[connection.owner] >= self._each
            if is_owner_full or len(self._connections) >= self._places:
                rivals = [
                    c for c in self._connections if c.since_s < math.inf and (c.owner == connection.owner or not is_owner_full)
                ]
                if not rivals:
                    return False
                loser = min(rivals, key=lambda c: (c.proven, -counts[c.owner], c.since_s))
                self._connections.discard(loser)
                loser.hang_up()
            self._connections.add(connection)
            return True

    def leave(self, connection: ClientConnection) -> None:
        """Free its place, and close its socket."""
        with self._lock:
            self._connections.discard(connection)
        connection.end.close()

    def clear(self) -> None:
        """Hang up on everyone."""
        with self._lock:
            for connection in self._connections:
                connection.hang_up()


def owner_of(address: str) -> str:
    """Who is behind an address: itself, or its IPv6 /64, of which one client has all."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is None:
        return str(ip_network((int(ip), 64), strict=False))
    return str(getattr(ip, "ipv4_mapped", None) or ip)
