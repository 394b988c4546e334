"""Start a reader process, parse its messages, detect a hung driver call, and stop it. No policy."""

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from energy_agent.reader import wire
from energy_agent.reader.mark import MARK
from energy_agent.runtime.threads import without_interrupts

MAX_LINE_B = 1 << 20
KILL_S = 1.0
"""A process that is not gone this long after SIGKILL hangs in the kernel."""


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """What a reader is started with."""

    period_ns: int
    full_period_ns: int
    process_period_ns: int
    environ: Mapping[str, str]
    health_period_ns: int = 0  # 0: health is not read
    health_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """An NVML call under way. `device` is a UUID, or empty for a call that is about the node."""

    device: str
    call: str
    seconds: float


class MarkedProcess:
    """A process that marks its NVML calls in shared memory; `command` gets the descriptor of that memory.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, command: Callable[[int], list[str]], environ: Mapping[str, str], stdin: int) -> None:
        fd = os.memfd_create("wattlens-mark")
        try:
            os.ftruncate(fd, MARK.size)
            self._mark = mmap.mmap(fd, MARK.size)
            with without_interrupts():  # Ctrl-C is for the parent, which ends its children
                self._process = subprocess.Popen(
                    command(fd),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    env=dict(environ),
                    pass_fds=(fd,),
                    bufsize=0,
                    start_new_session=True,
                )
        finally:
            os.close(fd)
        assert self._process.stdout is not None
        self._out = self._process.stdout

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def fileno(self) -> int:
        """To wait on with select."""
        return self._out.fileno()

    def under_way(self) -> Call | None:
        """The NVML call that has not returned yet."""
        since_ns, device, call = MARK.unpack_from(self._mark, 0)
        if not since_ns:
            return None
        seconds = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_ns) / 1e9
        return Call(device.rstrip(b"\0").decode(), call.rstrip(b"\0").decode(), seconds)

    def kill(self) -> None:
        """SIGKILL: it may be anywhere in the driver."""
        self._process.send_signal(signal.SIGKILL)

    def reaped(self, within_s: float = 0.0) -> bool:
        """Whether it has ended; an unkillable one hangs in the kernel."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        self.close()
        return True

    def close(self) -> None:
        """Release the pipes; with its input closed a healthy reader ends by itself."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class ReaderProcess(MarkedProcess):
    """A running reader."""

    def __init__(
        self,
        options: ReaderOptions,
        excluded: Mapping[str, int],
        *,
        xid_events: bool = True,
        without_health: Collection[str] = (),
    ) -> None:
        option_values = asdict(options)
        environ = option_values.pop("environ")
        given = option_values | {"excluded": dict(excluded), "xid_events": xid_events, "without_health": sorted(without_health)}
        super().__init__(lambda fd: _command("read", given | {"mark_fd": fd}), environ, subprocess.PIPE)
        os.set_blocking(self._out.fileno(), False)
        self._buffer = b""
        self.started_s = time.monotonic()
        self.sweeps = 0
        self.silent_s = 0.0  # how long it has said nothing

    def messages(self) -> list[wire.Message] | None:
        """Messages that have arrived; None if the reader has ended or sent no valid message (a library wrote to our pipe)."""
        ended = False
        while True:
            try:
                chunk = os.read(self._out.fileno(), 1 << 16)
            except BlockingIOError:
                break
            if not chunk:
                ended = True
                break
            self._buffer += chunk
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > MAX_LINE_B:
            self.kill()
            return None
        messages = []
        for line in lines:
            try:
                message = wire.decode(line)
            except ValueError:
                self.kill()
                return None
            if isinstance(message, wire.DeviceSweep):
                self.sweeps += 1
            messages.append(message)
        return None if ended and not messages else messages

    def order(self, **command: str | bool) -> None:
        """Send one command; a reader that has ended is found out by `messages`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
        except BrokenPipeError:
            return

    def stop(self, within_s: float = 0.3) -> bool:
        """End it politely, then by force; False if not even that ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self.reaped(within_s):
            return True
        self.kill()
        return self.reaped(0.5)


class DeviceProbe:
    """A one-shot reading of one device by a process of its own, which may hang; of its health too where groups are named.

    Raises:
        OSError: no process can be started.
    """

    def __init__(
        self, device: str, environ: Mapping[str, str], timeout_s: float, *, health_groups: Sequence[str] | None = None
    ) -> None:
        self.device = device
        self._killed_s: float | None = None
        self._deadline_s = time.monotonic() + timeout_s
        command = _command("--probe", {"device": device, "health_groups": health_groups})
        with without_interrupts():  # Ctrl-C is for the agent, which ends its children
            self._process = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def answer(self) -> bool | None:
        """True: the device answers; False: it does not, or the process `hangs`; None: not known yet."""
        code = self._process.poll()
        if code is not None:
            return code == 0
        now_s = time.monotonic()
        if self._killed_s is None and now_s > self._deadline_s:
            self._killed_s = now_s
            self._process.kill()
        return False if self.hangs else None

    @property
    def hangs(self) -> bool:
        """Whether not even SIGKILL has ended it."""
        return self._killed_s is not None and time.monotonic() - self._killed_s > KILL_S and not self.reaped()

    def reaped(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def stop(self) -> bool:
        """End it; False if not even SIGKILL does."""
        if self._process.poll() is None:
            self._process.kill()
            try:
                self._process.wait(KILL_S)
            except subprocess.TimeoutExpired:
                return False
        return True


def _command(task: str, given: Mapping[str, object]) -> list[str]:
    return [sys.executable, "-m", "energy_agent.reader.main", task, json.dumps(given)]


class Child(Protocol):
    """A process that was killed."""

    def reaped(self) -> bool:
        """Whether it has ended."""
        ...


class Unkillable:
    """Processes that SIGKILL did not end: they hang in the kernel, and a new one in their place may too, so they are counted.

    A prober is known by its device: the device is not probed again until that process ends, and no other device waits for it.
    """

    def __init__(self) -> None:
        self._children: list[tuple[str, Child]] = []

    def add(self, child: Child, device: str = "") -> None:
        """`child` was killed and is still there; `device` of a prober."""
        self._children.append((device, child))

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return self._names().count("")

    @property
    def devices(self) -> frozenset[str]:
        """The devices whose prober is one."""
        return frozenset(self._names()) - {""}

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        if self._children:
            self._children = [(device, child) for device, child in self._children if not child.reaped()]
        return [device for device, _ in self._children]
