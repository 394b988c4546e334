"""A process of the demo: ready before anything goes on, asked to end at the end, and gone if the demo is killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from energy_agent.core.errors import WattlensError

_START_S, _END_S = 60.0, 30.0  # on a machine that is busy


@contextmanager
def child(out: Path, name: str, arguments: list[Any], ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """`wattlens ARGUMENTS` as a process that is ready; ended by force if it will not end when asked.

    Raises:
        WattlensError: it did not start; with the last line that it said.
    """
    log = out / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "wattlens.companion", str(os.getpid()), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=0,  # Ctrl-C is for the demo, which ends its children in order
        )
    try:
        end_s = time.monotonic() + _START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > end_s:
                lines = log.read_text(errors="replace").strip().splitlines()
                raise WattlensError(f"the {name} did not start: {lines[-1] if lines else 'no output'}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
