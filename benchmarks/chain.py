"""A writer's chain of segments, as its journal would leave it: booked and sealed by the product, without a journal's files."""

from pathlib import Path

from energy_agent.core.types import Identity
from energy_agent.ledger import segments
from energy_agent.ledger.book import Batch, Book, change_of
from energy_agent.ledger.files import RealFiles
from energy_agent.ledger.sealing import take


class Chain:
    """Segments of one writer into a folder, one after another."""

    def __init__(self, folder: Path, who: Identity) -> None:
        self._folder, self._who = folder, who
        self._book, self._number, self._previous = Book(), 0, segments.FIRST_PREVIOUS

    def add(self, booked: Batch) -> None:
        """Book and seal; facts alone wait for the rows after them."""
        self._book.take(change_of(self._book, booked))
        sealed = take(self._book, None, self._who, self._number, self._previous)
        if sealed is None:
            return
        name = segments.file_name(self._who.cluster, self._who.node, self._number)
        segments.store(_Unsynced(), self._folder, name, sealed.body, sealed.sha256)
        sealed.forget(self._book)
        self._number, self._previous = self._number + 1, sealed.sha256


class _Unsynced(RealFiles):
    """Tens of thousands of fsyncs would measure the disk, not the ledger; what is made here outlives no power cut."""

    def write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)

    def sync_folder(self, folder: Path) -> None:
        pass
