"""The intensity of the site's grid, live: every source in a thread of its own, what it tells kept in the grid store.

Shown is the best that is known for now: the newest value of the first source of the list that has one of the last three hours,
else the yearly factor of zone or country, which says so. A slow, dead or lying source blocks nobody.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from energy_agent.core.energy import SourceHealth
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.factors.series import Point, decimal_text
from energy_agent.factors.sets import catalogue
from energy_agent.runtime.loop.neighbours import reason_of
from energy_agent.runtime.threads import start_thread
from energy_agent.site.config.grid import GridBase, grid_specs
from energy_agent.site.grid.source import OpenGrid
from energy_agent.site.grid.store import GridStore
from energy_agent.site.snapshot import Intensity

log = logging.getLogger("wattlens.grid")

YEARLY: Final = "yearly factor of {year}"
_RETRY_S: Final = 60.0
_STALE_NS: Final = 3 * 3600 * 10**9  # services tell an hour once it is over, and need some time for that


@dataclass(slots=True)
class _Poll:
    name: str
    kind: str
    config: object
    period_s: float
    up: bool = False
    reason: str = "not read yet"
    last_success_ns: int | None = None
    poll_s: float | None = None
    points: tuple[Point, ...] = ()
    zone: str = ""
    basis: str = ""


@dataclass(slots=True)
class GridPoller:
    """The grid of one site. `store` keeps what is learnt; None keeps nothing."""

    clock: Clock
    config: GridBase
    store: GridStore | None
    _polls: list[_Poll] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _yearly: tuple[int, tuple[Intensity, ...], str] = (0, (), "")  # year, what stands in, why nothing does

    def start(self) -> None:
        """Begin to ask."""
        for source in self.config.all_sources:
            poll = _Poll(f"{source.kind}:{source.config.zone}", source.kind, source.config, source.config.period_s)
            self._polls.append(poll)
            start_thread(threading.Thread(target=self._run, args=(poll,), name=f"grid-{poll.name}", daemon=True))

    def now(self) -> tuple[Intensity, ...]:
        """What is known for this instant, the best source's; else the yearly factor."""
        now_ns = self.clock.utc_ns()
        with self._lock:
            for poll in self._polls:
                known = [p for p in poll.points if p.start_ns <= now_ns < p.end_ns + _STALE_NS]
                if known:
                    newest = max(known, key=lambda p: (p.start_ns, p.known_ns))
                    estimated = ", estimated" if newest.estimated else ""
                    return (Intensity(poll.zone, f"{poll.basis}{estimated}", decimal_text(newest.g_per_kwh)),)
        return self._of_the_year(now_ns)[1]

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether each source answered when it was last asked."""
        with self._lock:
            told = [SourceHealth(f"grid:{p.name}", p.up, "", p.reason, p.last_success_ns, p.poll_s) for p in self._polls]
        _, stands_in, reason = self._of_the_year(self.clock.utc_ns())
        return (*told, *([SourceHealth("grid:factors", bool(stands_in), "", reason)] if stands_in or reason else []))

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _of_the_year(self, now_ns: int) -> tuple[int, tuple[Intensity, ...], str]:
        year = datetime.fromtimestamp(now_ns // 10**9, UTC).year
        if self._yearly[0] == year:
            return self._yearly
        zone, country = self.config.zone or "", self.config.country or ""
        found: tuple[Intensity, ...] = ()
        reason = ""
        if zone or country:
            try:
                factor = catalogue(self.config.factors).factor(zone, year, self.config.basis, country).factor
                basis = f"{self.config.boundary}, {YEARLY.format(year=factor.year)}"
                found = (Intensity(factor.zone, basis, decimal_text(factor.value)),)
            except UsageError as error:
                reason = str(error)
                log.warning("no yearly factor stands in: %s", reason)
        self._yearly = (year, found, reason)
        return self._yearly

    def _run(self, poll: _Poll) -> None:
        source: OpenGrid | None = None
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                source = source or grid_specs()[poll.kind].open(poll.config, self.clock)
                points = source.read()
                if self.store is not None:
                    self.store.append(source.about, points)
            except Exception as error:  # noqa: BLE001
                # Whatever a hostile service does to us is a reason, not the end of this thread.
                self._failed(poll, reason_of(error))
                wait_s = min(poll.period_s, _RETRY_S)
            else:
                self._took(poll, source, points, time.monotonic() - began_s)
                wait_s = poll.period_s
            self._stop.wait(max(0.05, self.clock.real_seconds(wait_s)))
        if source is not None:
            source.close()

    def _failed(self, poll: _Poll, reason: str) -> None:
        with self._lock:
            if (poll.up or poll.reason != reason) and not self._stop.is_set():
                log.warning("%s: %s", poll.name, reason)
            poll.up, poll.reason = False, reason

    def _took(self, poll: _Poll, source: OpenGrid, points: tuple[Point, ...], took_s: float) -> None:
        with self._lock:
            if not poll.up and not self._stop.is_set():
                log.info("%s: ok", poll.name)
            poll.up, poll.reason, poll.poll_s, poll.points = True, "", took_s, points
            poll.zone, poll.basis = source.about.zone, str(source.about.basis.boundary)
            poll.last_success_ns = self.clock.utc_ns()
