"""A child process that asks NVML for the doctor, which a hanging driver must not stop.

The child marks (call, since) in shared memory before each NVML call, as the agent's reader does. When a call does not return in
time the child is killed, and the caller goes on without that GPU. Messages are one JSON object a line.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from energy_agent.core.errors import WattlensError
from energy_agent.reader.child import Call, MarkedProcess
from wattlens.terminal_line import seconds_passed

HANG_S = 2.0
Message = dict[str, Any]
Result = TypeVar("Result")


class ChildError(WattlensError):
    """The child hung (`reason` HANG) or died (DIED). `index` is the GPU that it was at; None for the node."""

    def __init__(self, reason: str, call: str, index: int | None) -> None:
        self.reason, self.call, self.index = reason, call, index
        where = "NVML" if index is None else f"GPU {index}"
        what = f"does not respond to {call or 'a call'}" if reason == "HANG" else f"ended the process in {call or 'a call'}"
        super().__init__(f"{where} {what}")


def ask(task: Sequence[str], environ: Mapping[str, str], hang_s: float = HANG_S) -> Iterator[Message]:
    """The messages of `python -m wattlens.doctor.tasks TASK`, as they come; none of them is the closing "done".

    Raises:
        ChildError: a call takes longer than `hang_s`, or the child ended without "done".
    """
    arguments = ["-m", "wattlens.doctor.tasks", "--parent", str(os.getpid()), *task, "--mark-fd"]
    child = MarkedProcess(lambda fd: [sys.executable, *arguments, str(fd)], environ, subprocess.DEVNULL)
    try:
        yield from _messages(child, hang_s)
    finally:
        child.kill()
        child.reaped(0.5)  # one that hangs in the kernel is reaped by init
        child.close()


def measure(
    task: Sequence[str], environ: Mapping[str, str], what: str, seconds: float, note: Callable[[], str] = str
) -> Iterator[Message]:
    """The messages of a task of about `seconds`. A line on the terminal shows `what`, the time that passed, and the note.

    Raises:
        ChildError: as `ask` does.
        WattlensError: NVML as a whole does not respond.
    """
    with seconds_passed(what, seconds) as show_progress:
        for message in ask(task, environ):
            show_progress(note())
            if message["k"] == "fatal":
                raise WattlensError(f"NVML {message['call']}: {message['reason']}; see wattlens doctor")
            yield message


def without_hung_gpus(take: Callable[[list[str]], Result]) -> tuple[Result, dict[int, ChildError]]:
    """What `take` returns with the options of a task that exclude GPUs that hang, and these GPUs.

    It is called again for each GPU that hangs or ends the child. Raises ChildError if that happens outside of a GPU.
    """
    hung: dict[int, ChildError] = {}
    while True:
        try:
            return take([f"--exclude={index}" for index in hung]), hung
        except ChildError as failed:
            if failed.index is None or failed.index in hung:
                raise
            hung[failed.index] = failed


def _messages(child: MarkedProcess, hang_s: float) -> Iterator[Message]:
    rest = b""
    while True:
        call = child.under_way()
        if not select.select([child], [], [], 0.05)[0]:
            if call is not None and call.seconds > hang_s:
                raise _failed("HANG", call)
            continue
        chunk = os.read(child.fileno(), 1 << 16)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a library that writes to standard output
            if isinstance(message, dict) and message.get("k") == "done":
                return
            if isinstance(message, dict) and "k" in message:
                yield message
        if not chunk:
            raise _failed("DIED", call)


def _failed(reason: str, call: Call | None) -> ChildError:
    device = "" if call is None else call.device
    return ChildError(reason, "" if call is None else call.call, int(device) if device.isdigit() else None)
