"""What the agent costs, beside nvitop-exporter on the same simulated node in the same run: CPU, memory, scrape time.

Run from the repository's root: python -m benchmarks.cost [--seconds 120] [--json]

Eight H100s under the demo's load. Both exporters sample once a second and are scraped once a second. CPU counts every process
of each, children included; memory is the proportional set size. A second run of the agent samples ten times a second.
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
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from benchmarks.running import AgentProcess, cpu_s, family, pss_b
from energy_agent.sim.node import SimulatedNode

WARM_UP_S = 8.0


def measure(pid: int, url: str, seconds: float) -> tuple[float, list[float]]:
    """CPU of a family of processes as a ratio of one core, and how long each scrape took, s."""
    address = url.removeprefix("http://").partition("/")[0]
    with closing(http.client.HTTPConnection(address, timeout=5)) as connection:  # kept open where the server keeps it
        before, began, scrapes = _cpu(pid), time.monotonic(), []
        while (now := time.monotonic()) < began + seconds:
            connection.request("GET", "/metrics")
            connection.getresponse().read()
            scrapes.append(time.monotonic() - now)
            time.sleep(max(0.0, 1.0 - scrapes[-1]))
        return (_cpu(pid) - before) / (time.monotonic() - began), scrapes


def _cpu(pid: int) -> float:
    return sum(cpu_s(p) for p in family(pid))


def run(seconds: float) -> dict[str, Any]:
    """All three runs on one node."""
    with tempfile.TemporaryDirectory(prefix="wattlens-cost-") as folder:
        base = Path(folder)
        with SimulatedNode.start("h100-node", base / "node") as node:
            at_1hz = _agent(base, node, 1.0, seconds)
            peer = _nvitop(node, seconds)
            at_10hz = _agent(base, node, 0.1, seconds)
    return {
        "seconds": seconds,
        "agent_cpu_ratio": at_1hz["cpu"],
        "nvitop_exporter_cpu_ratio": peer["cpu"],
        "cpu_of_nvitop_ratio": round(at_1hz["cpu"] / peer["cpu"], 3) if peer["cpu"] else None,
        "agent_pss_mib": at_1hz["pss_mib"],
        "nvitop_exporter_pss_mib": peer["pss_mib"],
        "agent_processes": at_1hz["processes"],
        "scrape_p50_ms": at_1hz["p50_ms"],
        "scrape_p99_ms": at_1hz["p99_ms"],
        "agent_10hz_cpu_ratio": at_10hz["cpu"],
    }


def _agent(base: Path, node: SimulatedNode, period_s: float, seconds: float) -> dict[str, Any]:
    config = base / f"agent-{period_s}.yaml"
    config.write_text(yaml.safe_dump({"sampling": {"period_s": period_s}}))
    agent = AgentProcess(node.directory, base / f"state-{period_s}", config)
    agent.start()
    try:
        time.sleep(WARM_UP_S)
        cpu, scrapes = measure(agent.pid, agent.url, seconds)
        return _figures(agent.pid, cpu, scrapes)
    finally:
        agent.stop()


def _nvitop(node: SimulatedNode, seconds: float) -> dict[str, Any]:
    program = shutil.which("nvitop-exporter", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise SystemExit("nvitop-exporter is not installed: make test-all installs it")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--bind-address", "127.0.0.1", "--port", str(port), "--interval", "1.0"]
    peer = subprocess.Popen(command, env=os.environ | node.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(WARM_UP_S)
        cpu, scrapes = measure(peer.pid, f"http://127.0.0.1:{port}/metrics", seconds)
        return _figures(peer.pid, cpu, scrapes)
    finally:
        peer.terminate()
        peer.wait(10)


def _figures(pid: int, cpu: float, scrapes: list[float]) -> dict[str, Any]:
    pids = list(family(pid))
    ordered = sorted(scrapes)
    return {
        "cpu": round(cpu, 5),
        "pss_mib": round(sum(map(pss_b, pids)) / 2**20, 1),
        "processes": len(pids),
        "p50_ms": round(statistics.median(ordered) * 1e3, 2),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3, 2),
    }


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
