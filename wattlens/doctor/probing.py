"""NVML's answers by way of a child process: GPUs that hang or kill it are named and left out, the others still answer."""

from collections.abc import Mapping
from typing import Any

from energy_agent.core.energy import DeviceInfo, DeviceSample, MigUse, ProcessUse
from wattlens.doctor import child
from wattlens.doctor.finding import DeviceAnswers, NvmlAnswers, NvmlFailure


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
                    devices[message["index"]] = _answers(message)
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


def _answers(message: Mapping[str, Any]) -> DeviceAnswers:
    sample = dict(message["sample"])
    processes = sample.pop("processes")
    held = None if processes is None else tuple(ProcessUse(**p) for p in processes)
    mig = sample.pop("mig", None)
    parts = None if mig is None else tuple(MigUse(**m) for m in mig)
    return DeviceAnswers(
        message["index"],
        DeviceInfo(**message["info"]),
        DeviceSample(processes=held, mig=parts, **sample),
        message["persistence"],
        message["persistence_absent"],
        message["read_s"],
    )
