"""The process's end of its sampler: started on the first window, shared by all threads, renewed after a fork.

A process has one sampler for the GPUs that it may use, and one more for each list of GPUs that a window names.
"""

import atexit
import itertools
import json
import mmap
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import energy_agent
from energy_agent.runtime.clock import clock_for
from energy_agent.runtime.threads import without_interrupts
from energy_agent.sdk.measure.wire import ANSWER_B, ASK, CLOSE, OPEN, RING_B, WAKE, Ring

START_S = 5.0
ANSWER_S = 3.5
"""A window waits for two ticks after its end and the delay of the counter: 2.4 s where it changes once per second."""
_GONE = "the sampler exited during the window"


class SamplerConnection:
    """A sampler and the way to it. `reason` says why there is nothing to read; "" when there is.

    `indices` has the place of each GPU in the machine, by UUID; `count` GPUs are in the machine.
    """

    def __init__(self, gpus: str = "") -> None:
        """Start the sampler and wait for its first word: the one wait of a process, before its first window.

        Args:
            gpus: those to read, as `named_devices` takes them; "" for those that CUDA_VISIBLE_DEVICES leaves.
        """
        self.clock = clock_for(os.environ)
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._answers: dict[int, dict[str, Any]] = {}
        self._numbers, self._sequence = itertools.count(1), itertools.count(1)  # drawn by several threads
        memory = os.memfd_create("wattlens-windows")
        os.ftruncate(memory, RING_B)
        # with all its pages: the first window that writes into a new one would wait for the kernel to make it
        self._ring = Ring(mmap.mmap(memory, RING_B, mmap.MAP_SHARED | mmap.MAP_POPULATE))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        source = str(Path(energy_agent.__file__).parents[1])
        paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        command = [sys.executable, "-P", "-m", "energy_agent.sdk.measure.sampler", "--fd", str(theirs.fileno())]
        command += ["--memory", str(memory), "--gpus", gpus]
        with theirs, without_interrupts():  # Ctrl-C is for the program
            self._process = subprocess.Popen(
                [*command, "--parent", str(self.pid)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
            )
        os.close(memory)
        self.reason, self.dead = "", False
        hello = self._packet(START_S)
        self.dead = False  # one that has nothing to read ends at once, and need not be started again
        self.reason = "the sampler did not start" if hello is None else str(hello.get("reason", ""))
        hello = hello or {}
        self.simulated = bool(hello.get("simulated"))
        self.indices: dict[str, int] = hello.get("indices", {})
        self.count = int(hello.get("count", 0))

    def open(self) -> tuple[int, int]:
        """A window begins now: its number and instant. Does not wait."""
        number = next(self._numbers)
        t_ns = self.clock.boot_ns()
        self._tell(OPEN, number, t_ns)
        return number, t_ns

    def close(self, number: int) -> int:
        """It ends now; returns the instant. Does not wait."""
        t_ns = self.clock.boot_ns()
        self._tell(CLOSE, number, t_ns)
        return t_ns

    def result(self, number: int) -> dict[str, Any]:
        """The result of a window; waits for its closing tick. {"reason"} if the window has no result."""
        if self.reason:
            return {"reason": self.reason}
        if self.pid != os.getpid():
            return {"reason": "the process forked during the window; only the process that opened the window can read it"}
        with self._lock:
            self._send(ASK.pack(number))
            deadline_s = time.monotonic() + ANSWER_S
            while number not in self._answers:
                packet = self._packet(deadline_s - time.monotonic())
                if packet is None:
                    return {"reason": _GONE if self.dead else "the sampler did not respond in time"}
                self._answers[int(packet["window"])] = packet
            return self._answers.pop(number)

    def end(self) -> None:
        """Let the sampler go; it ends by itself."""
        self._socket.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.returncode = 0  # who ends does not wait longer, and is not to be warned of it

    def forget(self) -> None:
        """In a forked child: the sampler is the parent's."""
        self._socket.close()
        self._process.returncode = 0  # not ours to wait for
        self.dead = True

    def _tell(self, kind: int, number: int, t_ns: int) -> None:
        if self.reason:
            return  # no sampler to notify
        self._ring.write(next(self._sequence), kind, number, t_ns)
        if self._ring.asleep:
            self._send(WAKE)

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return  # the sampler hangs; the answer will say so
        except OSError:
            self.dead = True

    def _packet(self, wait_s: float) -> dict[str, Any] | None:
        if wait_s <= 0:
            return None
        try:
            self._socket.settimeout(wait_s)
            packet = self._socket.recv(ANSWER_B)
        except TimeoutError:
            return None
        except OSError:
            packet = b""
        if not packet:
            self.dead = True
            return None
        body: dict[str, Any] = json.loads(packet)
        return body


_current: dict[str, SamplerConnection] = {}
_starting = threading.Lock()
_registered = False


def connection(gpus: str = "") -> SamplerConnection:
    """The sampler of this process for `gpus`, started if it does not run yet.

    Raises:
        UsageError: WATTLENS_SIM names no simulated node.
    """
    global _registered
    current = _current.get(gpus)
    if current is not None and not current.dead:
        return current
    with _starting:
        current = _current.get(gpus)
        if current is None or current.dead:
            current = _current[gpus] = SamplerConnection(gpus)
        if not _registered:
            _registered = True
            os.register_at_fork(after_in_child=_forked)
            atexit.register(_ended)
        return current


def _forked() -> None:
    global _starting
    _starting = threading.Lock()  # another thread may have held it
    for each in _current.values():
        each.forget()
    _current.clear()


def _ended() -> None:
    for each in _current.values():
        each.end()
