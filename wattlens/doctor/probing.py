"""NVML's answers by way of a child process: GPUs that hang or kill it are named and left out, the others still answer."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from wattlens.doctor import child
from wattlens.doctor.finding import DeviceAnswers, NvmlAnswers, NvmlFailure

_DEVICE: Final = TypeAdapter(DeviceAnswers)


def probe(environ: Mapping[str, str], hang_s: float = child.HANG_S) -> NvmlAnswers:
    """Ask NVML and every GPU. Takes at most `hang_s` for each GPU that hangs; never raises for what NVML does."""
    node: dict[str, Any] = {}
    devices: dict[int, DeviceAnswers] = {}
    troubles: dict[int, NvmlFailure] = {}
    while True:
        done = sorted(devices.keys() | troubles.keys())
        task = ["look", *(f"--exclude={i}" for i in done)]
        try:
            for message in child.ask(task, environ, hang_s):
                kind = message.pop("k")
                if kind == "nvml":
                    node = message
                elif kind == "device":
                    devices[message["index"]] = _DEVICE.validate_python(message)
                elif kind == "gone":
                    troubles[message["index"]] = NvmlFailure(message["reason"], message["call"])
                elif kind == "fatal":
                    fatal = NvmlFailure(message["reason"], message["call"])
                    return NvmlAnswers(library=message.get("library", ""), fatal=fatal)
            return NvmlAnswers(devices=devices, troubles=troubles, **node)
        except child.ChildError as failed:
            if failed.index is None or failed.index in troubles:
                return NvmlAnswers(devices=devices, troubles=troubles, fatal=NvmlFailure(failed.reason, failed.call), **node)
            troubles[failed.index] = NvmlFailure(failed.reason, failed.call)
