"""The governor's side of the actuator's socket: no threads, every call bounded, one reconnect when the actuator restarted."""

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvfs.actuator.lease import TTL_S
from dvfs.actuator.records.note import MAX_CHARACTERS, SettingNote
from dvfs.actuator.wire import VERSION, Decoder, WireError, encode
from dvfs.types import Setting
from energy_agent.core.errors import LeaseError


class ActuatorError(LeaseError):
    """The actuator refused or is unreachable. `code` is the refusal's code, or `unreachable`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"actuator: {reason}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Effect:
    """Result of a set: the setting after the guard, and the SM clock and binding event reasons just after it."""

    setting: Setting
    sm_clock_mhz: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ActuatorStatus:
    """One answer of `status`; each device is a mapping as the actuator sent it."""

    killed: bool
    devices: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    kill_switch: str = ""  # path of the kill switch file, "" without one


_ROOTS_SOCKET = Path("/run/wattlens/actuator/actuator.sock")


def default_socket() -> Path:
    """Where the actuator listens unless another place is configured."""
    if os.geteuid() == 0:
        return _ROOTS_SOCKET
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/wattlens-{os.geteuid()}")) / "wattlens/actuator.sock"  # noqa: S108


class ActuatorClient:
    """A connection that is made at the first call. A lease survives a reconnect within the grace, by its token."""

    def __init__(self, path: Path, name: str = "wattlens", timeout_s: float = 10.0) -> None:
        """Do not connect yet; `name` is the owner's name shown to other clients."""
        self._path = path
        self._name = name
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._decoder = Decoder()
        self._number = 0
        self._tokens: set[str] = set()

    def acquire(self, devices: Sequence[str], ttl_s: float = TTL_S) -> str:
        """Lease all of `devices` and return the lease's token. ActuatorError names the device and its owner or the reason."""
        token = str(self._ask({"op": "acquire", "devices": list(devices), "ttl_s": ttl_s})["lease"])
        self._tokens.add(token)
        return token

    def set(self, lease: str, device: str, setting: Setting, note: SettingNote | None = None) -> Effect:
        """Apply `setting` to a device; None restores a knob. Raises ActuatorError: nothing is set then.

        `note`: why, for the actuator's history.
        """
        why = {} if note is None else {"note": note.as_json()}
        answer = self._ask({"op": "set", "lease": lease, "device": device, "setting": setting.as_json(), **why})
        got = answer.get("setting", {})
        return Effect(
            Setting(got.get("sm_clock_max_mhz"), got.get("power_limit_mw")),
            answer.get("sm_clock_mhz"),
            tuple(str(r) for r in answer.get("reasons", ())),
        )

    def heartbeat(self, lease: str) -> None:
        """Renew. Raises ActuatorError: the lease is over, its devices are restored or will be."""
        self._ask({"op": "heartbeat", "lease": lease})

    def release(self, lease: str, reason: str = "") -> list[tuple[str, str, str]]:
        """End a lease, for the history with a `reason`: (device, knob, outcome) of each restored knob."""
        self._tokens.discard(lease)
        answer = self._ask({"op": "release", "lease": lease, "reason": reason[:MAX_CHARACTERS]})
        return [(str(d), str(k), str(o)) for d, k, o in answer["restored"]]

    def status(self) -> ActuatorStatus:
        """All devices."""
        rows: list[dict[str, Any]] = []
        offset: int | None = 0
        killed, switch = False, ""
        while offset is not None and len(rows) < 1024:
            answer = self._ask({"op": "status", "offset": offset})
            rows += answer["devices"]
            killed, following = bool(answer["killed"]), answer["next"]
            switch = str(answer.get("kill_switch", ""))
            offset = following if following is None or following > offset else None
        return ActuatorStatus(killed, tuple(rows), switch)

    def history(self, after: int) -> tuple[str, list[dict[str, Any]]]:
        """Actions of the actuator after row number `after`: the ID of the numbering, and the next rows, empty at the end."""
        answer = self._ask({"op": "history", "after": after})
        return str(answer["name"]), list(answer["rows"])

    def hello(self) -> dict[str, Any]:
        """Identity: `pid` of the worker, and `holder`, the name of this connection in its records."""
        return self._ask({"op": "hello", "name": self._name})

    def close(self) -> None:
        """Hang up; leases that are left end with the grace."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        for tries_left in (0,) if self._socket is None else (1, 0):
            try:
                if self._socket is None:
                    self._connect()
                return self._exchange(message)
            except (OSError, WireError) as error:
                self.close()
                # Once more where the old connection was simply dead. A request may then run twice; each is idempotent but
                # `acquire`, which on a half-done first try is refused naming ourselves, and free again after the grace.
                if not tries_left or isinstance(error, TimeoutError | WireError):
                    text = getattr(error, "strerror", None) or str(error)
                    reason = f"no response at {self._path} ({text}); is `wattlens actuator` running?"
                    raise ActuatorError("unreachable", reason) from error
        raise AssertionError("every try returns or raises")

    def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(self._timeout_s)
        self._decoder = Decoder()
        self._socket.connect(str(self._path))
        self._exchange({"op": "hello", "name": self._name})
        for token in list(self._tokens):
            try:
                self._exchange({"op": "heartbeat", "lease": token})
            except ActuatorError:
                self._tokens.discard(token)  # over; the call that uses it will hear so

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._socket is None:
            raise OSError("not connected")
        self._number += 1
        end = time.monotonic() + self._timeout_s
        self._socket.sendall(encode({"v": VERSION, "id": self._number, **message}))
        while time.monotonic() < end:
            data = self._socket.recv(8192)
            if not data:
                raise ConnectionResetError("closed the connection")
            for answer in self._decoder.feed(data):
                if answer.get("id") not in (self._number, None):
                    continue
                if not answer.get("ok"):
                    raise ActuatorError(str(answer.get("code", "refused")), str(answer.get("reason", "refused")))
                return answer
        raise TimeoutError("no response in time")

    def __enter__(self) -> "ActuatorClient":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.close()
