"""Steps that a program counts with `wattlens.step` under `wattlens measure`: its processes send them, the command receives.

A datagram socket whose path is in the environment, as systemd's NOTIFY_SOCKET: the environment reaches ranks that a launcher
starts, which an inherited descriptor does not. The folder is its user's alone. Reports are cumulative, so that one may be lost;
what is received is bounded in size, number and rate.
"""

import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from energy_agent.core.workloads.training_report import RATE_MAX, TRAINING, ReportError, TrainingReport, parse
from energy_agent.runtime.threads import start_thread

VARIABLE = "WATTLENS_MEASURE"
_REPORT_LIMIT_B = 8 * 1024
_RUNS_LIMIT = 1 << 16
_SEND_S = 0.3
_END_S = 2.0  # for the queue of at most some ten reports; a sender that never stops is not waited for


@dataclass(frozen=True, slots=True)
class ReportedSteps:
    """Steps of training and tokens of all processes; `ranks` of `world` reported, which are fewer where some run elsewhere."""

    steps: int
    tokens: int
    ranks: int
    world: int


def send_report(report: Mapping[str, Any]) -> bool:
    """Hand a report to the `wattlens measure` above this process; whether there is one that took it. Waits 0.3 s at most."""
    path = os.environ.get(VARIABLE)
    if not path:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_S)  # the kernel queues ten or so; ranks end together
            sender.sendto(json.dumps(report).encode(), path)
    except (OSError, ValueError):
        return False
    return True


class StepReceiver:
    """`with StepReceiver() as receiver:` around the program; `receiver.environ` is for it, `receiver.total()` its steps."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self._folder = ""
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._reports: dict[tuple[str, str, int], TrainingReport] = {}
        self._since_s = time.monotonic()
        self._ending = False

    def __enter__(self) -> Self:
        """Listen. Without a folder for the socket nothing is received."""
        try:
            self._folder = tempfile.mkdtemp(prefix="wattlens-measure-", dir="/tmp")  # a path short enough for a socket
            path = str(Path(self._folder) / "steps")
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(path)
        except OSError:
            return self
        self.environ = {VARIABLE: path}
        self._thread = threading.Thread(target=self._receive, args=(self._socket,), name="steps", daemon=True)
        start_thread(self._thread)
        return self

    def __exit__(self, *_: object) -> None:
        """Take what has arrived and stop."""
        if self._socket is not None:
            if self._thread is not None:
                self._ending = True
                with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.settimeout(_END_S)
                    sender.sendto(b"", self.environ[VARIABLE])  # wakes the thread, which then takes what is queued
                self._thread.join(_END_S)
            self._socket.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def total(self) -> ReportedSteps | None:
        """Steps of all jobs, in each of which the ranks take a step together, and tokens of all ranks; None without any."""
        by_job: dict[str, dict[int, int]] = {}
        tokens = 0
        for (job, _, rank), report in self._reports.items():
            ranks = by_job.setdefault(job, {})
            ranks[rank] = ranks.get(rank, 0) + report.steps.get(TRAINING, 0)
            tokens += report.tokens
        steps = sum(max(ranks.values()) for ranks in by_job.values())
        if not steps:
            return None
        world = max(report.world for report in self._reports.values())
        return ReportedSteps(steps, tokens, max(len(ranks) for ranks in by_job.values()), world)

    def _receive(self, listener: socket.socket) -> None:
        with suppress(OSError):  # closed, or nothing is queued at the end
            while True:
                data = listener.recv(_REPORT_LIMIT_B, socket.MSG_DONTWAIT if self._ending else 0)
                with suppress(ValueError, RecursionError, ReportError):
                    self._take(parse(json.loads(data)))

    def _take(self, report: TrainingReport) -> None:
        limit = RATE_MAX * (time.monotonic() - self._since_s + 1)
        if report.tokens > limit or sum(report.steps.values()) > limit:
            return  # no program does that much: one absurd number would spoil the sum
        key = (report.group if report.world > 1 and report.group else report.run, report.run, report.rank)
        before = self._reports.get(key)
        if before is None and len(self._reports) >= _RUNS_LIMIT:
            return
        if before is None or report.age_s >= before.age_s:
            self._reports[key] = report
