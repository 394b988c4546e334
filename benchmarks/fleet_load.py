"""The `/metrics` responses of a fleet from one process on loopback: nodes of eight GPUs, and their sites.

Run from the repository's root: python -m benchmarks fleet_load [--nodes 1000] [--sites 4] [--port 9500] [--pages FILE]

The responses are those of the real agent and the real site process on the simulated node (`fleet_capture`), with each node's
own names and values that change by physics (`fleet_model`). `/targets` serves `http_sd_configs` of Prometheus: all targets have
this one address, each with its path, `instance` and `site`.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks import fleet_capture
from benchmarks.fleet_model import ScrapedFleet, ScrapeTarget
from benchmarks.runner import Row, say

HEAD_MAX_B = 16 << 10
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
TEXT, JSON = b"text/plain; version=0.0.4; charset=utf-8", b"application/json"


class FleetResponses:
    """Metrics responses by path."""

    def __init__(self, fleet: ScrapedFleet, address: str) -> None:
        self._targets = {f"/{t.name}/metrics": (t, t.page_format()) for t in fleet.targets}
        self._groups = json.dumps([_group(t, address) for t in fleet.targets]).encode()

    def answer(self, path: str) -> bytes:
        """Head and body."""
        if path == "/targets":
            return _OK % (JSON, len(self._groups)) + self._groups
        entry = self._targets.get(path)
        if entry is None:
            return _MISSING
        target, form = entry
        body = (form % tuple(target.values([time.time()])[0].tolist())).encode()
        return _OK % (TEXT, len(body)) + body


def _group(target: ScrapeTarget, address: str) -> dict[str, object]:
    labels = {"__metrics_path__": f"/{target.name}/metrics", "instance": target.name, "job": target.job, **dict(target.more)}
    return {"targets": [address], "labels": labels}


class _Connection(asyncio.Protocol):
    """Requests of one client, one after the other."""

    def __init__(self, pages: FleetResponses) -> None:
        self._pages, self._head = pages, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        while b"\r\n\r\n" in self._head:
            head, _, self._head = self._head.partition(b"\r\n\r\n")
            self._transport.write(self._pages.answer(head.split(b" ", 2)[1].decode(errors="replace")))
        if len(self._head) > HEAD_MAX_B:
            self._transport.close()


async def serve(fleet: ScrapedFleet, port: int) -> None:
    """Until it is cancelled."""
    pages = FleetResponses(fleet, f"127.0.0.1:{port}")
    server = await asyncio.get_running_loop().create_server(partial(_Connection, pages), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


def run(nodes: int = 1000, sites: int = 4, port: int = 9500, start: float = 0.0, pages: Path | None = None) -> Iterator[Row]:
    """Serve until SIGINT or SIGTERM; counters start to increase at `start`, UTC s, 0: now. `pages`: file of captures."""
    fleet = ScrapedFleet(fleet_capture.pages(pages), nodes, sites, start or time.time())
    say(f"http://127.0.0.1:{port}/targets: {len(fleet.targets)} targets")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(fleet, port))
    yield {"targets": len(fleet.targets)}
