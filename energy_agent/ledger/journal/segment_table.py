"""The journal's table of segments: fixed ones, written ones, and the copies kept of them.

The transaction that removes a segment's rows fixes the segment; its file is written from the table. After a crash in between,
the same bytes are written again.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from energy_agent.core.errors import JournalError
from energy_agent.ledger.journal import database
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import SegmentFiles
from energy_agent.ledger.segments.segment import WrittenSegment


def last(connection: sqlite3.Connection) -> tuple[int, str] | None:
    """Sequence and hash of the newest segment."""
    row: tuple[int, str] | None = connection.execute(
        "SELECT sequence, sha256 FROM segment ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    return row


def last_name(connection: sqlite3.Connection) -> str | None:
    """File name of the newest written segment."""
    row = connection.execute("SELECT name FROM segment WHERE state = 'sealed' ORDER BY sequence DESC LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def count(connection: sqlite3.Connection) -> int:
    """How many there are."""
    (number,) = connection.execute("SELECT count(*) FROM segment").fetchone()
    return int(number)


def fix(connection: sqlite3.Connection, header: segment.Header, digest: str, body: bytes, now_ns: int) -> None:
    """Put a finished segment in, within the caller's transaction."""
    name = segment.file_name(header.cluster, header.node, header.sequence)
    row = (header.sequence, name, digest, header.previous, header.from_ns, header.to_ns, header.rows)
    put(connection, [(*row, "sealing", now_ns, body)])


def put(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Put rows of the table in, within the caller's transaction."""
    connection.executemany(f"INSERT OR REPLACE INTO segment VALUES ({','.join('?' * 10)})", rows)  # noqa: S608


def flush(
    connection: sqlite3.Connection, files: SegmentFiles, folder: Path, utc_ns: Callable[[], int], keep_ns: int
) -> WrittenSegment | None:
    """Write every segment that is fixed but has no file yet, in order; release copies older than `keep_ns`.

    Raises:
        JournalError: a file could not be written; its rows are safe, the next call writes it.
        sqlite3.Error: the database could not be written.
    """
    pending = connection.execute(
        "SELECT sequence, name, sha256, previous, from_ns, to_ns, row_count, body FROM segment"
        " WHERE state = 'sealing' ORDER BY sequence"
    ).fetchall()
    written = None
    for sequence, name, digest, previous, from_ns, to_ns, rows, body in pending:
        try:
            folder.mkdir(exist_ok=True)
            path = segment.store(files, folder, name, body, digest)
        except OSError as error:
            raise JournalError(
                f"{folder / name}: cannot be written: {error.strerror}; its rows are safe in the journal"
            ) from None
        with database.transaction(connection):
            now_ns = utc_ns()
            connection.execute("UPDATE segment SET state = 'sealed', sealed_ns = ? WHERE sequence = ?", (now_ns, sequence))
            connection.execute(
                "UPDATE segment SET body = NULL WHERE state = 'sealed' AND sealed_ns < ? AND body IS NOT NULL",
                (now_ns - keep_ns,),
            )
        written = WrittenSegment(path, sequence, digest, previous, from_ns, to_ns, rows)
    return written


def rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """The whole table, for `put`."""
    return connection.execute("SELECT * FROM segment ORDER BY sequence").fetchall()


def drop_oldest(connection: sqlite3.Connection) -> bool:
    """Drop the oldest half of the copies of written segments. Returns False if no copy is left or the disk itself is full."""
    kept = connection.execute("SELECT sequence FROM segment WHERE state = 'sealed' AND body IS NOT NULL ORDER BY sequence")
    sealed = [sequence for (sequence,) in kept]
    if not sealed:
        return False
    limit = sealed[(len(sealed) - 1) // 2]
    try:
        with database.transaction(connection):
            connection.execute("UPDATE segment SET body = NULL WHERE state = 'sealed' AND sequence <= ?", (limit,))
    except sqlite3.Error:  # the disk itself is full
        return False
    return True
