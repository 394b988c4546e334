"""Read inference servers' counters at both ends of a window, and once per second between for restarts and batch size."""

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.tokens import TokenDelta, joined
from energy_agent.runtime.network.tls import TlsFiles
from energy_agent.runtime.threads import start_thread
from energy_agent.sdk.measure.window_tokens import CounterInterval, WindowTokens, window_tokens
from energy_agent.tokens.account import EndpointAccount
from energy_agent.tokens.endpoint import check_url, fetch
from energy_agent.tokens.reading import ModelReading
from energy_agent.tokens.response_parser import names_of, read
from energy_agent.tokens.server_spec import COUNTS, TokenServer

ENDPOINTS_LIMIT = 64
_PERIOD_S = 1.0
_SHORTEST_S = 0.1  # of real time, on a node whose time runs fast
_BROKEN = (WattlensError, OSError, ValueError, ArithmeticError, LookupError)  # whatever a hostile page does to us is a reason


class TokenEndpoints:
    """`with TokenEndpoints(...) as pages:` around the window; `pages.read_window(seconds, opened_ns)` after it."""

    def __init__(self, urls: Sequence[str], server: str, clock: Clock, ca_file: Path | None = None) -> None:
        """Nothing is read yet. `ca_file`: CA certificates of https:// endpoints, instead of the system's.

        Raises:
            UsageError: an address is not http:// or https://, or there twice, there are too many, or no such server is known.
        """
        if len(urls) > ENDPOINTS_LIMIT or len(set(urls)) < len(urls):
            raise UsageError(
                f"measure: --tokens-from: expected at most {ENDPOINTS_LIMIT} different metrics endpoints; tokens of a "
                "duplicate would count twice"
            )
        self._spec, self._server, self._clock = _server(server), server, clock
        self._urls, self._tls = urls, TlsFiles(ca_file)
        self._endpoints = [_Endpoint(url, self._spec, clock, self._tls) for url in urls]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="tokens", daemon=True)

    def __enter__(self) -> Self:
        """Read each page; the window should open at once."""
        for endpoint in self._endpoints:
            endpoint.read()
        start_thread(self._thread)
        return self

    def __exit__(self, *_: object) -> None:
        """Poll no more."""
        self._stop.set()
        self._thread.join()

    def check(self) -> str:
        """Read each page, before the window; why one cannot be read, or "" where all can."""
        endpoints = [_Endpoint(url, self._spec, self._clock, self._tls) for url in self._urls]
        for endpoint in endpoints:
            endpoint.read()
        return next((endpoint.reason for endpoint in endpoints if endpoint.reason), "")

    def read_window(self, seconds: float, opened_ns: int | None = None) -> WindowTokens:
        """Read each page a last time; what they counted over a window of `seconds` that has just ended.

        Args:
            seconds: length of the window.
            opened_ns: when it began, by the boot clock; where it is not given the window's edges are wider.
        """
        self._stop.set()
        self._thread.join()
        intervals: list[CounterInterval] = []
        source = " ".join(endpoint.name for endpoint in self._endpoints)
        for endpoint in self._endpoints:
            endpoint.read()
            if endpoint.reason:
                return WindowTokens(source, self._server, self._spec.moves, reason=endpoint.reason)
            intervals.append(endpoint.interval(seconds, opened_ns))
        return window_tokens(intervals, source, self._server, self._spec.moves)

    def _poll(self) -> None:
        wait_s = 0.0  # the first one soon after the window opened bounds what was counted before
        while not self._stop.wait(wait_s):
            for endpoint in self._endpoints:
                endpoint.read(between=True)
            wait_s = max(_SHORTEST_S, self._clock.real_seconds(_PERIOD_S))


class _Endpoint:
    """Readings of one metrics endpoint; `reason` has the cause if they contain no tokens."""

    def __init__(self, url: str, spec: TokenServer, clock: Clock, tls: TlsFiles) -> None:
        parts = check_url(url, "measure: --tokens-from")
        self._url, self._spec, self._clock, self._tls = url, spec, clock, tls
        self.name = parts._replace(query="", fragment="").geturl()  # a query may hold a secret, and this is saved
        self.reason = ""
        self._account = EndpointAccount("", self.name, live=spec.moves == "step")
        self._first: list[ModelReading] = []
        self._last: list[ModelReading] = []
        self._asked_ns = self._answered_ns = 0
        self._deltas: dict[str, list[TokenDelta]] = {}
        self._running: list[tuple[int, int | None]] = []  # instants in ns, and the batch there
        self._counted: list[tuple[int, int, int, int]] = []  # of each reading: asked, answered, tokens generated and computed

    def read(self, *, between: bool = False) -> None:
        """Read it. One that does not answer between the ends makes an interval longer and nothing else."""
        if self.reason:
            return
        asked_ns = self._clock.boot_ns()
        try:
            response = fetch(self._url, names_of(self._spec), tls=self._tls, ca_option="--tokens-ca-file")
            answered_ns = self._clock.boot_ns()
            readings = read(self._spec, response, self._clock.utc_ns())
            deltas = self._account.feed(readings, self._clock.utc_ns())
        except _BROKEN as error:
            self.reason = "" if between else (str(error) or type(error).__name__).replace(self._url, self.name)
            return
        self._answered_ns = answered_ns
        if not self._first:
            self._first, self._asked_ns = readings, asked_ns
        self._last = readings
        for delta in deltas:
            self._deltas.setdefault(delta.model, []).append(delta)
        _, _, generation, computed = self._counted[-1] if self._counted else (0, 0, 0, 0)
        generation += sum(delta.generation or 0 for delta in deltas)
        self._counted.append((asked_ns, answered_ns, generation, computed + sum(delta.computed or 0 for delta in deltas)))
        batch = [e.gauges["running"] for reading in readings for e in reading.engines if "running" in e.gauges]
        self._running.append((self._answered_ns, sum(batch) if batch else None))
        if any(delta.restarted for delta in deltas):
            self.reason = f"an engine of {self.name} restarted during the window: its tokens before the restart are unknown"
        elif not _engines(self._first) <= _engines(readings) and not between:
            self.reason = f"an engine of {self.name} was missing at the end of the window: its tokens are unknown"

    def interval(self, seconds: float, opened_ns: int | None) -> CounterInterval:
        """What it counted around a window of `seconds` from `opened_ns` on; call it after the last reading."""
        length_s = (self._answered_ns - self._asked_ns) / NS_PER_S
        counts = [self._counts(model) for model in self._deltas]
        counts = [each for each in counts if each]  # a gauge without the model's name is no model
        running = [(t_ns, n) for t_ns, n in self._running if n is not None]
        return CounterInterval(
            tuple(self._deltas),
            len(_engines(self._first)),
            {key: sum(each[key] for each in counts) for key in COUNTS if counts and all(key in each for each in counts)},
            (self._running[0][1], self._running[-1][1]),
            _mean(running),
            length_s,
            max(0.0, length_s - seconds),
            None if opened_ns is None else self._edge_counts(opened_ns, opened_ns + round(seconds * NS_PER_S)),
            self._shortest_step_s(),
        )

    def _edge_counts(self, opened_ns: int, closed_ns: int) -> tuple[int, int] | None:
        """Tokens counted up to the first reading within a window, and from the last one within it."""
        inside = [each for each in self._counted if each[0] >= opened_ns and each[1] <= closed_ns]
        if not inside:
            return None
        first, last, end = inside[0], inside[-1], self._counted[-1]
        return first[2] + end[2] - last[2], first[3] + end[3] - last[3]

    def _shortest_step_s(self) -> float:
        """Lower bound of the time between two tokens, from the histogram; 0 if it is not available."""
        itl = joined(delta.itl for deltas in self._deltas.values() for delta in deltas if delta.itl is not None)
        if itl is None or not itl.count:
            return 0.0
        place = next(place for place, count in enumerate(itl.counts) if count)
        return itl.edges[place - 1] if place else 0.0

    def _counts(self, model: str) -> dict[str, int]:
        """What the counters of a model moved by, as far as they could be read at both ends."""
        ends = [reading for reading in (*self._first, *self._last) if reading.model == model]
        unread = {key for reading in ends for engine in reading.engines for key in engine.unreadable}
        if unread & {"prompt", "cached"}:
            unread.add("computed")
        deltas = self._deltas[model]
        return {
            key: sum(getattr(d, key) or 0 for d in deltas)
            for key in COUNTS
            if key not in unread and any(getattr(d, key) is not None for d in deltas)
        }


def _mean(at: list[tuple[int, int]]) -> float | None:
    """Over time, between the first and the last, as if it went straight from each to the next."""
    if len(at) < 2 or at[-1][0] <= at[0][0]:
        return None
    area = sum((t1 - t0) * (n0 + n1) / 2 for (t0, n0), (t1, n1) in pairwise(at))
    return area / (at[-1][0] - at[0][0])


def _engines(readings: list[ModelReading]) -> set[tuple[str, str]]:
    return {(reading.model, engine.engine) for reading in readings for engine in reading.engines}


def _server(name: str) -> TokenServer:
    import energy_agent.tokens.servers as package
    from energy_agent.core import plugin

    server_names = [each for each in plugin.names(package) if each != "mapping"]
    if name not in server_names:
        raise UsageError(f"measure: --token-server {name!r}: unknown server; known: {', '.join(server_names)}")
    spec: TokenServer = plugin.load(package, name)
    return spec
