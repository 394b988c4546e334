"""Poll a source in a background thread. Period, back-off, hangs, health and log are the same for all sources."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar

from energy_agent.core.energy import SourceHealth
from energy_agent.core.ports import Clock
from energy_agent.runtime.loop import reason_of
from energy_agent.runtime.threads import start_thread

T = TypeVar("T")
NOT_READ: Final = "not read yet"
HANG_S: Final = 65.0
"""No source may be configured to wait longer for a response."""
RETRY_MAX_S: Final = 60.0
STOP_S: Final = 0.5
_WAIT_MIN_S = 0.05
_DOUBLINGS_MAX = 6
_JUST_SERVED = 100


class Poller(Generic[T]):
    """Calls `read` periodically. An error or a hang makes the source unhealthy, and delays no other source.

    Each failure in a row after the first doubles the period, up to `retry_max_s`. Periods are in seconds of `clock`.

    Args:
        clock: dates the readings, and has the rate at which time passes.
        source: its name in health.
        read: reads the source once; may raise anything. None: the source does not exist, or `read` called `succeeded` itself.
        period_s: from the start of one reading to the start of the next; may be changed at any time.
        log: reports that the source went or came back, once.
        title: its name in the log.
        retry_max_s: upper bound of the time to the next reading after a failure; None: failures do not change the period.
        rest: minimum period as a multiple of the duration of a reading, up to `retry_max_s` where there is one.
        phase_s: offset of readings from whole periods of UTC; None: periods begin with the first reading.
        hang_s: a reading that takes longer counts as a failure while it lasts.
        close: releases what `read` holds, when the thread ends.
    """

    def __init__(
        self,
        clock: Clock,
        source: str,
        read: Callable[[], T | None],
        period_s: float,
        log: logging.Logger,
        title: str,
        *,
        retry_max_s: float | None = RETRY_MAX_S,
        rest: float = 0.0,
        phase_s: float | None = None,
        hang_s: float = HANG_S,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        self.value: T | None = None
        """The last good reading."""
        self.period_s = period_s
        self._clock, self._read, self._close, self._log, self._title = clock, read, close, log, title
        self._retry_max_s, self._rest, self._phase_s, self._hang_s = retry_max_s, rest, phase_s, hang_s
        self._health = SourceHealth(source, False, "", NOT_READ)
        self._failures = 0
        self._since_s: float | None = None  # monotonic start of a reading that is under way
        self._stop, self._answered = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=source, daemon=True)

    def start(self, wait_s: float = 0.0) -> None:
        """Begin to read, and wait for the first response or failure for at most `wait_s`."""
        start_thread(self._thread)
        self._answered.wait(wait_s)

    def health(self) -> SourceHealth:
        """Return whether the last reading succeeded and none hangs, with the reason."""
        health, since_s = self._health, self._since_s
        if since_s is not None and time.monotonic() - since_s > self._hang_s:
            return replace(health, up=False, reason=f"no response for {self._hang_s:g} s")
        return health

    def poll(self) -> bool:
        """Read once, now; return whether that succeeded."""
        began_s = self._since_s = time.monotonic()
        try:
            value = self._read()
        except Exception as error:  # noqa: BLE001 - whatever a hostile source does is a reason, not the end of this thread
            self._failures += 1
            self._set(replace(self._health, up=False, reason=reason_of(error)))
        else:
            self._failures = 0
            if value is not None:
                self.value = value
                self.succeeded(time.monotonic() - began_s)
        self._since_s = None
        self._answered.set()
        return self._failures == 0

    def succeeded(self, took_s: float | None = None) -> None:
        """Report that the source answers; a reading that lasts, such as a watch, calls it with each event."""
        self._since_s = time.monotonic()
        self._set(replace(self._health, up=True, reason="", last_success_ns=self._clock.utc_ns(), poll_s=took_s))
        self._answered.set()

    def stop(self) -> None:
        """End the thread with its next wait."""
        self._stop.set()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called; a reading that lasts ends then."""
        return self._stop.is_set()

    def join(self, wait_s: float) -> None:
        """Wait for the thread's end, at most `wait_s`."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, wait_s))

    def pause(self, took_s: float) -> None:
        """Wait for the time of the next reading, or for `stop`; the last one took `took_s`."""
        self._stop.wait(max(_WAIT_MIN_S, self._wait_s(took_s)))

    def report(self, before: SourceHealth, health: SourceHealth) -> None:
        """Log that the source went or came back; called after each reading, unless it was stopped."""
        if (before.up, before.reason) != (health.up, health.reason):
            self._log.log(logging.INFO if health.up else logging.WARNING, "%s: %s", self._title, health.reason or "ok")

    def _run(self) -> None:
        while not self._stop.is_set():
            began_s = time.monotonic()
            self.poll()
            self.pause(time.monotonic() - began_s)
        self._close()

    def _wait_s(self, took_s: float) -> float:
        """Return the machine's time until the next reading."""
        period_s, retry_max_s = self.period_s, math.inf if self._retry_max_s is None else self._retry_max_s
        if self._failures and self._retry_max_s is not None:
            period_s = min(period_s * 2 ** min(self._failures - 1, _DOUBLINGS_MAX), retry_max_s)
        elif self._phase_s is not None:
            left_s = period_s - (self._clock.utc_ns() / 1e9 - self._phase_s) % period_s
            just_served = left_s < period_s / _JUST_SERVED  # the two clocks drift, so that a wait may end a little early
            return self._clock.real_seconds(left_s + period_s if just_served else left_s)
        return max(self._clock.real_seconds(period_s), min(self._rest * took_s, retry_max_s)) - took_s

    def _set(self, health: SourceHealth) -> None:
        before, self._health = self._health, health
        if not self._stop.is_set():
            self.report(before, health)


def stop_all(pollers: Iterable[Poller[Any]], wait_s: float = STOP_S) -> None:
    """Stop the pollers, and wait for the ends of their threads, `wait_s` for all of them: one may hang."""
    pollers, end_s = tuple(pollers), time.monotonic() + wait_s
    for poller in pollers:
        poller.stop()
    for poller in pollers:
        poller.join(end_s - time.monotonic())
