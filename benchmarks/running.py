"""What the runs share: the real agent as a process, its children, its page, and what processes cost."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class AgentProcess:
    """`wattlens agent` on a simulated node; `start` after `kill` goes on in the same state folder."""

    def __init__(
        self,
        node: Path,
        state: Path,
        config: Path | None = None,
        port: int = 0,
        limit: Callable[[], None] | None = None,
    ) -> None:
        """`limit` is called in the agent's process before it becomes the agent, to enter a cgroup."""
        self.state = state
        self._limit = limit
        self._command = [sys.executable, "-m", "wattlens", "agent", "--simulate", str(node), "--state", str(state)]
        self._command += ["--listen", f"127.0.0.1:{port}"]
        self._command += ["--config", str(config)] if config else []
        self._log = state.parent / f"{state.name}.log"
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the agent itself."""
        assert self.process is not None
        return self.process.pid

    def start(self, timeout_s: float = 60.0) -> None:
        """Start and wait until it listens."""
        with self._log.open("ab") as log:
            offset = log.tell()
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self._limit
            )
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            text = self._log.read_bytes()[offset:].decode(errors="replace")
            for word in text.split():
                if word.startswith(("http://", "https://")):
                    self.url = word.rstrip(",")
                    return
            if self.process.poll() is not None:
                raise RuntimeError(f"the agent ended: {text.strip().splitlines()[-1:]}")
            time.sleep(0.01)
        raise RuntimeError("the agent does not listen")

    def kill(self) -> None:
        """SIGKILL, and reap."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 60.0) -> float:
        """SIGTERM; how long it took to end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(timeout_s)
        return time.monotonic() - began

    def page(self, timeout_s: float = 10.0) -> Series:
        """The series of /metrics; raises OSError where it does not answer."""
        return series(self.fetch(timeout_s).decode())

    def fetch(self, timeout_s: float = 10.0) -> bytes:
        """The body of /metrics as it is; raises OSError where it does not answer."""
        with urllib.request.urlopen(self.url, timeout=timeout_s) as answer:
            body: bytes = answer.read()
            return body

    def log(self) -> str:
        """Everything it said."""
        return self._log.read_text(errors="replace")


def series(text: str) -> Series:
    """Samples of a page by name and labels."""
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for child in children(pid):
        yield from family(child)


def cpu_s(pid: int) -> float:
    """CPU time of a process and of its reaped children, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_S


def pss_b(pid: int) -> int:
    """Proportional set size, bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Pss line")
