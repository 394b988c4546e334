"""Places of the client socket: how many connections and requests each workload has, and who gives way when all are taken.

A workload that opens many connections, and many workloads or users that open a few each, keep no other one out: where all
places are taken, the workload with the most connections loses the one that has been waiting longest. A connection whose request
is being answered keeps its place. (sshd too limits connections by their source: PerSourceMaxStartups.)
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

PLACES, PLACES_EACH = 64, 16
RATE_S, BURST_S = 50.0, 200.0
ARRIVALS_PER_S, ARRIVALS_AT_ONCE = 100.0, 200.0
_OWNERS_MAX = 1024
_PRUNE_S = 1.0


@dataclass(eq=False, slots=True)
class Connection:
    """A connection that has a place.

    Attributes:
        owner: the workload or user that it counts for.
        hang_up: ends it from another thread.
        since_s: when it began to wait for its client; inf while its request is answered.
    """

    owner: str
    hang_up: Callable[[], None]
    since_s: float = field(default_factory=time.monotonic)

    def answering(self) -> None:
        """Its request is there: it keeps its place until `waiting`."""
        self.since_s = math.inf

    def waiting(self) -> None:
        """It waits for its client again."""
        self.since_s = time.monotonic()


class Places:
    """Who is connected. Every method may be called from any thread."""

    def __init__(self, places: int = PLACES, each: int = PLACES_EACH) -> None:
        """`places` for all together, at most `each` for one owner."""
        self._places, self._each = places, each
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._requests, self._arrivals = _Buckets(RATE_S, BURST_S), _Buckets(ARRIVALS_PER_S, ARRIVALS_AT_ONCE)

    def enter(self, connection: Connection) -> bool:
        """Give the connection a place; False where its owner has all that it may have, or every other one is being answered."""
        with self._lock:
            counts = Counter(other.owner for other in self._connections)
            if counts[connection.owner] >= self._each:
                return False
            if len(self._connections) >= self._places:
                rivals = [other for other in self._connections if other.since_s < math.inf]
                if not rivals:
                    return False
                loser = max(rivals, key=lambda other: (counts[other.owner], -other.since_s))
                self._connections.discard(loser)
                loser.hang_up()
            self._connections.add(connection)
            return True

    def leave(self, connection: Connection) -> None:
        """Free its place."""
        with self._lock:
            self._connections.discard(connection)

    def may_ask(self, owner: str) -> bool:
        """Count a request; False where the owner asks too often."""
        with self._lock:
            return self._requests.take(owner)

    def may_connect(self, origin: str) -> bool:
        """Count a connection; False where its origin connects too often."""
        with self._lock:
            return self._arrivals.take(origin)


class _Buckets:
    """A token bucket per key; keys that have not been used for a while are dropped."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s, self._at_once = per_s, at_once
        self._left: dict[str, tuple[float, float]] = {}  # tokens, and when
        self._prune_at_s = 0.0

    def take(self, key: str) -> bool:
        now_s = time.monotonic()
        if len(self._left) >= _OWNERS_MAX and now_s >= self._prune_at_s:
            self._prune_at_s = now_s + _PRUNE_S
            self._left = {k: left for k, left in self._left.items() if now_s - left[1] < self._at_once / self._per_s}
        left, then_s = self._left.get(key, (self._at_once, now_s))
        left = min(self._at_once, left + (now_s - then_s) * self._per_s)
        self._left[key] = max(0.0, left - 1), now_s
        return left >= 1
