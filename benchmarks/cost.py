"""Cost of the agent and of `wattlens top` on a node of eight H100s under the demo's load: CPU and memory of all processes.

Run from the repository's root: python -m benchmarks cost [nvitop] [serving] [top] [--seconds 120]

- nvitop: together with nvitop-exporter at the same time, both sampling once per second; then alone, ten times per second.
- serving: with the metrics endpoints of three inference servers; the bars are half of the shipped limit, and no growth.
- top: in a terminal of `--columns` and `--lines`, refreshed once per second, on an agent that runs anyway and with its private
  agent, together with nvitop; the bar: no more CPU than nvitop.

Each exporter is scraped once per second. Memory is the proportional set size, at the start and at the end. CPU is of a core.
The image's Python is 3.13; `make VENV=.venv-3.13 PYTHON=python3.13 .venv-3.13/.dev` gives it, and each row names what ran.
"""

import fcntl
import http.client
import os
import platform
import pty
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from benchmarks.hostile.metrics_servers import MetricsServer
from benchmarks.runner import Row
from benchmarks.running import cpu_s, of_family, pss_b, running_agent, simulated
from energy_agent.core.errors import UsageError
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port

WARM_UP_S = {"nvitop": 8.0, "serving": 15.0, "top": 20.0}  # top: histories and health are on the screen


def run(*names: str, seconds: float = 120.0, warm_up_s: float = 0.0, columns: int = 160, lines: int = 50) -> Iterator[Row]:
    """A row for each program; `warm_up_s` in place of each case's own."""
    if unknown := set(names) - WARM_UP_S.keys():
        raise UsageError(f"unknown case {min(unknown)!r}; there are: {', '.join(WARM_UP_S)}")
    for name in names or WARM_UP_S:
        with simulated("h100-node") as (base, node):
            wait_s = warm_up_s or WARM_UP_S[name]
            if name == "top":
                rows = measure_top(base, node, seconds, wait_s, (lines, columns))
            else:
                rows = _case(name, base, node, seconds, wait_s)
        yield from ({"case": name, **row, "ok": ok} for row, ok in zip(rows, _bars(name, rows), strict=True))


def _case(name: str, base: Path, node: SimulatedNode, seconds: float, warm_up_s: float) -> list[Row]:
    if name == "nvitop":
        rows = measure(base, node, {"agent": {}}, seconds, warm_up_s, beside=True)
        return rows + measure(base, node, {"agent 10 Hz": {"sampling": {"period_s": 0.1}}}, seconds, warm_up_s)
    with ExitStack() as stack:
        servers = [MetricsServer("honest") for _ in range(3)]
        for server in servers:
            stack.callback(server.end)
        tokens = [{"workload": f"chat-{k}", "url": server.url, "server": "vllm"} for k, server in enumerate(servers)]
        return measure(base, node, {"agent": {"tokens": tokens}}, seconds, warm_up_s)


def _bars(name: str, rows: list[Row]) -> list[bool]:
    if name == "nvitop":
        agent, peer, fast = rows
        return [agent["cpu"] <= 0.25 * peer["cpu"] and agent["pss_mib"][1] <= 80, True, fast["cpu"] <= 0.02]
    if name == "top":
        return [row["running"] and row["cpu"] <= rows[-1]["cpu"] for row in rows]
    before, after = rows[0]["pss_mib"]
    return [max(before, after) <= 96 and after - before <= 4]


def measure(
    base: Path, node: SimulatedNode, configs: Mapping[str, Row], seconds: float, warm_up_s: float, *, beside: bool = False
) -> list[Row]:
    """Run agents and optionally nvitop-exporter (`beside`) concurrently, so that all of them see the same machine."""
    with ExitStack() as stack:
        agents = {name: stack.enter_context(running_agent(node, base / name, config)) for name, config in configs.items()}
        exporters = {name: (agent.pid, agent.url.removeprefix("http://").partition("/")[0]) for name, agent in agents.items()}
        if beside:
            exporters["nvitop-exporter"] = stack.enter_context(_nvitop(node))
        clients = {
            name: stack.enter_context(closing(http.client.HTTPConnection(address, timeout=60)))
            for name, (_, address) in exporters.items()
        }
        scrapes: dict[str, list[tuple[float, int]]] = {name: [] for name in exporters}
        time.sleep(warm_up_s)
        before, memory, began_s = _used(cpu_s, exporters), _used(pss_b, exporters), time.monotonic()
        while (now_s := time.monotonic()) < began_s + seconds:
            for name, client in clients.items():
                asked_s = time.monotonic()
                client.request("GET", "/metrics")
                size = len(client.getresponse().read())
                scrapes[name].append((time.monotonic() - asked_s, size))
            time.sleep(max(0.0, now_s + 1.0 - time.monotonic()))
        after, took_s = _used(cpu_s, exporters), time.monotonic() - began_s
        return [
            {
                "exporter": name, "python": platform.python_version(), "cpu": round((after[name] - before[name]) / took_s, 5),
                "pss_mib": [round(pss / 2**20, 1) for pss in (memory[name], of_family(pss_b, pid))],
                "processes": int(of_family(lambda _: 1, pid)), "page_b": scrapes[name][-1][1],
                "scrape_p50_ms": 1e3 * statistics.median(took for took, _ in scrapes[name]),
                "scrape_p99_ms": 1e3 * sorted(scrapes[name])[int(0.99 * len(scrapes[name]))][0],
            }
            for name, (pid, _) in exporters.items()
        ]  # fmt: skip


def _used(of: Callable[[int], float], exporters: Mapping[str, tuple[int, str]]) -> dict[str, float]:
    return {name: of_family(of, pid) for name, (pid, _) in exporters.items()}


def _is_served(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def measure_top(base: Path, node: SimulatedNode, seconds: float, warm_up_s: float, window: tuple[int, int]) -> list[Row]:
    """`top` on an agent and with its own, and nvitop, each in a terminal of the same size."""
    top = [sys.executable, "-m", "wattlens", "top"]
    with ExitStack() as stack:
        agent = stack.enter_context(running_agent(node, base / "agent"))
        commands = {
            "top": ([*top, "--url", agent.url], {"WATTLENS_SIM": str(node.directory)}),
            "top with private agent": ([*top, "--simulate", str(node.directory)], {}),
            "nvitop": ([_installed("nvitop"), "--monitor", "full", "--interval", "1"], node.environ()),
        }
        output_b = dict.fromkeys(commands, 0)
        programs = {
            name: stack.enter_context(_in_terminal(command, environ, window, partial(_count, output_b, name)))
            for name, (command, environ) in commands.items()
        }
        time.sleep(warm_up_s)
        before = {name: (of_family(cpu_s, p.pid), output_b[name]) for name, p in programs.items()}
        began_s = time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began_s
        return [
            {
                "program": name, "python": platform.python_version(), "window": f"{window[1]}x{window[0]}",
                "cpu": round((of_family(cpu_s, p.pid) - before[name][0]) / took_s, 5),
                "pss_mib": round(of_family(pss_b, p.pid) / 2**20, 1),
                "output_b_per_s": round((output_b[name] - before[name][1]) / took_s), "running": p.poll() is None,
            }
            for name, p in programs.items()
        ]  # fmt: skip


def _count(output_b: dict[str, int], name: str, terminal: int) -> None:
    """Read and count a program's output until it ends."""
    with suppress(OSError):
        while True:
            output_b[name] += len(os.read(terminal, 1 << 16))


@contextmanager
def _in_terminal(
    command: list[str], environ: Mapping[str, str], window: tuple[int, int], read: Callable[[int], None]
) -> "Iterator[subprocess.Popen[bytes]]":
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", *window, 0, 0))
    env = os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | dict(environ)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    thread = threading.Thread(target=read, args=(ours,), daemon=True)
    thread.start()
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        thread.join(5)
        os.close(ours)


def _installed(program: str) -> str:
    path = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        raise UsageError(f"{program} is not installed: make test-all installs it")
    return path


@contextmanager
def _nvitop(node: SimulatedNode) -> Iterator[tuple[int, str]]:
    port = free_port()
    command = [_installed("nvitop-exporter"), "--bind-address", "127.0.0.1", "--port", str(port), "--interval", "1.0"]
    peer = subprocess.Popen(command, env=os.environ | node.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _is_served(port))
        yield peer.pid, f"127.0.0.1:{port}"
    finally:
        peer.terminate()
        peer.wait(60)
