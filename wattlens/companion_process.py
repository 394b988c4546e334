"""Starts an agent, actuator or site process of our own, and reads its address from its log."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from energy_agent.core.errors import WattlensError
from energy_agent.core.text import printable

_START_S, _END_S = 60.0, 30.0  # on a machine that is busy


@contextmanager
def companion(
    arguments: Iterable[object], log: Path, is_ready: Callable[[], object], failure: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """`wattlens ARGUMENTS` as a process that is ready and writes to `log`; ended by force if it does not end when asked.

    Raises:
        WattlensError: it did not start; `failure` and the last line of its log.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "wattlens.companion", str(os.getpid()), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=0,  # Ctrl-C is for us; we end our children in order
        )
    try:
        end_s = time.monotonic() + _START_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > end_s:
                raise WattlensError(f"{failure}: {last_line(log)}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def metrics_url(log: Path) -> str:
    """The address of /metrics that an agent or site process wrote to its log; "" before."""
    words = log.read_text(errors="replace").split()
    return next((word.rstrip(",") for word in words if word.startswith("http://") and "/metrics" in word), "")


def last_line(log: Path) -> str:
    """The last line of a log."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return printable(lines[-1].removeprefix("wattlens: ")) if lines else "no output"
