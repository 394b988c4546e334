"""Poll the metrics endpoints of inference servers, one thread each; an unresponsive endpoint delays no other."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from energy_agent.config.tokens import TokenSource
from energy_agent.core import plugin
from energy_agent.core.energy import SourceHealth, Tokens
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.tokens import Latencies, TokenDelta, TokenTotals, joined
from energy_agent.runtime.network.tls import TlsFiles
from energy_agent.runtime.poller import NOT_READ, stop_all
from energy_agent.tokens.account import KEPT_LIMIT, TOTALS_LIMIT, rows, zeros
from energy_agent.tokens.counter_state import encode
from energy_agent.tokens.endpoint import LINES_LIMIT, TIMEOUT_S, fetch
from energy_agent.tokens.polled_endpoint import NOBODY, Poll, periods_s
from energy_agent.tokens.response_parser import names_of, read
from energy_agent.tokens.server_spec import TokenServer
from energy_agent.tokens.servers import mapping

log = logging.getLogger("wattlens.tokens")

ANSWER_S = 0.09
"""Endpoints that answer within it are published with the joules of the same instant.

A load in bursts makes many times its mean of tokens in a second: were tokens a second older than joules, a window of a minute
would be off by percents.
"""
ENDPOINTS_LIMIT = 512
DELTAS_KEPT = 4096
HANG_S = 5.0
_LINES_ALL, _LINES_LEAST = 40_000, 500
_TOTALS_LEAST = 100
"""What all endpoints together may have is divided among them, but for what every engine has."""
fetch_directly = partial(fetch, direct=True)
"""A tenant's server has an address of the node's network, for which nobody writes NO_PROXY."""
_COST_KEPT = 0.7  # an endpoint that is costly now and then counts as one that nearly always is
_STATE_B_PER_S = 5e6  # what a byte of the journal costs, as CPU time


@dataclass(frozen=True, slots=True)
class ModelProgress:
    """How far a workload is with a model, over all its pages; counts never fall while the pages stay the same."""

    boot_ns: int  # when the newest of its pages was read
    generation: int | None
    computed: int | None  # prompt tokens
    requests: int | None  # ended
    running: int | None
    waiting: int | None
    ttft: Latencies | None
    itl: Latencies | None
    tpot: Latencies | None = None


class TokenPoller:
    """All pages, configured and discovered ones. `drain` gives what came since the last call."""

    def __init__(self, clock: Clock, fetch: Callable[..., str] = fetch_directly, hang_s: float = HANG_S) -> None:
        """`fetch` reads an endpoint; one that takes longer than `hang_s` is down."""
        self._clock, self._fetch, self._hang_s = clock, fetch, hang_s
        self._parsing = threading.Lock()  # parsing holds the interpreter: one response at a time
        self._lock = threading.RLock()
        self._rows: list[Tokens] = []
        self._deltas: deque[TokenDelta] = deque(maxlen=DELTAS_KEPT)
        self._states: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._polls: list[Poll] = []
        self._ended: list[Poll] = []  # since the last call of drain
        self._configured: tuple[TokenSource, ...] = ()
        self._discovered: tuple[TokenSource, ...] = ()

    def configure(self, wanted: Iterable[TokenSource]) -> None:
        """Poll these servers in addition to the discovered ones, and no others.

        Raises:
            UsageError: a source names a server that has no file in energy_agent/tokens/servers.
        """
        wanted = tuple(wanted)
        for source in wanted:
            server_of(source)
        self._configured = wanted
        self._apply()

    def discover(self, sources: Iterable[TokenSource]) -> None:
        """Poll these servers too, and no others that were discovered before.

        Of a workload that the configuration names only its pages are polled. By now all that goes on is known, so that what the
        last commit has of other pages is let go.
        """
        self._discovered = tuple(sources)
        self._apply()
        with self._lock:
            self._states |= dict.fromkeys(self._before, "")
        self._before = {}

    def drain(self) -> tuple[list[Tokens], dict[str, str], tuple[TokenTotals, ...]]:
        """Rows since the last call, by page where the counters stand at their end, and what all pages did so far: one commit.

        An endpoint that is not polled any more contributes its last totals once; then its state is empty.
        """
        for poll, period_s in zip(self._polls, periods_s([(p.cost_s, p.source.period_s) for p in self._polls]), strict=True):
            poll.period_s = period_s
        with self._lock:
            self._mark_down()
            counted, self._rows = self._rows, []
            states, self._states = self._states, {}
            ended, self._ended = self._ended, []
            self._states = {p.key: "" for p in ended if all(p.key != each.key for each in self._polls)}
            return counted, states, tuple(t for p in (*self._polls, *ended) for t in p.totals)

    @property
    def answer_s(self) -> float:
        """How long after a reading of the devices what endpoints counted by then is here."""
        return ANSWER_S if self._polls else 0.0

    def served(self) -> set[tuple[str, str, str]]:
        """What is polled: workload, model and source, as totals and deltas name them."""
        with self._lock:
            return {(t.workload, t.model, t.source) for p in self._polls for t in p.totals}

    def groups(self) -> dict[str, str]:
        """Workloads whose engines are polled, with the group that the configuration gives them, or ""."""
        with self._lock:
            return {t.workload: t.group for p in self._polls for t in p.totals}

    def deltas(self) -> list[TokenDelta]:
        """What engines did since the last call, in order of reading; the newest ones where nobody called for long."""
        with self._lock:
            deltas = list(self._deltas)
            self._deltas.clear()
        return deltas

    def restore(self, states: Mapping[str, str]) -> None:
        """Go on from the counters of the last commit, so that tokens of the time in between are counted with its energy.

        Call it before `configure`. What cannot be read is left out: counting then begins with the next reading.
        """
        self._before = dict(states)

    def latest(self, workload: str) -> ModelProgress | None:
        """How far a workload is; of several models the one that generated most. None while none of its pages answers."""
        with self._lock:
            read = [p for p in self._polls if p.source.workload == workload and p.totals and p.health().up]
            boot_ns = max((p.read_boot_ns for p in read), default=0)
            latest_totals = [t for p in read for t in p.totals]
        models: dict[str, list[TokenTotals]] = {}
        for totals in latest_totals:
            models.setdefault(totals.model, []).append(totals)
        endpoints = max(
            models.values(), key=lambda endpoints: sum(t.counts.get("generation", 0) for t in endpoints), default=None
        )
        if endpoints is None:
            return None
        return ModelProgress(
            boot_ns,
            _sum(t.counts.get("generation") for t in endpoints),
            _sum(t.counts.get("computed", t.counts.get("prompt")) for t in endpoints),
            _sum(t.counts.get("requests") for t in endpoints),
            _sum(t.running for t in endpoints),
            _sum(t.waiting for t in endpoints),
            joined(t.ttft for t in endpoints if t.ttft is not None),
            joined(t.itl for t in endpoints if t.itl is not None),
            joined(t.tpot for t in endpoints if t.tpot is not None),
        )

    def health(self, workloads: Collection[str] | None = None) -> tuple[SourceHealth, ...]:
        """Whether each page answers; and of one that does what is wrong with its entry.

        That are the names of its `mapping` that it has never had, and a workload that is not among `workloads`, which use a
        device (None: unknown), though tokens came for a minute. Where the entry names a group, the devices are those of its
        members.
        """
        with self._lock:
            endpoints: dict[str, int] = {}
            for p in self._polls:
                endpoints[p.source.workload] = endpoints.get(p.source.workload, 0) + 1
            rows = []
            for p in self._polls:
                name = f"tokens:{p.source.workload if endpoints[p.source.workload] == 1 else p.key}"
                health_row = replace(p.health(), source=name)
                rows.append(health_row)
                missing = sorted(p.missing_names or ()) if health_row.up else ()
                rows += [SourceHealth(f"{name}#{key}", False, "", mapping.missing(p.source, key)) for key in missing]
                if workloads is not None and p.nobody and p.source.workload not in workloads:
                    rows.append(SourceHealth(f"{name}#workload", False, "", NOBODY))
            return tuple(rows)

    def stop(self) -> None:
        """Stop polling; threads end with their next wait."""
        polls, self._configured, self._discovered = self._polls, (), ()
        self._apply(forget=False)
        stop_all(polls)

    def _apply(self, *, forget: bool = True) -> None:
        wanted: dict[tuple[str, str], TokenSource] = {}
        configured = {source.workload for source in self._configured}
        for source in (*self._configured, *(s for s in self._discovered if s.workload not in configured)):
            for url in source.endpoints:
                if len(wanted) < ENDPOINTS_LIMIT:
                    wanted.setdefault((source.workload, url), source)
        old = {(p.source.workload, p.url): p for p in self._polls}
        kept = {key: p for key, p in old.items() if wanted.get(key) == p.source}
        ended = [p for key, p in old.items() if key not in kept]
        for poll in ended:
            poll.stop()
        fresh = [
            Poll(self._clock, source, url, server_of(source), self._read, self._hang_s)
            for (workload, url), source in wanted.items()
            if (workload, url) not in kept
        ]
        for poll in fresh:
            self._go_on(poll, old.get((poll.source.workload, poll.url)))
        with self._lock:
            self._polls = [*kept.values(), *fresh]
            if forget:
                for poll in (p for p in ended if (p.source.workload, p.url) not in wanted):
                    poll.totals = poll.account.totals(up=False)
                    self._ended.append(poll)
        for poll in fresh:
            poll.start()

    def _go_on(self, poll: Poll, old: Poll | None) -> None:
        """From where the page's counters stood, under the last configuration or at the last commit."""
        text = self._before.pop(poll.key, "")
        same = old is not None and (old.source.server, old.source.model) == (poll.source.server, poll.source.model)
        with self._lock:
            if old is not None and same:
                text = old.account.dump()
        if not text:
            return
        try:
            poll.account.restore(text)
        except ValueError as error:
            log.warning(
                "the journal's last reading of %s is ignored, tokens count from the next reading on: %s", poll.key, error
            )
        else:
            poll.totals = poll.account.totals(up=False)

    def _mark_down(self) -> None:
        for poll in self._polls:
            health = poll.health()
            if not health.up and health.reason != NOT_READ:
                poll.report(health, health)  # one that hangs does not report itself
                poll.totals = poll.account.totals(up=False)

    def _read(self, poll: Poll) -> None:
        cpu_s, state = time.thread_time(), ""
        try:
            state = self._record_endpoint(poll)
        finally:
            cost_s = time.thread_time() - cpu_s + len(state) / _STATE_B_PER_S
            poll.cost_s = max(cost_s, _COST_KEPT * poll.cost_s)

    def _record_endpoint(self, poll: Poll) -> str:
        """Read an endpoint and record what it counted; returns its state for the journal."""
        among = max(1, len(self._polls))
        lines = min(LINES_LIMIT, max(_LINES_LEAST, _LINES_ALL // among))
        before_ns, before_boot_ns = self._clock.utc_ns(), self._clock.boot_ns()
        response = self._fetch(
            poll.url,
            names_of(poll.server),
            tls=TlsFiles(poll.source.ca_file, verify=poll.source.verify),
            timeout_s=min(TIMEOUT_S, poll.source.period_s * 2),
            lines_limit=lines,
        )
        t_ns, boot_ns = (before_ns + self._clock.utc_ns()) // 2, self._clock.boot_ns()
        elapsed_s = None if poll.fed_boot_ns is None else (boot_ns - poll.fed_boot_ns) / NS_PER_S
        with self._parsing:
            readings = read(poll.server, response, t_ns, poll.source.model)
            standing, deltas = poll.account.advance(
                readings,
                t_ns,
                elapsed_s,
                totals_limit=max(_TOTALS_LEAST, TOTALS_LIMIT // among),
                kept_limit=min(KEPT_LIMIT, 2 * lines),
            )
            state = encode(standing)
            missing_names = mapping.missing_names(poll.source, readings)
        with self._lock:
            if not poll.is_stopping:  # else another poll of the same page goes on from here
                poll.account.accept(standing)
                poll.fed_boot_ns, poll.read_boot_ns = boot_ns, (before_boot_ns + boot_ns) // 2
                poll.first_boot_ns = poll.first_boot_ns or boot_ns
                self._record(poll, deltas, missing_names, t_ns)
                self._states[poll.key] = state
        return state

    def _record(self, poll: Poll, deltas: list[TokenDelta], missing_names: frozenset[str], t_ns: int) -> None:
        before = {t.model: t.counts for t in poll.totals}
        poll.totals = poll.account.totals(up=True)
        poll.missing_names = missing_names if poll.missing_names is None else poll.missing_names & missing_names
        poll.succeeded()
        for delta in deltas:
            self._rows += rows(delta)
        for totals in poll.totals:
            self._rows += zeros(totals, before.get(totals.model, {}), t_ns)
        self._deltas.extend(deltas)


def server_of(source: TokenSource) -> TokenServer:
    """How to read a source's page.

    Raises:
        UsageError: it names a server that has no file in energy_agent/tokens/servers.
    """
    import energy_agent.tokens.servers as package

    if source.mapping is not None:
        return mapping.of(source.mapping)
    try:
        spec: TokenServer = plugin.load(package, source.server)
    except LookupError:
        server_names = ", ".join(plugin.names(package))
        raise UsageError(f"key 'tokens.server': unknown server {source.server!r}; known: {server_names}") from None
    return spec


def _sum(values: Iterable[int | None]) -> int | None:
    """The sum of the known values; None if no value is known."""
    counts = [value for value in values if value is not None]
    return sum(counts) if counts else None
