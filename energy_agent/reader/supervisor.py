"""Sampling: keeps exactly one reader alive whatever the driver does, and says of every device whether it answers.

A reader that hangs in a call is killed after one period and replaced by one without the device it hung in; a prober tries that
device with back-off and it returns by itself. Processes that not even SIGKILL ends hang in the kernel: with two such readers
NVML is absent, with that reason, until one ends; a device whose prober is one is not probed again before. `release` releases
the driver (update, GPU reset) and comes back by itself.
"""

import select
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from energy_agent.core.energy import DeviceInfo, DeviceSample
from energy_agent.core.health import MARK_PREFIX, HealthRecord
from energy_agent.reader import wire
from energy_agent.reader.child import Call, DeviceProbe, ReaderOptions, ReaderProcess, Unkillable
from energy_agent.reader.health_retries import HealthHangs

MAX_UNKILLABLE = 2
INIT_HANG_S = 30.0
SILENT_S = 10.0  # a reader that is in no call and says nothing
OPEN_HANG_S = 5.0  # the first call to a device may initialise it
_XID_CALLS = {"RegisterEvents", "EventSetWait"}
MAX_BACK_OFF_S = 60.0
GONE_RESTART_S = 5.0
BURY_S = 0.5
"""How long is waited for a killed reader: the kernel ends one within milliseconds, unless it hangs there."""


@dataclass(slots=True)
class DeviceHealth:
    """Whether a device answers. `last_success_ns` is UTC."""

    up: bool = False
    reason: str = "not read yet"
    excluded: bool = False
    last_success_ns: int | None = None
    probe_at_s: float = 0.0
    back_off_s: float = 1.0

    def failed(self, reason: str, now_s: float) -> None:
        """It does not answer; the next probe is due after the back-off."""
        if self.up or self.reason != reason:
            self.back_off_s = 1.0
            self.probe_at_s = now_s + self.back_off_s
        self.up, self.reason = False, reason

    def probed_in_vain(self, now_s: float) -> None:
        """Wait twice as long before the next probe."""
        self.back_off_s = min(2 * self.back_off_s, MAX_BACK_OFF_S)
        self.probe_at_s = now_s + self.back_off_s

    def record_success(self, t_ns: int) -> None:
        """It answers."""
        self.up, self.reason, self.excluded, self.back_off_s, self.last_success_ns = True, "", False, 1.0, t_ns


@dataclass(slots=True)
class NodeHealth:
    """Whether NVML answers at all."""

    up: bool = False
    reason: str = "starting"
    last_success_ns: int | None = None
    poll_s: float | None = None
    driver: str = ""
    restarts_total: int = 0


@dataclass(slots=True)
class ReaderSupervisor:
    """The supervisor of the reader. Call `poll` in a loop; it waits at most `timeout_s`."""

    options: ReaderOptions
    hang_s: float  # one period, and at least a second: a healthy driver may take tens of ms
    wake: tuple[int, ...] = ()  # descriptors whose readiness ends the wait as well
    start_reader: Callable[..., ReaderProcess] = ReaderProcess
    start_probe: Callable[..., DeviceProbe] = DeviceProbe
    node: NodeHealth = field(default_factory=NodeHealth)
    devices: dict[str, DeviceHealth] = field(default_factory=dict)
    infos: dict[str, DeviceInfo] = field(default_factory=dict)
    unkillable: Unkillable = field(default_factory=Unkillable)
    health_hangs: HealthHangs = field(init=False)
    _health_records: dict[tuple[str, str], HealthRecord] = field(default_factory=dict)  # the last one, by UUID and group
    _reader: ReaderProcess | None = None
    _start_at_s: float = 0.0
    _back_off_s: float = 1.0
    _released: bool = False
    _probe: DeviceProbe | None = None
    _xid_events: bool = True
    _xids: dict[str, Counter[int]] = field(default_factory=dict)  # since each device's last full reading, by UUID

    def __post_init__(self) -> None:
        self.health_hangs = HealthHangs(unkillable=self.unkillable, start_probe=self.start_probe)

    def poll(self, timeout_s: float) -> list[tuple[DeviceSample, ...]]:
        """Sweeps that were completed within `timeout_s`; returns as soon as there is one, or something changed."""
        self._start_if_due()
        reader = self._reader
        if reader is None:
            time.sleep(min(timeout_s, 0.1))
            return []
        began_s = time.monotonic()
        select.select([reader.fileno(), *self.wake], [], [], min(timeout_s, self._look_again_s(reader)))
        messages = reader.messages()
        if messages is None:
            self._ended(reader, "the reader process exited")
            return []
        # What passed while this process was stopped or asleep says nothing about the reader: a wait counts a second at most.
        reader.silent_s = 0.0 if messages else reader.silent_s + min(1.0, time.monotonic() - began_s)
        sweeps = [self._take(message) for message in messages]
        if all(samples is None for samples in sweeps):
            self._check_hang(reader)
        self._drive_probe()
        answers = self.health_hangs.drive(self.options, {uuid for uuid, d in self.devices.items() if d.up})
        if answers is not None and self._reader is not None:
            self._reader.order(health=answers)
        return [samples for samples in sweeps if samples is not None]

    def _look_again_s(self, reader: ReaderProcess) -> float:
        """How long may be slept without missing a hang, a probe's answer or the next probe."""
        if self._probe is not None:
            return 0.1
        call = reader.under_way()
        # A call that begins only now cannot hang for longer than this before the supervisor checks it with time left.
        left_s = self.hang_s if call is None else self._patience_s(reader, call) - call.seconds
        due_s = min((d.probe_at_s - time.monotonic() for d in self.devices.values() if not d.up), default=left_s)
        return max(0.02, min(left_s + 0.02, due_s))

    def health(self, boot_ns: int) -> tuple[HealthRecord, ...]:
        """What is known of the health of devices that answer, and no older than two periods."""
        period_ns = self.options.health_period_ns
        stale = [
            key for key, r in self._health_records.items() if not r.fresh(boot_ns, period_ns) or not self.devices[r.uuid].up
        ]
        for key in stale:
            del self._health_records[key]
        return (*self._health_records.values(), *self.health_hangs.records(boot_ns))

    def configure(self, options: ReaderOptions, hang_s: float) -> None:
        """Read with other options from now on: a new reader, at once, where they differ."""
        if options == self.options:
            return
        self.options, self.hang_s = options, hang_s
        if self._reader is not None:
            self._stop_reader()
            self._start_at_s = 0.0
            self._start_if_due()

    def list_processes(self) -> None:
        """Ask for owners at the next sweep, since one has come or gone."""
        if self._reader is not None:
            self._reader.order(list_processes=True)

    def release(self, reason: str) -> None:
        """Release the driver until `resume`."""
        if self._released:
            return
        self._released = True
        self._stop_reader()
        self._stop_probe()
        self._down(reason)

    def resume(self) -> None:
        """Read again."""
        if self._released:
            self._released = False
            self._xid_events = True
            self._start_at_s = 0.0

    @property
    def reader_pid(self) -> int | None:
        """Process id of the reader, for health and tests."""
        return self._reader.pid if self._reader is not None else None

    def stop(self) -> None:
        """End every child."""
        self._released = True
        self._stop_reader()
        self._stop_probe()

    def _start_if_due(self) -> None:
        if self._reader is not None or self._released or time.monotonic() < self._start_at_s:
            return
        stuck = self.unkillable.readers
        if stuck >= MAX_UNKILLABLE:
            self._down(f"{stuck} reader processes hang in the driver and cannot be killed")
            self._start_at_s = time.monotonic() + 1.0
            return
        excluded = {u: self._index(u) for u, d in self.devices.items() if d.excluded}
        try:
            self._reader = self.start_reader(
                self.options, excluded, xid_events=self._xid_events, without_health=self.health_hangs
            )
        except OSError as error:  # no process or descriptor is left on this machine
            self._down(f"cannot start the reader process: {error.strerror}")
            self._start_at_s = time.monotonic() + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, MAX_BACK_OFF_S)

    def _take(self, message: wire.Message) -> tuple[DeviceSample, ...] | None:
        """The samples of a sweep; None for another message."""
        if isinstance(message, wire.DeviceSweep):
            self._back_off_s = 1.0
            self.node.up, self.node.reason, self.node.poll_s = True, "", message.nvml_s
            for gone in message.gone:
                self._health(gone.device).failed(f"{gone.reason} ({gone.call})", time.monotonic())
            for sample in message.samples:
                self.devices.setdefault(sample.uuid, DeviceHealth()).record_success(sample.t_ns)
                self.node.last_success_ns = sample.t_ns
            return tuple(map(self._add_xids, message.samples))
        if isinstance(message, wire.Hello):
            self.node.driver = message.driver
            for info in message.devices:
                self.infos[info.uuid] = info
                self.devices.setdefault(info.uuid, DeviceHealth())
                self.devices.pop(f"index {info.index}", None)
        elif isinstance(message, wire.Xids):
            for uuid, counts in message.counts.items():
                self._xids.setdefault(uuid, Counter()).update(counts)
        elif isinstance(message, wire.Health):
            self._health_records.update(((r.uuid, r.group), r) for r in message.records if r.uuid in self.devices)
        else:
            self._down(f"{message.reason} ({message.call})")
        return None

    def _add_xids(self, sample: DeviceSample) -> DeviceSample:
        """Events of a device that does not answer wait for its next reading, whichever reader that is of."""
        if sample.fast or sample.uuid not in self._xids:
            return sample
        return replace(sample, xid_counts=dict(self._xids.pop(sample.uuid)))

    def _check_hang(self, reader: ReaderProcess) -> None:
        call = reader.under_way()
        if call is None and reader.silent_s > max(SILENT_S, 3e-9 * self.options.period_ns):
            # Frozen outside of the driver: stopped by somebody, or starved.
            self._ended(reader, "the reader process did not respond")
            return
        if call is None or call.seconds < self._patience_s(reader, call):
            return
        if call.device and call.call.startswith(MARK_PREFIX):
            self.health_hangs.add(call.device, call.call.removeprefix(MARK_PREFIX))  # better no health than no readings
        elif call.device:
            device = self._health(call.device)
            device.failed(f"{call.call} hangs in the driver", time.monotonic())
            device.excluded = True
        elif call.call in _XID_CALLS:
            self._xid_events = False  # better no XID events than no readings
        reader.kill()
        self._reader = None
        self.node.restarts_total += 1
        self._bury(reader)
        self._start_at_s = 0.0
        self._start_if_due()  # at once: the other devices must keep their cadence

    def _patience_s(self, reader: ReaderProcess, call: Call) -> float:
        if reader.sweeps:
            return self.hang_s
        return INIT_HANG_S if call.call == "Init" else max(self.hang_s, OPEN_HANG_S)

    def _health(self, device: str) -> DeviceHealth:
        """Of a device by UUID, or by `index N` where the reader did not get to its UUID."""
        uuid_by_index = {f"index {info.index}": uuid for uuid, info in self.infos.items()}
        return self.devices.setdefault(uuid_by_index.get(device, device), DeviceHealth())

    def _index(self, device: str) -> int:
        info = self.infos.get(device)
        return info.index if info is not None else int(device.removeprefix("index "))

    def _bury(self, reader: ReaderProcess) -> None:
        """It was killed or has closed its output."""
        if not reader.reaped(BURY_S):
            self.unkillable.add(reader)

    def _ended(self, reader: ReaderProcess, reason: str) -> None:
        reader.kill()  # one that closed its output and goes on would read the driver next to the next
        self._bury(reader)
        self._reader = None
        self.node.restarts_total += 1
        if reader.sweeps == 0:
            if self.node.up or self.node.reason == "starting":
                self._down(reason)
            self._start_at_s = time.monotonic() + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, MAX_BACK_OFF_S)
        else:
            self._start_at_s = 0.0
            self._start_if_due()

    def _down(self, reason: str) -> None:
        now_s = time.monotonic()
        self.node.up, self.node.reason = False, reason
        for device in self.devices.values():
            device.failed(reason, now_s)

    def _stop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.stop():
            self.unkillable.add(reader)

    def _stop_probe(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None and not probe.stop():
            self.unkillable.add(probe, probe.device)
        self.health_hangs.stop()

    def _start_probe(self, device: str, now_s: float) -> None:
        try:
            self._probe = self.start_probe(device, self.options.environ, max(self.hang_s, 2.0))
        except OSError:  # no process or descriptor is left on this machine
            self.devices[device].probed_in_vain(now_s)

    def _drive_probe(self) -> None:
        """Try one device that does not answer; what answers comes back into the sweep."""
        now_s = time.monotonic()
        if self._probe is None:
            stuck = self.unkillable.devices
            due = [u for u, d in self.devices.items() if not d.up and u not in stuck and now_s >= d.probe_at_s]
            if due and self._reader is not None:
                self._start_probe(due[0], now_s)
            return
        answer = self._probe.answer()
        if answer is None:
            return
        if self._probe.hangs:
            self.unkillable.add(self._probe, self._probe.device)
        name, self._probe = self._probe.device, None
        device = self.devices.get(name)
        if device is None:
            return  # it has a UUID by now
        if not answer or device.up:
            device.probed_in_vain(now_s)
            return
        device.probe_at_s = now_s + GONE_RESTART_S
        if device.excluded and self._reader is not None:
            device.excluded = False
            self._reader.order(include=name)
        elif self._reader is not None:
            # A fresh process sees it and ours does not: NVML has to be opened again.
            self._stop_reader()
            self._start_at_s = 0.0
