"""The rows of the site's own segments, read in a background thread because a year of them takes a while."""

import logging
import threading
from pathlib import Path

from energy_agent.ledger.facility import FacilityBook
from energy_agent.ledger.segments import segment
from energy_agent.runtime.loop import reason_of
from energy_agent.runtime.threads import start_thread

log = logging.getLogger("wattlens.site")


class SealedRows:
    """The rows in segments. `start` reads all of them, `look` the new ones; `book` returns None until they are read."""

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
