"""Shared parts of benchmarks: the real agent as a process, its children, its `/metrics`, and the cost of processes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class AgentProcess:
    """`wattlens agent` on a simulated node; `start` after `kill` continues in the same state folder."""

    def __init__(
        self,
        node: Path,
        state: Path,
        config: Path | None = None,
        port: int = 0,
        limit: Callable[[], None] | None = None,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Set up an agent.

        `limit` is called in the agent's process before it becomes the agent, to enter a cgroup. The process starts in `folder`
        with `environ` in addition to ours.
        """
        self.state, self._environ, self._folder = state, os.environ | dict(environ or {}), folder
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
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self._limit,
                env=self._environ,
                cwd=self._folder,
            )
        self.url = url_in(self._log, timeout_s, offset, self.process)

    def kill(self) -> None:
        """SIGKILL, and reap."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 60.0) -> None:
        """SIGTERM, and wait for its end."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(timeout_s)

    def page(self, timeout_s: float = 10.0) -> Series:
        """The series of /metrics; raises OSError where it does not answer."""
        return series(self.fetch(timeout_s).decode())

    def fetch(self, timeout_s: float = 10.0) -> bytes:
        """The body of /metrics as it is; raises OSError where it does not answer."""
        with urllib.request.urlopen(self.url, timeout=timeout_s) as answer:
            body: bytes = answer.read()
            return body

    def log(self) -> str:
        """Its whole log."""
        return self._log.read_text(errors="replace")


def series(text: str) -> Series:
    """Samples of a `/metrics` response by name and labels."""
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    pids: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids += map(int, task.read_text().split())
        except OSError:
            continue
    return pids


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for child in children(pid):
        yield from family(child)


def cpu_s(pid: int) -> float:
    """CPU time of a process and of its reaped children, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_S


def pss_b(pid: int, line: str = "Pss") -> int:
    """Proportional set size, or another line of smaps_rollup, bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition(f"\n{line}:")[2].split()[0]) * 1024


def of_family(measure: Callable[[int], float], pid: int) -> float:
    """A measure summed over a process and its descendants; one that exits during the measurement counts as 0."""
    total = 0.0
    for each in family(pid):
        with suppress(OSError, IndexError):
            total += measure(each)
    return total


@contextmanager
def simulated(nodes: str | Mapping[str, Any]) -> Iterator[tuple[Path, SimulatedNode]]:
    """A temporary folder and a simulated node in it, of a named scenario or of these settings."""
    parsed = nodes if isinstance(nodes, str) else scenario.parse(json.dumps(nodes).encode(), "benchmark")
    with (
        tempfile.TemporaryDirectory(prefix="wattlens-bench-") as name,
        SimulatedNode.start(parsed, Path(name) / "node") as node,
    ):
        yield Path(name), node


@contextmanager
def running_agent(
    node: SimulatedNode,
    state: Path,
    config: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[AgentProcess]:
    """An agent on a node, with its configuration next to its state; it is stopped at the end."""
    path = state.parent / f"{state.name}.yaml"
    path.write_text(json.dumps(dict(config or {})))
    agent = AgentProcess(node.directory, state, path, environ=environ, folder=folder)
    agent.start()
    try:
        yield agent
    finally:
        if agent.process is not None and agent.process.poll() is None:
            agent.stop()


@contextmanager
def running_role(role: str, folder: Path, *arguments: object) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`wattlens ROLE` with ROLE.yaml and a state in a folder; the process and its log."""
    places = ["--config", folder / f"{role}.yaml", "--state", folder / f"{role}-state"]
    command = [sys.executable, "-m", "wattlens", role, *map(str, places), *map(str, arguments)]
    log = folder / f"{role}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process, log
    finally:
        process.terminate()
        process.wait(60)


def url_in(log: Path, timeout_s: float = 180.0, offset: int = 0, process: subprocess.Popen[bytes] | None = None) -> str:
    """Where a process listens, by its log from an offset on."""
    end_s = time.monotonic() + timeout_s
    while True:
        text = log.read_bytes()[offset:].decode(errors="replace")
        for word in text.split():
            if word.startswith(("http://", "https://")):
                return word.rstrip(",")
        if time.monotonic() > end_s or (process is not None and process.poll() is not None):
            raise RuntimeError(f"nothing listens: {text.strip().splitlines()[-1:]}")
        time.sleep(0.01)
