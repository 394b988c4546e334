"""Messages of the reader to the agent: one JSON object a line. Pure.

hello   driver and devices, once NVML answered
sample  one device, read once
gone    one device does not answer, with the NVML code and the call
tick    the sweep over all devices is complete; seconds spent in NVML
fatal   NVML as a whole does not answer; the reader ends
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from energy_agent.core.types import DeviceInfo, DeviceSample, ProcessUse

_PLAIN = tuple(f.name for f in fields(DeviceSample) if f.name not in {"xid_counts", "processes", "absent"})
_plain = attrgetter(*_PLAIN)
"""The values of a sample that are numbers or text, in the order of its fields; without names, since they go every second."""


@dataclass(frozen=True, slots=True)
class Hello:
    """NVML answered."""

    driver: str
    devices: tuple[DeviceInfo, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """A device does not answer. It is named by its UUID, or `index N` where that is not known."""

    device: str
    reason: str
    call: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A sweep is complete."""

    sequence: int
    nvml_s: float


@dataclass(frozen=True, slots=True)
class Fatal:
    """NVML does not answer as a whole."""

    reason: str
    call: str


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # json.dumps makes an encoder a call
Message = Hello | DeviceSample | Gone | Tick | Fatal


def encode(message: Message) -> bytes:
    """One line, newline included."""
    if isinstance(message, DeviceSample):
        body: dict[str, Any] = {"k": "sample", "values": _plain(message)}
        if message.absent:
            body["absent"] = message.absent
        if message.xid_counts is not None:
            body["xid"] = list(message.xid_counts.items())
        if message.processes is not None:
            body["processes"] = [[p.pid, p.memory_b, p.sm_percent] for p in message.processes]
    elif isinstance(message, Hello):
        devices = [{f.name: getattr(d, f.name) for f in fields(d)} for d in message.devices]
        body = {"k": "hello", "driver": message.driver, "devices": devices}
    elif isinstance(message, Gone):
        body = {"k": "gone", "device": message.device, "reason": message.reason, "call": message.call}
    elif isinstance(message, Tick):
        body = {"k": "tick", "sequence": message.sequence, "nvml_s": message.nvml_s}
    else:
        body = {"k": "fatal", "reason": message.reason, "call": message.call}
    return _encode(body).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line.

    Raises:
        ValueError: not a message of this version.
    """
    body = json.loads(line)
    if not isinstance(body, dict):
        raise ValueError("not an object")
    try:
        return _DECODERS[body.pop("k")](body)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {error!r}") from error


def _sample(body: dict[str, Any]) -> DeviceSample:
    values = body["values"]
    if len(values) != len(_PLAIN) or body.keys() - {"values", "absent", "xid", "processes"}:
        raise TypeError("not the values of this version's sample")
    processes, xid = body.get("processes"), body.get("xid")
    holders = None if processes is None else tuple(ProcessUse(*p) for p in processes)
    rest: tuple[Any, ...] = (None if xid is None else dict(xid), holders, body.get("absent", {}))
    return DeviceSample(*values, *rest)


_DECODERS: Mapping[str, Callable[[dict[str, Any]], Message]] = {
    "hello": lambda b: Hello(b["driver"], tuple(DeviceInfo(**d) for d in b["devices"])),
    "sample": _sample,
    "gone": lambda b: Gone(**b),
    "tick": lambda b: Tick(**b),
    "fatal": lambda b: Fatal(**b),
}
