"""The sampler: a child of a process that measures windows. It reads its GPUs in bursts while a window is open, and coarsely for
some seconds after, because these readings show the sensor's clock and improve the next window; else not at all.

An exec'ed process, so that neither the driver nor a hang of it is in the measured one. It records nothing: the node's ledger
knows nothing of it. It ends with its parent, whichever way that ends.
"""

import argparse
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from types import FrameType

from energy_agent.core.boundary import NO_SENSOR
from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.runtime.clock import clock_for
from energy_agent.runtime.parent import end_with_parent
from energy_agent.sdk.measure.power import AVERAGE_S, INSTANT_S, PowerReadings
from energy_agent.sdk.measure.sampler_windows import Windows
from energy_agent.sdk.measure.ticks import SensorRecord, TickTracker
from energy_agent.sdk.measure.visible import named_devices, visible_devices
from energy_agent.sdk.measure.wire import ASK, OPEN, RING_B, Ring

_RING_S = 0.004  # so often it looks for windows while they come
_COARSE_S = 0.016  # so often amid a long window
_AWAKE_S = 5.0  # how long it goes on looking, and reading, when none comes
_LOOK_S = 2.0  # so often an idle sampler looks whether its parent lives
_FIELDS = (abi.FIELD_TOTAL_ENERGY, abi.FIELD_POWER_INSTANT)
_RETRY_S = 1.0


class SampledGpu:
    """One GPU, read for the ticks of its counter, or without a counter for its power."""

    def __init__(self, nvml: RealNvml, handle: object, uuid: str, records: dict[str, SensorRecord]) -> None:
        """`records`: by the name of the GPU's model."""
        self.uuid, self._nvml, self._handle = uuid, nvml, handle
        self.due_s = 0.0
        try:
            codes = {a.field_id: a.code for a in nvml.field_values(handle, _FIELDS)}
        except NvmlError as error:
            codes = dict.fromkeys(_FIELDS, error.code)
        instant = codes[abi.FIELD_POWER_INSTANT] == abi.SUCCESS
        self.tracker: TickTracker | PowerReadings
        self._fields: tuple[int, ...] = _FIELDS if instant else (abi.FIELD_TOTAL_ENERGY,)
        if codes[abi.FIELD_TOTAL_ENERGY] in abi.OFF and not uuid.startswith("MIG-"):
            self._fields = (abi.FIELD_POWER_INSTANT,) if instant else ()
            self.tracker = PowerReadings(INSTANT_S if instant else AVERAGE_S)
            return
        model = ""
        with suppress(NvmlError):
            model = nvml.name(handle)
        limit_w: float | None = None
        with suppress(NvmlError):
            limit_w = nvml.power_limit_range_mw(handle)[1] / 1e3
        self.tracker = TickTracker(records.setdefault(model, SensorRecord()), limit_w)

    def read(self, clock: Clock) -> None:
        """One reading; raises NvmlError where the counter, or without one the power, does not answer."""
        asked_ns = clock.boot_ns()
        if not self._fields and isinstance(self.tracker, PowerReadings):
            try:
                power_mw = self._nvml.power_usage_mw(self._handle)
            except NvmlError as error:
                raise NvmlError(error.code, NO_SENSOR) if error.code in abi.OFF else error from None
            self.tracker.feed(asked_ns / NS_PER_S, clock.boot_ns() / NS_PER_S, power_mw / 1e3)
            return
        answers = {a.field_id: a for a in self._nvml.field_values(self._handle, self._fields)}
        answered_ns = clock.boot_ns()
        for answer in answers.values():
            if answer.code != abi.SUCCESS:
                raise NvmlError(answer.code, f"field {answer.field_id}")
        power = answers.get(abi.FIELD_POWER_INSTANT)
        read_s = asked_ns / NS_PER_S, answered_ns / NS_PER_S
        if isinstance(self.tracker, PowerReadings):
            self.tracker.feed(*read_s, answers[abi.FIELD_POWER_INSTANT].value / 1e3)
            return
        self.tracker.feed(*read_s, answers[abi.FIELD_TOTAL_ENERGY].value / 1e3, power.value / 1e3 if power else None)


class TickSampler:
    """The loop."""

    def __init__(
        self, end: socket.socket, ring: Ring, clock: Clock, nvml: RealNvml, uuids: list[str], handles: dict[str, object]
    ) -> None:
        self._socket, self._ring, self._clock = end, ring, clock
        self.failures: dict[str, str] = {}
        self.devices: dict[str, SampledGpu] = {}
        records: dict[str, SensorRecord] = {}
        for uuid in uuids:
            try:
                handle = handles.get(uuid)
                if isinstance(handle, NvmlError):
                    raise handle
                device = SampledGpu(nvml, handle or nvml.device_by_uuid(uuid), uuid, records)
                device.read(clock)
                self.devices[uuid] = device
            except NvmlError as error:
                self.failures[uuid] = _reason(uuid, error)
        self.dead = {u: reason for u, reason in self.failures.items() if u not in self.devices}
        self.windows = Windows({u: d.tracker for u, d in self.devices.items()}, self.failures)
        self._asked: set[int] = set()

    def run(self, parent: int) -> None:
        """Until the parent is gone."""
        end, told_s = self._socket.fileno(), time.monotonic()
        while os.getppid() == parent:
            wait_s = _RING_S
            reads = self.windows.busy or time.monotonic() - told_s <= _AWAKE_S
            if reads:
                due_s = min(d.due_s for d in self.devices.values())
                longest_s = _RING_S if not self.windows.busy or self.windows.fine(self._now_s()) else _COARSE_S
                wait_s = min(longest_s, self._clock.real_seconds(max(0.0, due_s - self._now_s())))
            else:
                self._ring.asleep = True
                wait_s = 0.0 if self._take() else _LOOK_S  # who wrote before it saw the flag does not wake us
            ready = select.select([end], [], [], wait_s)[0]
            self._ring.asleep = False
            if self._take():
                told_s = time.monotonic()
            if ready and not self._receive():
                return
            if reads or self.windows.busy:
                self._burst()
                for number in self.windows.step(self._now_s()):
                    if number in self._asked:
                        self._answer(number)

    def _now_s(self) -> float:
        return self._clock.boot_ns() / NS_PER_S

    def _take(self) -> bool:
        """Windows that opened and closed; whether there were any."""
        any_message = False
        while (message := self._ring.read()) is not None:
            any_message = True
            kind, number, t_ns = message
            if kind == OPEN:
                if not self.windows.busy:
                    for device in self.devices.values():
                        device.due_s = 0.0
                self.windows.open(number, t_ns / NS_PER_S)
            else:
                self.windows.close(number, t_ns / NS_PER_S)
        return any_message

    def _receive(self) -> bool:
        """Receive requests; False at the end of the connection."""
        while True:
            try:
                packet = self._socket.recv(ASK.size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not packet:
                return False
            if len(packet) != ASK.size:
                continue  # it only woke us
            (number,) = ASK.unpack(packet)
            self._take()
            if self.windows.pending(number):
                self._asked.add(number)
            else:
                self._answer(number)

    def _burst(self) -> None:
        now_s = self._now_s()
        fine = self.windows.fine(now_s)
        for device in self.devices.values():
            if device.due_s > now_s:
                continue
            try:
                device.read(self._clock)
            except NvmlError as error:
                self.failures[device.uuid] = _reason(device.uuid, error)
                device.due_s = self._now_s() + _RETRY_S
                continue
            if self.failures:
                self.failures.pop(device.uuid, None)
            device.due_s = device.tracker.due_s(self._now_s(), fine)

    def _answer(self, number: int) -> None:
        self._asked.discard(number)
        answer = self.windows.result(number)
        devices = answer.get("devices")
        if isinstance(devices, dict):
            devices.update({uuid: {"reason": reason} for uuid, reason in self.dead.items()})
        self._send({"window": number} | answer)

    def _send(self, message: dict[str, object]) -> None:
        with suppress(OSError):
            self._socket.send(json.dumps(message).encode())


def _open_gpu(nvml: RealNvml, index: int) -> tuple[str, object]:
    """UUID and handle of a GPU; of one that does not answer, a name by its place, and the error: it is not left out."""
    try:
        handle = nvml.device_by_index(index)
        return nvml.uuid(handle), handle
    except NvmlError as error:
        return f"gpu {index}", error


def _reason(uuid: str, error: NvmlError) -> str:
    if uuid.startswith("MIG-") and error.code in (abi.NOT_SUPPORTED, abi.INVALID_ARGUMENT, abi.NOT_FOUND):
        return "energy of a MIG device cannot be measured; measure the whole GPU, or let the agent attribute its energy"
    return f"{error.call}: {error.name}"


def _die_with_parent(parent: int) -> None:
    """SIGTERM comes when the thread that started us ends, too: then the parent lives, and we go on."""

    def exit_with_parent(_number: int, _frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGTERM, exit_with_parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program; what it measured is still asked for
    end_with_parent()


def main() -> int:
    """Say what can be read, then serve."""
    parser = argparse.ArgumentParser(description="Sampler of wattlens.measure; started by it.")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--gpus", default="")
    arguments = parser.parse_args()
    _die_with_parent(arguments.parent)
    end = socket.socket(fileno=arguments.fd)
    hello: dict[str, object] = {"simulated": bool(os.environ.get("WATTLENS_SIM"))}
    sampler: TickSampler | None = None
    try:
        clock, nvml = clock_for(os.environ), RealNvml()
        nvml.init()
        gpus = dict(_open_gpu(nvml, index) for index in range(nvml.device_count()))
        if arguments.gpus:
            wanted = named_devices(arguments.gpus, list(gpus))
        else:
            wanted = visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"), list(gpus))
        hello["indices"] = {uuid: index for index, uuid in enumerate(gpus) if uuid in wanted}
        hello["count"] = len(gpus)
        sampler = TickSampler(end, Ring(mmap.mmap(arguments.memory, RING_B)), clock, nvml, wanted, gpus)
        hello |= {"devices": list(sampler.devices), "dead": sampler.dead}
        if not wanted:
            hello["reason"] = "CUDA_VISIBLE_DEVICES hides every GPU" if gpus else "NVML reports no GPU"
        elif not sampler.devices:
            hello["reason"] = "; ".join(sorted(set(sampler.dead.values())))
    except NvmlError as error:
        hello["reason"] = f"NVML is not available: {error.name}"
    except WattlensError as error:
        hello["reason"] = str(error)
    with suppress(OSError):
        end.send(json.dumps(hello).encode())
    if sampler is not None and "reason" not in hello:
        sampler.run(arguments.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
