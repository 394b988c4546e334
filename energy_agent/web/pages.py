"""What the agent's web server shows: /metrics, /healthz, /readyz and a landing page. No socket, no credentials."""

import html
import logging
from collections.abc import Callable
from typing import Any

from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.exposition.openmetrics import Format, negotiate
from energy_agent.web.http1 import PLAIN, Request, Response
from energy_agent.web.page_cache import PageCache, Published

_log = logging.getLogger(__name__)

Source = Callable[[], Published | None]
"""Gives the newest published snapshot, None before the first; must not wait."""
Render = Callable[[Any, Format], bytes]
"""The body of /metrics of such a snapshot."""

PROBES = ("/healthz", "/readyz")
ALL = ("/", *PROBES, "/metrics")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Wattlens</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}}
td{{padding-right:1.5rem}}</style></head><body>
<h1>Wattlens</h1><p>{state}</p>
<table>{facts}</table>
<ul><li><a href="/metrics">/metrics</a> for Prometheus</li><li><a href="/readyz">/readyz</a> snapshots are taken</li>
<li><a href="/healthz">/healthz</a> the process lives</li></ul></body></html>
"""


def _in(render: Render, fmt: Format) -> Callable[[Any], bytes]:
    return lambda snapshot: render(snapshot, fmt)


class Pages:
    """Answers to whole requests; any thread may ask."""

    def __init__(
        self, source: Source, clock: Clock, stale_after_s: float, render: Render, paths: tuple[str, ...] = ALL
    ) -> None:
        """`paths` of these are there; a snapshot older than `stale_after_s` is not shown."""
        self._source, self._clock, self._stale_after_s = source, clock, stale_after_s
        known = {"/metrics": self._metrics, "/healthz": self._health, "/readyz": self._ready, "/": self._landing}
        self._handlers = {path: known[path] for path in sorted(paths)}
        self._pages = {fmt: PageCache(_in(render, fmt)) for fmt in Format}

    def answer(self, request: Request) -> Response:
        """The answer, of whatever status."""
        handler = self._handlers.get(request.path)
        if handler is None:
            return Response(404, PLAIN, f"there is: {' '.join(self._handlers)}\n".encode())
        if request.method not in ("GET", "HEAD"):
            return Response(405, PLAIN, b"GET or HEAD\n", (("Allow", "GET, HEAD"),))
        return handler(request)

    def _trouble(self, snapshot: Published | None) -> str:
        """Why there is nothing fit to show, or ''."""
        if snapshot is None:
            return "no snapshot has been taken yet"
        age_s = (self._clock.boot_ns() - snapshot.boot_ns) / NS_PER_S
        return f"the last snapshot is {age_s:.0f} s old" if age_s > self._stale_after_s else ""

    def _metrics(self, request: Request) -> Response:
        snapshot = self._source()
        trouble = self._trouble(snapshot)
        if snapshot is None or trouble:
            return Response(503, PLAIN, f"{trouble}\n".encode())
        fmt = negotiate(request.headers.get("accept", ""))
        try:
            return Response(200, fmt.value, self._pages[fmt].body(snapshot))
        except Exception:  # noqa: BLE001 - a defect costs this answer, and is in the log
            _log.exception("snapshot %d cannot be rendered", snapshot.sequence)
            return Response(500, PLAIN, b"the page cannot be rendered: see the log\n")

    def _health(self, _: Request) -> Response:
        return Response(200, PLAIN, b"ok\n")

    def _ready(self, _: Request) -> Response:
        trouble = self._trouble(self._source())
        return Response(503 if trouble else 200, PLAIN, f"{trouble or 'ok'}\n".encode())

    def _landing(self, _: Request) -> Response:
        snapshot = self._source()
        facts: dict[str, str] = {}
        if snapshot is not None:
            identity = snapshot.identity
            facts = {"Version": identity.version, "Cluster": identity.cluster, "Node": identity.node}
            facts["State"] = snapshot.summary + (" (simulated hardware)" if identity.simulated else "")
        rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
        state = html.escape(f"Not ready: {trouble}." if (trouble := self._trouble(snapshot)) else "Ready.")
        page = _PAGE.format(state=state, facts=rows).encode("utf-8", "replace")
        headers = (("Content-Security-Policy", _POLICY), ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "deny"))
        return Response(200, "text/html; charset=utf-8", page, headers)
