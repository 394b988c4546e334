"""The journal: where every joule is booked, one commit a second, and from which segments are sealed.

A commit is one row of the log, in one SQLite transaction: entries and meter states together, so a process killed at any instant
loses no committed second and counts none twice. Once a minute the log is folded into cells and totals. Sealing is two steps:
one transaction takes the rows out and puts the finished segment in their place; then the file is written from it. After a crash
anywhere in between, the same bytes are written again.

One thread owns a Journal; `stats` may be called from any.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from energy_agent.core.energy import Identity, WorkloadFacts
from energy_agent.core.errors import JournalError, UsageError
from energy_agent.core.snapshot import LedgerStats
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.journal import book as books
from energy_agent.ledger.journal import database, log, segment_table
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.journal.log import Room
from energy_agent.ledger.journal.sealing import Sealed, Taken, find_obsolete, take
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts, Row
from energy_agent.ledger.rows.totals import Totals
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import Files, RealFiles, hold
from energy_agent.ledger.segments.segment import Segment

__all__ = ["Batch", "DeviceFacts", "Journal", "Segment", "Totals"]

DISK_BUDGET_B: Final = 512 << 20
KEEP_NS: Final = 48 * 3600 * NS_PER_S
FOLD_EVERY: Final = 60
FOLD_CHARACTERS: Final = 2 << 20
"""Text of the log that is folded before the minute is over: it is held in memory, too."""
LOG_MAX: Final = 10 * FOLD_EVERY
"""A log that cannot be folded (full disk) is not let grow further; the rows wait with whoever commits."""


class Journal:
    """An open journal; make one with `open`. `notice` is a line for the operator if a torn one was moved aside, else ""."""

    def __init__(
        self, path: Path, identity: Identity, lock: int, files: Files, budget_b: int, keep_ns: int, utc_ns: Callable[[], int]
    ) -> None:
        self.path, self.segments_folder = path, path.parent / "segments"
        self.notice = ""
        self._identity, self._lock, self._files = identity, lock, files
        self._budget_b, self._keep_ns, self._utc_ns = budget_b, keep_ns, utc_ns
        self._book = Book()
        self._log: list[Batch] = []  # committed, not folded into the book and its tables yet
        self._log_characters = 0
        self._view: tuple[Book, int] | None = None  # the book with that many batches of the log folded in
        self._room = Room(INT64_MAX)  # none, until the log is folded
        self._sequence, self._previous = 0, segment.FIRST_PREVIOUS
        self._counts = LedgerStats()
        self._connection: sqlite3.Connection

    @classmethod
    def open(
        cls,
        path: Path,
        identity: Identity,
        *,
        disk_budget_b: int = DISK_BUDGET_B,
        keep_ns: int = KEEP_NS,
        files: Files | None = None,
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> "Journal":
        """Open or make the journal `path`; segments go into `segments/` beside it.

        Args:
            path: the database file; its folder is made if missing.
            identity: who writes; rows left over from another boot or version are sealed under that one first.
            disk_budget_b: bound of the database file; the oldest sealed segments' copies in it go first, unsealed rows never.
            keep_ns: how long a sealed segment's copy stays in the database.
            files: the file system that segments are written to.
            utc_ns: UTC now, for what is stamped with the time of writing.

        Raises:
            UsageError: the folder cannot be written, the file is not a Wattlens journal, is of a newer schema, or belongs to
                another cluster, node or kind (simulated or not).
            JournalError: another process has it open, or it cannot be read.
        """
        lock = hold(path)
        journal = cls(path, identity, lock, files or RealFiles(), disk_budget_b, keep_ns, utc_ns)
        try:
            journal._open()
        except BaseException:
            journal.close()
            raise
        return journal

    def _open(self) -> None:
        self._connection, new, self.notice = database.open_writable(self.path, self._budget_b, self._utc_ns())
        if not new:
            try:
                old = self._read()
            except (ValueError, TypeError, KeyError, JournalError, sqlite3.DatabaseError) as error:
                self._connection.close()
                self.notice = database.move_aside(self.path, self._utc_ns(), f"unreadable rows: {error}")
                self._connection, new, _ = database.open_writable(self.path, self._budget_b, self._utc_ns())
                self._book, self._log, self._log_characters, self._view = Book(), [], 0, None
        try:
            if new:
                self._begin()
            else:
                self._continue(old)
        except sqlite3.Error as error:
            raise database.failure(self._connection, self.path, self._budget_b, error) from None
        if not self._log:
            self._room = Room(self._book.largest())

    def _read(self) -> Identity:
        """What the database holds; returns who wrote it."""
        self._book, self._log = books.read(self._connection), log.read(self._connection)
        self._log_characters = log.size(self._connection)
        self._now()  # a log that cannot be folded is torn
        meta = dict(database.all_rows(self._connection, "meta"))
        entries = int(meta["entries"]) + sum(len(batch.entries) for batch in self._log)
        self._counts = LedgerStats(entries_total=entries, commits_total=int(meta["commits"]) + len(self._log))
        return books.identity_of(meta)

    def _begin(self) -> None:
        """A new database: continue the chain and the totals of the segments on disk, if there are any."""
        taken = Taken.of_folder(self.segments_folder, self._identity)
        self._sequence, self._previous = taken.sequence, taken.previous
        self._book.totals = taken.totals
        with database.transaction(self._connection, durable=True):
            books.write(self._connection, self._book)
            database.put(self._connection, "segment", taken.known)
            database.put(
                self._connection, "meta", [("first_sequence", str(taken.first)), *self._meta(), *books.counted(self._counts)]
            )
        self._counts = replace(self._counts, segments_total=len(taken.known))

    def _continue(self, old: Identity) -> None:
        mine = self._identity
        for name in ("cluster", "node", "simulated"):
            had, now = getattr(old, name), getattr(mine, name)
            if had != now:
                raise UsageError(f"{self.path}: belongs to {name} {had}, not {now}; give each its own state folder")
        last = segment_table.last(self._connection)
        if last is not None:
            self._sequence, self._previous = last[0] + 1, last[1]
        self._counts = replace(self._counts, segments_total=segment_table.count(self._connection))
        with contextlib.suppress(JournalError):  # of a full disk: the rows are safe in the log
            self._fold()
        if old != mine and self._now().open_rows():
            self._identity = old
            self._fix(None)
            self._identity = mine
        if old != mine:
            with database.transaction(self._connection):
                database.put(self._connection, "meta", self._meta())
        try:
            self._flush()
        except JournalError as error:  # the rows are safe in the database; the next seal tries again
            self._counts = replace(self._counts, writable=False, reason=str(error))

    def _meta(self) -> list[tuple[str, str]]:
        return [(key, str(value)) for key, value in asdict(self._identity).items()]

    def states(self) -> dict[str, str]:
        """Each device's meter state as of the last commit."""
        return dict(self._now().states)

    def facts(self) -> list[WorkloadFacts]:
        """Facts of workloads, as of the last commit."""
        return list(self._now().workloads.values())

    def open_rows(self) -> list[Row]:
        """The rows that are not sealed, as of the last commit; facts apart."""
        return self._now().open_rows()

    def totals(self) -> Totals:
        """Everything booked since the journal began, as of the last commit."""
        t, counts = self._now().totals, self._counts
        parts = (dict(t.energy), dict(t.gpu_ns), dict(t.tokens), dict(t.gap_bound_uj), dict(t.steps))
        return Totals(*parts, counts.entries_total, counts.commits_total)

    def _now(self) -> Book:
        """The book with the log folded in; each batch of it once."""
        if not self._log:
            return self._book
        book, folded = self._view or (self._book.copy(), 0)
        if folded < len(self._log):
            book.take(books.change_of(book, *self._log[folded:]))
            self._view = book, len(self._log)
        return book

    def commit(self, batch: Batch) -> None:
        """Book a batch, whole: it is in when this returns.

        Raises:
            JournalError: nothing of the batch is in; try again later, with newer data.
        """
        counts = replace(
            self._counts,
            entries_total=self._counts.entries_total + len(batch.entries),
            commits_total=self._counts.commits_total + 1,
        )
        try:
            if self._may_grow() and self._room.take(batch):
                parts = self._log_characters // FOLD_CHARACTERS
                self._append(batch)
                self._counts = counts
                if len(self._log) % FOLD_EVERY == 0 or self._log_characters // FOLD_CHARACTERS > parts:
                    # Whatever fails here, the rows are in the log: raised, it would have the batch committed a second time.
                    with contextlib.suppress(Exception):
                        self._fold()
            else:
                self._fold()
                self._write_book(books.change_of(self._book, batch), counts)
                self._counts = counts
        except JournalError as failure:
            failures = self._counts.commit_failures_total + 1
            self._counts = replace(self._counts, commit_failures_total=failures, writable=False, reason=str(failure))
            raise
        self._counts = replace(self._counts, last_commit_ns=self._utc_ns(), writable=True, reason="")

    def _may_grow(self) -> bool:
        return len(self._log) < LOG_MAX and self._log_characters < LOG_MAX // FOLD_EVERY * FOLD_CHARACTERS

    def _append(self, batch: Batch) -> None:
        """One row more in the log: one statement, so one transaction."""
        text = log.encode(batch)
        self._with_room(lambda: self._connection.execute("INSERT INTO log (batch) VALUES (?)", (text,)))
        self._log.append(batch)
        self._log_characters += len(text)

    def _fold(self) -> None:
        """Fold the log into the tables of the book."""
        if self._log:
            self._write_book(books.change_of(self._book, *self._log), self._counts)

    def _write_book(self, change: Book, counts: LedgerStats) -> None:
        """Write a change of the book, all of the log being in it or in the tables."""

        def write() -> None:
            with database.transaction(self._connection):
                books.write(self._connection, change)
                self._connection.execute("DELETE FROM log")
                database.put(self._connection, "meta", books.counted(counts))

        self._with_room(write)
        self._book.take(change)
        self._log.clear()
        self._log_characters = 0
        self._view = None
        self._room = Room(self._book.largest())

    def _with_room(self, write: Callable[[], object]) -> None:
        """Write; where the disk is full, first copies of written segments go."""
        while True:
            try:
                write()
                return
            except (sqlite3.Error, UnicodeError, OverflowError) as error:
                if not (database.is_full(error) and segment_table.drop_oldest(self._connection)):
                    raise database.failure(self._connection, self.path, self._budget_b, error) from None

    def seal(self, up_to_ns: int | None) -> Segment | None:
        """Turn committed rows that end by `up_to_ns` (None: all) into the next segment file.

        Returns:
            The last segment written now, None if there was nothing to write.

        Raises:
            JournalError: the file could not be written; its rows are fixed in the database and the next call writes them.
        """
        try:
            self._fix(up_to_ns)
            return self._flush()
        except sqlite3.Error as error:
            raise database.failure(self._connection, self.path, self._budget_b, error) from None

    def _fix(self, up_to_ns: int | None) -> None:
        """First step: rows out, finished segments in, each by a transaction that is on the disk before its file is written."""
        self._fold()
        while (sealed := take(self._book, up_to_ns, self._identity, self._sequence, self._previous)) is not None:
            self._fix_one(sealed)

    def _fix_one(self, sealed: Sealed) -> None:
        obsolete = find_obsolete(self._book, sealed)

        def write() -> None:
            with database.transaction(self._connection, durable=True):
                sealed.delete(self._connection)
                obsolete.delete(self._connection)
                segment_table.fix(self._connection, sealed.header, sealed.sha256, sealed.body, self._utc_ns())

        self._with_room(write)
        sealed.forget(self._book)
        obsolete.forget(self._book)
        self._sequence, self._previous = sealed.header.sequence + 1, sealed.sha256
        self._counts = replace(self._counts, segments_total=self._counts.segments_total + 1)

    def _flush(self) -> Segment | None:
        """Second step: the files."""
        return segment_table.flush(self._connection, self._files, self.segments_folder, self._utc_ns, self._keep_ns)

    def configure(self, disk_budget_b: int, keep_ns: int) -> None:
        """Another size limit and another age at which copies of sealed segments go, from the next commit and segment on.

        Raises:
            JournalError: the database cannot be written.
        """
        self._budget_b, self._keep_ns = disk_budget_b, keep_ns
        try:
            database.limit(self._connection, disk_budget_b)
        except sqlite3.Error as error:
            raise database.failure(self._connection, self.path, disk_budget_b, error) from None

    def stats(self) -> LedgerStats:
        """Counts and sizes, for metrics."""
        size = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                size += os.stat(f"{self.path}{suffix}").st_size  # noqa: PTH116
        return replace(self._counts, journal_bytes=size)

    def close(self) -> None:
        """Close; every commit is already on its way to the disk."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
