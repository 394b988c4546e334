"""Who may steer which device, and until when. Pure: the caller brings the time (CLOCK_BOOTTIME ns).

A device has at most one lease. A lease lives by heartbeats; when its peer is gone it has only the grace left, in which the
same token taken up on another connection revives it (a restarted agent keeps its setting).
"""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dvfs.actuator.guard import ActuatorRefusalError

NS = 1_000_000_000
TTL_S = 10.0
HEARTBEAT_S = 2.0
GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease. `connection`: None while its peer is disconnected."""

    token: str
    holder: str
    devices: tuple[str, ...]
    connection: int | None
    ttl_ns: int
    expires_ns: int


class Leases:
    """All leases, at most `capacity`."""

    def __init__(self, grace_ns: int = int(GRACE_S * NS), capacity: int = 64) -> None:
        self._grace_ns = grace_ns
        self._capacity = capacity
        self._by_token: dict[str, Lease] = {}

    def __iter__(self) -> Iterator[Lease]:
        """The leases, oldest first."""
        return iter(list(self._by_token.values()))

    def holder(self, device: str) -> Lease | None:
        """The lease on a device, if any."""
        return next((lease for lease in self._by_token.values() if device in lease.devices), None)

    def acquire(self, token: str, holder: str, devices: tuple[str, ...], connection: int, ttl_ns: int, now_ns: int) -> Lease:
        """Grant a lease on all of `devices` or none.

        Raises:
            ActuatorRefusalError: a device is leased already (names the holder), the list is empty, too long or has duplicates.
        """
        if not devices or len(set(devices)) != len(devices):
            raise ActuatorRefusalError("bad_request", "expected one or more devices, each once")
        for device in devices:
            other_lease = self.holder(device)
            if other_lease is not None:
                raise ActuatorRefusalError("held", f"{device} is leased to {other_lease.holder}")
        if len(self._by_token) >= self._capacity:
            raise ActuatorRefusalError("too_many", f"expected at most {self._capacity} leases")
        lease = Lease(token, holder, devices, connection, ttl_ns, now_ns + ttl_ns)
        self._by_token[token] = lease
        return lease

    def get(self, token: str, connection: int) -> Lease:
        """The lease of this token on this connection.

        Raises:
            ActuatorRefusalError: unknown (expired or never granted), or in use on another connection.
        """
        lease = next((x for t, x in self._by_token.items() if hmac.compare_digest(t.encode(), token.encode())), None)
        if lease is None:
            raise ActuatorRefusalError("expired", "lease not found: it expired or was released")
        if lease.connection not in (connection, None):
            raise ActuatorRefusalError("held", "this lease is in use on another connection")
        return lease

    def heartbeat(self, token: str, connection: int, now_ns: int) -> Lease:
        """Renew; takes up a lease whose peer is gone. Raises as `get`."""
        lease = replace(self.get(token, connection), connection=connection)
        lease = replace(lease, expires_ns=now_ns + lease.ttl_ns)
        self._by_token[token] = lease
        return lease

    def drop(self, token: str) -> None:
        """Forget a lease."""
        self._by_token.pop(token, None)

    def closed(self, connection: int, now_ns: int) -> None:
        """The peer is gone: its leases have the grace left, or less."""
        for token, lease in list(self._by_token.items()):
            if lease.connection == connection:
                end = min(lease.expires_ns, now_ns + self._grace_ns)
                self._by_token[token] = replace(lease, connection=None, expires_ns=end)

    def expired(self, now_ns: int) -> list[Lease]:
        """Expired leases; they exist until dropped, so that a device cannot be leased before it is restored."""
        return [lease for lease in self._by_token.values() if lease.expires_ns <= now_ns]
