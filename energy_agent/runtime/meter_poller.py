"""Poll meters, one thread each; a slow, unresponsive or wrong meter delays no other."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cache

from energy_agent.core.energy import SourceHealth
from energy_agent.core.meters.reading import MeterReading
from energy_agent.core.ports import Clock, PolledMeter
from energy_agent.runtime.poller import RETRY_MAX_S, Poller, stop_all

QUEUE_MAX = 1_000
QUEUE_EACH = 4
"""Limit of the readings that wait for the metering loop, in all or per meter, whichever is more. Beyond it the oldest are
dropped: a counter then bridges them, and power leaves a gap."""

Readings = tuple[MeterReading, ...]


@dataclass(frozen=True, slots=True)
class MeterSchedule:
    """One meter to poll.

    Args:
        name: what it is called in health and log.
        period_s: seconds between readings.
        open: opens it; may raise what `read` may.
        check: refuses readings that cannot be true, by MeterError.
        phase_s: it is read so long after each whole period of UTC, so that a reading lies near the edge of every cell; None:
            whenever it began.
    """

    name: str
    period_s: float
    open: Callable[[], PolledMeter]
    check: Callable[[Readings], None] = lambda readings: None
    phase_s: float | None = None


class MeterPoller:
    """Polls `meters`; `drain` gives the readings since the last call. `kind` is before their names in health and log."""

    def __init__(self, clock: Clock, kind: str, meters: Iterable[MeterSchedule]) -> None:
        self._lock = threading.Lock()
        self._readings: list[tuple[str, Readings]] = []
        self._pollers = {meter.name: self._poller(clock, kind, meter) for meter in meters}

    @property
    def periods_s(self) -> dict[str, float]:
        """The meters that are polled, and how often."""
        return {name: poller.period_s for name, poller in self._pollers.items()}

    def start(self) -> None:
        """Begin to poll."""
        for poller in self._pollers.values():
            poller.start()

    def drain(self) -> list[tuple[str, Readings]]:
        """Readings since the last call, by meter, in the order of time."""
        with self._lock:
            readings, self._readings = self._readings, []
        return readings

    def health(self, disbelieved: Mapping[str, str]) -> tuple[SourceHealth, ...]:
        """Whether each meter answers with plausible readings: `disbelieved` has the reason for implausible meters."""
        all_health = {name: poller.health() for name, poller in self._pollers.items()}
        return tuple(
            replace(health, up=False, reason=health.reason or disbelieved[name]) if disbelieved.get(name) else health
            for name, health in all_health.items()
        )

    def stop(self) -> None:
        """Stop polling."""
        stop_all(self._pollers.values())

    def _poller(self, clock: Clock, kind: str, meter: MeterSchedule) -> Poller[Readings]:
        stack = ExitStack()
        opened = cache(lambda: stack.enter_context(closing(meter.open())))  # a failure is not kept: the next reading retries

        def read() -> Readings:
            readings = opened().read()
            meter.check(readings)
            with self._lock:
                self._readings.append((meter.name, readings))
                del self._readings[: -max(QUEUE_MAX, QUEUE_EACH * len(self._pollers))]
            return readings

        log = logging.getLogger(f"wattlens.{kind}")
        return Poller(
            clock,
            f"{kind}:{meter.name}",
            read,
            meter.period_s,
            log,
            meter.name,
            retry_max_s=max(RETRY_MAX_S, meter.period_s),
            phase_s=meter.phase_s,
            close=stack.close,
        )
