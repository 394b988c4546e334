"""A well-behaved scraper next to each kind of hostile client, against the real agent process, plain and over TLS.

Run from the repository's root: python -m benchmarks hostile.web [--seconds 10] [--only KIND]

The agent reads eight simulated H100s at 1 Hz and requires a password (bcrypt, cost 10). A scraper with a persistent connection,
as in Prometheus, sends 50 requests per second; another opens a connection for each of its 5 scrapes per second, and its time
includes the TLS handshake. The hostile clients run in a separate process on another loopback address. `nobody` is the same
without them.
"""

import base64
import http.client
import json
import multiprocessing
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from benchmarks.hostile import web_clients
from benchmarks.runner import Row
from benchmarks.running import AgentProcess, cpu_s, of_family, running_agent, simulated
from tests.certificates import Authority, hashed
from tests.support import eventually

BAR_MS = 10.0
RIGHT = "Basic " + base64.b64encode(b"prometheus:right").decode()


def connect(port: int, context: ssl.SSLContext | None, source: str) -> http.client.HTTPConnection:
    """A connection from an address, over TLS with a context."""
    if context is None:
        return http.client.HTTPConnection("127.0.0.1", port, 30, (source, 0))
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=30, source_address=(source, 0), context=context)


def scrape(client: http.client.HTTPConnection) -> None:
    """Read one complete response; OSError if it is invalid."""
    try:
        client.request("GET", "/metrics", headers={"Authorization": RIGHT})
        response = client.getresponse()
        response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    if response.status != 200:
        raise ConnectionError(str(response.status))


class ScrapeClient:
    """Scrapes every `period_s` from `source`; on one connection, or each time on a new one."""

    def __init__(self, port: int, context: ssl.SSLContext | None, source: str, period_s: float, kept: bool) -> None:
        self._port, self._context, self._source, self._period_s, self._kept = port, context, source, period_s, kept
        self.took_ms: list[float] = []
        self.failed = 0

    def run(self, seconds: float) -> None:
        """Scrape for so long."""
        client, end_s = connect(self._port, self._context, self._source), time.monotonic() + seconds
        while (began_s := time.monotonic()) < end_s:
            try:
                scrape(client)
                self.took_ms.append((time.monotonic() - began_s) * 1e3)
            except OSError:
                self.failed += 1
                client.close()  # the next request opens a new connection
            if not self._kept:
                client.close()
            time.sleep(max(0.0, began_s + self._period_s - time.monotonic()))
        client.close()


@contextmanager
def attack(kind: str, port: int, secure: bool) -> Iterator[list[int]]:
    """The hostile clients, running; their attempts once they are stopped."""
    here, child_end = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=web_clients.main, args=(child_end, kind, port, secure, RIGHT), daemon=True
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


def run(seconds: float = 10.0, only: tuple[str, ...] = tuple(web_clients.KINDS)) -> list[Row]:
    """Each kind in turn, plain and over TLS; 95 % of scrapes on the kept connection are within 10 ms, and none fails."""
    rows = []
    with simulated("h100-node") as (base, node):
        authority = Authority(base / "ca")
        authority.issue("server", "IP:127.0.0.1")
        for secure in (False, True):
            web: Row = {"basic_auth_users": {"prometheus": hashed("right", cost=10)}}
            if secure:
                web["tls_server_config"] = {"cert_file": "ca/server.pem", "key_file": "ca/server.key"}
            (base / f"web-{secure}.yml").write_text(json.dumps(web))
            config = {"web": {"config_file": str(base / f"web-{secure}.yml")}}
            with running_agent(node, base / f"state-{secure}", config) as agent:
                context = ssl.create_default_context(cafile=str(authority.ca)) if secure else None
                port = int(agent.url.rpartition(":")[2].partition("/")[0])
                eventually(lambda port=port, context=context: _is_served(port, context))  # type: ignore[misc]
                rows += [_case(kind, seconds, agent, port, context) for kind in only]
    return rows


def _is_served(port: int, context: ssl.SSLContext | None) -> bool:
    with suppress(OSError), closing(connect(port, context, "127.0.0.1")) as client:
        scrape(client)
        return True
    return False


def _case(kind: str, seconds: float, agent: AgentProcess, port: int, context: ssl.SSLContext | None) -> Row:
    kept, fresh = (
        ScrapeClient(port, context, "127.0.0.1", 0.02, kept=True),
        ScrapeClient(port, context, "127.0.0.3", 0.2, kept=False),
    )
    with attack(kind, port, context is not None) as attempts:
        cpu_before, began_s = of_family(cpu_s, agent.pid), time.monotonic()
        threads = [threading.Thread(target=scraper.run, args=(seconds,)) for scraper in (kept, fresh)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took_s = time.monotonic() - began_s
        cpu = (of_family(cpu_s, agent.pid) - cpu_before) / took_s
    p50, p95, p99 = (statistics.quantiles(kept.took_ms, n=100, method="inclusive")[k] for k in (49, 94, 98))
    fresh_p95 = statistics.quantiles(fresh.took_ms, n=20, method="inclusive")[18]
    failed = kept.failed + fresh.failed
    return {
        "kind": kind, "tls": context is not None, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "scrapes": len(kept.took_ms),
        "new_p95_ms": fresh_p95, "failed": failed, "attempts_per_s": attempts[0] / took_s, "cpu": cpu,
        "ok": p95 <= BAR_MS and not failed,
    }  # fmt: skip
