"""Polls meters, each in a thread of its own; a slow, dead or lying one blocks nobody."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from energy_agent.core.energy import SourceHealth
from energy_agent.core.meters import MeterReading
from energy_agent.core.ports import Clock, PolledMeter
from energy_agent.runtime.loop.neighbours import reason_of
from energy_agent.runtime.threads import start_thread

BACK_OFF_MAX_S = 60.0
HANGS_S = 65.0  # no source may be configured to wait longer for an answer
QUEUE_MAX = 1_000
QUEUE_EACH = 4
"""Readings, in all or of each meter, whichever is more, that wait for the loop that books them; beyond, the oldest go: a
counter then bridges, and power leaves a gap."""

Readings = tuple[MeterReading, ...]


@dataclass(frozen=True, slots=True)
class Polled:
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


@dataclass(slots=True)
class _Poll:
    what: Polled
    up: bool = False
    reason: str = "not read yet"
    last_success_ns: int | None = None
    poll_s: float | None = None
    since_s: float | None = None  # monotonic start of a read that is under way


class MeterPoller:
    """Polls `meters`; `drain` gives the readings since the last call. `kind` is before their names in health and log."""

    def __init__(self, clock: Clock, kind: str, meters: Iterable[Polled]) -> None:
        self._clock, self._kind = clock, kind
        self._log = logging.getLogger(f"wattlens.{kind}")
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._readings: list[tuple[str, Readings]] = []
        self._polls = [_Poll(meter) for meter in meters]

    @property
    def periods_s(self) -> dict[str, float]:
        """The meters that are polled, and how often."""
        return {poll.what.name: poll.what.period_s for poll in self._polls}

    def start(self) -> None:
        """Begin to poll."""
        for poll in self._polls:
            start_thread(threading.Thread(target=self._run, args=(poll,), name=f"{self._kind}-{poll.what.name}", daemon=True))

    def drain(self) -> list[tuple[str, Readings]]:
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
            return tuple(self._health(poll, now_s, disbelieved.get(poll.what.name, "")) for poll in self._polls)

    def stop(self) -> None:
        """Stop polling; threads end with their next wait."""
        self._stop.set()

    def _health(self, poll: _Poll, now_s: float, doubt: str) -> SourceHealth:
        up, reason = poll.up and not doubt, poll.reason or doubt
        if poll.since_s is not None and now_s - poll.since_s > HANGS_S:
            up, reason = False, f"has not answered for {now_s - poll.since_s:.0f} s"
        return SourceHealth(f"{self._kind}:{poll.what.name}", up, "", reason, poll.last_success_ns, poll.poll_s)

    def _run(self, poll: _Poll) -> None:
        meter: PolledMeter | None = None
        what, failures = poll.what, 0
        while not self._stop.is_set():
            began_s = time.monotonic()
            with self._lock:
                poll.since_s = began_s
            try:
                meter = meter or what.open()
                readings = meter.read()
                what.check(readings)
            except Exception as error:  # noqa: BLE001
                # Whatever a hostile service does to us is a reason, not the end of this thread.
                failures += 1
                self._failed(poll, reason_of(error))
            else:
                failures = 0
                self._took(poll, readings, time.monotonic() - began_s)
            self._stop.wait(max(0.05, self._left_s(what, failures, time.monotonic() - began_s)))
        if meter is not None:
            meter.close()

    def _left_s(self, what: Polled, failures: int, took_s: float) -> float:
        """The machine's time until the next reading."""
        if what.phase_s is not None and not failures:
            return self._clock.real_seconds(what.period_s - (self._clock.utc_ns() / 1e9 - what.phase_s) % what.period_s)
        back_off_s = what.period_s if not failures else min(what.period_s * 2 ** min(failures - 1, 6), BACK_OFF_MAX_S)
        return self._clock.real_seconds(max(what.period_s, back_off_s)) - took_s

    def _failed(self, poll: _Poll, reason: str) -> None:
        with self._lock:
            if (poll.up or poll.reason != reason) and not self._stop.is_set():
                self._log.warning("%s: %s", poll.what.name, reason)
            poll.up, poll.reason, poll.since_s = False, reason, None

    def _took(self, poll: _Poll, readings: Readings, took_s: float) -> None:
        with self._lock:
            if not poll.up and not self._stop.is_set():
                self._log.info("%s: ok", poll.what.name)
            poll.up, poll.reason, poll.since_s, poll.poll_s = True, "", None, took_s
            poll.last_success_ns = self._clock.utc_ns()
            self._readings.append((poll.what.name, readings))
            del self._readings[: -max(QUEUE_MAX, QUEUE_EACH * len(self._polls))]
