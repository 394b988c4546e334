"""A journal that is lost or torn goes on from what can still be read, and no counter falls.

Beside the database lies a snapshot: the book as it was a minute ago at most, with a checksum. To it come the commits that the
torn database still gives, in their order and without a hole; the meters' states are those of the last of them, so that what was
metered after it is bridged by the next reading. Without a snapshot or a checkpoint the segments on disk are all there is.
"""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from energy_agent.core.energy import Identity
from energy_agent.core.errors import WattlensError
from energy_agent.ledger.journal import database, log
from energy_agent.ledger.journal.book import Book, dumps, from_text, to_text
from energy_agent.ledger.journal.sealing import Taken
from energy_agent.ledger.rows.kinds import key_of
from energy_agent.ledger.rows.totals import Tally
from energy_agent.ledger.segments.segment import Content

NAME: Final = "journal.snapshot"
_DAMAGE: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError, WattlensError, sqlite3.Error)
"""What reading something damaged may raise."""


@dataclass
class Base:
    """A book, the number of the last commit in it, and that of the segment which was to come next."""

    book: Book = field(default_factory=Book)
    log: int = 0
    sequence: int = 0


def write_snapshot(path: Path, identity: Identity, base: Base) -> int:
    """Write the snapshot; returns its size in bytes. In one step, but not forced to the disk: a torn one is not believed.

    Raises:
        OSError: it cannot be written.
    """
    who = [identity.cluster, identity.node, identity.simulated]
    data = dumps({"who": who, "log": base.log, "sequence": base.sequence, "book": to_text(base.book)}).encode()
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
    new.chmod(0o640)
    new.replace(path)
    return len(data)


def read_snapshot(path: Path, identity: Identity) -> Base | None:
    """The snapshot of this node; None where there is none, or it is damaged or another node's."""
    try:
        digest, _, data = path.read_bytes().partition(b"\n")
        if hashlib.sha256(data).hexdigest().encode() != digest:
            return None
        body: Any = json.loads(data)
        if body["who"] != [identity.cluster, identity.node, identity.simulated]:
            return None
        return Base(from_text(body["book"]), int(body["log"]), int(body["sequence"]))
    except (OSError, *_DAMAGE):
        return None


def salvage(torn: Path | None, base: Base | None) -> tuple[Base | None, int]:
    """The base with what a torn database still gives after it; how many commits that were."""
    if torn is None:
        return base, 0
    added = 0
    with contextlib.suppress(*_DAMAGE), contextlib.closing(sqlite3.connect(torn, isolation_level=None)) as connection:
        base = _newer_checkpoint(connection, base)
        if base is not None:
            for number, batch in log.read(connection, base.log):
                if number != base.log + 1:
                    break
                base.book.add(batch)
                base.log, added = number, added + 1
    return base, added


def _newer_checkpoint(connection: sqlite3.Connection, base: Base | None) -> Base | None:
    """That of the torn database, if it can be read and is newer."""
    try:
        number, text = database.get_checkpoint(connection)
        if base is not None and number <= base.log:
            return base
        (sequence,) = connection.execute("SELECT coalesce(max(sequence), -1) + 1 FROM segment").fetchone()
        return Base(from_text(json.loads(text)), number, int(sequence))
    except _DAMAGE:
        return base


def continued(base: Base | None, taken: Taken) -> Book:
    """The book that goes on: open rows are those of the base that no segment on disk has."""
    if base is None:
        return Book(totals=taken.totals)
    if taken.sequence <= base.sequence:
        return base.book
    book = base.book.without(_sealed_rows(base.book, taken.later))
    totals = Tally()
    totals.add_tally(base.book.totals)
    totals.take(row for key, row in base.book.rows.items() if key not in book.rows)
    totals.add_rows(row for content in taken.later for row in content.rows)
    # What was metered between the base and the last segment is in that; bridged once more it would count twice.
    return Book(book.rows, book.facts, {}, totals, book.ended, book.entries, book.commits)


def _sealed_rows(book: Book, later: Iterable[Content]) -> list[Any]:
    keys = {key_of(row) for content in later for row in content.rows}
    return [row for key, row in book.rows.items() if key in keys]
