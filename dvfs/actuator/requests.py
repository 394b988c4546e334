"""Requests to the actuator, from a decoded message to the frame that answers it. No sockets here.

Whatever a message holds, the answer is one frame that fits the wire: a result, or a refusal that names the reason.
"""

import logging
import os
from typing import Any

from dvfs.actuator.core import ActuatorCore
from dvfs.actuator.guard import ActuatorRefusalError
from dvfs.actuator.kill_switch import KillSwitch
from dvfs.actuator.lease import TTL_S
from dvfs.actuator.records.history import ActuatorHistory
from dvfs.actuator.records.note import MAX_CHARACTERS, REASON_BYTES, SettingNote, printable_text
from dvfs.actuator.wire import VERSION, WireError, cut, encode, first_page
from dvfs.types import Setting
from energy_agent.core.errors import WattlensError

LOG = logging.getLogger("wattlens.actuator")
_MAX_DEVICES = 64
_NAME_BYTES = 64
_REASON_BYTES = 600
_PATH_BYTES = 256


class Caller:
    """One connection: its number, how it is named to others, and how many leases it has."""

    def __init__(self, number: int, pid: int) -> None:
        """A process that has not given its name yet."""
        self.number, self.leases = number, 0
        self._pid, self._name = pid, ""

    @property
    def holder(self) -> str:
        """Its name, where it gave one, and its process id, at most 80 bytes."""
        return f"{self._name} (pid {self._pid})" if self._name else f"pid {self._pid}"

    def introduce(self, name: str) -> None:
        """Take the first name that it gives."""
        self._name = self._name or printable_text(name, _NAME_BYTES)


class Requests:
    """What peers may request of one core."""

    def __init__(self, core: ActuatorCore, history: ActuatorHistory, kill_switch: KillSwitch) -> None:
        self._core, self._history, self._kill_switch = core, history, kill_switch

    def reply(self, caller: Caller, message: dict[str, Any]) -> bytes:
        """The frame that answers a message. An error in the course of it is a refusal; it never raises."""
        number = message.get("id")
        number = number if isinstance(number, int) and abs(number) < 1 << 53 else None
        if message.get("v") != VERSION:
            return refuse(number, "version", f"this actuator supports version {VERSION}")
        try:
            return encode({"v": VERSION, "id": number, "ok": True, **self._do(caller, message)})
        except ActuatorRefusalError as error:
            return refuse(number, error.code, str(error))
        except WattlensError as error:
            LOG.error("%s", error)
            return refuse(number, "journal", str(error))
        except WireError as error:
            LOG.error("%s: %s", caller.holder, error)
            return refuse(number, "too_large", f"the response is too large: {error}")
        except Exception as error:
            # What one peer's message runs into must not end the leases of all others.
            LOG.exception("%s: request failed", caller.holder)
            return refuse(number, "failed", f"the request failed: {type(error).__name__}")

    def _do(self, caller: Caller, message: dict[str, Any]) -> dict[str, Any]:
        match message.get("op"):
            case "hello":
                caller.introduce(_text(message, "name", 64))
                return {"pid": os.getpid(), "holder": caller.holder}
            case "acquire":
                devices = message.get("devices")
                if not isinstance(devices, list) or len(devices) > _MAX_DEVICES or not all(isinstance(d, str) for d in devices):
                    raise ActuatorRefusalError("bad_request", f"devices: expected a list of at most {_MAX_DEVICES} UUIDs")
                granted = self._core.acquire(caller.number, caller.holder, tuple(devices), _ttl_s(message))
                caller.leases += 1
                return granted
            case "set":
                device, setting, note = _text(message, "device"), _setting(message), _note(message)
                return self._core.set(caller.number, _text(message, "lease"), device, setting, note)
            case "heartbeat":
                return self._core.heartbeat(caller.number, _text(message, "lease"))
            case "release":
                reason = printable_text(_text(message, "reason", MAX_CHARACTERS), REASON_BYTES)
                ended = self._core.release(caller.number, _text(message, "lease"), reason)
                caller.leases = max(0, caller.leases - 1)
                return ended
            case "status":
                switch = cut(str(self._kill_switch.path or ""), _PATH_BYTES)
                return self._core.status(_count(message, "offset")) | {"kill_switch": switch}
            case "history":
                rows = self._history.after(_count(message, "after"))
                return {"rows": first_page(rows), "name": self._history.name}
        raise ActuatorRefusalError("bad_request", "op: expected hello, acquire, set, heartbeat, release, status or history")


def refuse(number: int | None, code: str, reason: str) -> bytes:
    """The frame of a refusal."""
    return encode({"v": VERSION, "id": number, "ok": False, "code": code, "reason": cut(reason, _REASON_BYTES)})


def _text(message: dict[str, Any], key: str, longest: int = 96) -> str:
    value = message.get(key, "")
    if not isinstance(value, str) or len(value) > longest:
        raise ActuatorRefusalError("bad_request", f"{key}: expected a text of at most {longest} characters")
    return value


def _count(message: dict[str, Any], key: str) -> int:
    value = message.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ActuatorRefusalError("bad_request", f"{key}: expected an integer from 0 to 2^63 - 1")
    return value


def _ttl_s(message: dict[str, Any]) -> float:
    value = message.get("ttl_s", TTL_S)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1 << 53:
        raise ActuatorRefusalError("bad_request", "ttl_s: expected a number of seconds")
    return float(value)


def _note(message: dict[str, Any]) -> SettingNote | None:
    if message.get("note") is None:
        return None
    try:
        return SettingNote.parse(message["note"])
    except ValueError as error:
        raise ActuatorRefusalError("bad_request", str(error)) from error


def _setting(message: dict[str, Any]) -> Setting:
    raw = message.get("setting")
    if not isinstance(raw, dict) or not set(raw) <= {"sm_clock_max_mhz", "power_limit_mw"}:
        raise ActuatorRefusalError("bad_request", "setting: expected an object with sm_clock_max_mhz, power_limit_mw or both")
    for value in raw.values():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31):
            raise ActuatorRefusalError("bad_request", "setting: expected integers above 0")
    return Setting(raw.get("sm_clock_max_mhz"), raw.get("power_limit_mw"))
