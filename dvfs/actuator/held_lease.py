"""A client's lease from its grant to its end: sets settings under the lease and renews it in time."""

from collections.abc import Sequence
from typing import Protocol

from dvfs.actuator.client import ActuatorStatus, Effect
from dvfs.actuator.lease import HEARTBEAT_S, NS, TTL_S
from dvfs.actuator.records.note import SettingNote
from dvfs.types import Setting


class Actuator(Protocol):
    """The required interface of dvfs.actuator.client.ActuatorClient; every call may raise LeaseError."""

    def acquire(self, devices: Sequence[str], ttl_s: float = TTL_S) -> str: ...  # noqa: D102
    def set(self, lease: str, device: str, setting: Setting, note: SettingNote | None = None) -> Effect: ...  # noqa: D102
    def heartbeat(self, lease: str) -> None: ...  # noqa: D102
    def release(self, lease: str, reason: str = "") -> list[tuple[str, str, str]]: ...  # noqa: D102
    def status(self) -> ActuatorStatus: ...  # noqa: D102


class HeldLease:
    """The lease on all of `devices`. After an error of `renew` it is over, or will be."""

    def __init__(self, client: Actuator, devices: Sequence[str], now_ns: int) -> None:
        """Take it; raises LeaseError. `now_ns` is of a clock that is not set."""
        self._client, self.devices, self._renewed_ns = client, tuple(devices), now_ns
        self._token = client.acquire(devices)

    def set(self, device: str, setting: Setting, note: SettingNote | None = None) -> Effect:
        """Make a device run at `setting`. Raises LeaseError: nothing is set then."""
        return self._client.set(self._token, device, setting, note)

    def renew(self, now_ns: int) -> None:
        """Send a heartbeat where one is due. Raises LeaseError."""
        if now_ns - self._renewed_ns >= HEARTBEAT_S * NS:
            self._client.heartbeat(self._token)
            self._renewed_ns = now_ns

    def release(self, reason: str = "") -> list[tuple[str, str, str]]:
        """End it: (device, knob, outcome) of each restored knob. Raises LeaseError: the actuator restores when it expires."""
        return self._client.release(self._token, reason)
