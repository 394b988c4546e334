"""Cost of the agent on a node of eight H100s under the demo's load: CPU and memory of all its processes, and its scrapes.

Run from the repository's root: python -m benchmarks cost [nvitop] [health] [serving] [--seconds 120]

- nvitop: together with nvitop-exporter at the same time, both sampling once per second; then alone, ten times per second.
- health: two agents side by side, one of which never reads health.
- serving: with the metrics endpoints of three inference servers; the bars are half of the shipped limit, and no growth.

Each exporter is scraped once per second. Memory is the proportional set size, at the start and at the end. CPU is of a core.
The image's Python is 3.13; `make VENV=.venv-3.13 PYTHON=python3.13 .venv-3.13/.dev` gives it, and each row names what ran.
"""

import http.client
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from benchmarks.hostile.metrics_servers import MetricsServer
from benchmarks.runner import Row
from benchmarks.running import cpu_s, of_family, pss_b, running_agent, simulated
from energy_agent.core.errors import UsageError
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port

WARM_UP_S = {"nvitop": 8.0, "health": 70.0, "serving": 15.0}  # health: more than a period, so that `/metrics` has every group


def run(*names: str, seconds: float = 120.0, warm_up_s: float = 0.0) -> Iterator[Row]:
    """A row for each exporter; `warm_up_s` in place of each case's own."""
    if unknown := set(names) - WARM_UP_S.keys():
        raise UsageError(f"unknown case {min(unknown)!r}; there are: {', '.join(WARM_UP_S)}")
    for name in names or WARM_UP_S:
        with simulated("h100-node") as (base, node):
            rows = _case(name, base, node, seconds, warm_up_s or WARM_UP_S[name])
        yield from ({"case": name, **row, "ok": ok} for row, ok in zip(rows, _bars(name, rows), strict=True))


def _case(name: str, base: Path, node: SimulatedNode, seconds: float, warm_up_s: float) -> list[Row]:
    if name == "nvitop":
        rows = measure(base, node, {"agent": {}}, seconds, warm_up_s, beside=True)
        return rows + measure(base, node, {"agent 10 Hz": {"sampling": {"period_s": 0.1}}}, seconds, warm_up_s)
    if name == "health":
        return measure(base, node, {"with": {}, "without": {"sampling": {"health_period_s": 0}}}, seconds, warm_up_s)
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
    if name == "health":
        return [True, True]
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


@contextmanager
def _nvitop(node: SimulatedNode) -> Iterator[tuple[int, str]]:
    program = shutil.which("nvitop-exporter", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise UsageError("nvitop-exporter is not installed: make test-all installs it")
    port = free_port()
    command = [program, "--bind-address", "127.0.0.1", "--port", str(port), "--interval", "1.0"]
    peer = subprocess.Popen(command, env=os.environ | node.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _is_served(port))
        yield peer.pid, f"127.0.0.1:{port}"
    finally:
        peer.terminate()
        peer.wait(60)
