"""The journal: where every joule is recorded, one commit a second, and from which segments are sealed.

A commit is one row of the log, in one SQLite transaction: entries and meter states together, so a process killed at any instant
loses no committed second and counts none twice. The open rows and the totals are a book in memory, which is made of the last
checkpoint and the log at a start. Sealing is two steps: one transaction replaces the log by a checkpoint and the finished
segment; then the file is written from it. After a crash anywhere in between, the same bytes are written again.

One thread owns a Journal; `stats` may be called from any.
"""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from energy_agent.core.energy import Identity, WorkloadFacts
from energy_agent.core.errors import ChainError, JournalError, UsageError, WattlensError
from energy_agent.core.saved_state import copy_states
from energy_agent.core.snapshot import LedgerStats
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.journal import database, log, recovery, segment_table
from energy_agent.ledger.journal.book import Batch, Book, change_of, dumps, from_text, to_text
from energy_agent.ledger.journal.sealing import ChainPosition, SealedSegment, find_obsolete, take
from energy_agent.ledger.rows.kinds import DeviceFacts, Row
from energy_agent.ledger.rows.totals import Totals
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import RealFiles, SegmentFiles, hold
from energy_agent.ledger.segments.segment import Signer, WrittenSegment

__all__ = ["Batch", "DeviceFacts", "Journal", "Totals", "WrittenSegment"]

DISK_BUDGET_B: Final = 512 << 20
KEEP_NS: Final = 48 * 3600 * NS_PER_S
LOG_CHARACTERS: Final = 8 << 20
"""Text of the log from which it is replaced by a checkpoint before the hour is over: it takes time to read at a start."""
SNAPSHOT_RETRY: Final = 60
"""Commits between two attempts to write a snapshot that cannot be written."""
CHECK_FILES: Final = 60
"""Commits between two looks whether the files are still there."""
ALARM: Final = 3_600
"""Commits for which files that were removed are reported: an alert has to notice it."""
_DAMAGE: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError, WattlensError, sqlite3.DatabaseError)


class Journal:
    """An open journal; make one with `open`. `notice` is a line for the operator if the one before was not taken up."""

    def __init__(
        self,
        path: Path,
        identity: Identity,
        lock: int,
        files: SegmentFiles,
        budget_b: int,
        keep_ns: int,
        utc_ns: Callable[[], int],
    ) -> None:
        self.path, self.segments_folder = path, path.parent / "segments"
        self.notice = ""
        self._identity, self._lock, self._files = identity, lock, files
        self._budget_b, self._keep_ns, self._utc_ns = budget_b, keep_ns, utc_ns
        self._snapshot = recovery.BookFile(path.with_name(database.SNAPSHOT), identity)
        self._signer: Signer | None = None
        self._book = Book()
        self._logged = 0  # number of the last commit
        self._log_characters = 0
        self._went_back = False  # UTC, with the last commit
        self._is_open = False  # False after a start at which the database could not be written
        self._inode: tuple[int, int] | None = None  # of the open database; None: it is to be written again
        self._lost: tuple[list[tuple[Any, ...]], dict[str, str]] = ([], {})  # of a database that was removed: segments, meta
        self._alarm_until = 0  # number of the commit
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
        files: SegmentFiles | None = None,
        utc_ns: Callable[[], int] = time.time_ns,
        signer: Signer | None = None,
        signing_error: str = "",
    ) -> "Journal":
        """Open or create the journal `path`. The segments are in `segments/` next to it.

        Args:
            path: the database file; its folder is created if it is missing.
            identity: the writer. Rows of another boot or version are sealed under that identity first.
            disk_budget_b: maximum size of the database file. It drops the oldest copies of sealed segments first, and never
                unsealed rows.
            keep_ns: how long the copy of a sealed segment stays in the database.
            files: the file system that segments are written to.
            utc_ns: UTC now, for time stamps of writing.
            signer: signs the segments; None: they are unsigned.
            signing_error: why they are, where they should not be.

        Raises:
            UsageError: the folder cannot be written, or the file is not a Wattlens journal, or belongs to another cluster, node
                or kind (simulated or not).
            JournalError: another process has the journal open, or it cannot be read. One that can be read and not written, as
                on a full disk, is opened: commits fail until it can be written.
        """
        lock = hold(path)
        journal = cls(path, identity, lock, files or RealFiles(), disk_budget_b, keep_ns, utc_ns)
        journal._signer = signer
        journal._counts = LedgerStats(signing_error=signing_error)
        try:
            try:
                journal._start()
            except JournalError as error:
                if not journal._load():
                    raise
                journal._counts = replace(journal._counts, writable=False, reason=str(error))
        except BaseException:
            journal.close()
            raise
        return journal

    def _start(self) -> None:
        """Open the database, also after a start at which it could not be written: what it held then is known already."""
        before = self._book, self._logged, self._log_characters, self._sequence, self._previous
        counts = self._counts
        try:
            self._open()
        except BaseException:
            self._book, self._logged, self._log_characters, self._sequence, self._previous = before
            self._counts = counts
            if hasattr(self, "_connection"):
                self._connection.close()
            raise
        signing_error = counts.signing_error or self._other_key()
        failures = counts.commit_failures_total
        self._counts = replace(self._counts, commit_failures_total=failures, signing_error=signing_error)
        self._inode, self._is_open = database.inode_of(self.path), True

    def _load(self) -> bool:
        """Read a database that cannot be written now; False where one has to be recovered first, which takes writing."""
        if database.is_absent(self.path):
            return not self.path.with_name(database.SNAPSHOT).exists() and not self.segments_folder.exists()
        try:
            with contextlib.closing(database.open_full(self.path)) as self._connection:
                old = self._read()
                last = segment_table.last(self._connection)
        except _DAMAGE:
            return False
        self._refuse_other(old)
        if last is not None:
            self._sequence, self._previous = last[0] + 1, last[1]
        return True

    def _open(self) -> None:
        self._connection, new, self.notice, torn = database.open_writable(self.path, self._budget_b, self._utc_ns())
        if not new:
            try:
                old = self._read()
                self._refuse_older()
            except _DAMAGE as error:
                self._connection.close()
                self.notice, torn = database.move_torn_aside(self.path, self._utc_ns(), f"unreadable rows: {error}")
                self._connection, new, _, _ = database.open_writable(self.path, self._budget_b, self._utc_ns())
        try:
            if new:
                self._begin(torn)
            else:
                self._continue(old)
        except sqlite3.Error as error:
            raise database.failure(self._connection, self.path, self._budget_b, error) from None
        self._snapshot.begin(self._book, self._logged, self._sequence)
        self._count_moved_aside()

    def _count_moved_aside(self) -> None:
        with contextlib.suppress(OSError):
            self._counts = replace(self._counts, moved_aside=database.count_moved_aside(self.path))

    def _read(self) -> Identity:
        """Take up what the database holds; returns who wrote it."""
        meta = database.get_meta(self._connection)
        self._logged, text = database.get_checkpoint(self._connection)
        self._book = from_text(json.loads(text))
        for number, batch in log.read(self._connection, self._logged):
            self._book.add(batch)
            self._logged = number
        self._log_characters = log.size(self._connection)
        self._counts = LedgerStats(commits_total=self._book.commits)
        return database.identity_of(meta)

    def _refuse_older(self) -> None:
        """SQLite drops what comes after a damaged part of its write-ahead log without a word: commits, and seals too."""
        base = recovery.read_snapshot(self.path.with_name(database.SNAPSHOT), self._identity)
        if base is not None and base.last > self._logged:
            raise JournalError(f"its last {base.last - self._logged} commits are gone")
        last = segment_table.last(self._connection)
        sequence = 0 if last is None else last[0] + 1
        name = segment.file_name(self._identity.cluster, self._identity.node, sequence)
        if (self.segments_folder / name).exists():
            raise JournalError(f"segment {sequence} exists on disk, but not in the journal")

    def _begin(self, torn: Path | None) -> None:
        """A new database: go on from what a lost one left, else from the segments on disk, if there are any."""
        base = recovery.salvage(torn, recovery.read_snapshot(self.path.with_name(database.SNAPSHOT), self._identity))
        taken = ChainPosition.of_folder(self.segments_folder, self._identity, 0 if base is None else base.sequence)
        self._book = recovery.continued(base, taken)
        self._sequence, self._previous = taken.sequence, taken.previous
        self._logged = 0 if base is None else base.log
        with database.transaction(self._connection, durable=True):
            database.set_checkpoint(self._connection, self._logged, dumps(to_text(self._book)))
            segment_table.put(self._connection, taken.segment_rows)
            database.set_meta(self._connection, {"first_sequence": str(taken.first)} | self._meta())
        self._counts = LedgerStats(commits_total=self._book.commits, segments_total=len(taken.segment_rows))
        if base is not None:
            self._seal_rows_of(base.identity)
            with contextlib.suppress(JournalError):  # the next seal tries again
                self._flush()
        if base is None and taken.segment_rows and not self.notice:
            self.notice = f"{self.path}: is missing, and so is {database.SNAPSHOT}"
        if self.notice:
            what = "only the segments on disk" if base is None else f"commit {base.log}, with all records up to it"
            self.notice += f"; a new journal continues from {what}"

    def _refuse_other(self, old: Identity) -> None:
        mine = self._identity
        for name in ("cluster", "node", "simulated"):
            had, now = getattr(old, name), getattr(mine, name)
            if had != now:
                owner = ("a simulated node" if had else "a real node") if name == "simulated" else f"{name} {had}, not {now}"
                raise UsageError(f"{self.path}: belongs to {owner}; use a separate state folder for each")

    def _continue(self, old: Identity) -> None:
        mine = self._identity
        self._refuse_other(old)
        last = segment_table.last(self._connection)
        if last is not None:
            self._sequence, self._previous = last[0] + 1, last[1]
        self._counts = replace(self._counts, segments_total=segment_table.count(self._connection))
        self._seal_rows_of(old)
        if old != mine:
            with database.transaction(self._connection):
                database.set_meta(self._connection, self._meta())
        try:
            self._flush()
        except JournalError as error:  # the rows are safe in the database; the next seal tries again
            self._counts = replace(self._counts, writable=False, reason=str(error))

    def _seal_rows_of(self, old: Identity) -> None:
        """What another boot or version left goes into a segment of its name."""
        mine = self._identity
        if old != mine and self._book.rows:
            self._identity = old
            self._fix(None)
            self._identity = mine

    def _meta(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self._identity).items()}

    def states(self) -> dict[str, dict[str, str]]:
        """The states by component and key, as of the last commit."""
        return copy_states(self._book.states)

    def facts(self) -> list[WorkloadFacts]:
        """Facts of workloads, as of the last commit."""
        return self._book.facts_of("workload")

    def open_rows(self) -> list[Row]:
        """The rows that are not sealed, as of the last commit; facts apart."""
        return self._book.open_rows()

    def totals(self) -> Totals:
        """Everything recorded since the journal began. Its mappings are the journal's own: each commit changes them."""
        return Totals(**self._book.totals.sums, entries=self._book.entries, commits=self._book.commits)

    def commit(self, batch: Batch) -> None:
        """Record a batch, whole: it is in when this returns.

        Raises:
            JournalError: nothing of the batch is in; try again later, with newer data.
        """
        try:
            if not self._is_open:
                self._start()
            if self._logged % CHECK_FILES == 0 or self._inode is None:
                self._check_files()
            change, text = change_of(self._book, batch), log.encode(batch)
            if (change.went_back or self._went_back) and self._book.rows:
                self._fix(None)  # its rows overlap with what follows; a batch of both sides of the step is a segment by itself
                self._snapshot.begin(self._book, self._logged, self._sequence)
                change = change_of(self._book, batch)
            if self._log_characters + len(text) > LOG_CHARACTERS and self._log_characters:
                self._checkpoint()
            self._with_room(lambda: log.append(self._connection, self._logged + 1, text))
        except JournalError as failure:
            failures = self._counts.commit_failures_total + 1
            self._counts = replace(self._counts, commit_failures_total=failures, writable=False, reason=str(failure))
            raise
        self._went_back = change.went_back
        self._book.take(change)
        self._book.count(batch)
        self._logged += 1
        self._log_characters += len(text)
        self._snapshot.add(self._logged, text)
        if self._snapshot.error and self._logged % SNAPSHOT_RETRY == 0:
            self._snapshot.begin(self._book, self._logged, self._sequence)
        self._counts = replace(
            self._counts,
            commits_total=self._book.commits,
            last_commit_ns=self._utc_ns(),
            writable=True,
            reason="",
        )

    def _other_key(self) -> str:
        """Why the last segment's key is not the one that signs the next, "" where it is."""
        last = segment_table.last_name(self._connection)
        try:
            before = "" if last is None else segment.peek(self.segments_folder / last).key
        except ChainError:  # `verify` names it
            return ""
        mine = "" if self._signer is None else self._signer.key
        if before in ("", mine):
            return ""
        return f"the last segment is signed by {before[:16]}, the next by {mine[:16] or 'no key'}; restore the key or enrol it"

    def _check_files(self) -> None:
        """Write files again that somebody removed: what is in them is in memory, and the removed database is still open.

        Raises:
            JournalError: they cannot be written; the next commit tries again.
        """
        if self._inode is not None and database.inode_of(self.path) != self._inode:
            self._lost = segment_table.rows(self._connection), database.get_meta(self._connection)
            self._inode = None
        if self._inode is None:
            self._report("was removed while the agent ran, and is written again")
            self._write_again()
        if self._snapshot.is_removed:
            self._report(f"{database.SNAPSHOT} was removed while the agent ran, and is written again")
            self._snapshot.begin(self._book, self._logged, self._sequence)
        if self._alarm_until and self._logged > self._alarm_until:
            self._alarm_until, self._counts = 0, replace(self._counts, state_error="")

    def _report(self, what: str) -> None:
        self._alarm_until = self._logged + ALARM
        self._counts = replace(self._counts, state_error=f"{self.path}: {what}; find out who removes files in the state folder")

    def _write_again(self) -> None:
        """The database, from the book and from what the removed one had."""
        segments, meta = self._lost
        self._connection.close()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            if self.path.exists():
                database.move_torn_aside(self.path, self._utc_ns(), "another file was put in its place")
            self._connection, _, _, _ = database.open_writable(self.path, self._budget_b, self._utc_ns())
            with database.transaction(self._connection, durable=True):
                database.set_checkpoint(self._connection, self._logged, dumps(to_text(self._book)))
                segment_table.put(self._connection, segments)
                database.set_meta(self._connection, meta)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"{self.path}: was removed, and cannot be written again: {error}") from None
        self._inode, self._log_characters = database.inode_of(self.path), 0
        self._snapshot.begin(self._book, self._logged, self._sequence)

    def _checkpoint(self) -> None:
        """Replace the log by the book."""
        text = dumps(to_text(self._book))

        def write() -> None:
            with database.transaction(self._connection):
                database.set_checkpoint(self._connection, self._logged, text)

        self._with_room(write)
        self._log_characters = 0
        self._snapshot.begin(self._book, self._logged, self._sequence)

    def _with_room(self, write: Callable[[], object]) -> None:
        """Write; where the disk is full, first copies of written segments go."""
        while True:
            try:
                write()
                return
            except (sqlite3.Error, UnicodeError, OverflowError) as error:
                if not (database.is_full(error) and segment_table.drop_oldest(self._connection)):
                    raise database.failure(self._connection, self.path, self._budget_b, error) from None

    def seal(self, up_to_ns: int | None) -> WrittenSegment | None:
        """Turn committed rows that end by `up_to_ns` (None: all) into the next segment file.

        Returns:
            The last segment written now, None if there was nothing to write.

        Raises:
            JournalError: the file could not be written; its rows are fixed in the database and the next call writes them.
        """
        try:
            before = self._sequence
            self._fix(up_to_ns)
            written = self._flush()
            self._count_moved_aside()
            if self._sequence != before:
                self._snapshot.begin(self._book, self._logged, self._sequence)
            return written
        except sqlite3.Error as error:
            raise database.failure(self._connection, self.path, self._budget_b, error) from None

    def _fix(self, up_to_ns: int | None) -> None:
        """First step: rows out, finished segments in, each by a transaction that is on the disk before its file is written."""
        while (sealed := take(self._book, up_to_ns, self._identity, self._sequence, self._previous, self._signer)) is not None:
            self._fix_one(sealed)

    def _fix_one(self, sealed: SealedSegment) -> None:
        obsolete = find_obsolete(self._book, sealed)
        rest = self._book.without(sealed.rows, obsolete.facts, obsolete.ended)
        text = dumps(to_text(rest))

        def write() -> None:
            with database.transaction(self._connection, durable=True):
                database.set_checkpoint(self._connection, self._logged, text)
                segment_table.fix(self._connection, sealed.header, sealed.sha256, sealed.body, self._utc_ns())

        self._with_room(write)
        self._book, self._log_characters = rest, 0
        self._sequence, self._previous = sealed.header.sequence + 1, sealed.sha256
        self._counts = replace(self._counts, segments_total=self._counts.segments_total + 1)

    def _flush(self) -> WrittenSegment | None:
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
        return replace(self._counts, journal_bytes=size, snapshot_error=self._snapshot.error)

    def close(self) -> None:
        """Close; every commit is already on its way to the disk."""
        self._snapshot.close()
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
