"""A fleet's /metrics pages from one process on loopback: so many nodes of eight GPUs, and their sites.

Run from the repository's root: python -m benchmarks.fleet_load [--nodes 1000] [--sites 4] [--port 9500] [--save FILE]

The pages are those that the real agent and the real site process printed on the simulated node (`fleet_capture`), with names
of each node's own and values that move by physics (`fleet_model`). `/targets` is what `http_sd_configs` of Prometheus asks for:
all targets are this one address, each with its path, `instance` and `site`.
"""

import argparse
import asyncio
import json
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.fleet_capture import Capture, Shot, take
from benchmarks.fleet_model import Fleet, Target

HEAD_MAX_B = 16 << 10
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
TEXT, JSON = b"text/plain; version=0.0.4; charset=utf-8", b"application/json"


class Pages:
    """The answers by path."""

    def __init__(self, fleet: Fleet, address: str) -> None:
        self._targets = {f"/{t.name}/metrics": (t, t.page_format()) for t in fleet.targets}
        self._groups = json.dumps([_group(t, address) for t in fleet.targets]).encode()

    def answer(self, path: str) -> bytes:
        """Head and body."""
        if path == "/targets":
            return _OK % (JSON, len(self._groups)) + self._groups
        found = self._targets.get(path)
        if found is None:
            return _MISSING
        target, form = found
        body = (form % tuple(target.values([time.time()])[0].tolist())).encode()
        return _OK % (TEXT, len(body)) + body


def _group(target: Target, address: str) -> dict[str, object]:
    labels = {"__metrics_path__": f"/{target.name}/metrics", "instance": target.name, "job": target.job, **dict(target.more)}
    return {"targets": [address], "labels": labels}


class _Connection(asyncio.Protocol):
    """Requests of one client, one after the other."""

    def __init__(self, pages: Pages) -> None:
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


async def serve(fleet: Fleet, port: int, ready: "asyncio.Event | None" = None) -> None:
    """Until it is cancelled."""
    pages = Pages(fleet, f"127.0.0.1:{port}")
    server = await asyncio.get_running_loop().create_server(partial(_Connection, pages), "127.0.0.1", port, backlog=1024)
    if ready is not None:
        ready.set()
    async with server:
        await server.serve_forever()


def save(capture: Capture, path: Path) -> None:
    """Keep a capture for another run."""
    shots = {name: [[s.text, s.at_s] for s in getattr(capture, name)] for name in ("node", "site")}
    path.write_text(json.dumps(shots))


def kept(path: str) -> Capture:
    """A capture that --save kept, as an argument.

    Raises:
        argparse.ArgumentTypeError: there is none.
    """
    try:
        shots = json.loads(Path(path).read_text())
        node, site = (tuple(Shot(*each) for each in shots[name]) for name in ("node", "site"))
        return Capture((node[0], node[1]), (site[0], site[1]))
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise argparse.ArgumentTypeError(f"{path} holds no pages that benchmarks.fleet_load --save kept: {error}") from None


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; with --save keep the pages alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--port", type=int, default=9500)
    parser.add_argument("--start", type=float, default=time.time(), help="UTC s at which counters begin to move (default: now)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the captured pages, and stop")
    parser.add_argument("--from", dest="source", type=kept, metavar="FILE", help="take the pages that were kept")
    args = parser.parse_args(argv)
    capture = args.source or take()
    if args.save:
        save(capture, args.save)
        return 0
    fleet = Fleet(capture, args.nodes, args.sites, args.start)
    print(f"http://127.0.0.1:{args.port}/targets: {len(fleet.targets)} targets", file=sys.stderr, flush=True)
    try:
        asyncio.run(serve(fleet, args.port))
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
