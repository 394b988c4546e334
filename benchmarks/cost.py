"""What the agent costs, beside nvitop-exporter on the same simulated node in the same run: CPU, memory, scrape time.

Run from the repository's root: python -m benchmarks.cost [--seconds 120] [--json]

Eight H100s under the demo's load. Both exporters run side by side, sample once a second and are scraped once a second. CPU
counts every process of each, children included; memory is the proportional set size. Then the agent alone samples ten times a
second.
"""

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.running import AgentProcess, cpu_s, family, pss_b
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually

WARM_UP_S = 8.0


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of a family of processes as a ratio of one core, its memory and size, and how long each scrape took, s."""

    cpu: float
    pss_mib: float
    processes: int
    scrapes: tuple[float, ...]


def measure(pids_urls: Sequence[tuple[int, str]], seconds: float) -> list[Cost]:
    """Exporters that run side by side, each scraped once a second, over the same time: the machine is the same for all."""
    with ExitStack() as stack:
        clients = []
        for _, url in pids_urls:
            address = url.removeprefix("http://").partition("/")[0]
            clients.append(
                stack.enter_context(closing(http.client.HTTPConnection(address, timeout=60)))
            )  # kept where it can be
        scrapes: list[list[float]] = [[] for _ in clients]
        before, began = [_cpu(pid) for pid, _ in pids_urls], time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            for client, took in zip(clients, scrapes, strict=True):
                asked = time.monotonic()
                client.request("GET", "/metrics")
                client.getresponse().read()
                took.append(time.monotonic() - asked)
            time.sleep(max(0.0, now + 1.0 - time.monotonic()))
        elapsed = time.monotonic() - began
        used = [(_cpu(pid) - b) / elapsed for (pid, _), b in zip(pids_urls, before, strict=True)]
        families = [list(family(pid)) for pid, _ in pids_urls]
        memory = [round(sum(map(pss_b, pids)) / 2**20, 1) for pids in families]
        return [Cost(round(c, 5), m, len(p), tuple(s)) for c, m, p, s in zip(used, memory, families, scrapes, strict=True)]


def _cpu(pid: int) -> float:
    return sum(cpu_s(p) for p in family(pid))


def run(seconds: float) -> dict[str, Any]:
    """Both exporters side by side at 1 Hz, then the agent alone at 10 Hz, on one node."""
    with tempfile.TemporaryDirectory(prefix="wattlens-cost-") as folder, ExitStack() as stack:
        base = Path(folder)
        node = stack.enter_context(SimulatedNode.start("h100-node", base / "node"))
        with _agent(base, node, 1.0) as agent, _nvitop(node) as peer:
            time.sleep(WARM_UP_S)
            ours, theirs = measure([agent, peer], seconds)
        with _agent(base, node, 0.1) as agent:
            time.sleep(WARM_UP_S)
            (fast,) = measure([agent], seconds)
    scrapes = sorted(ours.scrapes)
    return {
        "seconds": seconds,
        "agent_cpu_ratio": ours.cpu,
        "nvitop_exporter_cpu_ratio": theirs.cpu,
        "cpu_of_nvitop_ratio": round(ours.cpu / theirs.cpu, 3) if theirs.cpu else None,
        "agent_pss_mib": ours.pss_mib,
        "nvitop_exporter_pss_mib": theirs.pss_mib,
        "agent_processes": ours.processes,
        "scrape_p50_ms": round(statistics.median(scrapes) * 1e3, 2),
        "scrape_p99_ms": round(scrapes[min(len(scrapes) - 1, int(len(scrapes) * 0.99))] * 1e3, 2),
        "agent_10hz_cpu_ratio": fast.cpu,
    }


@contextmanager
def _agent(base: Path, node: SimulatedNode, period_s: float) -> Iterator[tuple[int, str]]:
    config = base / f"agent-{period_s}.yaml"
    config.write_text(yaml.safe_dump({"sampling": {"period_s": period_s}}))
    agent = AgentProcess(node.directory, base / f"state-{period_s}", config)
    agent.start()
    try:
        yield agent.pid, agent.url
    finally:
        agent.stop()


def _is_served(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


@contextmanager
def _nvitop(node: SimulatedNode) -> Iterator[tuple[int, str]]:
    program = shutil.which("nvitop-exporter", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise SystemExit("nvitop-exporter is not installed: make test-all installs it")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--bind-address", "127.0.0.1", "--port", str(port), "--interval", "1.0"]
    peer = subprocess.Popen(command, env=os.environ | node.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _is_served(port))
        yield peer.pid, f"http://127.0.0.1:{port}/metrics"
    finally:
        peer.terminate()
        peer.wait(60)


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    found = run(args.seconds)
    found["ok"] = (
        found["cpu_of_nvitop_ratio"] <= 0.25 and found["agent_pss_mib"] <= 80 and found["agent_10hz_cpu_ratio"] <= 0.02
    )
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:28} {value}")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
