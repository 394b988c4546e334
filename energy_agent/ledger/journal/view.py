"""Read a journal without owning it, also while its agent runs. Nothing is written."""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.energy import Identity
from energy_agent.core.errors import JournalError, WattlensError
from energy_agent.ledger.journal import database, log
from energy_agent.ledger.journal.book import Book, from_text


@dataclass(frozen=True, slots=True)
class SegmentStub:
    """A segment as the journal knows it; `body` is its compressed file while it is not written yet."""

    sequence: int
    name: str
    sha256: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class JournalView:
    """One consistent state of a journal. Its totals begin with segment `first_sequence`."""

    path: Path
    identity: Identity
    book: Book
    segments: tuple[SegmentStub, ...]
    first_sequence: int


def read_journal(path: Path) -> JournalView:
    """Read a journal.

    Raises:
        UsageError: the file does not exist, or is not a journal.
        JournalError: the journal cannot be read.
    """
    connection = database.open_readonly(path)
    try:
        book = _read_book(connection)
        meta = database.get_meta(connection)
        identity = database.identity_of(meta)
        first = int(meta["first_sequence"])
        segments = connection.execute(
            "SELECT sequence, name, sha256, CASE state WHEN 'sealing' THEN body END FROM segment ORDER BY sequence"
        ).fetchall()
    except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError, RecursionError, WattlensError) as error:
        raise JournalError(f"{path}: is damaged ({error}); the agent moves it aside at its next start") from None
    finally:
        connection.close()
    return JournalView(path, identity, book, tuple(SegmentStub(*row) for row in segments), first)


def _read_book(connection: sqlite3.Connection) -> Book:
    number, text = database.get_checkpoint(connection)
    book = from_text(json.loads(text))
    for _, batch in log.read(connection, number):
        book.add(batch)
    return book
