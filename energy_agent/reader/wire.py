"""Messages of the reader to the agent: one JSON object a line. Pure.

hello   driver and devices, once NVML answered, and again when a device has come
xids    XID events since the last such message; sent before a sweep, in which a device may hang and its reader is killed
sweep   every device read once, those that do not answer with the NVML code and the call, and the seconds spent in NVML
health  some groups of some devices' health, read after the sweep before and sent with this one
fatal   NVML as a whole does not answer; the reader ends
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from energy_agent.core.energy import DeviceInfo, DeviceSample, MigUse, ProcessUse
from energy_agent.core.health import HealthReading, HealthRecord

_PLAIN = tuple(f.name for f in fields(DeviceSample) if f.name not in {"xid_counts", "processes", "mig", "absent"})
_process = attrgetter(*(f.name for f in fields(ProcessUse)))
_mig = attrgetter(*(f.name for f in fields(MigUse)))
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
class DeviceSweep:
    """A sweep over all devices is complete."""

    samples: tuple[DeviceSample, ...]
    gone: tuple[Gone, ...]
    nvml_s: float


@dataclass(frozen=True, slots=True)
class Xids:
    """How many XID events of each code came, by the device's UUID."""

    counts: Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Health:
    """What was read of devices' health since the last such message."""

    records: tuple[HealthRecord, ...]


@dataclass(frozen=True, slots=True)
class Fatal:
    """NVML does not answer as a whole."""

    reason: str
    call: str


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # json.dumps makes an encoder a call
Message = Hello | Xids | DeviceSweep | Health | Fatal


def encode(message: Message) -> bytes:
    """One line, newline included."""
    body: dict[str, Any]
    if isinstance(message, DeviceSweep):
        gone = [[g.device, g.reason, g.call] for g in message.gone]
        body = {"k": "sweep", "samples": list(map(_listed, message.samples)), "gone": gone, "nvml_s": message.nvml_s}
    elif isinstance(message, Hello):
        devices = [{f.name: getattr(d, f.name) for f in fields(d)} for d in message.devices]
        body = {"k": "hello", "driver": message.driver, "devices": devices}
    elif isinstance(message, Xids):
        body = {"k": "xids", "counts": [[uuid, list(counts.items())] for uuid, counts in message.counts.items()]}
    elif isinstance(message, Health):
        body = {"k": "health", "records": [_health_listed(r) for r in message.records]}
    else:
        body = {"k": "fatal", "reason": message.reason, "call": message.call}
    return _encode(body).encode() + b"\n"


def _listed(sample: DeviceSample) -> tuple[Any, ...]:
    """The plain values, then XIDs, processes, MIG devices and absences where there are any."""
    if sample.xid_counts is None and sample.processes is None and sample.mig is None and not sample.absent:
        return _plain(sample)
    xid = None if sample.xid_counts is None else list(sample.xid_counts.items())
    processes = None if sample.processes is None else list(map(_process, sample.processes))
    mig = None if sample.mig is None else list(map(_mig, sample.mig))
    return (*_plain(sample), xid, processes, mig, sample.absent)


def _health_listed(record: HealthRecord) -> tuple[Any, ...]:
    readings = [[r.quantity, r.labels, r.value] for r in record.readings]
    return record.uuid, record.group, record.boot_ns, readings, record.absent


def decode(line: bytes) -> Message:
    """The message of one line.

    Raises:
        ValueError: not a message of this version.
    """
    try:
        body = json.loads(line)
        if not isinstance(body, dict):
            raise ValueError("not an object")
        return _DECODERS[body.pop("k")](body)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a message: {error!r}") from error


def _sample(values: list[Any]) -> DeviceSample:
    if len(values) == len(_PLAIN):
        return DeviceSample(*values)
    *plain, xid, processes, mig, absent = values
    if len(plain) != len(_PLAIN) or not isinstance(absent, dict):
        raise TypeError("expected the values of a sample of this version")
    owners = None if processes is None else tuple(ProcessUse(*p) for p in processes)
    devices = None if mig is None else tuple(MigUse(*m) for m in mig)
    rest: tuple[Any, ...] = (None if xid is None else dict(xid), owners, devices, absent)
    return DeviceSample(*plain, *rest)


def _sweep(body: dict[str, Any]) -> DeviceSweep:
    samples, gone = tuple(map(_sample, body.pop("samples"))), tuple(Gone(*g) for g in body.pop("gone"))
    return DeviceSweep(samples, gone, **body)


def _health(values: list[Any]) -> HealthRecord:
    uuid, group, boot_ns, readings, absent = values
    if not isinstance(absent, dict):
        raise TypeError("expected the values of a health record of this version")
    return HealthRecord(uuid, group, boot_ns, tuple(HealthReading(q, tuple(labels), v) for q, labels, v in readings), absent)


_DECODERS: Mapping[str, Callable[[dict[str, Any]], Message]] = {
    "hello": lambda b: Hello(b["driver"], tuple(DeviceInfo(**d) for d in b["devices"])),
    "xids": lambda b: Xids({uuid: dict(counts) for uuid, counts in b["counts"]}),
    "sweep": _sweep,
    "health": lambda b: Health(tuple(map(_health, b["records"]))),
    "fatal": lambda b: Fatal(**b),
}
