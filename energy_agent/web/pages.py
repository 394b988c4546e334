"""Content of the agent's web server: /metrics, /healthz, /readyz and a landing page. No sockets, no credentials."""

import gzip
import html
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

from energy_agent.core.energy import Identity
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.exposition.openmetrics import Format, negotiate
from energy_agent.web.http1 import PLAIN, ServerResponse, plain

_log = logging.getLogger(__name__)


class PublishedSnapshot(Protocol):
    """A snapshot of any of our processes; immutable."""

    @property
    def boot_ns(self) -> int:
        """Boot-clock ns at which it was taken."""
        ...

    @property
    def identity(self) -> Identity:
        """The process that took it."""
        ...

    @property
    def summary(self) -> str:
        """Its state, in a few words."""
        ...


Source = Callable[[], PublishedSnapshot | None]
"""Gives the newest published snapshot, None before the first; must not wait."""
Render = Callable[[Any, Format], bytes]
"""The body of /metrics of such a snapshot."""

_COMPRESSED_FROM_B = 8 << 10
_GZIP = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q\s*=\s*(?:1(?:\.0{0,3})?|0\.\d{0,2}[1-9]\d{0,2})\s*)?(?:,|$)", re.I)

PROBES = ("/healthz", "/readyz")
ALL = ("/", *PROBES, "/metrics")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_LANDING_HEADERS = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer", "X-Frame-Options": "deny"}
_LANDING = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Wattlens</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}}
td{{padding-right:1.5rem}}</style></head><body>
<h1>Wattlens</h1><p>{state}</p>
<table>{facts}</table>
<ul><li><a href="/metrics">/metrics</a> for Prometheus</li><li><a href="/readyz">/readyz</a> the agent takes snapshots</li>
<li><a href="/healthz">/healthz</a> the process is running</li></ul></body></html>
"""


class RequestHandler:
    """Responses to whole requests; any thread may call."""

    def __init__(
        self, source: Source, clock: Clock, stale_after_s: float, render: Render, paths: tuple[str, ...] = ALL
    ) -> None:
        """`paths` are served; a snapshot older than `stale_after_s` is not shown."""
        self._source, self._clock, self._stale_after_s, self._render = source, clock, stale_after_s, render
        self._paths = tuple(sorted(paths))
        self._lock = threading.Lock()
        self._built: dict[tuple[Format, bool], tuple[PublishedSnapshot, ServerResponse]] = {}
        self._newest: PublishedSnapshot | None = None
        self._scraped_ns: dict[tuple[Format, bool], tuple[int, int]] = {}  # the last two requests, boot clock

    def answer(self, method: str, path: str, accept: str, encodings: str = "") -> ServerResponse:
        """The response, of whatever status. `encodings` is the header Accept-Encoding."""
        if path not in self._paths:
            return plain(404, f"not found; available: {' '.join(self._paths)}")
        if method not in ("GET", "HEAD"):
            return ServerResponse(405, PLAIN, b"GET or HEAD\n", {"Allow": "GET, HEAD"})
        if path == "/healthz":
            return plain(200, "ok")
        snapshot = self._source()
        trouble = self._trouble(snapshot)
        if path == "/":
            return _landing(snapshot, trouble)
        if snapshot is None or trouble:
            return plain(503, trouble)
        if path == "/readyz":
            return plain(200, "ok")
        form = negotiate(accept), _accepts_gzip(encodings)
        now_ns = self._clock.boot_ns()
        self._scraped_ns[form] = self._scraped_ns.get(form, (now_ns, now_ns))[1], now_ns
        return self._metrics(snapshot, *form)

    def prepare(self) -> None:
        """Build the response of a new snapshot ahead if the next request is expected before another snapshot.

        It is expected as long after the last request as that came after the one before it.
        """
        last, self._newest = self._newest, self._source()
        if self._newest is None or last is None or last is self._newest:
            return
        now_ns, interval_ns = self._clock.boot_ns(), self._newest.boot_ns - last.boot_ns
        for form, (before_ns, last_ns) in tuple(self._scraped_ns.items()):
            if before_ns < last_ns and abs(2 * last_ns - before_ns - now_ns) <= interval_ns:
                self._metrics(self._newest, *form)

    def _trouble(self, snapshot: PublishedSnapshot | None) -> str:
        """Why there is nothing fit to show, or ''."""
        if snapshot is None:
            return "no snapshot has been taken yet"
        age_s = (self._clock.boot_ns() - snapshot.boot_ns) / NS_PER_S
        return f"the last snapshot is {age_s:.0f} s old" if age_s > self._stale_after_s else ""

    def _metrics(self, snapshot: PublishedSnapshot, fmt: Format, compressed: bool) -> ServerResponse:
        with self._lock:  # several scrapers of one snapshot share its response, also where it is a defect's
            response = self._reuse(snapshot, (fmt, False), lambda last: self._build(snapshot, fmt, last))
            if compressed and len(response.body) > _COMPRESSED_FROM_B:
                return self._reuse(snapshot, (fmt, True), lambda _: _compress(response))
            return response

    def _reuse(
        self,
        snapshot: PublishedSnapshot,
        key: tuple[Format, bool],
        build: Callable[[ServerResponse | None], ServerResponse],
    ) -> ServerResponse:
        last = self._built.get(key)
        if last is None or last[0] is not snapshot:
            last = self._built[key] = snapshot, build(None if last is None else last[1])
        return last[1]

    def _build(self, snapshot: PublishedSnapshot, fmt: Format, last: ServerResponse | None) -> ServerResponse:
        try:
            return ServerResponse(200, fmt.value, self._render(snapshot, fmt), {"Vary": "Accept-Encoding"})
        except Exception:  # noqa: BLE001 - a defect costs responses, and nothing else
            if last is None or last.status == 200:  # once, until a snapshot can be rendered again
                _log.exception("cannot render the last snapshot")
            return plain(500, "cannot render the last snapshot: see the log")


@lru_cache(16)
def _accepts_gzip(encodings: str) -> bool:
    return bool(_GZIP.search(encodings))


def _compress(response: ServerResponse) -> ServerResponse:
    body = gzip.compress(response.body, 1, mtime=0)  # level 6 takes three times the CPU for a seventh fewer bytes
    return replace(response, body=body, headers={**response.headers, "Content-Encoding": "gzip"})


def _landing(snapshot: PublishedSnapshot | None, trouble: str) -> ServerResponse:
    facts: dict[str, str] = {}
    if snapshot is not None:
        identity = snapshot.identity
        facts = {"Version": identity.version, "Cluster": identity.cluster, "Node": identity.node}
        facts["State"] = snapshot.summary + (" (simulated hardware)" if identity.simulated else "")
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
    state = html.escape(f"Not ready: {trouble}." if trouble else "Ready.")
    body = _LANDING.format(state=state, facts=rows).encode("utf-8", "replace")
    return ServerResponse(200, "text/html; charset=utf-8", body, _LANDING_HEADERS)
