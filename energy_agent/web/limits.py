"""Token buckets, one for each client address, in bounded memory. Any thread may call."""

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable

ADDRESSES = 1024
"""So many addresses are remembered; who comes back after being forgotten starts with a full bucket."""
GUESSES_PER_S, NEWCOMERS_PER_S, BESIEGED_S = 25.0, 100.0, 10.0
"""More wrong guesses per second than the first make newcomers share the second number of connections for so many seconds."""


class Bucket:
    """`burst` at once, then `per_s` a second."""

    __slots__ = ("_at_s", "_burst", "_left", "_per_s")

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        """Full at first."""
        self._per_s, self._burst = per_s, burst
        self._left, self._at_s = burst, now_s

    def take(self, now_s: float) -> bool:
        """Take one; False where none is left."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait_s(self) -> float:
        """From the last `take` until there is one again."""
        return max(0.0, (1 - self._left) / self._per_s)


class AddressLimits:
    """A bucket for each address. `per_s` 0: no limit."""

    def __init__(self, per_s: float, burst: float, now_s: Callable[[], float]) -> None:
        """`now_s` is a monotonic clock, in seconds."""
        self._per_s, self._burst, self._now_s = per_s, burst, now_s
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, address: str) -> float:
        """0 where the address may go on, else how many seconds it has to wait."""
        if not self._per_s:
            return 0.0
        now_s = self._now_s()
        with self._lock:
            bucket = self._buckets.get(address)
            if bucket is None:
                bucket = self._buckets[address] = Bucket(self._per_s, self._burst, now_s)
                if len(self._buckets) > ADDRESSES:
                    self._buckets.popitem(last=False)
            self._buckets.move_to_end(address)
            return 0.0 if bucket.take(now_s) else max(bucket.wait_s(), 1e-3)


class Newcomers:
    """Addresses that were never let in: while many wrong guesses come, they share a bounded number of connections.

    Limits per address do not bound what guessing costs: who has a network of addresses comes from another one each time.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s` is a monotonic clock, in seconds."""
        self._now_s, self._lock = now_s, threading.Lock()
        self._guesses = Bucket(GUESSES_PER_S, 4 * GUESSES_PER_S, now_s())
        self._connections = Bucket(NEWCOMERS_PER_S, NEWCOMERS_PER_S, now_s())
        self._besieged_until_s = -math.inf
        self._let_in: OrderedDict[str, None] = OrderedDict()

    def let_in(self, address: str) -> None:
        """Remember an address whose credentials were right."""
        with self._lock:
            self._let_in[address] = None
            self._let_in.move_to_end(address)
            if len(self._let_in) > ADDRESSES:
                self._let_in.popitem(last=False)

    def guessed_wrong(self) -> None:
        """Count a wrong guess from any address."""
        with self._lock:
            now_s = self._now_s()
            if not self._guesses.take(now_s):
                self._besieged_until_s = now_s + BESIEGED_S

    def may_connect(self, address: str) -> bool:
        """Count a connection; False where the address is new and too many new ones came."""
        with self._lock:
            now_s = self._now_s()
            return now_s >= self._besieged_until_s or address in self._let_in or self._connections.take(now_s)


def owner_of(address: str) -> str:
    """Who is behind an address: itself, or for IPv6 its /64, of which one client has all."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    mapped = ip.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.IPv6Network((int(ip), 64), strict=False))
