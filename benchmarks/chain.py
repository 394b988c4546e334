"""A writer's chain of segments as its journal would leave it, recorded and sealed by the product without a journal's files."""

from pathlib import Path

from energy_agent.core.energy import Identity
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import RealFiles


class SegmentChainWriter:
    """Segments of one writer into a folder, one after another."""

    def __init__(self, folder: Path, who: Identity, number: int = 0, previous: str = segment.FIRST_PREVIOUS) -> None:
        """`number` of the next segment, and the hash of the last."""
        self.folder, self._who = folder, who
        self._book, self.number, self.previous = Book(), number, previous

    def add(self, booked: Batch) -> None:
        """Book and seal; facts alone wait for the rows after them."""
        self._book.add(booked)
        sealed = take(self._book, None, self._who, self.number, self.previous)
        if sealed is None:
            return
        name = segment.file_name(self._who.cluster, self._who.node, self.number)
        segment.store(_Unsynced(), self.folder, name, sealed.body, sealed.sha256)
        self._book = self._book.without(sealed.rows)
        self.number, self.previous = self.number + 1, sealed.sha256


class _Unsynced(RealFiles):
    """Tens of thousands of fsyncs would measure the disk, not the ledger; these files need not survive a power cut."""

    def write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)

    def sync_folder(self, folder: Path) -> None:
        pass
