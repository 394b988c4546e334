"""Cost of `wattlens top` in a terminal, compared with nvitop on the same simulated node of eight H100s at the same time.

Run from the repository's root: python -m benchmarks top_cost [--seconds 120] [--columns 160] [--lines 50]

Each runs in a pseudo terminal of the same size and refreshes once per second: `top` on an agent that runs anyway, `top` with
its private agent, all processes counted, and `nvitop --monitor full`. CPU is of a core, memory the proportional set size, and
output the bytes that the terminal has to draw. The bar: `top` costs no more CPU than nvitop, on an agent and with its private
one.
"""

import fcntl
import os
import platform
import pty
import shutil
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks.runner import Row
from benchmarks.running import cpu_s, of_family, pss_b, running_agent, simulated
from energy_agent.core.errors import UsageError

WARM_UP_S = 20.0  # histories and health are on the screen


@dataclass(slots=True)
class TerminalProgram:
    """A program in a pseudo terminal, whose output is read and counted."""

    process: "subprocess.Popen[bytes]"
    terminal: int
    output_b: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def drain(self) -> None:
        """Read its output until it exits."""
        while not self.ended.is_set():
            try:
                self.output_b += len(os.read(self.terminal, 1 << 16))
            except OSError:
                return


@contextmanager
def running_in_terminal(command: list[str], environ: Mapping[str, str], columns: int, lines: int) -> Iterator[TerminalProgram]:
    """The program on a terminal of this size; it is ended with its children."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    env = os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | dict(environ)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    program = TerminalProgram(process, ours)
    thread = threading.Thread(target=program.drain, daemon=True)
    thread.start()
    try:
        yield program
    finally:
        process.terminate()
        process.wait(60)
        program.ended.set()
        thread.join(5)
        os.close(ours)


def run(seconds: float = 120.0, columns: int = 160, lines: int = 50) -> Iterator[Row]:
    """A row for each program."""
    nvitop = shutil.which("nvitop", path=f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}")  # noqa: PTH120
    if nvitop is None:
        raise UsageError("nvitop is not installed: make test-all installs it")
    top = [sys.executable, "-m", "wattlens", "top"]
    with simulated("h100-node") as (base, node), ExitStack() as stack:
        agent = stack.enter_context(running_agent(node, base / "agent"))
        commands = {
            "top": ([*top, "--url", agent.url], {"WATTLENS_SIM": str(node.directory)}),
            "top with private agent": ([*top, "--simulate", str(node.directory)], {}),
            "nvitop": ([nvitop, "--monitor", "full", "--interval", "1"], node.environ()),
        }
        programs = {
            name: stack.enter_context(running_in_terminal(command, environ, columns, lines))
            for name, (command, environ) in commands.items()
        }
        time.sleep(WARM_UP_S)
        before = {name: (of_family(cpu_s, p.process.pid), p.output_b) for name, p in programs.items()}
        began_s = time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began_s
        rows: list[Row] = [
            {
                "program": name, "python": platform.python_version(), "window": f"{columns}x{lines}",
                "cpu": round((of_family(cpu_s, p.process.pid) - before[name][0]) / took_s, 5),
                "pss_mib": round(of_family(pss_b, p.process.pid) / 2**20, 1),
                "output_b_per_s": round((p.output_b - before[name][1]) / took_s),
                "running": p.process.poll() is None,
            }
            for name, p in programs.items()
        ]  # fmt: skip
    bar = rows[-1]["cpu"]
    yield from (row | {"ok": row["running"] and row["cpu"] <= bar} for row in rows)
