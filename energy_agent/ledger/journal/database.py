"""The journal's SQLite file: its tables, opening it in any condition, and moving one aside that cannot be used.

Four tables: `meta` identifies the node, `log` has the commits since the last checkpoint, `checkpoint` is the book at that time,
and `segment` has the sealed segments. A file that is not a Wattlens journal is rejected and never changed. A Wattlens journal
that is torn, or whose format has another number, is never deleted: it is renamed in the same folder, to
`journal.db.torn-<utc>` or `journal.db.format-<number>-<utc>`.
"""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from energy_agent.core.energy import Identity
from energy_agent.core.errors import JournalError, UsageError
from energy_agent.core.units import NS_PER_S

FORMAT: Final = 7
"""Number of these tables and of the texts in them, in the file's header. No other is read or converted."""
APPLICATION_ID: Final = 0x57744C4A  # "WtLJ", in the file's header
PAGE_B: Final = 4096
SNAPSHOT: Final = "journal.snapshot"
"""File with the second copy of the journal, in the same folder."""
_MAGIC: Final = b"SQLite format 3\x00"
_MOVED_ASIDE: Final = re.compile(r"\.(torn|format-\d+)-\d{8}T\d{6}Z(-\d+)?")

DDL: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE log (sequence INTEGER PRIMARY KEY, batch TEXT NOT NULL) STRICT;
CREATE TABLE checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), log INTEGER NOT NULL, book TEXT NOT NULL) STRICT;
CREATE TABLE segment (sequence INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
  previous TEXT NOT NULL, from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, row_count INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('sealing', 'sealed')), sealed_ns INTEGER NOT NULL, body BLOB) STRICT;
"""
"""`checkpoint.log` is the number of the last commit that is in its book. `segment.body` is the compressed file: fixed in the
transaction that takes the rows out, before any file is written."""


def open_writable(path: Path, budget_b: int, now_ns: int) -> tuple[sqlite3.Connection, bool, str, Path | None]:
    """Open or make the journal's database.

    Returns:
        The connection; whether the database is new; a line for the operator if one was moved aside; and where a torn one is.

    Raises:
        UsageError: the file is not a Wattlens journal.
        JournalError: it cannot be opened (locked, input/output error).
    """
    _refuse_foreign(path)
    notice, torn = "", None
    for attempt in (1, 2):
        try:
            return (*_open(path, budget_b), notice, torn)
        except _FormatError as error:
            aside = _move_aside(path, now_ns, f"format-{error.number}", str(error), {SNAPSHOT: "-snapshot"})
            notice = f"{path}: {error}; moved to {aside.name}"
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if attempt == 1 and is_torn(error):
                notice, torn = move_torn_aside(path, now_ns, str(error))
                continue
            raise JournalError(f"{path}: cannot be opened: {error}") from None
    raise AssertionError  # the loop returns or raises


class _FormatError(Exception):
    """The journal's format has another number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"expected journal format {FORMAT}, got {number}")
        self.number = number


def _open(path: Path, budget_b: int) -> tuple[sqlite3.Connection, bool]:
    if _is_lost(path):  # SQLite would drop the log next to it without a word
        torn = sqlite3.DatabaseError("it is empty, but its write-ahead log is not")
        torn.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise torn
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if owner != APPLICATION_ID and tables:  # asked of SQLite too: in the file itself the mark may still be on its way
            raise _foreign(path)
        number = _format_of(connection)
        if number not in (0, FORMAT):
            raise _FormatError(number)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        if number == 0:
            script = f"BEGIN; {DDL} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}; COMMIT;"
            connection.executescript(script)
        else:
            answer = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
            if answer != ["ok"]:
                torn = sqlite3.DatabaseError(answer[0] if answer else "quick_check returned no result")
                torn.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise torn
        limit(connection, budget_b)
    except BaseException:
        connection.close()
        raise
    return connection, number == 0


def inode_of(path: Path) -> tuple[int, int] | None:
    """Which file is at a path; None for none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_absent(path: Path) -> bool:
    """Whether there is no database yet, or nothing but its name."""
    return not _is_lost(path) and (not path.exists() or path.stat().st_size == 0)


def _is_lost(path: Path) -> bool:
    """A database of no content next to a write-ahead log of some."""
    try:
        wal_b = path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return False
    return wal_b > 0 and (not path.exists() or path.stat().st_size == 0)


def _format_of(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def is_torn(error: Exception) -> bool:
    """Whether an error means that the file's content is damaged, rather than that it cannot be reached now."""
    if isinstance(error, UnicodeDecodeError):  # a name in the schema, or SQLite's own message that quotes one
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: Exception) -> bool:
    """Whether an error means that the disk, or the budget of the file, is full."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def failure(connection: sqlite3.Connection, path: Path, budget_b: int, error: Exception) -> JournalError:
    """The one line for a write that failed."""
    if not is_full(error):
        return JournalError(f"{path}: cannot be written: {error}")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if pages >= _pages(budget_b) - 8:
        full = f"{path}: the disk budget of {budget_b} bytes is full of unsealed rows"
        return JournalError(f"{full}; raise ledger.disk_budget_mib")
    return JournalError(f"{path}: the disk is full; free some space, no committed data is lost")


def limit(connection: sqlite3.Connection, budget_b: int) -> None:
    """Bound the file from now on; one that is larger already shrinks no further than it is. Raises sqlite3.Error."""
    connection.execute(f"PRAGMA max_page_count={_pages(budget_b)}")


def _pages(budget_b: int) -> int:
    return max(64, budget_b // PAGE_B)


def _refuse_foreign(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        if not os.path.isfile(handle):  # noqa: PTH113 - asked of the open handle
            raise UsageError(f"{path}: expected a regular file")
        head = os.read(handle, 72)
    finally:
        os.close(handle)
    if not head.strip(b"\0"):  # new, or zeroed by a crash
        return
    if not head.startswith(_MAGIC[: len(head)]):
        raise UsageError(f"{path}: is not a database; it was not changed, use another state folder")
    if int.from_bytes(head[68:72], "big") not in (0, APPLICATION_ID):
        raise _foreign(path)


def _foreign(path: Path) -> UsageError:
    return UsageError(f"{path}: is a database of another program; it was not changed, use another state folder")


def move_torn_aside(path: Path, now_ns: int, why: str) -> tuple[str, Path]:
    """Rename a torn database and its side files; returns the line for the operator, and where it is now.

    The snapshot stays: the next journal is recovered from it.

    Raises:
        JournalError: it cannot be renamed.
    """
    target = _move_aside(path, now_ns, "torn", f"is damaged ({why})", {})
    return f"{path}: was damaged ({why}); moved to {target.name}", target


def _move_aside(path: Path, now_ns: int, kind: str, why: str, more: Mapping[str, str]) -> Path:
    """Rename to a free name; `more` has other files that belong to the database, and their suffixes. The database goes last."""
    stamp = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
    files = dict(more) | {f"{path.name}{suffix}": suffix for suffix in ("-wal", "-shm", "")}
    target, n = path.with_name(f"{path.name}.{kind}-{stamp}"), 1
    while any(target.with_name(target.name + suffix).exists() for suffix in files.values()):
        n += 1
        target = path.with_name(f"{path.name}.{kind}-{stamp}-{n}")
    try:
        for name, suffix in files.items():
            side = path.with_name(name)
            if side.exists():
                side.rename(target.with_name(target.name + suffix))
    except OSError as error:
        raise JournalError(f"{path}: {why} and cannot be moved aside: {error.strerror}") from None
    return target


def count_moved_aside(path: Path) -> int:
    """Count the journals next to `path` that were moved aside."""
    names = (entry.name for entry in path.parent.iterdir())
    return sum(bool(_MOVED_ASIDE.fullmatch(name.removeprefix(path.name))) for name in names if name.startswith(path.name))


def open_readonly(path: Path) -> sqlite3.Connection:
    """Open the journal for reading, even while an agent runs, and begin one transaction.

    Raises:
        UsageError: the journal does not exist.
        JournalError: the journal cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"{path}: journal not found")
    _refuse_foreign(path)
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{_reading(path)}", uri=True, timeout=5, isolation_level=None)
    try:
        if (number := _format_of(connection)) != FORMAT:
            raise UsageError(f"{path}: {_FormatError(number)}; read it with the version that wrote it")
        connection.execute("BEGIN")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise JournalError(f"{path}: cannot be read: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def open_full(path: Path) -> sqlite3.Connection:
    """Open a database on a disk that has no room for its index. The caller reads it; no other process has it open."""
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # then SQLite keeps the index of the write-ahead log in memory
    return connection


def _reading(path: Path) -> str:
    """The URI parameters with which SQLite opens the journal for reading.

    A reader of a WAL database creates the index next to it if it is missing. That fails in a read-only folder, so a closed
    journal there, which has no WAL, is opened as immutable.
    """
    closed = not path.with_name(f"{path.name}-wal").exists()
    return "immutable=1" if closed and not os.access(path.parent, os.W_OK) else "mode=ro"


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, *, durable: bool = False) -> Iterator[None]:
    """One transaction; a `durable` one is on the disk when done, whatever happens to the power."""
    if durable:
        connection.execute("PRAGMA synchronous=FULL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                connection.execute("ROLLBACK")
            raise
    finally:
        if durable:
            connection.execute("PRAGMA synchronous=NORMAL")


def set_meta(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    """Write facts of the journal itself, within the caller's transaction."""
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def identity_of(meta: Mapping[str, str]) -> Identity:
    """Who wrote the journal, from its `meta` table. Raises KeyError where that is torn."""
    simulated = {"True": True, "False": False}[meta["simulated"]]
    return Identity(meta["cluster"], meta["node"], meta["boot_id"], meta["version"], simulated)


def get_meta(connection: sqlite3.Connection) -> dict[str, str]:
    """Facts of the journal itself."""
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def set_checkpoint(connection: sqlite3.Connection, log: int, book: str) -> None:
    """Replace checkpoint and log by the book up to that commit, within the caller's transaction."""
    connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?)", (log, book))
    connection.execute("DELETE FROM log WHERE sequence <= ?", (log,))


def get_checkpoint(connection: sqlite3.Connection) -> tuple[int, str]:
    """Number of the last commit in the checkpoint, and its book. Raises TypeError: the table is empty."""
    row: tuple[int, str] | None = connection.execute("SELECT log, book FROM checkpoint").fetchone()
    if row is None:
        raise TypeError("no checkpoint")
    return row
