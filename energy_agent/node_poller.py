"""Polls the meters of the node, each in a thread of its own; a slow, dead or lying one blocks nobody."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from energy_agent.config_node import NodeMeters
from energy_agent.core import plugin
from energy_agent.core.errors import WattlensError
from energy_agent.core.node_types import NodeMeterError, NodeReading, Scope
from energy_agent.core.ports import Clock, NodeMeter
from energy_agent.core.types import SourceHealth
from energy_agent.sources.node._source import NodeSource

log = logging.getLogger("wattlens.node")

BACK_OFF_MAX_S = 60.0
HANGS_S = 65.0  # no source may be configured to wait longer for an answer
STILL_READINGS = 6
QUEUE_MAX = 1_000
"""Readings that wait for the agent's loop; beyond, the oldest go: a counter then bridges, and power leaves a gap."""


@dataclass(slots=True)
class _Poll:
    name: str
    source: NodeSource
    period_s: float
    up: bool = False
    reason: str = "not read yet"
    last_success_ns: int | None = None
    poll_s: float | None = None
    since_s: float | None = None  # monotonic start of a read that is under way
    still: dict[str, tuple[int, int]] = field(default_factory=dict)  # domain -> (counter, how often it read the same)


class NodePoller:
    """All meters that the configuration has. `drain` gives the readings since the last call."""

    def __init__(self, clock: Clock, config: NodeMeters) -> None:
        import energy_agent.sources.node as package

        self._clock, self._config = clock, config
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._readings: list[tuple[str, tuple[NodeReading, ...]]] = []
        specs: dict[str, NodeSource] = plugin.discover(package)
        periods = {name: spec.period_s(config) for name, spec in specs.items()}
        self._polls = [_Poll(name, specs[name], period) for name, period in periods.items() if period is not None]

    @property
    def periods_s(self) -> dict[str, float]:
        """The meters that are polled, and how often."""
        return {poll.name: poll.period_s for poll in self._polls}

    def start(self) -> None:
        """Begin to poll."""
        for poll in self._polls:
            threading.Thread(target=self._run, args=(poll,), name=f"node-{poll.name}", daemon=True).start()

    def drain(self) -> list[tuple[str, tuple[NodeReading, ...]]]:
        """Readings since the last call, by meter, in the order of time."""
        if not self._readings:
            return []
        with self._lock:
            readings, self._readings = self._readings, []
        return readings

    def health(self, disbelieved: Mapping[str, str]) -> tuple[SourceHealth, ...]:
        """Whether each meter answers, and is believed: `disbelieved` has the reason for those that are not."""
        now_s = time.monotonic()
        with self._lock:
            return tuple(self._health(poll, now_s, disbelieved.get(poll.name, "")) for poll in self._polls)

    def stop(self) -> None:
        """Stop polling; threads end with their next wait."""
        self._stop.set()

    def _health(self, poll: _Poll, now_s: float, doubt: str) -> SourceHealth:
        up, reason = poll.up and not doubt, poll.reason or doubt
        if poll.since_s is not None and now_s - poll.since_s > HANGS_S:
            up, reason = False, f"has not answered for {now_s - poll.since_s:.0f} s"
        return SourceHealth(f"node:{poll.name}", up, "", reason, poll.last_success_ns, poll.poll_s)

    def _run(self, poll: _Poll) -> None:
        meter: NodeMeter | None = None
        failures = 0
        while not self._stop.is_set():
            began_s = time.monotonic()
            with self._lock:
                poll.since_s = began_s
            try:
                meter = meter or poll.source.open(self._config, self._clock)
                readings = meter.read()
                self._refuse_still(poll, readings)
            except (WattlensError, OSError, ValueError, ArithmeticError, LookupError, TypeError) as error:
                # Whatever a hostile service does to us is a reason, not the end of this thread.
                failures += 1
                self._failed(poll, str(error) or type(error).__name__)
            else:
                failures = 0
                self._took(poll, readings, time.monotonic() - began_s)
            back_off_s = poll.period_s if not failures else min(poll.period_s * 2 ** min(failures - 1, 6), BACK_OFF_MAX_S)
            left_s = self._clock.real_seconds(max(poll.period_s, back_off_s)) - (time.monotonic() - began_s)
            self._stop.wait(max(0.05, left_s))
        if meter is not None:
            meter.close()

    def _refuse_still(self, poll: _Poll, readings: tuple[NodeReading, ...]) -> None:
        """A package that runs this very code draws something: a counter that does not move at all is broken."""
        for reading in readings:
            if reading.energy_uj is None or reading.scope is Scope.DRAM or reading.power_mw is not None:
                continue
            counter, times = poll.still.get(reading.domain, (-1, 0))
            times = times + 1 if counter == reading.energy_uj else 0
            poll.still[reading.domain] = (reading.energy_uj, times)
            if times >= STILL_READINGS:
                raise NodeMeterError(f"{reading.domain}: its counter stands still")

    def _failed(self, poll: _Poll, reason: str) -> None:
        with self._lock:
            if poll.up or poll.reason != reason:
                log.warning("%s: %s", poll.name, reason)
            poll.up, poll.reason, poll.since_s = False, reason, None

    def _took(self, poll: _Poll, readings: tuple[NodeReading, ...], took_s: float) -> None:
        with self._lock:
            if not poll.up:
                log.info("%s: ok", poll.name)
            poll.up, poll.reason, poll.since_s, poll.poll_s = True, "", None, took_s
            poll.last_success_ns = self._clock.utc_ns()
            self._readings.append((poll.name, readings))
            del self._readings[:-QUEUE_MAX]
