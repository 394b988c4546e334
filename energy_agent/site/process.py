"""The site's loop: read, record, commit, publish, seal. One thread owns the account and the journal."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from energy_agent.core.boundary import is_meter
from energy_agent.core.energy import Identity, SourceHealth
from energy_agent.core.errors import JournalError
from energy_agent.core.meters.facility import MeterFacts
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.facility import FacilityBook, book_of
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.segments import segment
from energy_agent.runtime.loop import FaultContainment, Flag, Reload, Wake, reason_of
from energy_agent.runtime.meter_poller import MeterPoller
from energy_agent.runtime.process_cost import cost_of
from energy_agent.runtime.threads import start_thread
from energy_agent.site.account import SiteAccount
from energy_agent.site.building.pue import DAY_NS, YEAR_NS, Pue
from energy_agent.site.config.site import SiteBase
from energy_agent.site.grid.poller import GridPoller
from energy_agent.site.snapshot import FacilityView, Intensity, SiteSnapshot
from energy_agent.site.windows import PueValue, live

log = logging.getLogger("wattlens.site")
TURN_S = 1.0
PUE_S = 5.0
FOLD_NS = 2 * DAY_NS


class SealedRows:
    """The rows of the site's own segments, read in a background thread because a year of them takes a while.

    `start` reads all of them, `look` the new ones; `book` returns None until they are read.
    """

    def __init__(self, site: str, folder: Path) -> None:
        self._site, self._folder = site, folder
        self._book = FacilityBook(site)
        self._taken: set[str] = set()
        self._read = threading.Event()

    @property
    def book(self) -> FacilityBook | None:
        """The book; None while it is being read."""
        return self._book if self._read.is_set() else None

    def start(self) -> None:
        """Begin to read what is there."""
        start_thread(threading.Thread(target=self._first, name="sealed", daemon=True))

    def look(self) -> None:
        """Read the segments that are new."""
        if self._read.is_set():
            self._take()

    def keep(self, now_ns: int, fold_ns: int, forget_ns: int) -> None:
        """Fold what is so much older than now, or than the newest cell, into days, and release what is older still."""
        newest_ns = min(now_ns, self._book.until_ns or 0)
        if self._read.is_set() and newest_ns:
            self._book.fold_before(newest_ns - fold_ns)
            self._book.forget_before(newest_ns - forget_ns)

    def _first(self) -> None:
        self._take()
        self._read.set()

    def _take(self) -> None:
        for path in segment.list_files(self._folder) if self._folder.is_dir() else []:
            if path.name in self._taken:
                continue
            self._taken.add(path.name)
            try:
                for row in segment.read(path).rows:
                    self._book.add(row)
            except Exception as error:  # noqa: BLE001 - one damaged file leaves the others in
                log.warning("the PUE excludes a segment: %s", reason_of(error))


@dataclass(slots=True)
class SiteProcess:
    """Everything the loop needs, built by the composition root."""

    config: SiteBase
    identity: Identity
    clock: Clock
    journal: Journal
    poller: MeterPoller
    account: SiteAccount
    declared: Sequence[MeterFacts]
    stated: PueValue | None = None
    grid: GridPoller | None = None
    stopping: Flag = field(default_factory=Flag)
    reload_wanted: Flag = field(default_factory=Flag)
    reload: Reload = field(default_factory=Reload)
    on_reload: Callable[["SiteProcess"], None] | None = None
    on_turn: Callable[["SiteProcess"], None] | None = None
    web_ok: Callable[[], bool] | None = None
    listener_health: Callable[[], tuple[SourceHealth, ...]] = tuple
    snapshot: SiteSnapshot | None = None
    _wake: Wake = field(default_factory=Wake)
    _sequence: int = 0
    _last_reasons: dict[str, str] = field(default_factory=dict)
    _neighbours: FaultContainment = field(default_factory=lambda: FaultContainment("site", log))
    _pue: dict[tuple[str, str], Pue] = field(default_factory=dict)
    _next_pue_boot_ns: int = 0

    def run(self) -> None:
        """Until `stopping` is set; then the open rows become a segment."""
        sealed = SealedRows(self.identity.node, self.journal.segments_folder)
        sealed.start()
        sealed_ns = self.clock.utc_ns()
        self._begin()
        if self.grid is not None:
            self.grid.start()
        try:
            while not self.stopping.is_set():
                now_ns, segment_ns = self.clock.utc_ns(), self.config.ledger.segment_s * NS_PER_S
                if self.reload_wanted.is_set():
                    self.reload_wanted.clear()
                    self._turn(sealed)
                    self._reload()
                self._turn(sealed)
                if now_ns // segment_ns != sealed_ns // segment_ns:
                    sealed_ns = now_ns
                    self._seal(now_ns // segment_ns * segment_ns)
                    self._neighbours.contain("segments", partial(self._read_sealed, sealed, now_ns), None)
                if self.on_turn is not None:
                    self._neighbours.contain("turn", partial(self.on_turn, self), None)
                self._wake.wait(self.clock.real_seconds(TURN_S))
        finally:
            self.poller.stop()
            if self.grid is not None:
                self.grid.stop()
            self._turn(sealed)
            self._seal(None)
            self.journal.close()

    def stop(self) -> None:
        """End the loop; may be called from a signal handler or another thread."""
        self.stopping.set()
        self._wake.ring()

    def reload_soon(self) -> None:
        """Read the configuration again; may be called from a signal handler or another thread."""
        self.reload_wanted.set()
        self._wake.ring()

    def take(
        self,
        config: SiteBase,
        poller: MeterPoller,
        account: SiteAccount,
        declared: Sequence[MeterFacts],
        stated: PueValue | None,
        grid: GridPoller | None,
    ) -> None:
        """Go on with another configuration; `grid` None: as it was. Called by the loop when everything is committed."""
        self.poller.stop()
        self.config, self.poller, self.account, self.declared, self.stated = config, poller, account, declared, stated
        self._next_pue_boot_ns = 0
        self._begin()
        if grid is not None:
            if self.grid is not None:
                self.grid.stop()
            self.grid = grid
            grid.start()

    def _begin(self) -> None:
        """Declare the meters before one is read: their sums begin together, however long the first readings take."""
        self._neighbours.contain("commit", self._commit, None)
        self.poller.start()

    def _turn(self, sealed: SealedRows) -> None:
        for meter_id, readings in self.poller.drain():
            self._neighbours.contain(f"meter:{meter_id}", partial(self.account.feed, meter_id, readings), None)
        now_ns, boot_ns = self.clock.utc_ns(), self.clock.boot_ns()
        self._neighbours.contain("commit", self._commit, None)
        if boot_ns >= self._next_pue_boot_ns:
            self._next_pue_boot_ns = boot_ns + round(PUE_S * NS_PER_S)
            self._pue = self._neighbours.contain("pue", partial(self._live, sealed, now_ns), self._pue)
        snapshot = self._neighbours.contain("snapshot", partial(self._snapshot, now_ns, boot_ns), None)
        if snapshot is not None:
            self.snapshot = snapshot

    def _commit(self) -> None:
        if not self.account.waiting:
            return
        try:
            self.journal.commit(self.account.batch(self.clock.utc_ns()))
        except JournalError as error:
            self._say("journal", str(error))
            self.account.not_committed()
        except Exception:
            self.account.not_committed()
            raise
        else:
            self._say("journal", "")
            self.account.committed()

    def _live(self, sealed: SealedRows, now_ns: int) -> dict[tuple[str, str], Pue]:
        sealed.look()
        rows = self.journal.open_rows()
        open_rows = book_of(self.identity.node, [*self.journal.facts(), *rows])
        lag_ns = round(max(self.poller.periods_s.values(), default=1.0) * 1.5 * NS_PER_S)
        return live(sealed.book, open_rows, self.declared, now_ns, lag_ns, self.stated)

    def _snapshot(self, now_ns: int, boot_ns: int) -> SiteSnapshot:
        self._sequence += 1
        site, totals = self.identity.node, self.journal.totals()
        energy: dict[str, int] = {}
        for (device, *_), uj in totals.energy.items():
            if is_meter(device):
                energy[device] = energy.get(device, 0) + uj
        health = self.poller.health(self.account.faults)
        up = {h.source.partition(":")[2] for h in health if h.up}
        energy_by_meter = {facts: energy.get(facts.device(site), 0 if facts.id in up else None) for facts in self.declared}
        views = tuple(
            FacilityView(
                facts,
                uj,
                totals.gap_bound(facts.device(site), metered=uj is not None),
                self.account.power_mw(facts.id, boot_ns) if facts.id in up else None,
            )
            for facts, uj in energy_by_meter.items()
        )
        cost, ledger = cost_of("site", os.getpid()), self.journal.stats()
        contain = self._neighbours.contain
        grid: tuple[Intensity, ...] = ()
        grid_health: tuple[SourceHealth, ...] = ()
        if self.grid is not None:
            grid, grid_health = contain("grid", self.grid.now, grid), contain("grid_health", self.grid.health, grid_health)
        return SiteSnapshot(
            sequence=self._sequence,
            t_ns=now_ns,
            boot_ns=boot_ns,
            identity=self.identity,
            site=site,
            meters=views,
            pue=self._pue,
            grid=grid,
            health=(*health, *grid_health, *ledger.health(), *self._neighbours.health(), *self.listener_health()),
            ledger=ledger,
            config_reload_ok=self.reload.ok and (self.web_ok is None or self.web_ok()),
            config_reload_success_ns=self.reload.success_ns,
            processes=() if cost is None else (cost,),
            selection=self.config.web.metrics.selection,
        )

    def _seal(self, up_to_ns: int | None) -> None:
        self._neighbours.contain("seal", partial(self._write_segment, up_to_ns), None)

    def _write_segment(self, up_to_ns: int | None) -> None:
        try:
            self.journal.seal(up_to_ns)
        except JournalError as error:
            self._say("segment", str(error))
        else:
            self._say("segment", "")

    @staticmethod
    def _read_sealed(sealed: SealedRows, now_ns: int) -> None:
        sealed.look()
        sealed.keep(now_ns, FOLD_NS, YEAR_NS + 2 * DAY_NS)

    def _reload(self) -> None:
        if self.on_reload is not None:
            self.reload.attempt(partial(self.on_reload, self), self.clock, log)

    def _say(self, about: str, reason: str) -> None:
        """Log a change once, not a state every second."""
        if reason != self._last_reasons.get(about, ""):
            self._last_reasons[about] = reason
            log.log(logging.WARNING if reason else logging.INFO, "%s: %s", about, reason or "ok")
