"""The journal's SQLite file: schema, opening with every way it can be bad, and moving a torn one aside.

What is not a Wattlens journal is refused and never touched. A Wattlens journal that is torn is never deleted: it is renamed to
`journal.db.torn-<utc>` beside itself.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import JournalError, UsageError
from energy_agent.core.units import NS_PER_S

SCHEMA: Final = 5
READS: Final = 2
"""The oldest schema that is read as it is; `open_writable` brings older ones up to date."""
APPLICATION_ID: Final = 0x57744C4A  # "WtLJ", in the file's header
PAGE_B: Final = 4096
_MAGIC: Final = b"SQLite format 3\x00"

_RUN = """start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, first_uj INTEGER NOT NULL, inner_uj INTEGER NOT NULL,
  last_uj INTEGER NOT NULL, last_ppm INTEGER NOT NULL"""

_LOG = "CREATE TABLE log (sequence INTEGER PRIMARY KEY, batch TEXT NOT NULL) STRICT;"

_STEPS = """
CREATE TABLE steps (cell_start_ns INTEGER, workload TEXT, phase TEXT, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL,
  steps INTEGER NOT NULL, PRIMARY KEY (cell_start_ns, workload, phase)) STRICT, WITHOUT ROWID;
CREATE TABLE step_total (workload TEXT, phase TEXT, steps INTEGER NOT NULL,
  PRIMARY KEY (workload, phase)) STRICT, WITHOUT ROWID;
"""

_ENERGY_TOTAL, _GAP_TOTAL = (
    "CREATE TABLE energy_total (device TEXT, workload TEXT, state TEXT, method TEXT, energy_uj TEXT NOT NULL,"
    " PRIMARY KEY (device, workload, state, method)) STRICT, WITHOUT ROWID;",
    "CREATE TABLE gap_total (device TEXT PRIMARY KEY, bound_uj TEXT NOT NULL) STRICT, WITHOUT ROWID;",
)
"""Decimal text, of any length: energy of a building passes int64 within days."""

_ENDED = "CREATE TABLE ended (workload TEXT PRIMARY KEY, t_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
"""Workloads whose totals are among those of all that have ended; their facts stay until their last row is sealed."""

_AS_TEXT = f"""
ALTER TABLE energy_total RENAME TO energy_total_before;
{_ENERGY_TOTAL}
INSERT INTO energy_total SELECT device, workload, state, method, CAST(energy_uj AS TEXT) FROM energy_total_before;
DROP TABLE energy_total_before;
ALTER TABLE gap_total RENAME TO gap_total_before;
{_GAP_TOTAL}
INSERT INTO gap_total SELECT device, CAST(bound_uj AS TEXT) FROM gap_total_before;
DROP TABLE gap_total_before;
"""  # noqa: S608 - our own names

DDL: Final = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
{_LOG}
{_STEPS}
CREATE TABLE cell (cell_start_ns INTEGER, device TEXT, workload TEXT, state TEXT, method TEXT,
  energy_uj INTEGER NOT NULL, gpu_ns INTEGER NOT NULL, {_RUN},
  PRIMARY KEY (cell_start_ns, device, workload, state, method)) STRICT, WITHOUT ROWID;
CREATE TABLE span (cell_start_ns INTEGER, device TEXT, workload TEXT, {_RUN},
  PRIMARY KEY (cell_start_ns, device, workload)) STRICT, WITHOUT ROWID;
CREATE TABLE gap (cell_start_ns INTEGER, device TEXT, reason TEXT, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL,
  bound_uj INTEGER NOT NULL, PRIMARY KEY (cell_start_ns, device, reason)) STRICT, WITHOUT ROWID;
CREATE TABLE tokens (cell_start_ns INTEGER, workload TEXT, model TEXT, phase TEXT, start_ns INTEGER NOT NULL,
  end_ns INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (cell_start_ns, workload, model, phase)) STRICT, WITHOUT ROWID;
CREATE TABLE action (t_ns INTEGER, device TEXT, policy TEXT, action TEXT, setting TEXT, outcome TEXT, workload TEXT,
  PRIMARY KEY (t_ns, device, policy, action, setting, outcome, workload)) STRICT, WITHOUT ROWID;
CREATE TABLE workload_fact (workload TEXT, since_ns INTEGER, kind TEXT NOT NULL, labels TEXT NOT NULL,
  PRIMARY KEY (workload, since_ns)) STRICT, WITHOUT ROWID;
CREATE TABLE device_fact (device TEXT, since_ns INTEGER, sku TEXT NOT NULL, gain_ppm INTEGER NOT NULL,
  PRIMARY KEY (device, since_ns)) STRICT, WITHOUT ROWID;
CREATE TABLE meter_state (device TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
{_ENERGY_TOTAL}
{_GAP_TOTAL}
{_ENDED}
CREATE TABLE gpu_total (workload TEXT, state TEXT, gpu_ns INTEGER NOT NULL,
  PRIMARY KEY (workload, state)) STRICT, WITHOUT ROWID;
CREATE TABLE token_total (workload TEXT, model TEXT, phase TEXT, tokens INTEGER NOT NULL,
  PRIMARY KEY (workload, model, phase)) STRICT, WITHOUT ROWID;
CREATE TABLE segment (sequence INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, previous TEXT NOT NULL,
  from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, row_count INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('sealing', 'sealed')), sealed_ns INTEGER NOT NULL, body BLOB) STRICT;
"""
"""`log` has the commits that are not folded into the other tables yet (ledger/log.py). `segment.body` is the compressed file:
fixed in the transaction that takes the rows out, before any file is written."""

_LATER: Final = ("steps", "step_total", "ended")  # not in every schema that is read
_ADDED: Final = {2: _LOG, 3: _STEPS, 4: _AS_TEXT, 5: _ENDED}
"""Schema -> what it changed in the one before."""


def open_writable(path: Path, budget_b: int, now_ns: int) -> tuple[sqlite3.Connection, bool, str]:
    """Open or make the journal's database.

    Returns:
        The connection; whether the database is new; a line for the operator if a torn one was moved aside, else "".

    Raises:
        UsageError: the file is not a Wattlens journal, or of a newer schema.
        JournalError: it cannot be opened (locked, input/output error).
    """
    _refuse_foreign(path)
    notice = ""
    for attempt in (1, 2):
        try:
            return (*_open(path, budget_b), notice)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if attempt == 1 and is_torn(error):
                notice = move_aside(path, now_ns, str(error))
                continue
            raise JournalError(f"{path}: cannot be opened: {error}") from None
    raise AssertionError  # the loop returns or raises


def _open(path: Path, budget_b: int) -> tuple[sqlite3.Connection, bool]:
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
        if version and (missing := "".join(ddl for since, ddl in _ADDED.items() if version < since)):
            connection.executescript(f"BEGIN; {missing} PRAGMA user_version={SCHEMA}; COMMIT;")
        new = version == 0
        if new:
            script = f"BEGIN; {DDL} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA}; COMMIT;"
            connection.executescript(script)
            limit(connection, budget_b)
        else:
            limit(connection, budget_b)  # after the schema is brought up to date, which needs room for a while
            answer = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
            if answer != ["ok"]:
                torn = sqlite3.DatabaseError(answer[0] if answer else "quick_check gave no answer")
                torn.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise torn
    except BaseException:
        connection.close()
        raise
    return connection, new


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
    return JournalError(f"{path}: the disk is full; free some space, nothing committed is lost")


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
            raise UsageError(f"{path}: is not a regular file; the journal must be one")
        head = os.read(handle, 72)
    finally:
        os.close(handle)
    if not head.strip(b"\0"):  # new, or zeroed by a crash
        return
    if not head.startswith(_MAGIC):
        raise UsageError(f"{path}: is not a database; nothing was changed, point the state folder elsewhere")
    if int.from_bytes(head[68:72], "big") not in (0, APPLICATION_ID):
        raise _foreign(path)


def _foreign(path: Path) -> UsageError:
    return UsageError(f"{path}: is another program's database; nothing was changed, point the state folder elsewhere")


def move_aside(path: Path, now_ns: int, why: str) -> str:
    """Rename a torn database and its side files; returns the line for the operator.

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
        raise JournalError(f"{path}: is torn ({why}) and cannot be moved aside: {error.strerror}") from None
    return f"{path}: was torn ({why}); moved to {target.name}, a new journal continues from the segments on disk"


def open_readonly(path: Path) -> sqlite3.Connection:
    """Open for reading, beside a running agent too, with one transaction begun.

    Raises:
        UsageError: there is no journal.
        JournalError: it cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no journal here")
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
    """How SQLite is to open it for reading.

    Whoever reads a WAL database makes its index beside it, if nobody has. In a folder that cannot be written that fails, so a
    journal there that was closed, and has no WAL, is read as the file that it is.
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


def put(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert or replace rows; `table` is one of this module's names, never input."""
    if rows:
        marks = ",".join("?" * len(rows[0]))
        connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608


_KEYS: Final = {
    "energy_total": ("device", "workload", "state", "method"),
    "gpu_total": ("workload", "state"),
    "token_total": ("workload", "model", "phase"),
    "step_total": ("workload", "phase"),
    "workload_fact": ("workload", "since_ns"),
    "ended": ("workload",),
}


def remove(connection: sqlite3.Connection, table: str, keys: Sequence[tuple[Any, ...]]) -> None:
    """Delete rows by primary key; `table` is one of this module's names, never input."""
    if keys:
        where = " AND ".join(f"{name}=?" for name in _KEYS[table])
        connection.executemany(f"DELETE FROM {table} WHERE {where}", keys)  # noqa: S608


def all_rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """Every row of a table, by primary key; none where an older schema has no such table. `table` is never input."""
    if table in _LATER and not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone():
        return []
    return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
