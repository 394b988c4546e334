"""The journal: where every joule is booked, one commit a second, and from which segments are sealed.

A commit is one SQLite transaction: rows, totals and meter states together, so a process killed at any instant loses no
committed second and counts none twice. Sealing is two steps: one transaction takes the rows out and puts the finished segment
in their place; then the file is written from it. After a crash anywhere in between, the same bytes are written again.

One thread owns a Journal; `stats` may be called from any.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import JournalError, UsageError
from energy_agent.core.snapshot import LedgerStats
from energy_agent.core.types import Identity, WorkloadFacts
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger import book as books
from energy_agent.ledger import database, segments
from energy_agent.ledger.book import Batch, Book
from energy_agent.ledger.files import Files, RealFiles, hold
from energy_agent.ledger.rows import DeviceFacts
from energy_agent.ledger.sealing import Taken, take
from energy_agent.ledger.segments import Segment
from energy_agent.ledger.totals import Totals

__all__ = ["Batch", "DeviceFacts", "Journal", "Segment", "Totals"]

DISK_BUDGET_B: Final = 512 << 20
KEEP_NS: Final = 48 * 3600 * NS_PER_S


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
        self._sequence, self._previous = 0, segments.FIRST_PREVIOUS
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
                self._book, meta = books.read(self._connection), dict(database.all_rows(self._connection, "meta"))
                self._counts = replace(self._counts, entries_total=int(meta["entries"]), commits_total=int(meta["commits"]))
                old = books.identity_of(meta)
            except (ValueError, TypeError, KeyError, sqlite3.DatabaseError) as error:
                self._connection.close()
                self.notice = database.move_aside(self.path, self._utc_ns(), f"unreadable rows: {error}")
                self._connection, new, _ = database.open_writable(self.path, self._budget_b, self._utc_ns())
                self._book = Book()
        try:
            if new:
                self._begin()
            else:
                self._continue(old)
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def _begin(self) -> None:
        """A new database: continue the chain and the totals of the segments on disk, if there are any."""
        taken = Taken.of_folder(self.segments_folder, self._identity)
        self._sequence, self._previous = taken.sequence, taken.previous
        self._book.totals = taken.totals
        with self._transaction(durable=True):
            books.write(self._connection, self._book)
            database.put(self._connection, "segment", taken.known)
            database.put(self._connection, "meta", [("first_sequence", str(taken.first)), *self._meta()])
        self._counts = replace(self._counts, segments_total=len(taken.known))

    def _continue(self, old: Identity) -> None:
        mine = self._identity
        for name in ("cluster", "node", "simulated"):
            had, now = getattr(old, name), getattr(mine, name)
            if had != now:
                raise UsageError(f"{self.path}: belongs to {name} {had}, not {now}; give each its own state folder")
        row = self._connection.execute("SELECT sequence, sha256 FROM segment ORDER BY sequence DESC LIMIT 1").fetchone()
        if row is not None:
            self._sequence, self._previous = row[0] + 1, row[1]
        (count,) = self._connection.execute("SELECT count(*) FROM segment").fetchone()
        self._counts = replace(self._counts, segments_total=count)
        if old != mine and self._book.open_rows():
            self._identity = old
            self._fix(None)
            self._identity = mine
        if old != mine:
            with self._transaction():
                database.put(self._connection, "meta", self._meta())
        try:
            self._flush()
        except JournalError as error:  # the rows are safe in the database; the next seal tries again
            self._counts = replace(self._counts, writable=False, reason=str(error))

    def _meta(self) -> list[tuple[str, str]]:
        counts = [("entries", str(self._counts.entries_total)), ("commits", str(self._counts.commits_total))]
        return [(key, str(value)) for key, value in asdict(self._identity).items()] + counts

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = False) -> Any:
        """One transaction; `durable` ones are on the disk when done, whatever happens to the power."""
        if durable:
            self._connection.execute("PRAGMA synchronous=FULL")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise
        finally:
            if durable:
                self._connection.execute("PRAGMA synchronous=NORMAL")

    def states(self) -> dict[str, str]:
        """Each device's meter state as of the last commit."""
        return dict(self._book.states)

    def facts(self) -> list[WorkloadFacts]:
        """Facts of workloads, as of the last commit."""
        return list(self._book.workloads.values())

    def totals(self) -> Totals:
        """Everything booked since the journal began, as of the last commit."""
        t = self._book.totals
        counts = self._counts
        parts = (dict(t.energy), dict(t.gpu_ns), dict(t.tokens), dict(t.gap_bound_uj))
        return Totals(*parts, counts.entries_total, counts.commits_total)

    def commit(self, batch: Batch) -> None:
        """Book a batch in one transaction.

        Raises:
            JournalError: nothing of the batch is in; try again later, with newer data.
        """
        change = books.change_of(self._book, batch)
        counts = replace(
            self._counts,
            entries_total=self._counts.entries_total + len(batch.entries),
            commits_total=self._counts.commits_total + 1,
        )
        while True:
            try:
                with self._transaction():
                    books.write(self._connection, change)
                    database.put(
                        self._connection,
                        "meta",
                        [("entries", str(counts.entries_total)), ("commits", str(counts.commits_total))],
                    )
                break
            except (sqlite3.Error, UnicodeError, OverflowError) as error:
                if _is_full(error) and self._drop_oldest():
                    continue
                failure = self._failure(error)
                failures = self._counts.commit_failures_total + 1
                self._counts = replace(self._counts, commit_failures_total=failures, writable=False, reason=str(failure))
                raise failure from None
        self._book.take(change)
        self._counts = replace(counts, last_commit_ns=self._utc_ns(), writable=True, reason="")

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
            raise self._failure(error) from None

    def _fix(self, up_to_ns: int | None) -> None:
        """First step: rows out, finished segment in, in one transaction that is on the disk before any file is written."""
        sealed = take(self._book, up_to_ns, self._identity, self._sequence, self._previous)
        if sealed is None:
            return
        header, body, digest = sealed.header, sealed.body, sealed.sha256
        name = segments.file_name(header.cluster, header.node, header.sequence)
        row = (header.sequence, name, digest, header.previous, header.from_ns, header.to_ns, header.rows)
        while True:
            try:
                with self._transaction(durable=True):
                    sealed.delete(self._connection)
                    database.put(self._connection, "segment", [(*row, "sealing", self._utc_ns(), body)])
                break
            except sqlite3.Error as error:
                if not (_is_full(error) and self._drop_oldest()):
                    raise
        sealed.forget(self._book)
        self._sequence, self._previous = header.sequence + 1, digest
        self._counts = replace(self._counts, segments_total=self._counts.segments_total + 1)

    def _flush(self) -> Segment | None:
        """Second step: write every segment that is fixed but has no file yet, in order."""
        pending = self._connection.execute(
            "SELECT sequence, name, sha256, previous, from_ns, to_ns, row_count, body FROM segment"
            " WHERE state = 'sealing' ORDER BY sequence"
        ).fetchall()
        last = None
        for sequence, name, digest, previous, from_ns, to_ns, rows, body in pending:
            try:
                self.segments_folder.mkdir(exist_ok=True)
                path = segments.store(self._files, self.segments_folder, name, body, digest)
            except OSError as error:
                raise JournalError(
                    f"{self.segments_folder / name}: cannot be written: {error.strerror}; its rows are safe in {self.path.name}"
                ) from None
            with self._transaction():
                self._connection.execute(
                    "UPDATE segment SET state = 'sealed', sealed_ns = ? WHERE sequence = ?", (self._utc_ns(), sequence)
                )
                self._connection.execute(
                    "UPDATE segment SET body = NULL WHERE state = 'sealed' AND sealed_ns < ? AND body IS NOT NULL",
                    (self._utc_ns() - self._keep_ns,),
                )
            last = Segment(path, sequence, digest, previous, from_ns, to_ns, rows)
        return last

    def _drop_oldest(self) -> bool:
        """Make room: drop the oldest half of the sealed segments' copies; False if there are none."""
        sealed = [
            row[0]
            for row in self._connection.execute(
                "SELECT sequence FROM segment WHERE state = 'sealed' AND body IS NOT NULL ORDER BY sequence"
            )
        ]
        if not sealed:
            return False
        try:
            with self._transaction():
                limit = sealed[(len(sealed) - 1) // 2]
                self._connection.execute("UPDATE segment SET body = NULL WHERE state = 'sealed' AND sequence <= ?", (limit,))
        except sqlite3.Error:  # not even that fits: the disk itself is full
            return False
        return True

    def _failure(self, error: Exception) -> JournalError:
        if _is_full(error):
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            if pages >= max(64, self._budget_b // database.PAGE_B) - 8:
                full = f"{self.path}: the disk budget of {self._budget_b} bytes is full of unsealed rows"
                return JournalError(f"{full}; raise ledger.disk_budget_mib")
            return JournalError(f"{self.path}: the disk is full; free some space, nothing committed is lost")
        return JournalError(f"{self.path}: cannot be written: {error}")

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


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
