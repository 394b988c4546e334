"""A well-behaved scraper beside each kind of hostile client, against the real agent process, plain and over TLS.

Run from the repository's root: python -m benchmarks.hostile.web [--seconds 10] [--json]

The agent reads eight simulated H100s at 1 Hz and asks for a password (bcrypt, cost 10). A scraper on a kept connection, as
Prometheus has one, asks 50 times a second; another connects anew for each of 5 scrapes a second, which over TLS counts its
handshake. The hostile clients are a process of their own on another loopback address. `nobody` is the same without them.
"""

import argparse
import base64
import json
import multiprocessing
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from benchmarks.hostile import web_clients
from benchmarks.running import AgentProcess, cpu_s, family
from energy_agent.sim.node import SimulatedNode
from tests.certificates import Authority, hashed

BAR_MS = 10.0
RIGHT = "Basic " + base64.b64encode(b"prometheus:right").decode()
REQUEST = f"GET /metrics HTTP/1.1\r\nHost: bench\r\nAuthorization: {RIGHT}\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kind of client did to the scrapes and the agent."""

    kind: str
    tls: bool
    kept_p50_ms: float
    kept_p99_ms: float
    kept_scrapes: int
    fresh_p99_ms: float
    failed: int  # scrapes of both that got no whole page
    attempts_per_s: float
    agent_cpu_ratio: float


def connect(port: int, context: ssl.SSLContext | None, source: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(client, server_hostname="127.0.0.1") if context else client


def scrape(client: socket.socket) -> None:
    """One whole page; raises OSError where it is none."""
    client.sendall(REQUEST)
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(1 << 20)
        if not chunk:
            raise ConnectionError("closed")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(head[:20].decode())
    left = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]) - len(body)
    while left > 0:
        left -= len(client.recv(1 << 20)) or left + 1
    if left:
        raise ConnectionError("cut off")


class Scraper:
    """Scrapes every `period_s` from `source`; on one connection, or each time on a new one."""

    def __init__(self, port: int, context: ssl.SSLContext | None, source: str, period_s: float, kept: bool) -> None:
        self._port, self._context, self._source, self._period_s, self._kept = port, context, source, period_s, kept
        self.took_ms: list[float] = []
        self.failed = 0

    def run(self, seconds: float) -> None:
        """Scrape for so long."""
        client: socket.socket | None = None
        end_s = time.monotonic() + seconds
        while (began_s := time.monotonic()) < end_s:
            try:
                client = client or connect(self._port, self._context, self._source)
                scrape(client)
                self.took_ms.append((time.monotonic() - began_s) * 1e3)
            except OSError:
                self.failed += 1
                client = self._closed(client)
            if not self._kept:
                client = self._closed(client)
            time.sleep(max(0.0, began_s + self._period_s - time.monotonic()))
        self._closed(client)

    @staticmethod
    def _closed(client: socket.socket | None) -> None:
        """Close it; what there is then."""
        if client is not None:
            client.close()


@contextmanager
def attack(kind: str, port: int, secure: bool) -> Iterator[list[int]]:
    """The hostile clients, running; their attempts once they are stopped."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=web_clients.main, args=(there, kind, port, secure, RIGHT), daemon=True
    )
    child.start()
    attempts: list[int] = []
    try:
        here.recv()
        yield attempts
        here.send("stop")
        attempts.append(here.recv())
    finally:
        with suppress(OSError):
            child.terminate()
        child.join(10)


def run(seconds: float = 10.0, kinds: tuple[str, ...] = (), modes: tuple[bool, ...] = (False, True)) -> list[Outcome]:
    """Each kind in turn, plain and over TLS."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="wattlens-hostile-") as folder:
        base = Path(folder)
        authority = Authority(base / "ca")
        authority.issue("server", "IP:127.0.0.1")
        with SimulatedNode.start("h100-node", base / "node") as node:
            for secure in modes:
                agent = AgentProcess(node.directory, base / f"state-{secure}", _config(base, secure))
                agent.start()
                try:
                    context = ssl.create_default_context(cafile=str(authority.ca)) if secure else None
                    port = int(agent.url.rpartition(":")[2].partition("/")[0])
                    _until_served(port, context)
                    outcomes += [_case(kind, seconds, agent, port, context) for kind in kinds or web_clients.KINDS]
                finally:
                    agent.stop()
    return outcomes


def _config(base: Path, secure: bool) -> Path:
    web: dict[str, object] = {"basic_auth_users": {"prometheus": hashed("right", cost=10)}}
    if secure:
        web["tls_server_config"] = {"cert_file": "ca/server.pem", "key_file": "ca/server.key"}
    (base / f"web-{secure}.yml").write_text(yaml.safe_dump(web))
    path = base / f"agent-{secure}.yaml"
    path.write_text(yaml.safe_dump({"web": {"config_file": str(base / f"web-{secure}.yml")}}))
    return path


def _until_served(port: int, context: ssl.SSLContext | None) -> None:
    for _ in range(600):
        try:
            with connect(port, context, "127.0.0.1") as client:
                scrape(client)
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the agent shows no page")


def _case(kind: str, seconds: float, agent: AgentProcess, port: int, context: ssl.SSLContext | None) -> Outcome:
    kept, fresh = Scraper(port, context, "127.0.0.1", 0.02, kept=True), Scraper(port, context, "127.0.0.3", 0.2, kept=False)
    with attack(kind, port, context is not None) as attempts:
        cpu_before, began_s = sum(map(cpu_s, family(agent.pid))), time.monotonic()
        threads = [threading.Thread(target=scraper.run, args=(seconds,)) for scraper in (kept, fresh)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took_s = time.monotonic() - began_s
        cpu = (sum(map(cpu_s, family(agent.pid))) - cpu_before) / took_s
    return Outcome(
        kind, context is not None, _quantile(kept.took_ms, 0.5), _quantile(kept.took_ms, 0.99), len(kept.took_ms),
        _quantile(fresh.took_ms, 0.99), kept.failed + fresh.failed, round(attempts[0] / took_s, 1), round(cpu, 3),
    )  # fmt: skip


def _quantile(values: list[float], q: float) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[round(q * 100) - 1], 2)


def main(argv: list[str] | None = None) -> int:
    """Print the figures; 1 where a p99 on the kept connection is above the bar or a scrape failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", choices=web_clients.KINDS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    outcomes = run(arguments.seconds, (arguments.only,) if arguments.only else ())
    if arguments.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
    else:
        print(f"{'kind':22} {'p50 ms':>7} {'p99 ms':>7} {'scrapes':>8} {'new p99':>8} {'failed':>7} {'tries/s':>8} {'CPU':>6}")
        for o in outcomes:
            name = o.kind + (" TLS" if o.tls else "")
            kept = f"{o.kept_p50_ms:7} {o.kept_p99_ms:7} {o.kept_scrapes:8}"
            print(f"{name:22} {kept} {o.fresh_p99_ms:8} {o.failed:7} {o.attempts_per_s:8} {o.agent_cpu_ratio:6}")
    return 1 if any(o.kept_p99_ms > BAR_MS or o.failed for o in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
