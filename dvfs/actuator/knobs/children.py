"""Disposable children: every NVML call of the actuator runs in a forked child with a time limit, one child per device.

The parent never opens NVML, so a call that hangs in the driver hangs only its child, which is killed and replaced. A child
holds its device's lock file (flock) until it is really dead, so a device is not written while an older writer may still be
stuck in the driver; it dies with its parent (PR_SET_PDEATHSIG), and its released lock shows that. A child that succeeded stays
for a few seconds: a policy that changes a setting every second does not have to start a process and open the driver each time.
After an error the child is replaced. A child opens the driver before it gets its first request. Meanwhile callers get `timeout`
and the child continues: if opening takes longer than the limit of a call, a child that is killed and restarted would never be
ready.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from dvfs.actuator.knobs.nvml import KnobError, KnobReading, KnobWrite, ListedDevice, WriteResult, inventory, read, write
from dvfs.types import Constraints
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.runtime.parent import end_with_parent

_MAX_ANSWER = 1 << 20
_STAY_S = 5.0  # a child waits so long for more; it keeps the driver open for as long
_OPEN_S = 30.0  # opening may take so long: a driver without persistence initialises each GPU first
_FINE = frozenset({"ok", "foreign", "differs"})


@dataclass(slots=True)
class _Child:
    pid: int
    channel: socket.socket
    answer: bytes = b""
    is_open: bool = False
    began_s: float = field(default_factory=time.monotonic)


Request = dict[str, Any]


class ForkedKnobs:
    """The knobs port of the actuator core, by disposable children. Use from a single-threaded process."""

    def __init__(
        self,
        open_nvml: Callable[[], RealNvml],
        lock_folder: Path,
        timeout_s: float = 3.0,
        lock_wait_s: float = 0.5,
        waiting: Callable[[], object] = lambda: None,
    ) -> None:
        """Remember; `waiting` is called several times a second while a child is waited for.

        `lock_wait_s` is for an older writer that is being killed; one that is stuck in the driver makes the device `busy`.
        """
        self._open_nvml = open_nvml
        self._lock_folder = lock_folder
        self._timeout_s = timeout_s
        self._lock_wait_s = lock_wait_s
        self._waiting = waiting
        self._children: dict[str, _Child] = {}  # by device; "" for the listing
        self._unreaped: list[int] = []
        lock_folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def inventory(self) -> list[ListedDevice]:
        """Devices that answer now. Raises KnobError."""
        answer = self._run({"": {"do": "inventory"}})[""]
        return [ListedDevice(*row) for row in _good(answer)]

    def read(self, uuid: str) -> KnobReading:
        """Read a device. Raises KnobError."""
        limit_mw, (clocks, power), mig, out_of_band = _good(self._run({uuid: {"do": "read"}})[uuid])
        return KnobReading(limit_mw, Constraints(tuple(clocks), tuple(power) if power else None), mig, out_of_band)

    def write(self, plan: dict[str, Sequence[KnobWrite]]) -> dict[str, list[WriteResult]]:
        """Write several devices at once. The result of each write to an unresponsive device is the reason."""
        requests = {
            uuid: {"do": "write", "writes": [[w.knob, w.value, w.expected] for w in writes]} for uuid, writes in plan.items()
        }
        result = {}
        for uuid, answer in self._run(requests).items():
            try:
                result[uuid] = [WriteResult(*map(_value, row)) for row in _good(answer)]
            except KnobError as error:
                result[uuid] = [WriteResult(error.code) for _ in plan[uuid]]
            child = self._children.get(uuid)
            if child is not None and child.is_open and any(w.status not in _FINE for w in result[uuid]):
                self._end(uuid)  # whatever is wrong with its driver, the next child opens it again
        return result

    def close(self) -> None:
        """End the children that wait for more."""
        for uuid in list(self._children):
            self._end(uuid)
        self._reap(until=time.monotonic() + 0.5)

    def _run(self, requests: dict[str, Request]) -> dict[str, dict[str, Any]]:
        self._reap()
        lock_deadline = time.monotonic() + self._lock_wait_s
        answers: dict[str, dict[str, Any]] = {}
        waiting: dict[str, _Child] = {}
        lines = {uuid: json.dumps({"uuid": uuid, **request}).encode() + b"\n" for uuid, request in requests.items()}
        for uuid in requests:
            try:
                waiting[uuid] = self._ask(uuid, lines[uuid], lock_deadline)
            except TimeoutError:
                answers[uuid] = {"error": "busy"}
        deadline = time.monotonic() + self._timeout_s
        while waiting and (remaining_s := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([c.channel for c in waiting.values()], [], [], min(0.2, remaining_s))
            for uuid in [u for u, c in waiting.items() if c.channel in ready]:
                child = waiting[uuid]
                chunk = _received(child.channel)
                child.answer += chunk
                if child.answer.endswith(b"\n") or not chunk or len(child.answer) > _MAX_ANSWER:
                    answer, child.answer = _parse(child.answer), b""
                    if not child.is_open and chunk and "ok" in answer:
                        child.is_open = True
                        with contextlib.suppress(OSError):  # the next read detects a closed channel
                            child.channel.sendall(lines[uuid])
                        continue
                    answers[uuid] = answer
                    del waiting[uuid]
                    if not chunk or "ok" not in answers[uuid]:
                        self._end(uuid)
            self._waiting()
        for uuid, child in waiting.items():
            if child.is_open or time.monotonic() - child.began_s > _OPEN_S:
                self._end(uuid)
            answers[uuid] = {"error": "timeout"}
        self._reap(until=time.monotonic() + (0.2 if waiting else 0.0))
        return answers

    def _ask(self, uuid: str, line: bytes, lock_deadline: float) -> _Child:
        """Send `line` to the device's child, or start one, which gets the line once it has opened the driver.

        A child that has exited is replaced. Raises TimeoutError if another process holds the lock.
        """
        child = self._children.get(uuid)
        if child is not None and not child.is_open:
            return child
        if child is not None and not select.select([child.channel], [], [], 0)[0]:  # readable: the channel is closed
            with contextlib.suppress(OSError):
                child.channel.sendall(line)
                return child
        if child is not None:
            self._end(uuid)
        lock = self._lock(uuid, lock_deadline) if uuid else None
        child = self._children[uuid] = self._fork(lock)
        if lock is not None:
            os.close(lock)  # the child's copy holds the lock as long as the child lives
        return child

    def _lock(self, uuid: str, deadline: float) -> int:
        name = "".join(c if c.isalnum() or c == "-" else "_" for c in uuid)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._lock_folder / f"{name}.lock", flags, 0o600)
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise TimeoutError from None
                self._waiting()
                self._reap()
                time.sleep(0.02)

    def _fork(self, lock: int | None) -> _Child:
        parent = os.getpid()
        mine, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _orphan_never(parent)
                _close_all_but({theirs.fileno(), lock})
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                _serve(theirs, self._open_nvml)
                code = 0
            finally:
                os._exit(code)
        theirs.close()
        return _Child(pid, mine)

    def _end(self, uuid: str) -> None:
        child = self._children.pop(uuid, None)
        if child is None:
            return
        child.channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        self._unreaped.append(child.pid)

    def _reap(self, until: float = 0.0) -> None:
        # A child stuck in the driver cannot be waited for; it is tried again at each run.
        while self._unreaped:
            for pid in list(self._unreaped):
                try:
                    done = os.waitpid(pid, os.WNOHANG)[0] == pid
                except ChildProcessError:
                    done = True
                if done:
                    self._unreaped.remove(pid)
            if not self._unreaped or time.monotonic() >= until:
                return
            time.sleep(0.005)


def _received(channel: socket.socket) -> bytes:
    try:
        return channel.recv(65536)
    except OSError:
        return b""


def _orphan_never(parent: int) -> None:
    """Exit with the parent, also if it died before the signal was set up."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _close_all_but(keep: set[int | None]) -> None:
    """Close what fork copied: sockets, journal, and other devices' locks, which a stuck child must not hold."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names of descriptors, no paths
        fd = int(name)
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(fd)


def _serve(channel: socket.socket, open_nvml: Callable[[], RealNvml]) -> None:
    """Open the driver, report that, then answer requests until none has arrived for a while or one has failed."""
    try:
        nvml = open_nvml()
        nvml.init()
    except NvmlError as error:
        _reply(channel, {"error": error.name.lower()})
        return
    _reply(channel, {"ok": "open"})
    data, stay_s = b"", _OPEN_S  # the first request arrives with the next attempt
    while select.select([channel], [], [], stay_s)[0]:
        data += channel.recv(65536)
        if not data.endswith(b"\n"):
            if not data:
                return
            continue
        request, data, stay_s = json.loads(data), b"", _STAY_S
        try:
            answer = {"ok": _do(nvml, request)}
        except NvmlError as error:
            answer = {"error": error.name.lower()}
        _reply(channel, answer)
        if "ok" not in answer:
            return


def _reply(channel: socket.socket, answer: dict[str, Any]) -> None:
    channel.sendall(json.dumps(answer).encode() + b"\n")


def _do(nvml: RealNvml, request: Request) -> Any:
    uuid = str(request["uuid"])
    if request["do"] == "inventory":
        return list(map(astuple, inventory(nvml)))
    if request["do"] == "read":
        return astuple(read(nvml, uuid))
    writes = [KnobWrite(knob, _value(value), tuple(map(_value, expected))) for knob, value, expected in request["writes"]]
    return list(map(astuple, write(nvml, uuid, writes)))


def _value(raw: Any) -> Any:
    return tuple(raw) if isinstance(raw, list) else raw


def _parse(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError:
        return {"error": "failed"}  # the child died without an answer
    return answer if isinstance(answer, dict) else {"error": "failed"}


def _good(answer: dict[str, Any]) -> Any:
    if "ok" not in answer:
        raise KnobError(str(answer.get("error", "failed")))
    return answer["ok"]
