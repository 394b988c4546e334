"""Recover a lost or corrupted journal from what is still readable, without letting any counter fall.

A snapshot is stored next to the database: the book of the last checkpoint and a line per later commit, all with checksums.
SQLite does not write it, so one fault rarely damages both. Recovery adds newer rows of the corrupted database to it. The
meters' states are those of the last readable commit, and the next reading bridges the time after it. If neither is readable,
only the segments on disk remain. The last reading of a meter is then unknown, so the time from a device's last row to its next
reading is a gap. The journal stores the start of the gap; the device's account records it with the next reading.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from energy_agent.core.energy import Identity
from energy_agent.core.errors import WattlensError
from energy_agent.core.saved_state import Component, States
from energy_agent.ledger.journal import database, log
from energy_agent.ledger.journal.book import Book, dumps, from_text, to_text
from energy_agent.ledger.journal.sealing import ChainPosition, note_ends
from energy_agent.ledger.rows.kinds import Row, key_of, kind_of
from energy_agent.ledger.rows.text import to_json
from energy_agent.ledger.rows.totals import Tally

_DAMAGE: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError, WattlensError, sqlite3.Error)
"""What reading something damaged may raise."""


@dataclass
class RecoveredBook:
    """A book, who wrote it, the number of the last commit in it, and that of the segment which was to come next.

    `tail` has the texts of the commits after it, one number after the other.
    """

    book: Book
    identity: Identity
    log: int
    sequence: int
    tail: list[str] = field(default_factory=list)

    @property
    def last(self) -> int:
        """Number of the last commit that is known."""
        return self.log + len(self.tail)


class BookFile:
    """The open file. A failed write stops it until it is started again: it is a second copy."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self._path, self._identity = path, identity
        self._handle = -1
        self.error = ""
        """Why the file is not written now."""

    def begin(self, book: Book, number: int, sequence: int) -> None:
        """Write the book atomically. It is not synced to disk: checksums detect what a power failure truncates."""
        self.close()
        data = dumps({"who": asdict(self._identity), "log": number, "sequence": sequence, "book": to_text(book)}).encode()
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
            try:
                _write(handle, hashlib.sha256(data).hexdigest().encode() + b" " + data + b"\n")
                new.replace(self._path)
            except OSError:
                os.close(handle)
                raise
        except OSError as error:
            self.error = f"{self._path}: {error.strerror}"
        else:
            self._handle, self.error = handle, ""

    def add(self, number: int, text: str) -> None:
        """Add a commit."""
        if self._handle >= 0:
            line = f"{number} {text}".encode()
            try:
                _write(self._handle, b"%08x %s\n" % (crc32(line), line))
            except OSError as error:
                self.error = f"{self._path}: {error.strerror}"
                self.close()

    @property
    def is_removed(self) -> bool:
        """Whether somebody removed the file that is being written."""
        return self._handle >= 0 and os.fstat(self._handle).st_nlink == 0

    def close(self) -> None:
        """Nothing more is added."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def read_snapshot(path: Path, identity: Identity) -> RecoveredBook | None:
    """The snapshot of this node; None if the file is missing, its book is damaged or it is another node's."""
    try:
        first, *lines = path.read_bytes().split(b"\n")
        digest, _, data = first.partition(b" ")
        if hashlib.sha256(data).hexdigest().encode() != digest:
            return None
        body: Any = json.loads(data)
        who = Identity(**body["who"])
        if replace(who, boot_id=identity.boot_id, version=identity.version) != identity:
            return None
        base = RecoveredBook(from_text(body["book"]), who, int(body["log"]), int(body["sequence"]))
        for line in lines:
            checksum, _, rest = line.partition(b" ")
            number, _, text = rest.partition(b" ")
            if b"%08x" % crc32(rest) != checksum or int(number) != base.last + 1:
                break
            base.tail.append(text.decode())
    except (OSError, *_DAMAGE):
        return None
    return base


def salvage(torn: Path | None, base: RecoveredBook | None) -> RecoveredBook | None:
    """The book of the base with all commits that it and a torn database still give, in their order and without a hole."""
    with contextlib.ExitStack() as stack:
        connection = None
        if torn is not None:
            connection = stack.enter_context(contextlib.closing(sqlite3.connect(torn, isolation_level=None)))
            base = _longer(connection, base)
        if base is None:
            return None
        with contextlib.suppress(*_DAMAGE):
            for text in base.tail:
                base.book.add(log.decode(text))
                base.log += 1
            if connection is not None:
                for number, batch in log.read(connection, base.log):
                    if number != base.log + 1:
                        break
                    base.book.add(batch)
                    base.log = number
        base.tail = []
        return base


def _longer(connection: sqlite3.Connection, base: RecoveredBook | None) -> RecoveredBook | None:
    """The checkpoint of the torn database, if it can be read and is beyond the other one."""
    try:
        number, text = database.get_checkpoint(connection)
        if base is not None and number <= base.last:
            return base
        (sequence,) = connection.execute("SELECT coalesce(max(sequence), -1) + 1 FROM segment").fetchone()
        who = database.identity_of(database.get_meta(connection))
        return RecoveredBook(from_text(json.loads(text)), who, number, int(sequence))
    except _DAMAGE:
        return base


def continued(base: RecoveredBook | None, taken: ChainPosition) -> Book:
    """The book that goes on: open rows are those of the base that no segment on disk has."""
    if base is None:
        return Book(totals=taken.totals, states=_lost_states(taken.ends), ends=_with_latest(taken.ends))
    if taken.sequence <= base.sequence:
        return base.book
    sealed = [row for content in taken.later for row in content.rows if not kind_of(row).is_fact]
    book = base.book.without(sealed)
    if all(_same(base.book.rows.get(key_of(row)), row) for row in sealed):
        return book
    # Commits are missing between the base and the last segment, which has them: bridged once more they would count twice.
    growth = Tally()
    growth.add_rows(sealed)
    growth.take(row for key, row in base.book.rows.items() if key not in book.rows)
    totals = Tally()
    totals.add_tally(base.book.totals)
    totals.add_tally(growth.without_zeros())  # a workload that ended before the base has rows in it, and no total of its own
    ends = dict(taken.ends)
    note_ends(ends, book.rows.values())
    ended = {name: texts for name, texts in book.states.items() if name == Component.ENDED_ENERGY}  # no row has it
    return replace(book, states=ended | _lost_states(ends), totals=totals, ends=_with_latest(ends))


def _with_latest(ends: Mapping[str, int]) -> dict[str, int]:
    """Where the time of each device ends, and of all, as `Book.ends` has it."""
    return {**ends, "": max(ends.values())} if ends else {}


def _lost_states(ends: Mapping[str, int]) -> dict[str, dict[str, str]]:
    return {Component.LOST_READINGS: {device: str(end_ns) for device, end_ns in ends.items()}} if ends else {}


def lost_devices(states: States) -> dict[str, int]:
    """Devices of which the journal lost the last reading, with the UTC ns at which their last row ends.

    The device's account removes the state with the commit that has the gap.
    """
    return {device: int(text) for device, text in states.get(Component.LOST_READINGS, {}).items() if text.isdecimal()}


def _same(one: Row | None, other: Row) -> bool:
    """Whether a row is in a segment as it is in the book."""
    return one is not None and to_json(one) == to_json(other)
