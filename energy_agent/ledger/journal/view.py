"""Reading a journal without owning it: beside a running agent, or one that is long dead. Nothing is written."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.energy import Identity
from energy_agent.core.errors import JournalError
from energy_agent.ledger.journal import book as books
from energy_agent.ledger.journal import database, log
from energy_agent.ledger.journal.book import Book


@dataclass(frozen=True, slots=True)
class Known:
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
    segments: tuple[Known, ...]
    first_sequence: int


def read_journal(path: Path) -> JournalView:
    """Read a journal.

    Raises:
        UsageError: there is none, or it is not one.
        JournalError: it cannot be read.
    """
    connection = database.open_readonly(path)
    try:
        book = books.read(connection)
        book.take(books.change_of(book, *log.read(connection)))
        meta = dict(database.all_rows(connection, "meta"))
        identity = books.identity_of(meta)
        first = int(meta["first_sequence"])
        segments = connection.execute(
            "SELECT sequence, name, sha256, CASE state WHEN 'sealing' THEN body END FROM segment ORDER BY sequence"
        ).fetchall()
    except (sqlite3.Error, ValueError, TypeError, KeyError, JournalError) as error:
        raise JournalError(f"{path}: is torn ({error}); the agent moves it aside at its next start") from None
    finally:
        connection.close()
    return JournalView(path, identity, book, tuple(Known(*row) for row in segments), first)
