"""Live carbon intensity of the site's grid: each source is polled in its own thread, its values kept in the grid store.

The current value is the newest value of the first source in the list that has one from the last three hours, else the yearly
factor of the zone or country, marked as such. A slow, unresponsive or wrong source delays no other.
"""

import logging
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Final

from energy_agent.core.energy import SourceHealth
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.factors.series import About, IntensityPoint, decimal_text
from energy_agent.factors.sets import catalogue
from energy_agent.runtime.poller import Poller, stop_all
from energy_agent.site.config.grid import AnyGridSource, GridBase, grid_specs
from energy_agent.site.grid.store import GridStore
from energy_agent.site.snapshot import Intensity

log = logging.getLogger("wattlens.grid")

YEARLY: Final = "yearly factor of {year}"
_STALE_NS: Final = 3 * 3600 * 10**9  # services publish an hour once it is over, with some delay


@dataclass(slots=True)
class GridPoller:
    """The grid of one site. `store` keeps what is learnt; None keeps nothing."""

    clock: Clock
    config: GridBase
    store: GridStore | None
    _pollers: list[Poller[tuple[About, tuple[IntensityPoint, ...]]]] = field(default_factory=list)
    _yearly: tuple[int, tuple[Intensity, ...], str] = (0, (), "")  # year, what stands in, why nothing does

    def start(self) -> None:
        """Begin to ask."""
        self._pollers = [self._poller(source) for source in self.config.all_sources]
        for poller in self._pollers:
            poller.start()

    def now(self) -> tuple[Intensity, ...]:
        """What is known for this instant, the best source's; else the yearly factor."""
        now_ns = self.clock.utc_ns()
        for about, points in (poller.value for poller in self._pollers if poller.value is not None):
            candidates = [p for p in points if p.start_ns <= now_ns < p.end_ns + _STALE_NS]
            if candidates:
                newest = max(candidates, key=lambda p: (p.start_ns, p.known_ns))
                estimated = ", estimated" if newest.estimated else ""
                zone = self.config.zone or self.config.country or about.zone
                return (Intensity(zone, f"{about.basis.boundary}{estimated}", decimal_text(newest.g_per_kwh)),)
        return self._of_the_year(now_ns)[1]

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether each source answered when it was last asked."""
        health = [poller.health() for poller in self._pollers]
        _, stands_in, reason = self._of_the_year(self.clock.utc_ns())
        return (*health, *([SourceHealth("grid:factors", bool(stands_in), "", reason)] if stands_in or reason else []))

    def stop(self) -> None:
        """Ask no more."""
        stop_all(self._pollers)

    def _of_the_year(self, now_ns: int) -> tuple[int, tuple[Intensity, ...], str]:
        year = datetime.fromtimestamp(now_ns // 10**9, UTC).year
        if self._yearly[0] == year:
            return self._yearly
        zone, country = self.config.zone or "", self.config.country or ""
        intensities: tuple[Intensity, ...] = ()
        reason = ""
        if zone or country:
            try:
                factor = catalogue(self.config.factors).factor(zone, year, self.config.basis, country).factor
                wider = "" if factor.zone == (zone or country) else f" of {factor.zone}"
                basis = f"{self.config.boundary}, {YEARLY.format(year=factor.year)}{wider}"
                intensities = (Intensity(zone or country, basis, decimal_text(factor.value)),)
            except UsageError as error:
                reason = str(error)
                log.warning("no yearly factor can be used instead: %s", reason)
        self._yearly = (year, intensities, reason)
        return self._yearly

    def _poller(self, source: AnyGridSource) -> Poller[tuple[About, tuple[IntensityPoint, ...]]]:
        stack, spec = ExitStack(), grid_specs()[source.kind]
        # A failure is not kept: the next reading opens it again.
        opened = cache(lambda: stack.enter_context(closing(spec.open(source.config, self.clock))))

        def read() -> tuple[About, tuple[IntensityPoint, ...]]:
            points = opened().read()
            if self.store is not None:
                self.store.append(opened().about, points)
            return opened().about, points

        name = f"{source.kind}:{source.config.zone}"
        return Poller(self.clock, f"grid:{name}", read, source.config.period_s, log, name, close=stack.close)
