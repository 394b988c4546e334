"""The journal's SQLite file: its schema, opening it in any condition, and moving a torn one aside.

Four tables: `meta` identifies the node, `log` has the commits since the last checkpoint, `checkpoint` is the book at that time,
and `segment` has the sealed segments. A file that is not a Wattlens journal is rejected and never changed. A torn Wattlens
journal is never deleted: it is renamed to `journal.db.torn-<utc>` in the same folder.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from energy_agent.core.energy import Identity
from energy_agent.core.errors import JournalError, UsageError
from energy_agent.core.units import NS_PER_S

SCHEMA: Final = 6
READS: Final = 1
"""The oldest schema that is read; `earlier.py` knows what was before 6."""
TABLES: Final = 6
"""The first schema of these tables."""
APPLICATION_ID: Final = 0x57744C4A  # "WtLJ", in the file's header
PAGE_B: Final = 4096
_MAGIC: Final = b"SQLite format 3\x00"

DDL: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (sequence INTEGER PRIMARY KEY, batch TEXT NOT NULL) STRICT;
CREATE TABLE checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), log INTEGER NOT NULL, book TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS segment (sequence INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
  previous TEXT NOT NULL, from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, row_count INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('sealing', 'sealed')), sealed_ns INTEGER NOT NULL, body BLOB) STRICT;
"""
"""`checkpoint.log` is the number of the last commit that is in its book. `segment.body` is the compressed file: fixed in the
transaction that takes the rows out, before any file is written."""


def open_writable(path: Path, budget_b: int, now_ns: int) -> tuple[sqlite3.Connection, bool, str, Path | None]:
    """Open or make the journal's database.

    Returns:
        The connection; whether the database is new; and where a torn one was moved aside, a line for the operator and its path.

    Raises:
        UsageError: the file is not a Wattlens journal, or of a newer schema.
        JournalError: it cannot be opened (locked, input/output error).
    """
    _refuse_foreign(path)
    notice, aside = "", None
    for attempt in (1, 2):
        try:
            return (*_open(path, budget_b), notice, aside)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if attempt == 1 and is_torn(error):
                notice, aside = move_aside(path, now_ns, str(error))
                continue
            raise JournalError(f"{path}: cannot be opened: {error}") from None
    raise AssertionError  # the loop returns or raises


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
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise UsageError(f"{path}: journal schema {version} is newer than this Wattlens (up to {SCHEMA}); update Wattlens")
        if version == 0:
            script = f"BEGIN; {DDL} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA}; COMMIT;"
            connection.executescript(script)
            limit(connection, budget_b)
        else:
            answer = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
            if answer != ["ok"]:
                torn = sqlite3.DatabaseError(answer[0] if answer else "quick_check returned no result")
                torn.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise torn
            if version >= TABLES:  # else when it is brought up to date, which needs room for a while
                limit(connection, budget_b)
    except BaseException:
        connection.close()
        raise
    return connection, version == 0


def _is_lost(path: Path) -> bool:
    """A database of no content next to a write-ahead log of some."""
    try:
        wal_b = path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return False
    return wal_b > 0 and (not path.exists() or path.stat().st_size == 0)


def version_of(connection: sqlite3.Connection) -> int:
    """The schema of an open database."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


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


def move_aside(path: Path, now_ns: int, why: str) -> tuple[str, Path]:
    """Rename a torn database and its side files; returns the line for the operator, and where it is now.

    Raises:
        JournalError: it cannot be renamed.
    """
    stamp = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
    target, n = path.with_name(f"{path.name}.torn-{stamp}"), 1
    while target.exists():
        n += 1
        target = path.with_name(f"{path.name}.torn-{stamp}-{n}")
    try:
        for suffix in ("-wal", "-shm", ""):
            side = path.with_name(path.name + suffix)
            if side.exists():
                side.rename(target.with_name(target.name + suffix))
    except OSError as error:
        raise JournalError(f"{path}: is damaged ({why}) and cannot be moved aside: {error.strerror}") from None
    return f"{path}: was damaged ({why}); moved to {target.name}", target


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
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not READS <= version <= SCHEMA:
            raise UsageError(f"{path}: journal schema {version}, this Wattlens reads {READS} to {SCHEMA}")
        connection.execute("BEGIN")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise JournalError(f"{path}: cannot be read: {error}") from None
    except BaseException:
        connection.close()
        raise
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
