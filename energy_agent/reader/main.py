"""The reader: an exec'ed child with one thread, the only scheduled reader of the node's GPUs.

It may hang in the driver or die with it; the agent never does. Before each driver call it marks (device, call, since) in shared
memory, so that the agent can name what hangs, kill this process and go on without that device. One line of JSON a message on
standard output; standard input takes one JSON line a command: {"include": DEVICE}, {"list_processes": true},
{"health": UUID}.

A device is named by its UUID, or `index N` until the agent knows that: no call may be made to one that hangs, not even for
its UUID.
`--probe` reads one device once, and its health where groups of it are named, and ends: whether a device answers again is found
out by a process that may hang.

Durations use the boot clock; UTC only aligns readings with seconds and cells.
"""

import json
import os
import select
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Final

from energy_agent.core.energy import DeviceSample
from energy_agent.core.health import GPM
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.port import BackendError, Device, DeviceBackend, DeviceGone
from energy_agent.reader import wire
from energy_agent.reader.health_rounds import HealthVisits, read_all
from energy_agent.reader.mark import Marker
from energy_agent.runtime.clock import clock_for
from energy_agent.runtime.parent import end_with_parent

ALONE: Final = 3
"""Periods between two lists of a GPU with at most one process: one that comes or goes moves its memory use, or ends."""
_JUST_SERVED: Final = 10  # an edge closer than a tenth of a period is the one that was just served: the two clocks drift


def until_edge_ns(utc_ns: int, period_ns: int) -> int:
    """Return the time from `utc_ns` to the next whole period of UTC that was not just served."""
    left_ns = period_ns - utc_ns % period_ns
    return left_ns if left_ns > period_ns // _JUST_SERVED else left_ns + period_ns


class Schedule:
    """Readings at whole periods of UTC, some of them full. A step of UTC changes their phase, never their number.

    Args:
        clock: UTC and the boot clock.
        period_ns: from one reading to the next.
        full_period_ns: from one full reading to the next.
    """

    def __init__(self, clock: Clock, period_ns: int, full_period_ns: int) -> None:
        self._clock, self._period_ns, self._full_period_ns = clock, period_ns, full_period_ns
        self._due_boot_ns = self._full_boot_ns = clock.boot_ns()

    def begin(self) -> bool:
        """A reading begins now; return whether it is a full one."""
        boot_ns = self._clock.boot_ns()
        full = boot_ns >= self._full_boot_ns - self._period_ns // 2
        if full:
            self._full_boot_ns = boot_ns + until_edge_ns(self._clock.utc_ns(), self._full_period_ns)
        return full

    def end(self) -> None:
        """The reading is done; the next one is due at the next edge."""
        self._due_boot_ns = self._clock.boot_ns() + until_edge_ns(self._clock.utc_ns(), self._period_ns)

    def left_s(self) -> float:
        """Return the time until the next reading in s of this clock, 0 when it is due."""
        return max(0, self._due_boot_ns - self._clock.boot_ns()) / NS_PER_S


class Reader:
    """Opens the driver and sweeps over its devices."""

    def __init__(
        self,
        backend: DeviceBackend,
        clock: Clock,
        marker: Marker,
        excluded: dict[str, int],
        process_period_ns: int,
        *,
        error_events: bool = True,
        health: HealthVisits | None = None,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._marker = marker
        self._excluded = excluded  # device -> index
        self._process_period_ns = process_period_ns
        self._want_events = error_events
        self._health = health
        self._count = 0
        self._devices: dict[int, Device] = {}
        self._uuids: dict[int, str] = {}
        self._opened = False  # a device was opened since the last hello
        self._watching = False
        self._next_list_ns: dict[int, int] = {}  # by index

    def open(self) -> wire.Hello:
        """Open the driver and describe its devices; the first sweep reports devices that do not answer.

        Raises:
            BackendError: the driver as a whole does not answer.
        """
        self._backend.start()
        self._count = self._backend.count()
        for index in range(self._count):
            with suppress(DeviceGone, BackendError):
                self._device(index)
        self._watch_events()
        self._marker.clear()
        return self._hello()

    def _hello(self) -> wire.Hello:
        self._opened = False
        devices = sorted(self._devices.items())
        driver, epoch = self._backend.driver, self._backend.epoch
        infos = (replace(device.info, index=i, driver=driver, driver_epoch=epoch) for i, device in devices)
        return wire.Hello(driver, tuple(infos))

    def poll_events(self) -> list[wire.Message]:
        """XID events since the last call."""
        if not self._watching:
            return []
        counts: dict[str, Counter[int]] = {}
        try:
            for uuid, xid in self._backend.poll_errors():
                counts.setdefault(uuid, Counter())[xid] += 1
        except BackendError:
            self._watch_events()
        self._marker.clear()
        return [wire.Xids(counts)] if counts else []

    def sweep(self, *, full: bool) -> list[wire.Message]:
        """Read every device that is not excluded; each is read whatever became of the others."""
        now_ns = self._clock.boot_ns()
        began = time.perf_counter()
        xids: dict[int, int] | None = {} if full and self._watching else None  # the supervisor adds those that came
        samples: list[DeviceSample] = []
        gone: list[wire.Gone] = []
        for index in range(self._count):
            try:
                device = self._device(index)
                if device is None:
                    continue
                due = full and now_ns >= self._next_list_ns.get(index, 0)
                sample = device.read(full=full, list_processes=due, xid_counts=xids)
                samples.append(sample)
                if due or sample.processes is not None:
                    periods = ALONE if _has_one_owner(sample) else 1
                    self._next_list_ns[index] = now_ns + periods * self._process_period_ns
            except DeviceGone as lost:
                self._drop(index)
                gone.append(wire.Gone(self._name(index), lost.reason, lost.call))
            except BackendError as error:
                self._drop(index)
                gone.append(wire.Gone(self._name(index), error.name, error.call))
        messages: list[wire.Message] = [wire.DeviceSweep(tuple(samples), tuple(gone), time.perf_counter() - began)]
        if self._opened:  # new or returned devices: send their description before their samples
            messages.insert(0, self._hello())
            self._watch_events()
        self._marker.clear()
        return messages

    def visit_health(self) -> list[wire.Message]:
        """Read what is due of the devices' health. A device that turned MIG on or off is opened and described again."""
        if self._health is None:
            return []
        records = self._health.visit(self._devices)
        for index in self._health.changed:
            self._drop(index)
        self._marker.clear()
        return [wire.Health(tuple(records))] if records else []

    def command(self, line: bytes) -> None:
        """Obey one command of the agent; an unknown one is ignored, since agent and reader are of one version."""
        order = json.loads(line)
        if "include" in order:
            self._excluded.pop(order["include"], None)
        if order.get("list_processes"):
            self._next_list_ns.clear()
        if "health" in order and self._health is not None:
            self._health.include(order["health"])

    def _device(self, index: int) -> Device | None:
        """A device, (re)opened where needed; None while it is excluded."""
        if index in self._excluded.values():
            return None
        self._marker.device = self._name(index)
        device = self._devices.get(index)
        if device is None:
            try:
                device = self._devices[index] = self._backend.open(index)
            finally:
                if self._marker.device != f"index {index}":
                    self._uuids[index] = self._marker.device  # known from here on, whatever became of the rest
            self._opened = True
        return device

    def _drop(self, index: int) -> None:
        """It is opened again at the next sweep."""
        device = self._devices.pop(index, None)
        if device is not None:
            device.close()

    def _name(self, index: int) -> str:
        return self._uuids.get(index, f"index {index}")

    def _watch_events(self) -> None:
        if self._want_events:
            self._watching = self._backend.watch_errors(list(self._devices.values()))


def _has_one_owner(sample: DeviceSample) -> bool:
    """Whether a listed GPU has at most one process, whose end or successor its memory use shows."""
    listed = sample.processes
    return listed is not None and len(listed) < 2 and sample.mig is None and sample.memory_used_b is not None


def run(reader: Reader, clock: Clock, period_ns: int, full_period_ns: int) -> int:
    """Sweep at whole periods of UTC until standard output or input closes."""
    out = sys.stdout.buffer
    try:
        out.write(wire.encode(reader.open()))
        out.flush()
    except BackendError as error:
        out.write(wire.encode(wire.Fatal(error.name, error.call)))
        out.flush()
        return 1
    schedule, orders = Schedule(clock, period_ns, full_period_ns), b""
    late: list[wire.Message] = []  # sent with the next sweep: nobody is woken for it alone
    while True:
        full = schedule.begin()
        if full and (events := reader.poll_events()):
            out.write(b"".join(map(wire.encode, events)))
            out.flush()
        out.write(b"".join(map(wire.encode, [*reader.sweep(full=full), *late])))
        out.flush()
        late = reader.visit_health() if full else []
        schedule.end()
        while True:  # at least one look at the input, however late we are
            if not select.select([0], [], [], clock.real_seconds(schedule.left_s()))[0]:
                break
            chunk = os.read(0, 4096)
            if not chunk:
                return 0  # the agent is gone: so are we
            *lines, orders = (orders + chunk).split(b"\n")
            for line in lines:
                reader.command(line)


def main() -> int:
    """The child: `read` or `--probe`, then its options as JSON (reader/child.py), which the agent alone gives."""
    task, text = sys.argv[1:]
    given = json.loads(text)
    end_with_parent(signal.SIGKILL)  # a reader that hangs in the driver cannot see that the agent has died
    from energy_agent.devices.nvml.backend import NvmlBackend
    from energy_agent.devices.nvml.driver_epoch import driver_epoch_for
    from energy_agent.devices.nvml.library import RealNvml

    clock = clock_for(os.environ)
    marker, groups = Marker(given.get("mark_fd")), given["health_groups"]
    gpm = task == "read" and GPM in groups
    backend = NvmlBackend(RealNvml(), clock, marker, lambda: driver_epoch_for(os.environ), gpm=gpm)
    if task == "--probe":
        try:
            backend.start()
            index = given["device"].removeprefix("index ")
            device = backend.open(int(index)) if index.isdigit() else backend.open_by_uuid(given["device"])
            device.read(full=True)
            if groups is not None:
                read_all(device, groups)
        except (BackendError, DeviceGone) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        return 0
    period_ns = given["health_period_ns"]
    health = HealthVisits(clock, marker, groups, period_ns, given["without_health"]) if period_ns else None
    events = given["xid_events"]
    reader = Reader(backend, clock, marker, given["excluded"], given["process_period_ns"], error_events=events, health=health)
    try:
        return run(reader, clock, given["period_ns"], given["full_period_ns"])
    except BrokenPipeError:
        forget_output()
        return 0  # the agent is gone: so are we


def forget_output() -> None:
    """Nobody reads it any more, and Python would try to write what is buffered once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
