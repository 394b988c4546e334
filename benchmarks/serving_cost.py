"""What the agent costs while it reads token endpoints: CPU and memory over time, on the Python that runs this.

    make VENV=.venv-3.13 PYTHON=python3.13 .venv-3.13/.dev
    .venv-3.13/bin/python -m benchmarks.serving_cost [--seconds 120] [--json]

gives the figures of the image, whose Python is 3.13. Eight simulated H100s, three inference servers, one scrape per second; CPU
and proportional set size count every process of the agent. The bars: under half of the shipped limit, and no growth.
"""

import argparse
import http.client
import json
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from benchmarks.running import AgentProcess, cpu_s, family, pss_b
from energy_agent.sim.node import SimulatedNode

WARM_UP_S = 15.0
ENDPOINTS = 3
PSS_BAR_MIB, GROWTH_BAR_MIB = 96.0, 4.0
_SAMPLES = 6
_METRICS = (
    '# TYPE vllm:prompt_tokens_total counter\nvllm:prompt_tokens_total{{engine="0",model_name="m"}} {}\n'
    '# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{{engine="0",model_name="m"}} {}\n'
)


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        tokens = int(time.monotonic() * 100)
        body = _METRICS.format(2 * tokens, tokens).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def run(seconds: float) -> dict[str, Any]:
    """Memory at the start and the end of `seconds`, and CPU between."""
    with tempfile.TemporaryDirectory(prefix="wattlens-serving-") as folder, ExitStack() as stack:
        base = Path(folder)
        urls = [stack.enter_context(_serve()) for _ in range(ENDPOINTS)]
        tokens = [{"workload": f"chat-{number}", "url": url, "server": "vllm"} for number, url in enumerate(urls)]
        (base / "agent.yaml").write_text(yaml.safe_dump({"tokens": tokens}))
        node = stack.enter_context(SimulatedNode.start("h100-node", base / "node"))
        agent = AgentProcess(node.directory, base / "state", base / "agent.yaml")
        agent.start()
        stack.callback(agent.stop)
        client = stack.enter_context(closing(http.client.HTTPConnection(agent.url.removeprefix("http://").partition("/")[0])))
        _scrape(client, WARM_UP_S)
        memory, start_s, cpu_before_s = [_pss_mib(agent.pid)], time.monotonic(), _cpu_s(agent.pid)
        for _ in range(_SAMPLES):
            _scrape(client, seconds / _SAMPLES)
            memory.append(_pss_mib(agent.pid))
        cpu = (_cpu_s(agent.pid) - cpu_before_s) / (time.monotonic() - start_s)
    return {
        "python": platform.python_version(), "endpoints": ENDPOINTS, "seconds": seconds, "agent_cpu_ratio": round(cpu, 4),
        "agent_pss_mib": memory, "growth_mib": round(memory[-1] - memory[0], 1),
    }  # fmt: skip


@contextmanager
def _serve() -> Iterator[str]:
    """URL of an inference server's metrics endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()


def _scrape(client: http.client.HTTPConnection, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while (now_s := time.monotonic()) < end_s:
        client.request("GET", "/metrics")
        client.getresponse().read()
        time.sleep(max(0.0, now_s + 1.0 - time.monotonic()))


def _pss_mib(pid: int) -> float:
    return round(sum(map(pss_b, family(pid))) / 2**20, 1)


def _cpu_s(pid: int) -> float:
    return sum(map(cpu_s, family(pid)))


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    figures = run(args.seconds)
    figures["ok"] = max(figures["agent_pss_mib"]) <= PSS_BAR_MIB and figures["growth_mib"] <= GROWTH_BAR_MIB
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:16} {value}")
    return 0 if figures["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
