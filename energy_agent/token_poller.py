"""Polls inference servers' pages, each in a thread of its own, and hands over token rows; a silent server blocks nobody."""

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from energy_agent.config import TokenSource
from energy_agent.core import plugin
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.ports import Clock
from energy_agent.core.types import SourceHealth, Tokens
from energy_agent.sources.tokens._reading import TOKEN_STATE, TokenDelta, TokenReading, TokenServer, advance

log = logging.getLogger("wattlens.tokens")

PHASES = ("prompt", "cached", "generation")


@dataclass(slots=True)
class _Poll:
    source: TokenSource
    server: TokenServer
    stop: threading.Event = field(default_factory=threading.Event)
    previous: dict[str, TokenReading] = field(default_factory=dict)
    up: bool = False
    reason: str = "not read yet"
    last_success_ns: int | None = None


class TokenPoller:
    """All configured servers. `drain` gives the rows since the last call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: list[Tokens] = []
        self._states: dict[str, str] = {}
        self._before: dict[str, TokenReading] = {}
        self._polls: list[_Poll] = []

    def configure(self, wanted: Iterable[TokenSource]) -> None:
        """Poll these servers and no others.

        Raises:
            UsageError: a source names a server that has no file in energy_agent/sources/tokens.
        """
        wanted = list(wanted)
        kept = [p for p in self._polls if p.source in wanted]
        fresh = [_Poll(s, _server(s.server)) for s in wanted if all(p.source != s for p in kept)]
        for poll in fresh:
            prefix = f"{TOKEN_STATE}{poll.source.workload}/"
            poll.previous = {r.model: r for key, r in self._before.items() if key.startswith(prefix)}
        for poll in self._polls:
            if poll not in kept:
                poll.stop.set()
        self._polls = kept + fresh
        for poll in fresh:
            threading.Thread(target=self._run, args=(poll,), name=f"tokens-{poll.source.workload}", daemon=True).start()

    def drain(self) -> tuple[list[Tokens], dict[str, str]]:
        """Rows since the last call, and by key where the counters stand at their end: to be committed together."""
        with self._lock:
            rows, self._rows = self._rows, []
            states, self._states = self._states, {}
        return rows, states

    def restore(self, states: Mapping[str, str]) -> None:
        """Go on from the counters of the last commit, so that tokens of the time in between are counted with its energy.

        Call it before `configure`. What cannot be read is left out: counting then begins with the next reading.
        """
        for key, text in states.items():
            try:
                self._before[key] = TokenReading(**json.loads(text))
            except (TypeError, ValueError):
                log.warning("last reading %s in the journal is not readable: its tokens count from the next one on", key)

    def latest(self, workload: str) -> TokenReading | None:
        """The last reading of a workload's server; of several models the one that generated most. None while it is silent."""
        with self._lock:
            found = [r for p in self._polls if p.source.workload == workload and p.up for r in p.previous.values()]
        return max(found, key=lambda r: r.generation or 0, default=None)

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether each server answers."""
        with self._lock:
            return tuple(
                SourceHealth(f"tokens:{p.source.workload}", p.up, "", p.reason, p.last_success_ns) for p in self._polls
            )

    def stop(self) -> None:
        """Stop polling; threads end with their next wait."""
        self.configure(())

    def _run(self, poll: _Poll) -> None:
        from energy_agent.sources.tokens._page import fetch

        while not poll.stop.is_set():
            try:
                page = fetch(poll.source.url, timeout_s=min(2.0, poll.source.period_s * 2))
                self._book(poll, poll.server.read(page, self._clock.utc_ns()))
            except (WattlensError, OSError, ValueError, ArithmeticError, LookupError) as error:
                # Whatever a hostile page does to us is a reason, not the end of this thread.
                with self._lock:
                    poll.up, poll.reason = False, str(error) or type(error).__name__
            poll.stop.wait(poll.source.period_s)

    def _book(self, poll: _Poll, readings: list[TokenReading]) -> None:
        rows = []
        for reading in readings:
            before = poll.previous.get(reading.model)
            # The first reading is the zero point: what the server did before we came is not ours to join with joules.
            rows += _rows(poll.source.workload, advance(before, reading)) if before is not None else _zero(poll, reading)
        with self._lock:
            poll.previous |= {r.model: r for r in readings}
            poll.up, poll.reason, poll.last_success_ns = True, "", self._clock.utc_ns()
            self._rows += rows
            for reading in readings:
                self._states[f"{TOKEN_STATE}{poll.source.workload}/{reading.model}"] = json.dumps(asdict(reading))


def _rows(workload: str, delta: TokenDelta) -> list[Tokens]:
    counts = ((phase, getattr(delta, phase)) for phase in PHASES)
    return [Tokens(delta.start_ns, delta.end_ns, workload, delta.model, phase, n) for phase, n in counts if n is not None]


def _zero(poll: _Poll, reading: TokenReading) -> list[Tokens]:
    """Counters appear at 0 when they are first seen."""
    at, workload = reading.t_ns, poll.source.workload
    return [Tokens(at, at, workload, reading.model, phase, 0) for phase in PHASES if getattr(reading, phase) is not None]


def _server(name: str) -> TokenServer:
    import energy_agent.sources.tokens as package

    try:
        spec: TokenServer = plugin.load(package, name)
    except LookupError:
        known = ", ".join(plugin.names(package))
        raise UsageError(f"key 'tokens.server': no server {name!r}; known: {known}") from None
    return spec
